//! Ports of fragments. OVS's tables see none, whatever an action has written there; its actions read those of a first fragment
//! (`rule_dpif_lookup_from_table`).
//!
//! So the walk is right about the ports that a packet came with, for `split` gives fragments 0 there, and about every port of a whole
//! packet. It is not right about a fragment once a port was written, or copied to where tables look for it: those packets are OVS's.

use super::graph::Micro;
use super::reads::Reads;
use super::state::{Slot, State};
use super::value::Bits;
use crate::openflow::{Field, Masked};

/// Any fragment (`nw_frag=yes`).
pub(in crate::compile) const FRAGMENT: Masked = Masked { value: 1, mask: 1 };

/// What decides whether there is a fragment that tables may be mistaken about: two walks of which only one has none are not alike.
pub(super) fn asked(op: &Micro, state: &State) -> Option<Reads> {
    let mut reads = Reads::default();
    reads.test(state, Field::IpFrag, FRAGMENT.mask);
    moves_a_port(op).then_some(reads)
}

/// Whether tables may be mistaken about fragments from here on.
pub(in crate::compile) fn moves_ports(op: &Micro, state: &State) -> bool {
    moves_a_port(op) && !is_whole(state)
}

fn moves_a_port(op: &Micro) -> bool {
    match op {
        Micro::Load(field, _) => is_port(*field),
        Micro::Copy(from, to) => is_port(from.field) || is_port(to.field),
        Micro::Push(part, _) | Micro::Pop(part, _) => is_port(part.field),
        _ => false,
    }
}

/// Whether something that is asked depends on a port that is not where the packet has it.
pub(in crate::compile) fn mistaken(reads: &Reads, state: &State) -> bool {
    let elsewhere = |(slot, mask): (Slot, u128)| {
        let mut copied = false;
        state.peek(slot, |bits| {
            bits.sources(mask, |field, there| {
                copied |= there != 0 && is_port(field) && slot != Slot::Field(field);
            });
        });
        copied || is_written(slot, mask, state)
    };
    !is_whole(state) && reads.slots().any(elsewhere)
}

fn is_written(slot: Slot, mask: u128, state: &State) -> bool {
    let Slot::Field(field) = slot else { return false };
    let own = |bits: &Bits| bits.masked(mask) == Bits::link(field).masked(mask);
    is_port(field) && !state.peek(slot, own)
}

/// Whether the packet is known to be no fragment.
fn is_whole(state: &State) -> bool {
    state.told.get(Field::IpFrag).is_some_and(|told| told.mask & !told.value & FRAGMENT.mask != 0)
}

fn is_port(field: Field) -> bool {
    use Field::*;
    matches!(field, TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst)
        || matches!(field, IcmpType | IcmpCode | Icmpv6Type | Icmpv6Code)
}
