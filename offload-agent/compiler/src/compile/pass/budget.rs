//! Stays within the card's chains and tables, and within the jumps that the kernel makes. What leads to a chain that does not fit stays
//! in OVS, and says so; a chain from which packets must not go back goes with the one it leads to.
//!
//! ```text
//! a card with one chain more than the first
//! chain 0  tcp -> goto 1                   chain 0  tcp -> goto 1
//! chain 1  ... -> goto 2                   chain 1  ... -> pass: the card has no more tables
//! chain 2  ...
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::{ChainId, EtherType};

use super::assign_prios::depths;
use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{Bound, Effect, FlowerChain, FlowerProgram, protocol};
use crate::compile::verdict::Reason;

/// The tables of each chain number: all ports share them.
type Tables = BTreeMap<ChainId, BTreeSet<(usize, EtherType)>>;

/// A packet that is to go to one chain more is dropped (`max_reclassify_loop` in `net/sched/cls_api.c`).
pub(in crate::compile) const MOST_JUMPS: usize = 16;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let gone = too_many(&tables(program), input.capabilities);
    for chains in program.ports.values_mut() {
        let mut dropped = too_far(chains);
        for (at, chain) in chains.iter().enumerate() {
            if gone.contains(&chain.number) {
                dropped.entry(at).or_insert(Reason::Budget);
            }
        }
        if !dropped.is_empty() {
            cut(chains, dropped);
        }
    }
}

/// The chains that some packet would get to with too many jumps. A jump always leads to a higher number.
fn too_far(chains: &[FlowerChain]) -> BTreeMap<usize, Reason> {
    let mut by_number: Vec<usize> = (0..chains.len()).collect();
    by_number.sort_by_key(|at| chains[*at].number);
    let mut jumps = vec![0; chains.len()];
    for at in by_number {
        for to in super::assign_chains::leads_to(&chains[at]) {
            jumps[to] = jumps[to].max(jumps[at] + 1);
        }
    }
    let far = jumps.into_iter().enumerate().filter(|(_, jumps)| *jumps > MOST_JUMPS);
    far.map(|(at, _)| (at, Reason::Jumps)).collect()
}

fn tables(program: &FlowerProgram) -> Tables {
    let mut tables = Tables::new();
    for chain in program.ports.values().flatten() {
        let depths = depths(chain);
        let these = depths.into_iter().zip(&chain.entries);
        let these = these.map(|(depth, entry)| (depth, protocol(&entry.key)));
        tables.entry(chain.number).or_default().extend(these);
    }
    tables
}

/// The chains that do not fit. Those that come first are nearer to the ports, so more packets get to them.
fn too_many(tables: &Tables, card: &Capabilities) -> BTreeSet<ChainId> {
    let mut gone = BTreeSet::new();
    let mut used = 0;
    for (number, these) in tables {
        let first = *number == ChainId::ZERO;
        let fits = number.get() < card.max_chains
            && these.len() <= usize::from(card.max_prios)
            && used + these.len() <= card.max_tables;
        if first || fits {
            used += these.len();
        } else {
            gone.insert(*number);
        }
    }
    gone
}

/// Takes chains out, and what cannot do without them.
fn cut(chains: &mut [FlowerChain], mut dropped: BTreeMap<usize, Reason>) {
    let mut by_number: Vec<usize> = (0..chains.len()).collect();
    by_number.sort_by_key(|at| std::cmp::Reverse(chains[*at].number));
    for at in by_number {
        let bound = chains[at].arrival.bound != Bound::Free;
        let lost = super::assign_chains::leads_to(&chains[at]).find_map(|to| dropped.get(&to));
        let first = chains[at].number == ChainId::ZERO;
        match lost.cloned() {
            Some(reason) if bound && !first => drop(dropped.entry(at).or_insert(reason)),
            Some(_) => pass(&mut chains[at], &dropped),
            None => {}
        }
        if !first && dropped.contains_key(&at) {
            chains[at].entries.clear();
        }
    }
}

fn pass(chain: &mut FlowerChain, dropped: &BTreeMap<usize, Reason>) {
    for entry in &mut chain.entries {
        if let Effect::Goto { chain, .. } = entry.effect
            && let Some(reason) = dropped.get(&chain)
        {
            entry.effect = Effect::Pass(reason.clone());
        }
    }
}
