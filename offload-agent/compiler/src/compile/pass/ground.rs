//! Rules for untagged packets that name no EtherType become `protocol all`, the only way TC can say it, which takes
//! tagged packets as well. So every port's list gets the tagged packets first, and none of them falls through to such a
//! rule that OpenFlow would not give it: where nothing else takes them, a guard at the end of the tagged part does.
//!
//! ```text
//! #0 tpid=none -> output:2             #1 tpid=0x8100,vlan_id=5 -> drop
//! #1 tpid=0x8100,vlan_id=5 -> drop     #0 tpid=0x8100 -> pass: tagged packets are kept from ...
//!                                      #0 tpid=0x88a8 -> pass: tagged packets are kept from ...
//!                                      #0 any -> output:2
//! ```
//!
//! A rule that does the same to tagged and untagged packets needs no filter of its own for the tagged ones, if nothing
//! stands between: `in_port=1,actions=output:2` is one filter.

use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerEntry, FlowerProgram, Key, KeyField, TAG_TYPES, UNTAGGED};
use crate::compile::verdict::Reason;

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    // In the other chains every packet has the tag that the way there asked for.
    for first in program.ports.values().filter_map(|port| port.chains.first()) {
        let Some(chain) = program.chains.get_mut(*first) else { continue };
        let entries = &mut chain.entries;
        let (mut tagged, mut untagged): (Vec<_>, Vec<_>) =
            std::mem::take(entries).into_iter().partition(is_tagged);
        let floors = floors(&tagged, &untagged);
        tagged.extend(floors);
        untagged.iter_mut().for_each(open_to_all);
        tagged.extend(untagged);
        *entries = fold(tagged);
    }
}

fn is_tagged(entry: &FlowerEntry) -> bool {
    entry.key.exact(KeyField::Tpid) != Some(UNTAGGED)
}

/// Whether TC can say it as `protocol all` only.
fn is_open(entry: &FlowerEntry) -> bool {
    entry.key.get(KeyField::EthType).is_none()
}

fn open_to_all(entry: &mut FlowerEntry) {
    if is_open(entry) {
        entry.key = std::mem::take(&mut entry.key).without(KeyField::Tpid);
    }
}

/// The guards that keep tagged packets from the open rules.
fn floors(tagged: &[FlowerEntry], untagged: &[FlowerEntry]) -> Vec<FlowerEntry> {
    let mut floors: Vec<FlowerEntry> = Vec::new();
    for entry in untagged.iter().filter(|entry| is_open(entry) && !entry.is_guard()) {
        for key in tagged_twins(&entry.key) {
            let taken = tagged.iter().chain(&floors).any(|other| other.key.covers(&key));
            if !taken {
                floors.push(FlowerEntry {
                    key,
                    effect: Effect::Pass(Reason::TaggedBefore),
                    ..entry.clone()
                });
            }
        }
    }
    floors
}

fn tagged_twins(key: &Key) -> [Key; 2] {
    TAG_TYPES.map(|tpid| key.clone().with(KeyField::Tpid, tpid))
}

/// Takes out the entries whose packets come to the same end one step later, in an entry that is open to all.
fn fold(entries: Vec<FlowerEntry>) -> Vec<FlowerEntry> {
    let open: Vec<usize> =
        (0..entries.len()).filter(|at| entries[*at].key.get(KeyField::Tpid).is_none()).collect();
    let may_fold = |at: usize| {
        let behind = &open[open.partition_point(|open| *open <= at)..];
        behind.iter().any(|open| does_the_same(&entries[at], &entries[*open]))
    };
    let redundant = (0..entries.len()).map(|at| may_fold(at) && folds(&entries, at));
    let redundant: Vec<bool> = redundant.collect();
    entries
        .into_iter()
        .zip(redundant)
        .filter(|(_, redundant)| !redundant)
        .map(|(entry, _)| entry)
        .collect()
}

fn folds(entries: &[FlowerEntry], at: usize) -> bool {
    let Some((entry, after)) = entries[at..].split_first() else { return false };
    let next = after.iter().find(|other| other.key.overlaps(&entry.key));
    next.is_some_and(|next| next.key.get(KeyField::Tpid).is_none() && does_the_same(entry, next))
}

fn does_the_same(entry: &FlowerEntry, next: &FlowerEntry) -> bool {
    next.rule() == entry.rule()
        && next.effect == entry.effect
        && !entry.is_guard()
        && next.key.covers(&entry.key)
}
