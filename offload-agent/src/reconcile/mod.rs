//! From the filters we want and the filters the kernel has to the operations that lead from one to the
//! other, such that no packet is misforwarded on the way. Pure: no netlink, no clock.
//!
//! ```text
//! wanted ─► chains ─► place ─► order ─► steps ─► apply (the only file here that does something)
//!              ▲        ▲        ▲
//! observed ────┴────────┴────────┘
//! ```
//!
//! # Why no packet is misforwarded
//!
//! Let `o(p)` be the old filter that takes packet `p` and `n(p)` the new one; "none" stands for Open
//! vSwitch, which is never wrong. After every single operation the packet must meet `o(p)`, `n(p)` or
//! none. TC tries prios upwards and the filters of one prio are disjoint, so it suffices to
//!
//! 1. add and replace from the lowest prio upwards: a new filter is put in only when every new filter
//!    that may win against it is there;
//! 2. then remove from the highest prio downwards: an old filter goes only when no old filter that it
//!    hid is left to take its packets.
//!
//! This needs that new filters do not want a place that an old one holds. [`place`] sees to that: it
//! keeps the prio of what stays and gives the rest free numbers in between. Where that cannot be, [`order`]
//! first withdraws the old filters from the bottom up to the conflict (their packets go to Open vSwitch),
//! which by the same argument is safe.
//!
//! All this is said of chain 0. What a `goto` leads to belongs to the filter that has it: [`chains`] gives a chain that
//! changes another number, so that no chain changes while packets may be in it.

pub mod apply;
mod chains;
mod content;
pub mod order;
mod overlap;
pub mod place;
pub mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::{Filter, FilterId};

pub use apply::{Foreign, ReconcileError, Settled, flush, reconcile};
pub use content::Slot;
pub use order::Step;
pub use place::{NoRoom, Placed, PrioRoom};
pub use refusal::{Bearable, Refusals, Withheld};

/// Filters by what names them in the kernel.
pub type Filters = BTreeMap<FilterId, Filter>;

/// What the kernel has where we work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The filters that carry our mark.
    pub ours: Filters,
    /// Places that filters of others hold. They are not ours to touch.
    pub foreign: BTreeSet<Slot>,
}

/// What is to be done, and where each wanted filter will then be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The operations, in an order that misforwards no packet. Those of one step may be sent at once.
    pub steps: Vec<Step>,
    /// The filters at their places in the kernel.
    pub placed: Placed,
}

/// Plans the way from `observed` to `wanted`.
///
/// # Errors
///
/// [`NoRoom`] when the card has fewer prios than the plan has levels.
pub fn plan(wanted: &Filters, observed: &Observed, room: PrioRoom) -> Result<Change, NoRoom> {
    let placed = place::place(wanted, observed, room)?;
    let steps = order::steps(&placed.filters, &observed.ours);
    Ok(Change { steps, placed })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
