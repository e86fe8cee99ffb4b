//! Groups. One choice is no choice: a group with one bucket, or a fast-failover group whose first bucket is alive, is its
//! actions. A group of type all sends copies. To choose by hash is OVS's.

use super::explore::{Explorer, Then, Walk};
use super::graph::End;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Bucket, Group, GroupId, GroupType, TableId};

pub(super) fn choose<'a>(
    explorer: &mut Explorer<'a>,
    walk: &mut Walk<'a>,
    id: GroupId,
    table: TableId,
) -> Then {
    let Some(group) = explorer.input.group(walk.bridge, id) else {
        return Then::End(End::Ovs(Reason::Action("group that the bridge does not have")));
    };
    if !group.buckets.iter().all(is_in_order) {
        return Then::End(End::Ovs(Reason::Action(
            "group with a bucket that runs in another order",
        )));
    }
    match (group.kind, group.buckets.as_slice()) {
        (_, []) => Then::Go,
        (GroupType::FastFailover, buckets) => match alive(explorer, walk, buckets) {
            Some(bucket) => explorer.on_a_copy(walk, &bucket.actions, table, "group"),
            None => Then::End(End::Ovs(Reason::Action("group whose live bucket is not known"))),
        },
        (GroupType::Select, [_, _, ..]) => {
            Then::End(End::Ovs(Reason::Action("group that chooses by hash")))
        }
        (GroupType::Select, [only]) if only.weight == 0 || is_watched(only) => {
            Then::End(End::Ovs(Reason::Action("group whose only bucket may not be alive")))
        }
        (_, [only]) => explorer.on_a_copy(walk, &only.actions, table, "group"),
        _ => every(explorer, walk, group, table),
    }
}

fn is_watched(bucket: &Bucket) -> bool {
    bucket.watch_port.is_some() || bucket.watch_group.is_some()
}

/// A bucket is an action set: OVS runs it in an order of its own, and of some actions the last one only (`ofpacts_execute_action_set`).
/// Whether that is the order in which they stand here.
fn is_in_order(bucket: &Bucket) -> bool {
    let turns: Option<Vec<Turn>> = bucket.actions.iter().map(turn).collect();
    let follow = |pair: &[Turn]| pair[0] < pair[1] || pair == [Turn::Write, Turn::Write];
    turns.is_some_and(|turns| {
        turns.windows(2).all(follow) && turns.last().is_none_or(|last| *last == Turn::End)
    })
}

/// When an action of a set runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    PopVlan,
    PushVlan,
    DecTtl,
    Write,
    End,
}

fn turn(action: &Action) -> Option<Turn> {
    use Action as A;
    Some(match action {
        A::PopVlan | A::StripVlan => Turn::PopVlan,
        A::PushVlan(_) => Turn::PushVlan,
        A::DecTtl { .. } => Turn::DecTtl,
        A::ModVlanVid(_) | A::SetVlanVid(_) | A::ModVlanPcp(_) | A::SetVlanPcp(_) => Turn::Write,
        A::Move { .. } | A::ModTpSrc(_) | A::ModTpDst(_) => Turn::Write,
        A::Output(_) | A::Group(_) | A::Resubmit(_) | A::Ct(_) | A::CtClear => Turn::End,
        other => other.assignment().map(|_| Turn::Write)?,
    })
}

/// The first bucket that is alive, if that can be told from ports alone.
fn alive<'a>(
    explorer: &Explorer<'a>,
    walk: &Walk<'a>,
    buckets: &'a [Bucket],
) -> Option<&'a Bucket> {
    let ports = explorer.input.bridge_ports(walk.bridge)?;
    for bucket in buckets {
        let watched = bucket.watch_port.and_then(|port| ports.ports.get(&port))?;
        if watched.protocols.watches_link() {
            return None;
        }
        match (bucket.watch_group, watched.link_up) {
            (None, Some(true)) => return Some(bucket),
            (None, Some(false)) => {}
            _ => return None,
        }
    }
    None
}

/// Each bucket on a copy.
fn every<'a>(
    explorer: &mut Explorer<'a>,
    walk: &mut Walk<'a>,
    group: &'a Group,
    table: TableId,
) -> Then {
    for bucket in &group.buckets {
        let simple = bucket.actions.iter().all(|one| super::output::is_simple(explorer, walk, one));
        if !simple {
            return Then::End(End::Ovs(Reason::Action("group of buckets that do more than send")));
        }
        if let Then::End(end) = explorer.copy(walk, &bucket.actions, table) {
            return Then::End(end);
        }
    }
    Then::Go
}
