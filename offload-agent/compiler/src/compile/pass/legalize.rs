//! What the card cannot do becomes a guard; what a guard's key cannot say is left out, so that it takes more packets.
//!
//! ```text
//! for a card without ARP fields
//! #0 eth_type=0x806,arp_tip=10.0.0.1 -> drop      #0 eth_type=0x806 -> pass: the card cannot match arp_tip
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::assign_chains::uses;
use crate::capabilities::{Capabilities, Target};
use crate::compile::Input;
use crate::compile::ir::{
    CtStep, Effect, FlowerEntry, FlowerProgram, Ingress, Key, KeyField, LLC, Op, PortRef,
    RAW_802_3, TAG_TYPES, UNTAGGED,
};
use crate::compile::lower::police;
use crate::compile::verdict::Reason;
use crate::openflow::{Field, MeterId};
use crate::ports::{PortKind, SwitchRole};

const TCP: u128 = 6;
const UDP: u128 = 17;
const SCTP: u128 = 132;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let meters = meters(program, input);
    let in_kernel = in_kernel(program, input);
    for (at, chain) in program.chains.iter_mut().enumerate() {
        let bridge = input.bridge_number(&chain.of.bridge);
        let here = PortRef { bridge, port: chain.of.port };
        let card = Card {
            capabilities: input.capabilities,
            here,
            uplink: is_uplink(&chain.of, input),
            in_kernel: in_kernel.contains(&at),
            meters: &meters,
        };
        chain.entries.retain(|entry| card.can_see(entry));
        chain.entries.iter_mut().for_each(|entry| card.legalize(entry));
    }
}

/// The chains that the kernel may run: all on a software card; else those of tunnels, and of ports with more than one.
fn in_kernel(program: &FlowerProgram, input: &Input<'_>) -> BTreeSet<usize> {
    let software = input.capabilities.target == Target::Software;
    let tracks = |entry: &FlowerEntry| match &entry.effect {
        Effect::Act(ops) => ops.iter().any(|op| matches!(op, Op::Track(_))),
        Effect::Goto { .. } => true,
        Effect::Pass(_) => false,
    };
    let ports = program.ports.iter().filter(|(ingress, port)| {
        let chains = || port.chains.iter().flat_map(|chain| &program.chains[*chain].entries);
        software || is_tunnel(ingress, input) || port.chains.len() > 1 || chains().any(tracks)
    });
    ports.flat_map(|(_, port)| port.chains.iter().copied()).collect()
}

fn is_tunnel(ingress: &Ingress, input: &Input<'_>) -> bool {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    port.is_some_and(|port| matches!(port.kind, PortKind::Tunnel(_)))
}

fn is_uplink(ingress: &Ingress, input: &Input<'_>) -> bool {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    let switch = port.and_then(|port| port.switch.as_ref());
    switch.is_some_and(|switch| switch.role == SwitchRole::Uplink)
}

/// The card, for packets of one port.
struct Card<'a> {
    capabilities: &'a Capabilities,
    here: PortRef,
    uplink: bool,
    in_kernel: bool,
    meters: &'a BTreeMap<(u16, MeterId), Reason>,
}

/// The meters that no filter can stand for. A filter has a bucket of its own, so a meter may be in one filter only.
fn meters(program: &FlowerProgram, input: &Input<'_>) -> BTreeMap<(u16, MeterId), Reason> {
    let mut filters: BTreeMap<(u16, MeterId), usize> = BTreeMap::new();
    for (at, chain) in program.chains.iter().enumerate() {
        // Each port has filters of its own, one for each way that it fills headers in.
        let times = || {
            let uses = program.ports.values().flat_map(|port| uses(port, &program.chains));
            uses.filter(|used| used.chain == at).count()
        };
        for entry in &chain.entries {
            let Effect::Act(ops) = &entry.effect else { continue };
            for op in ops {
                if let Op::Meter(bridge, id) = op {
                    *filters.entry((*bridge, *id)).or_default() += times();
                }
            }
        }
    }
    let problem = |(at, filters): ((u16, MeterId), usize)| {
        let limit = input.meter(at.0, at.1).and_then(police::meter);
        let reason = match (limit, filters) {
            (None, _) => "is none of one band that drops",
            (Some(_), 1) => return None,
            (Some(_), _) => "counts the packets of several filters together",
        };
        Some((at, Reason::Meter(reason)))
    };
    filters.into_iter().filter_map(problem).collect()
}

