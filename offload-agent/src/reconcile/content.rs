//! What makes two filters the same, whatever numbers the kernel knows them by.

use tc_filter::{Attach, ChainId, EtherType, Filter, FlowerMatch, Prio};

/// A prio of a chain of an attach point: the kernel's `struct tcf_proto`. It has one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Where it hangs.
    pub attach: Attach,
    /// Its chain.
    pub chain: ChainId,
    /// Its place in the chain.
    pub prio: Prio,
}

impl Slot {
    /// The slot of a filter.
    #[must_use]
    pub fn of(filter: &Filter) -> Self {
        Self { attach: filter.attach, chain: filter.chain, prio: filter.prio }
    }
}

/// Which packets a filter takes, and where. The kernel holds one filter for it in a prio, so a filter
/// with the same selector and other actions is a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selector<'a> {
    attach: Attach,
    chain: ChainId,
    protocol: EtherType,
    key: &'a FlowerMatch,
}

impl<'a> Selector<'a> {
    pub(super) fn of(filter: &'a Filter) -> Self {
        Self {
            attach: filter.attach,
            chain: filter.chain,
            protocol: filter.protocol,
            key: &filter.key,
        }
    }
}

/// Whether two filters at one place do the same. The number in the cookie is not compared: it names
/// nothing in the kernel.
pub(super) fn does_the_same(a: &Filter, b: &Filter) -> bool {
    Selector::of(a) == Selector::of(b) && a.actions == b.actions && a.hw == b.hw
}
