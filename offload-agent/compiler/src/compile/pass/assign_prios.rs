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

use tc_filter::{EtherType, Prio};

use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerEntry, FlowerProgram, Place, Settled, protocol};
use crate::compile::verdict::Reason;
use crate::plan::CURTAIN;

/// How many entries, one behind the other, a packet could have matched before this one.
type Depth = usize;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let depths: Vec<Vec<Depth>> = program.ports.values().map(|entries| depths(entries)).collect();
    let tables: BTreeSet<(Depth, EtherType)> = program
        .ports
        .values()
        .zip(&depths)
        .flat_map(|(entries, depths)| depths.iter().zip(entries))
        .map(|(depth, entry)| (*depth, protocol(&entry.key)))
        .collect();
    let prios = number(&tables, input.capabilities.max_prios);
    for ((ingress, entries), depths) in program.ports.iter_mut().zip(depths) {
        let mut placed = Vec::new();
        for (mut entry, depth) in std::mem::take(entries).into_iter().zip(depths) {
            match (prios.get(&(depth, protocol(&entry.key))), entry.place) {
                (Some(prio), Some(place)) => {
                    entry.place = Some(Place { prio: *prio, ..place });
                    placed.push(entry);
                }
                _ => program.settled.extend(left_out(&entry, ingress)),
            }
        }
        *entries = placed;
    }
}

fn depths(entries: &[FlowerEntry]) -> Vec<Depth> {
    let mut depths: Vec<Depth> = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let before = entries[..at].iter().zip(&depths);
        let above =
            before.filter(|(other, _)| other.key.overlaps(&entry.key)).map(|(_, depth)| depth + 1);
        depths.push(above.max().unwrap_or(0));
    }
    depths
}

/// The tables by their prio. Those that do not fit are the last ones, so what they would take goes to OVS.
fn number(tables: &BTreeSet<(Depth, EtherType)>, max: u16) -> BTreeMap<(Depth, EtherType), Prio> {
    let first = u32::from(CURTAIN.get()) + 1;
    let numbers = (first..=u32::from(Prio::MAX.get())).take(usize::from(max));
    let prios = numbers
        .filter_map(|number| u16::try_from(number).ok())
        .filter_map(|number| Prio::new(number).ok());
    tables.iter().copied().zip(prios).collect()
}

fn left_out(entry: &FlowerEntry, ingress: &crate::compile::ir::Ingress) -> Option<Settled> {
    let reason = match &entry.effect {
        Effect::Pass(reason) => reason.clone(),
        Effect::Act(_) => Reason::CardAction("tell so many priorities apart"),
    };
    Some(Settled { rule: entry.rule?, ingress: Some(ingress.clone()), reason })
}
