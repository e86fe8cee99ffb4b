//! From OpenFlow's view to flower's: each entry becomes a list of filters, in the order in which they are tried.
//!
//! OVS and flower parse packets differently, and one OpenFlow match may need several filters. The pieces that take
//! exactly packets of the rule do what it says; where the views differ, a wider piece behind them passes what is left to
//! OVS. Together the pieces of an entry take *every* packet OpenFlow gives the rule, and act on no other.
//!
//! ```text
//! #0 dl_type=0x800 -> output:2          #0 tpid=none,eth_type=0x800 -> output:2
//!                                       #0 tpid=0x8100,eth_type=0x800 -> output:2
//!                                       #0 tpid=0x88a8,eth_type=0x800 -> output:2
//!                                       #0 tpid=none,eth_type=802_2 -> pass: ... (SNAP)
//!                                       ...
//! ```

mod arp;
mod edit;
mod ip;
mod shape;
mod special;

use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Does, Effect, FlowerEntry, FlowerProgram, Ingress, Key, KeyField, Program, RuleId, Step,
};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match, Unsupported};
use crate::ports::LinkProtocols;
use edit::Tags;

/// Some packets of an entry: exactly those of the key, or, with a reason, those and maybe others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    key: Key,
    inexact: Option<Reason>,
}

impl Piece {
    fn exact(key: Key) -> Piece {
        Piece { key, inexact: None }
    }

    fn inexact(key: Key, reason: Reason) -> Piece {
        Piece { key, inexact: Some(reason) }
    }
}

pub(in crate::compile) fn run(program: Program, input: &Input<'_>) -> FlowerProgram {
    let mut ports = std::collections::BTreeMap::new();
    for (ingress, entries) in program.ports {
        let mut pieces = Vec::new();
        for special in special::entries(protocols(&ingress, input)) {
            pieces.extend(split(None, &special.0, &Does::Ovs(special.1), input.capabilities));
        }
        for entry in entries {
            pieces.extend(split(Some(entry.rule), &entry.takes, &entry.does, input.capabilities));
        }
        ports.insert(ingress, pieces);
    }
    FlowerProgram { ports, idle: program.idle, settled: program.settled }
}

fn protocols(ingress: &Ingress, input: &Input<'_>) -> LinkProtocols {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    port.map(|port| port.protocols).unwrap_or_default()
}

fn split(
    rule: Option<RuleId>,
    takes: &Match,
    does: &Does,
    capabilities: &Capabilities,
) -> Vec<FlowerEntry> {
    let unkeyed = unkeyed(takes);
    let pieces = shape::pieces(takes, capabilities)
        .into_iter()
        .flat_map(|piece| network(takes, piece))
        .flat_map(|piece| effects(piece, does, unkeyed.as_ref(), capabilities));
    let mut entries: Vec<(Turn, FlowerEntry)> = pieces
        .map(|(turn, key, effect)| (turn, FlowerEntry { rule, key, effect, place: None }))
        .collect();
    entries.sort_by_key(|(turn, _)| *turn);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// In which order the pieces of one entry are tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Guards for packets that an exact piece behind them would treat wrongly.
    Before,
    /// Pieces that know more of a tag than those after them.
    Narrow,
    /// Exact pieces.
    Exact,
    /// What is left for OVS.
    Rest,
}

/// Why no piece of the match can be exact.
fn unkeyed(takes: &Match) -> Option<Reason> {
    if let Some(raw) = takes.unsupported().first() {
        return Some(Reason::UnknownMatch(text(raw)));
    }
    let missing = takes.fields().iter().find(|field| !has_key(field.field));
    missing.map(|field| Reason::NoFlowerKey(field.field))
}

fn text(raw: &Unsupported) -> String {
    match raw {
        Unsupported::Text(text) => text.clone(),
        Unsupported::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Whether some pass here turns the field into keys.
fn has_key(field: Field) -> bool {
    use Field::*;
    matches!(field, EthType | VlanTci | EthSrc | EthDst)
        || matches!(field, IpSrc | IpDst | Ipv6Src | Ipv6Dst | NwProto)
        || matches!(field, NwTos | NwEcn | NwTtl | IpFrag)
        || matches!(field, TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst | TcpFlags)
        || matches!(field, IcmpType | IcmpCode | Icmpv6Type | Icmpv6Code)
        || matches!(field, ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha)
}

/// The part of the match above Ethernet.
fn network(takes: &Match, piece: Piece) -> Vec<Piece> {
    const IPV4: u128 = 0x0800;
    const IPV6: u128 = 0x86dd;
    const ARP: u128 = 0x0806;
    const RARP: u128 = 0x8035;
    if piece.inexact.is_some() {
        return vec![piece];
    }
    match piece.key.exact(KeyField::EthType) {
        Some(IPV4) => ip::v4(takes, piece.key),
        Some(IPV6) => ip::v6(takes, piece.key),
        Some(ARP) => arp::pieces(takes, piece.key),
        Some(RARP) => arp::reverse(takes, piece.key),
        _ => vec![piece],
    }
}

fn effects(
    piece: Piece,
    does: &Does,
    unkeyed: Option<&Reason>,
    capabilities: &Capabilities,
) -> Vec<(Turn, Key, Effect)> {
    let reason = piece.inexact.as_ref().or(unkeyed);
    match (reason, does) {
        (Some(reason), _) | (None, Does::Ovs(reason)) => {
            vec![(Turn::Rest, piece.key, Effect::Pass(reason.clone()))]
        }
        (None, Does::Steps(steps)) => act(piece.key, steps, capabilities),
    }
}

/// What the steps come to on an exact piece: one filter, or several where an edit depends on the packet's tag.
fn act(key: Key, steps: &[Step], capabilities: &Capabilities) -> Vec<(Turn, Key, Effect)> {
    edit::cases(Tags::of(&key, capabilities.vlan_limit), key, steps)
        .into_iter()
        .map(|case| {
            let effect = match case.ops {
                Ok(ops) => Effect::Act(ops),
                Err(reason) => Effect::Pass(reason),
            };
            (case.turn, case.key, effect)
        })
        .collect()
}

/// One masked field of the match, under another name.
fn carry(takes: &Match, from: Field, to: KeyField, key: Key) -> Key {
    match takes.get(from) {
        Some(masked) => key.with_masked(to, masked),
        None => key,
    }
}
