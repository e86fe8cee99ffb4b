//! What the compiler wants in the kernel: filters by what names them there.
//!
//! The order of a [`Plan`] is the order of attach point, chain, prio and handle. To *install* filters in this order and
//! to *remove* them in the opposite one keeps every step on the way right: whatever is there so far decides a packet as
//! the whole plan would, or leaves it to OVS. To get from one plan to another, put a filter at [`CURTAIN`] that passes
//! every packet to OVS, change what has to change behind it, and take it away.

use std::collections::BTreeMap;

use tc_filter::{Filter, FilterId, Prio};

/// The prio that no plan uses: in front of all filters, for the curtain while a plan is exchanged.
pub const CURTAIN: Prio = Prio::MIN;

/// All filters of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The filters, in the order in which they are installed.
    pub filters: BTreeMap<FilterId, Filter>,
}

impl Plan {
    /// How many different (chain, prio) tables a card needs for it. Cards share them among all ports.
    pub fn tables(&self) -> usize {
        let tables: std::collections::BTreeSet<_> =
            self.filters.keys().map(|id| (id.chain, id.prio)).collect();
        tables.len()
    }
}

impl FromIterator<Filter> for Plan {
    fn from_iter<T: IntoIterator<Item = Filter>>(filters: T) -> Plan {
        Plan { filters: filters.into_iter().map(|filter| (filter.id(), filter)).collect() }
    }
}
