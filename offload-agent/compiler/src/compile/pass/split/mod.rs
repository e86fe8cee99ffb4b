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
mod chain;
mod edit;
mod ip;
mod options;
mod shape;
mod special;
mod tracked;
mod tunnel;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Does, Effect, FlowerEntry, FlowerProgram, Ingress, Key, KeyField, Program, Step, Trail,
};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};
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
    let (chains, ports) = chain::chains(&program, input);
    let rest = program.ports.iter().filter_map(|(ingress, chains)| {
        let first = program.chains.get(*chains.first()?)?;
        Some((ingress.clone(), first.rest.clone()?))
    });
    let rest = rest.collect();
    let Program { idle, settled, walked, .. } = program;
    let (prios, unguarded) = (BTreeMap::new(), BTreeSet::new());
    FlowerProgram { chains, ports, prios, idle, settled, walked, unguarded, rest }
}

fn protocols(ingress: &Ingress, input: &Input<'_>) -> LinkProtocols {
    let ports = input.ports.bridges.get(&ingress.bridge);
    ports.map(|ports| ports.protocols_of_device(ingress.port)).unwrap_or_default()
}

/// What is known of all packets of a chain, and what the card is told of them.
#[derive(Clone, Copy)]
struct Here<'a> {
    base: &'a Key,
    tracked: bool,
    capabilities: &'a Capabilities,
}

/// The pieces of an entry that packets of a chain can match.
fn pieces(takes: &Match, here: Here<'_>) -> Vec<Piece> {
    let takes = tracked::with_prerequisites(takes, here.base);
    let pieces = shape::pieces(&takes, here.capabilities)
        .into_iter()
        .filter(|piece| piece.key.overlaps(here.base))
        .flat_map(|piece| network(&takes, piece))
        .flat_map(|piece| tunnel::with_outer(&takes, piece));
    pieces.filter_map(|piece| tracked::narrowed(piece, &takes, here)).collect()
}

fn split(trail: &Rc<Trail>, takes: &Match, does: &Does, here: Here<'_>) -> Vec<FlowerEntry> {
    let unkeyed = unkeyed(takes);
    let pieces = pieces(takes, here);
    let pieces = pieces.into_iter().flat_map(|piece| effects(piece, does, unkeyed.as_ref(), here));
    let mut entries: Vec<(Turn, FlowerEntry)> = pieces
        .map(|(turn, key, effect)| {
            (turn, FlowerEntry { trail: trail.clone(), key, effect, depth: None })
        })
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
        return Some(Reason::unknown_match(raw));
    }
    let missing = takes.fields().iter().find(|field| !has_key(field.field));
    missing.map(|field| Reason::NoFlowerKey(field.field))
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
        || matches!(field, CtState | CtMark | CtLabel)
        || matches!(field, TunId | TunSrc | TunDst | TunIpv6Src | TunIpv6Dst | TunMetadata(0))
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
    here: Here<'_>,
) -> Vec<(Turn, Key, Effect)> {
    let reason = piece.inexact.as_ref().or(unkeyed);
    match (reason, does) {
        (Some(reason), _) | (None, Does::Ovs(reason)) => {
            vec![(Turn::Rest, piece.key, Effect::Pass(reason.clone()))]
        }
        (None, Does::Steps(steps)) => act(piece.key, steps, here),
        (None, Does::Goto { through, chain, filling }) => {
            let (through, filling) = (through.clone(), filling.clone());
            let effect = Effect::Goto { through, chain: *chain, filling };
            vec![(Turn::Exact, piece.key, effect)]
        }
    }
}

/// What the steps come to on an exact piece: one filter, or several where an edit depends on the packet's tag or protocol.
fn act(key: Key, steps: &[Step], here: Here<'_>) -> Vec<(Turn, Key, Effect)> {
    let (keys, mut filters) = edit::protocols(key, steps, here);
    for key in keys {
        let cases = edit::cases(Tags::of(&key, here.capabilities.vlan_limit), key, steps);
        filters.extend(cases.into_iter().map(|case| {
            let effect = match case.ops {
                Ok(ops) => Effect::Act(ops),
                Err(reason) => Effect::Pass(reason),
            };
            (case.turn, case.key, effect)
        }));
    }
    filters
}

/// One masked field of the match, under another name.
fn carry(takes: &Match, from: Field, to: KeyField, key: Key) -> Key {
    match takes.get(from) {
        Some(masked) => key.with_masked(to, masked),
        None => key,
    }
}
