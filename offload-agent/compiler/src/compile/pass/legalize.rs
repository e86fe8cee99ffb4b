//! What the card cannot do becomes a guard; what a guard's key cannot say is left out, so that it takes more packets.
//!
//! ```text
//! for a card without ARP fields
//! #0 eth_type=0x806,arp_tip=10.0.0.1 -> drop      #0 eth_type=0x806 -> pass: the card cannot match arp_tip
//! ```

use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Effect, FlowerEntry, FlowerProgram, Ingress, Key, KeyField, LLC, Op, RAW_802_3, UNTAGGED,
};
use crate::compile::verdict::Reason;
use crate::ports::SwitchRole;

const SCTP: u128 = 132;
const TAG_TYPES: [u128; 2] = [0x8100, 0x88a8];

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    for (ingress, entries) in &mut program.ports {
        let card =
            Card { capabilities: input.capabilities, ingress, uplink: is_uplink(ingress, input) };
        entries.retain(|entry| card.can_see(entry));
        entries.iter_mut().for_each(|entry| card.legalize(entry));
    }
}

fn is_uplink(ingress: &Ingress, input: &Input<'_>) -> bool {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    let switch = port.and_then(|port| port.switch.as_ref());
    switch.is_some_and(|switch| switch.role == SwitchRole::Uplink)
}

/// The card, for packets of one port.
struct Card<'a> {
    capabilities: &'a Capabilities,
    ingress: &'a Ingress,
    uplink: bool,
}

impl Card<'_> {
    /// A guard for SNAP frames is worth nothing on a card that does not know LLC frames: see [`Capabilities::llc`].
    fn can_see(&self, entry: &FlowerEntry) -> bool {
        let snap = entry.effect == Effect::Pass(Reason::LlcFrame);
        self.capabilities.llc || !snap
    }

    fn legalize(&self, entry: &mut FlowerEntry) {
        if let Effect::Act(ops) = &entry.effect {
            let problem = self.key_problem(&entry.key).or_else(|| self.op_problem(&entry.key, ops));
            if let Some(reason) = problem {
                entry.effect = Effect::Pass(reason);
            }
        }
        if entry.is_guard() {
            entry.key = self.widen(std::mem::take(&mut entry.key));
        }
    }

    fn key_problem(&self, key: &Key) -> Option<Reason> {
        if self.asks_too_deep(key) {
            return Some(Reason::CardAction("match a second VLAN tag"));
        }
        key.fields()
            .map(|(field, _)| field)
            .find(|field| !self.can_match(*field, key))
            .map(Reason::CardKey)
    }

    fn can_match(&self, field: KeyField, key: &Key) -> bool {
        let port = matches!(field, KeyField::SrcPort | KeyField::DstPort);
        let sctp = port && key.exact(KeyField::IpProto) == Some(SCTP);
        let basic = matches!(field, KeyField::Tpid | KeyField::EthType);
        basic || self.capabilities.keys.contains(&field) && (self.capabilities.sctp || !sctp)
    }

    fn asks_too_deep(&self, key: &Key) -> bool {
        let tagged = key.exact(KeyField::Tpid).is_some_and(|tpid| tpid != UNTAGGED);
        let behind = key.exact(KeyField::EthType);
        tagged && !self.capabilities.qinq && behind.is_some_and(|tag| TAG_TYPES.contains(&tag))
    }

    /// The narrowest key the card can match that takes all of these packets.
    fn widen(&self, key: Key) -> Key {
        let fields: Vec<KeyField> = key.fields().map(|(field, _)| field).collect();
        let unknown_frame =
            !self.capabilities.llc && matches!(key.exact(KeyField::EthType), Some(LLC | RAW_802_3));
        let whole = key.clone();
        let mut key = key;
        if unknown_frame || self.asks_too_deep(&whole) {
            key = key.without(KeyField::EthType);
        }
        for field in fields {
            if !self.can_match(field, &whole) {
                key = key.without(field);
            }
        }
        with_prerequisites(key)
    }

    fn op_problem(&self, key: &Key, ops: &[Op]) -> Option<Reason> {
        let can = self.capabilities;
        let outputs = ops.iter().filter(|op| matches!(op, Op::Output(_))).count();
        let back = ops.contains(&Op::Output(self.ingress.port));
        let pushes = ops.iter().any(|op| matches!(op, Op::PushVlan { .. }));
        let problems = [
            (outputs == 0 && !can.drop, "drop"),
            (outputs > can.max_outputs, "send a packet to so many ports"),
            (ops.len() > can.max_actions, "do so many things in one filter"),
            (pushes && !can.vlan_push, "push a VLAN tag"),
            (ops.contains(&Op::PopVlan) && !can.vlan_pop, "pop a VLAN tag"),
            (pushes && most_tags(key, ops) > can.max_tags, "push one more VLAN tag"),
            (edits_late(ops) && !can.edit_between_outputs, "change a packet between two outputs"),
            (back && !self.uplink && !can.hairpin, "send a packet back to its VF"),
            (back && self.uplink && !can.uplink_hairpin, "send a packet back to the wire"),
        ];
        let problem = problems.into_iter().find(|(holds, _)| *holds);
        problem.map(|(_, what)| Reason::CardAction(what))
    }
}

/// Flower refuses a field whose layer the key does not name.
fn with_prerequisites(mut key: Key) -> Key {
    const ABOVE_IP: [KeyField; 5] = [
        KeyField::SrcPort,
        KeyField::DstPort,
        KeyField::TcpFlags,
        KeyField::IcmpType,
        KeyField::IcmpCode,
    ];
    if key.get(KeyField::IpProto).is_none() {
        key = ABOVE_IP.into_iter().fold(key, Key::without);
    }
    key
}

/// The most tags the packet has on its way, as far as the key says how many it came with.
fn most_tags(key: &Key, ops: &[Op]) -> usize {
    let tagged = key.exact(KeyField::Tpid).is_some_and(|tpid| tpid != UNTAGGED);
    let mut now = usize::from(tagged);
    let mut most = now;
    for op in ops {
        match op {
            Op::PopVlan => now = now.saturating_sub(1),
            Op::PushVlan { .. } => now += 1,
            Op::Output(_) => {}
        }
        most = most.max(now);
    }
    most
}

fn edits_late(ops: &[Op]) -> bool {
    let first = ops.iter().position(|op| matches!(op, Op::Output(_)));
    first.is_some_and(|at| ops[at..].iter().any(|op| !matches!(op, Op::Output(_))))
}
