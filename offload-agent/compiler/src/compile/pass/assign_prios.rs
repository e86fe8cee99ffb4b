//! Which prio each entry gets: by overlap, not by number.
//!
//! In hardware every (chain, prio) is a table of its own, shared by all ports, and tables are few. So only entries that
//! could take the same packet get different prios. One prio has one protocol, and its filters are disjoint: flower does
//! not order them.
//!
//! ```text
//! #0 priority 900, dl_vlan=5        chain 0 prio 2
//! #1 priority 800, dl_vlan=6        chain 0 prio 2
//! #2 priority 700, any vlan         chain 0 prio 3
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::{ChainId, Prio};

use super::overlap::Index;
use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Effect, FlowerChain, FlowerEntry, FlowerProgram, Ingress, Settled, Table,
};
use crate::compile::verdict::Reason;
use crate::plan::CURTAIN;

/// How many entries, one behind the other, a packet could have matched before this one.
type Depth = usize;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    for chain in &mut program.chains {
        let depths = depths(chain);
        let entries = chain.entries.iter_mut().zip(depths);
        entries.for_each(|(entry, depth)| entry.depth = Some(depth));
    }
    let of_chain: Vec<_> = program.chains.iter().map(FlowerChain::tables).collect();
    let mut tables: BTreeSet<Table> = BTreeSet::new();
    for used in program.ports.values().flat_map(|port| &port.uses) {
        let here = of_chain.get(used.chain).into_iter().flatten();
        tables.extend(here.map(|(depth, protocol)| (used.number, *depth, *protocol)));
    }
    program.prios = number(&tables, input.capabilities);
    if program.prios.len() < tables.len() {
        let left_out: Vec<Settled> = left_out(program).collect();
        program.settled.extend(left_out);
    }
}

/// What becomes of the entries that got no prio.
fn left_out(program: &FlowerProgram) -> impl Iterator<Item = Settled> + '_ {
    let uses = program.ports.iter().flat_map(move |(ingress, port)| {
        port.uses.iter().map(move |used| (ingress, used, &program.chains[used.chain]))
    });
    uses.flat_map(move |(ingress, used, chain)| {
        let out =
            chain.entries.iter().filter(move |entry| program.prio(entry, used.number).is_none());
        out.filter_map(move |entry| settled(entry, ingress))
    })
}

pub(super) fn depths(chain: &FlowerChain) -> Vec<Depth> {
    let mut index = Index::default();
    let placed = chain.entries.iter().map(|entry| {
        let depth = index.greatest(&entry.key).map_or(0, |above| above + 1);
        index.add(&entry.key, depth);
        depth
    });
    placed.collect()
}

/// The tables by their prio. Those that do not fit are the last ones, so what they would take goes to OVS. That the others' tables fit
/// `budget` has seen to, but not those of the first chain.
fn number(tables: &BTreeSet<Table>, card: &Capabilities) -> BTreeMap<Table, Prio> {
    let room = |chain: ChainId| match chain {
        ChainId::ZERO => usize::from(card.max_prios).min(card.max_tables),
        _ => usize::from(card.max_prios),
    };
    let mut prios = BTreeMap::new();
    let mut used: BTreeMap<ChainId, u16> = BTreeMap::new();
    for table in tables {
        let used = used.entry(table.0).or_insert(0);
        *used = used.saturating_add(1);
        let fits = usize::from(*used) <= room(table.0);
        let prio = CURTAIN.get().checked_add(*used).filter(|_| fits);
        if let Some(prio) = prio.and_then(|prio| Prio::new(prio).ok()) {
            prios.insert(*table, prio);
        }
    }
    prios
}

fn settled(entry: &FlowerEntry, ingress: &Ingress) -> Option<Settled> {
    let reason = match &entry.effect {
        Effect::Pass(reason) => reason.clone(),
        Effect::Act(_) | Effect::Goto { .. } => Reason::CardAction("tell so many priorities apart"),
    };
    Some(Settled { rule: entry.rule()?, ingress: Some(ingress.clone()), reason })
}