impl Card<'_> {
    /// A guard for SNAP frames is worth nothing on a card that does not know LLC frames: see [`Capabilities::llc`].
    fn can_see(&self, entry: &FlowerEntry) -> bool {
        let snap = entry.effect == Effect::Pass(Reason::LlcFrame);
        self.capabilities.llc || !snap
    }

    fn legalize(&self, entry: &mut FlowerEntry) {
        let problem = match &entry.effect {
            Effect::Act(ops) => {
                self.key_problem(&entry.key).or_else(|| self.op_problem(&entry.key, ops))
            }
            Effect::Goto { through, .. } => {
                let tracks = || through.iter().find_map(|ct| self.ct_problem(ct));
                self.key_problem(&entry.key).or_else(tracks)
            }
            Effect::Pass(_) => None,
        };
        if let Some(reason) = problem {
            entry.effect = Effect::Pass(reason);
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
        let named = if field == KeyField::OneOption { KeyField::EncOption } else { field };
        basic || self.capabilities.keys.contains(&named) && (self.capabilities.sctp || !sctp)
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
        let outputs = ops.iter().filter(|op| op.sends()).count();
        let back = ops.contains(&Op::Output(self.here));
        let has = |what: fn(&Op) -> bool| ops.iter().any(what);
        let pushes = has(|op| matches!(op, Op::PushVlan { .. }));
        let writes = has(|op| matches!(op, Op::Set(..) | Op::DecTtl(_)));
        let problems = [
            (outputs == 0 && !can.drop, "drop"),
            (outputs > can.max_outputs, "send a packet to so many ports"),
            (actions(ops) > can.max_actions, "do so many things in one filter"),
            (pushes && !can.vlan_push, "push a VLAN tag"),
            (ops.contains(&Op::PopVlan) && !can.vlan_pop, "pop a VLAN tag"),
            (pushes && most_tags(key, ops) > can.max_tags, "push one more VLAN tag"),
            (writes && !can.edit, "write a header"),
            (has(|op| matches!(op, Op::Encap(_))) && !can.tunnels, "put a packet into a tunnel"),
            (unwraps(ops), "send a packet as it was after it went into a tunnel"),
            (has(|op| matches!(op, Op::Meter(..))) && !can.meters, "limit a rate"),
            (edits_late(ops) && !can.edit_between_outputs, "change a packet between two outputs"),
            (back && !self.uplink && !can.hairpin, "send a packet back to its VF"),
            (back && self.uplink && !can.uplink_hairpin, "send a packet back to the wire"),
        ];
        let problem = problems.into_iter().find(|(holds, _)| *holds);
        let metered = ops.iter().find_map(|op| match op {
            Op::Meter(bridge, id) => self.meters.get(&(*bridge, *id)).cloned(),
            _ => None,
        });
        let tracks = ops.iter().find_map(|op| match op {
            Op::Track(ct) => self.ct_problem(ct),
            _ => None,
        });
        let segments = self.in_kernel && moves_segments(key, ops);
        let segments = segments.then_some(Reason::Segments);
        problem.map(|(_, what)| Reason::CardAction(what)).or(tracks).or(metered).or(segments)
    }

    fn ct_problem(&self, ct: &CtStep) -> Option<Reason> {
        let can = self.capabilities;
        let problem = match () {
            () if !can.ct => "track connections",
            () if ct.nat.is_some() && !can.nat => "translate addresses",
            () => return None,
        };
        Some(Reason::CardAction(problem))
    }
}

/// Whether an address is written of what the kernel may have joined from many segments: `act_csum` leaves their checksum alone, which
/// holds the sum of the old addresses until they are parted again (`tcf_csum_ipv4_tcp`, `tcp_gso_segment`).
fn moves_segments(key: &Key, ops: &[Op]) -> bool {
    use Field::{IpDst, IpSrc, Ipv6Dst, Ipv6Src};
    let joined = matches!(key.exact(KeyField::IpProto), Some(TCP | UDP));
    joined && ops.iter().any(|op| matches!(op, Op::Set(IpSrc | IpDst | Ipv6Src | Ipv6Dst, _)))
}

/// How many TC actions they come to, at most: a write is one more for its checksum and one for each kind of header.
fn actions(ops: &[Op]) -> usize {
    let count = |op: &Op| if matches!(op, Op::Encap(_)) { 2 } else { 1 };
    ops.iter().map(count).sum()
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
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// Whether an output follows one into a tunnel: what was asked for the tunnel would still be with the packet.
fn unwraps(ops: &[Op]) -> bool {
    let tunnel = ops.iter().position(|op| matches!(op, Op::Encap(_)));
    tunnel.is_some_and(|at| ops[at..].iter().any(|op| matches!(op, Op::Output(_))))
}

fn edits_late(ops: &[Op]) -> bool {
    let first = ops.iter().position(Op::sends);
    first.is_some_and(|at| ops[at..].iter().any(|op| !op.sends()))
}
