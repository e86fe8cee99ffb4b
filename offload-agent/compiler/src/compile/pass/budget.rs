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

use rustc_hash::FxHashMap;
use tc_filter::{ChainId, EtherType};

use super::assign_prios::depths;
use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Bound, Effect, Filling, FlowerChain, FlowerProgram, PortChains, protocol,
};
use crate::compile::verdict::Reason;

/// The tables of each chain number: all ports share them.
type Tables = BTreeMap<ChainId, BTreeSet<(usize, EtherType)>>;

/// A packet that is to go to one chain more is dropped (`max_reclassify_loop` in `net/sched/cls_api.c`).
pub(in crate::compile) const MOST_JUMPS: usize = 16;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let gone = too_many(&tables(program), input.capabilities);
    let FlowerProgram { chains, ports, .. } = program;
    for port in ports.values_mut() {
        let leads = leads(port, chains);
        let mut dropped = too_far(&leads);
        for (at, used) in port.uses.iter().enumerate() {
            if gone.contains(&used.number) {
                dropped.entry(at).or_insert(Reason::Budget);
            }
        }
        if !dropped.is_empty() {
            make_own(port, chains, &leads);
            cut(&mut chains[port.uses[0].chain..], &leads, dropped);
        }
    }
    super::assign_chains::empty_unused(program);
}

/// Where each use of a chain leads, in the order of its entries, by place among the uses.
fn leads(port: &PortChains, chains: &[FlowerChain]) -> Vec<Vec<usize>> {
    let places = port.uses.iter().enumerate();
    let places: FxHashMap<(usize, &Filling), usize> =
        places.map(|(at, used)| ((used.chain, &used.filling), at)).collect();
    let leads = port.uses.iter().map(|used| {
        let to = chains.get(used.chain).into_iter().flat_map(|chain| chain.leads_to(&used.filling));
        to.filter_map(|(chain, filling)| places.get(&(chain, &filling)).copied()).collect()
    });
    leads.collect()
}

/// The chains that some packet would get to with too many jumps. A chain stands before those it leads to.
fn too_far(leads: &[Vec<usize>]) -> BTreeMap<usize, Reason> {
    let mut jumps = vec![0; leads.len()];
    for (at, to) in leads.iter().enumerate() {
        for to in to {
            jumps[*to] = jumps[*to].max(jumps[at] + 1);
        }
    }
    let far = jumps.into_iter().enumerate().filter(|(_, jumps)| *jumps > MOST_JUMPS);
    far.map(|(at, _)| (at, Reason::Jumps)).collect()
}

/// Gives a port chains of its own, at the end of all, where some will not be as they are for others.
fn make_own(port: &mut PortChains, chains: &mut Vec<FlowerChain>, leads: &[Vec<usize>]) {
    let first = chains.len();
    for (used, to) in port.uses.iter_mut().zip(leads) {
        let mut own = chains[used.chain].clone();
        let mut to = to.iter();
        for entry in &mut own.entries {
            if let Effect::Goto { chain, .. } = &mut entry.effect {
                *chain = to.next().map_or(*chain, |to| first + to);
            }
        }
        used.chain = chains.len();
        chains.push(own);
    }
    port.chains = (first..chains.len()).collect();
}

fn tables(program: &FlowerProgram) -> Tables {
    let each: Vec<BTreeSet<(usize, EtherType)>> = program.chains.iter().map(tables_of).collect();
    let mut tables = Tables::new();
    for used in program.ports.values().flat_map(|port| &port.uses) {
        tables.entry(used.number).or_default().extend(&each[used.chain]);
    }
    tables
}

fn tables_of(chain: &FlowerChain) -> BTreeSet<(usize, EtherType)> {
    let depths = depths(chain).into_iter().zip(&chain.entries);
    depths.map(|(depth, entry)| (depth, protocol(&entry.key))).collect()
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

/// Takes chains out, and what cannot do without them. The first chain stays.
fn cut(chains: &mut [FlowerChain], leads: &[Vec<usize>], mut dropped: BTreeMap<usize, Reason>) {
    for (at, to) in leads.iter().enumerate().rev() {
        let chain = &mut chains[at];
        let bound = chain.arrival.bound != Bound::Free;
        let lost = to.iter().find_map(|to| dropped.get(to));
        match lost.cloned() {
            Some(reason) if bound && at > 0 => drop(dropped.entry(at).or_insert(reason)),
            Some(_) => pass(chain, to, &dropped),
            None => {}
        }
        if at > 0 && dropped.contains_key(&at) {
            chain.entries.clear();
        }
    }
}

fn pass(chain: &mut FlowerChain, leads: &[usize], dropped: &BTreeMap<usize, Reason>) {
    let mut leads = leads.iter();
    for entry in &mut chain.entries {
        if let Effect::Goto { .. } = entry.effect
            && let Some(reason) = leads.next().and_then(|to| dropped.get(to))
        {
            entry.effect = Effect::Pass(reason.clone());
        }
    }
}
