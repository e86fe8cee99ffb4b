//! Stays within the card's chains and tables. What leads to a chain that does not fit stays in OVS, and says so; a chain from
//! which packets must not go back goes with the one it leads to.
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

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let gone = too_many(&tables(program), input.capabilities);
    if gone.is_empty() {
        return;
    }
    program.ports.values_mut().for_each(|chains| cut(chains, &gone));
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

fn cut(chains: &mut [FlowerChain], gone: &BTreeSet<ChainId>) {
    let mut by_number: Vec<usize> = (0..chains.len()).collect();
    by_number.sort_by_key(|at| std::cmp::Reverse(chains[*at].number));
    let mut dropped: BTreeSet<usize> = BTreeSet::new();
    for at in by_number {
        let bound = chains[at].arrival.bound != Bound::Free;
        let lost = super::assign_chains::leads_to(&chains[at]).any(|to| dropped.contains(&to));
        let first = chains[at].number == ChainId::ZERO;
        if !first && (gone.contains(&chains[at].number) || bound && lost) {
            dropped.insert(at);
            chains[at].entries.clear();
        } else if lost {
            pass(&mut chains[at], &dropped);
        }
    }
}

fn pass(chain: &mut FlowerChain, dropped: &BTreeSet<usize>) {
    for entry in &mut chain.entries {
        if matches!(entry.effect, Effect::Goto { chain, .. } if dropped.contains(&chain)) {
            entry.effect = Effect::Pass(Reason::Budget);
        }
    }
}
