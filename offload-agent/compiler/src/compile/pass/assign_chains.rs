//! Which chain number each chain gets. A way always leads to a higher number, since some drivers know no other. The ports
//! share the numbers: in hardware a (chain, prio) is one table, whichever port its filters are for, and tables are few.
//!
//! A chain that nothing leads to is taken out. Every other but the first gets a last filter that takes what is left back to
//! OVS, untracked: a packet that matches nothing in a later chain would be lost.

use std::rc::Rc;

use tc_filter::{ChainId, Prio};

use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerChain, FlowerEntry, FlowerProgram, Key, Place, Trail};
use crate::compile::verdict::Reason;

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    for chains in program.ports.values_mut() {
        let mut number = 0;
        let order = order(chains);
        for (at, chain) in chains.iter_mut().enumerate() {
            if !order.contains(&at) {
                chain.entries.clear();
            }
        }
        for at in order {
            let Some(chain) = chains.get_mut(at) else { continue };
            chain.number = ChainId::new(number).unwrap_or(ChainId::ZERO);
            if number > 0 {
                chain.entries.push(catch_all());
            }
            let place = Place { chain: chain.number, prio: Prio::MIN };
            chain.entries.iter_mut().for_each(|entry| entry.place = Some(place));
            number += 1;
        }
    }
}

/// The chains that packets get to, each before those it leads to.
fn order(chains: &[FlowerChain]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = vec![false; chains.len()];
    let mut stack = vec![(0, false)];
    while let Some((at, done)) = stack.pop() {
        if done {
            order.push(at);
            continue;
        }
        if seen.get(at) != Some(&false) {
            continue;
        }
        seen[at] = true;
        stack.push((at, true));
        stack.extend(leads_to(&chains[at]).rev().map(|next| (next, false)));
    }
    order.reverse();
    order
}

/// The chains that a chain leads to, in the order of its entries.
pub(super) fn leads_to(chain: &FlowerChain) -> impl DoubleEndedIterator<Item = usize> {
    chain.entries.iter().filter_map(|entry| match entry.effect {
        Effect::Goto { chain, .. } => Some(chain),
        _ => None,
    })
}

fn catch_all() -> FlowerEntry {
    let effect = Effect::Pass(Reason::CatchAll);
    FlowerEntry { trail: Rc::new(Trail::default()), key: Key::any(), effect, place: None }
}
