//! What lies behind an address translation is all or nothing: a translated packet cannot go to OVS, so where some of them would
//! have to, and nothing that translation leaves alone tells which, all of them stay in OVS from the start. Then it is of no use to
//! walk on, and such a walk is broken off as soon as it is known.
//!
//! ```text
//! ct(table=1,nat)       table 1  ip_src=A,ip_dst=A -> learn(..)       A packet of a service that leads back to its own pod
//!                                any -> output:2                      would have to go to OVS, and is found out too late.
//! ```

use std::collections::BTreeSet;
use std::rc::Rc;

use super::explore::{Explorer, Walk};
use super::graph::{Edge, End};
use super::state::{is_ct, is_translated};
use crate::compile::ir::{RuleId, covers};
use crate::compile::verdict::Reason;
use crate::openflow::{Match, TableId};

/// What a translated packet could not be kept from.
#[derive(Clone, Debug)]
pub(super) struct Doom {
    pub(super) reason: Reason,
    pub(super) rules: Rc<[RuleId]>,
}

/// Tables that nobody walked through to the end: this one and those that it leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Unwalked {
    pub(in crate::compile) bridge: u16,
    pub(in crate::compile) table: TableId,
    pub(in crate::compile) reason: Reason,
}

impl<'a> Explorer<'a> {
    /// Whether the walk is to be broken off; `from` is the first of the ways that are new.
    pub(super) fn is_doomed(&mut self, walk: &Walk<'a>, edges: &[Edge], from: usize) -> bool {
        if self.doomed.is_none() && walk.exposed {
            let fresh = edges.iter().enumerate().skip(from);
            self.doomed = fresh.filter_map(|(at, edge)| fatal(edge, &edges[..at])).next();
        }
        self.doomed.is_some()
    }

    /// How a walk ends that is broken off.
    pub(super) fn broken_off(&self) -> Option<End> {
        self.doomed.as_ref().map(|doom| End::Ovs(doom.reason.with_no_way_back()))
    }

    /// Where the translation begins, everything behind it stays in OVS. What was translated before is broken off further up.
    pub(super) fn take_doom(&mut self, walk: &Walk<'a>, table: TableId) -> Option<Doom> {
        if walk.state.translated {
            return None;
        }
        let doom = self.doomed.take()?;
        let reason = doom.reason.with_no_way_back();
        self.unwalked.insert(Unwalked { bridge: walk.bridge, table, reason });
        Some(doom)
    }

    /// What was not walked through.
    pub(in crate::compile) fn unwalked(&self) -> &BTreeSet<Unwalked> {
        &self.unwalked
    }
}

impl Walk<'_> {
    /// What is known to match, a guard in front of the translation can ask for, too, if translation leaves it alone.
    pub(super) fn told(&mut self, takes: &Match) {
        self.exposed &= changes(takes);
    }
}

/// A way to OVS that no guard in front of the translation could keep packets from.
fn fatal(edge: &Edge, before: &[Edge]) -> Option<Doom> {
    let End::Ovs(reason) = &edge.tail.end else { return None };
    let taken = || before.iter().any(|other| covers(&other.takes, &edge.takes));
    (changes(&edge.takes) && !taken())
        .then(|| Doom { reason: reason.clone(), rules: edge.tail.rules.clone() })
}

/// Whether all that is asked for may be changed by a translation.
pub(super) fn changes(takes: &Match) -> bool {
    takes.fields().iter().all(|field| is_translated(field.field) || is_ct(field.field))
}
