//! Which chain each entry stands in. One table of OpenFlow is one chain, and the first chain is the only one that every
//! card has and that a packet can leave for OVS without a filter's help.

use tc_filter::{ChainId, Prio};

use crate::compile::Input;
use crate::compile::ir::{FlowerProgram, Place};

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    for entry in program.ports.values_mut().flatten() {
        entry.place = Some(Place { chain: ChainId::ZERO, prio: Prio::MIN });
    }
}
