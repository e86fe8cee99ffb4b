//! Which chain number each chain gets. A way always leads to a higher number, since some drivers know no other. The ports
//! share the numbers: in hardware a (chain, prio) is one table, whichever port its filters are for, and tables are few.
//!
//! A chain that nothing leads to is taken out. Every other but the first gets a last filter that takes what is left back to
//! OVS, untracked: a packet that matches nothing in a later chain would be lost.

use std::rc::Rc;

use rustc_hash::FxHashSet;
use tc_filter::ChainId;

use crate::compile::Input;
use crate::compile::ir::{
    Effect, Filling, FlowerChain, FlowerEntry, FlowerProgram, Key, PortChains, Trail, Use,
};
use crate::compile::verdict::Reason;

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    let FlowerProgram { chains, ports, .. } = program;
    let mut later = FxHashSet::default();
    for port in ports.values_mut() {
        port.uses = uses(port, chains);
        later.extend(port.uses.iter().skip(1).map(|one| one.chain));
    }
    for at in later {
        chains[at].entries.push(catch_all());
    }
    empty_unused(program);
}

/// Takes the entries out of chains that no packet gets to.
pub(super) fn empty_unused(program: &mut FlowerProgram) {
    let uses = program.ports.values().flat_map(|port| &port.uses);
    let used: FxHashSet<usize> = uses.map(|one| one.chain).collect();
    let chains = program.chains.iter_mut().enumerate();
    chains.filter(|(at, _)| !used.contains(at)).for_each(|(_, chain)| chain.entries.clear());
}

/// The chains that packets of a port get to, each before those it leads to.
pub(super) fn uses(port: &PortChains, chains: &[FlowerChain]) -> Vec<Use> {
    let mut order = Vec::new();
    let mut seen = FxHashSet::default();
    let mut stack: Vec<((usize, Filling), bool)> =
        port.chains.first().map(|first| ((*first, Filling::from([])), false)).into_iter().collect();
    while let Some((at, done)) = stack.pop() {
        if done {
            order.push(at);
            continue;
        }
        if !seen.insert(at.clone()) {
            continue;
        }
        let Some(chain) = chains.get(at.0) else { continue };
        stack.push((at.clone(), true));
        stack.extend(chain.leads_to(&at.1).rev().map(|next| (next, false)));
    }
    let in_order = order.into_iter().rev().zip(0..);
    let uses = in_order.map(|((chain, filling), number)| {
        let number = ChainId::new(number).unwrap_or(ChainId::ZERO);
        Use { chain, filling, number }
    });
    uses.collect()
}

fn catch_all() -> FlowerEntry {
    let effect = Effect::Pass(Reason::CatchAll);
    FlowerEntry { trail: Rc::new(Trail::default()), key: Key::any(), effect, depth: None }
}
