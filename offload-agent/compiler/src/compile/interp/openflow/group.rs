//! Groups: a bucket is an action set that runs on a copy of the packet (`xlate_group_action`).

use super::action_set;
use super::effects::Doubt;
use super::walk::{Flowing, ON, STOP, State, Walk};
use crate::openflow::{Bucket, Group, GroupId, GroupType};
use crate::ports::Port;

impl<'w> Walk<'w> {
    /// A group that is not there ends the list of actions.
    pub(super) fn group(&mut self, state: &mut State<'w>, id: GroupId) -> Flowing {
        let found = self.world.rules(state.bridge).and_then(|rules| rules.groups.get(&id));
        let Some(group) = found else { return STOP };
        for bucket in self.chosen(state, group) {
            self.bucket(state, bucket);
        }
        ON
    }

    fn chosen(&mut self, state: &State<'w>, group: &'w Group) -> Vec<&'w Bucket> {
        match group.kind {
            GroupType::All | GroupType::Indirect => group.buckets.iter().collect(),
            GroupType::FastFailover => group
                .buckets
                .iter()
                .find(|bucket| self.is_alive(state, bucket))
                .into_iter()
                .collect(),
            GroupType::Select => {
                let alive = |bucket: &&Bucket| bucket.weight > 0;
                let mut buckets: Vec<&Bucket> = group.buckets.iter().filter(alive).collect();
                buckets.retain(|bucket| !is_watched(bucket) || self.is_alive(state, bucket));
                buckets.get(self.choices.of(buckets.len())).copied().into_iter().collect()
            }
        }
    }

    fn is_alive(&mut self, state: &State<'w>, bucket: &Bucket) -> bool {
        let port = bucket.watch_port.and_then(|port| self.world.ports.port(state.bridge, port));
        let unsure = |port: &Port| {
            let speaks = port.protocols;
            port.link_up.is_none() || speaks.bfd || speaks.cfm || speaks.lacp
        };
        if bucket.watch_group.is_some() || port.is_some_and(unsure) {
            self.doubts.insert(Doubt::Unspecified("whether a bucket is alive"));
        }
        port.is_some_and(|port| port.link_up != Some(false))
    }

    fn bucket(&mut self, state: &mut State<'w>, bucket: &'w Bucket) {
        let mut copy = State { depth: state.depth + 1, ..state.clone() };
        let actions: Vec<_> = bucket.actions.iter().collect();
        let before = self.translations;
        self.list(&mut copy, &action_set::ordered(&actions));
        self.after_a_copy(state, &copy, before);
    }
}

fn is_watched(bucket: &Bucket) -> bool {
    bucket.watch_port.is_some() || bucket.watch_group.is_some()
}
