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

use tc_filter::{ChainId, EtherType, Prio};

use super::overlap::Index;
use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Effect, FlowerChain, FlowerEntry, FlowerProgram, Ingress, Place, Settled, protocol,
};
use crate::compile::verdict::Reason;
use crate::plan::CURTAIN;

/// How many entries, one behind the other, a packet could have matched before this one.
type Depth = usize;

/// A table in the card, before it has its prio.
type Table = (ChainId, Depth, EtherType);

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let depths: Vec<Vec<Vec<Depth>>> =
        program.ports.values().map(|chains| chains.iter().map(depths).collect()).collect();
    let mut tables: BTreeSet<Table> = BTreeSet::new();
    for (chains, depths) in program.ports.values().zip(&depths) {
        for (chain, depths) in chains.iter().zip(depths) {
            let entries = depths.iter().zip(&chain.entries);
            tables.extend(entries.map(|(depth, one)| (chain.number, *depth, protocol(&one.key))));
        }
    }
    let prios = number(&tables, input.capabilities);
    for ((ingress, chains), depths) in program.ports.iter_mut().zip(depths) {
        for (chain, depths) in chains.iter_mut().zip(depths) {
            place(chain, depths, &prios, ingress, &mut program.settled);
        }
    }
}

fn place(
    chain: &mut FlowerChain,
    depths: Vec<Depth>,
    prios: &BTreeMap<Table, Prio>,
    ingress: &Ingress,
    settled: &mut Vec<Settled>,
) {
    let mut placed = Vec::new();
    for (mut entry, depth) in std::mem::take(&mut chain.entries).into_iter().zip(depths) {
        match (prios.get(&(chain.number, depth, protocol(&entry.key))), entry.place) {
            (Some(prio), Some(place)) => {
                entry.place = Some(Place { prio: *prio, ..place });
                placed.push(entry);
            }
            _ => settled.extend(left_out(&entry, ingress)),
        }
    }
    chain.entries = placed;
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

fn left_out(entry: &FlowerEntry, ingress: &Ingress) -> Option<Settled> {
    let reason = match &entry.effect {
        Effect::Pass(reason) => reason.clone(),
        Effect::Act(_) | Effect::Goto { .. } => Reason::CardAction("tell so many priorities apart"),
    };
    Some(Settled { rule: entry.rule()?, ingress: Some(ingress.clone()), reason })
}
