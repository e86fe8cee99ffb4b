//! Packets aimed at rules: each meets the match of some rule, then a field or two is moved to where another rule, or
//! another reading of the same bytes, would begin.

use std::net::{IpAddr, Ipv4Addr};

use flow_compiler::compile::interp::{Packet, TunnelHeader};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::openflow::{Action, BridgeName, Field, Match, OfPort, Rule, Ruleset};
use flow_compiler::ports::{PortKind, PortMap, TunnelEnd, TunnelKey};
use tc_filter::GeneveOption;

use super::super::chance::Chance;
use super::super::packet::{Fragment, Ip, Network, Spec};
use super::{HOSTS, Scenario};

const IPS: [u32; 6] =
    [0x0a00_0001, 0x0a00_0002, 0x0a00_0003, 0x0a01_0009, 0x0a00_0102, 0xc0a8_0001];
const IP6S: [u128; 3] = [0xfd00 << 112 | 1, 0xfd00 << 112 | 2, 0xfd01 << 112 | 1];
/// Pods and what is near them, as the pipelines of [`super::overlay`] have them: the logical port is the address's last number.
const PODS: u32 = 0x0a00_0000;
const PODS6: u128 = 0xfd00 << 112;
const POD_MACS: u64 = 9;
const ROUTER: u64 = 0xfe;
const SERVICES: u32 = 0x0a60_0000;
/// Those here, two elsewhere, one that nobody is.
const PEERS: [u32; 7] = [1, 2, 3, 4, 20, 21, 99];
const PORTS: [u16; 6] = [80, 81, 64, 127, 1000, 53];
const TTLS: [u8; 8] = [64, 64, 64, 0, 1, 2, 9, 255];
const PROTOCOLS: [u8; 8] = [6, 6, 6, 17, 17, 1, 47, 132];
const VIDS: [u16; 5] = [5, 6, 7, 9, 0];

/// A packet and where it comes in.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) ingress: Ingress,
    pub(crate) packet: Packet,
}

/// A packet for a ruleset.
pub(crate) fn arrival(chance: &mut Chance, scenario: &Scenario) -> Arrival {
    let Scenario { ruleset, ports, twists, .. } = scenario;
    let (ingress, mut spec) = aimed(chance, ruleset, ports);
    // A register sees ports of a first fragment, and a table sees none.
    if copies_ports(ruleset) && chance.one_in(4) {
        spec.ip().into_iter().for_each(|ip| ip.fragment = Fragment::First);
    }
    if let Some(twist) = twists.packet {
        twist(chance, &mut spec);
    }
    Arrival { ingress, packet: Packet { frame: spec.frame(), tunnel: spec.tunnel } }
}

fn copies_ports(ruleset: &Ruleset) -> bool {
    let mut rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    rules.any(|rule| rule.actions.iter().any(copies_a_port))
}

fn copies_a_port(action: &Action) -> bool {
    let (Action::Move { src, .. } | Action::Push(src)) = action else { return false };
    matches!(src.field, Field::TcpSrc | Field::TcpDst | Field::UdpSrc | Field::UdpDst)
}

/// A packet by its fields, and where it comes in.
pub(crate) fn aimed(chance: &mut Chance, ruleset: &Ruleset, ports: &PortMap) -> (Ingress, Spec) {
    if chance.one_in(3) { conversation(chance, ports) } else { at_a_rule(chance, ruleset, ports) }
}

/// A pod of this node sends what pods usually send, and at most one thing is out of place.
fn conversation(chance: &mut Chance, ports: &PortMap) -> (Ingress, Spec) {
    let ingress = card_port(chance, ports);
    let (from, to) = (u32::from(ingress.port.0), *chance.of(&PEERS));
    let mut spec = any(chance);
    spec.src = HOSTS + POD_MACS + u64::from(from);
    spec.dst = HOSTS + *chance.of(&[POD_MACS + u64::from(to), POD_MACS + u64::from(to), ROUTER]);
    let service = chance.one_in(4).then(|| SERVICES + 1 + *chance.of(&[0, 1, 2]));
    match &mut spec.network {
        Network::Ip4 { src, dst, .. } => {
            (*src, *dst) = (PODS + from, service.unwrap_or(PODS + to));
        }
        Network::Ip6 { src, dst, .. } => {
            (*src, *dst) = (PODS6 + u128::from(from), PODS6 + u128::from(to));
        }
        _ => {}
    }
    if chance.one_in(3) {
        move_off(chance, &mut spec);
    }
    spec.tunnel = tunnel(chance, &ingress, None, ports);
    (ingress, spec)
}

/// One that aims at the match of some rule, and is moved off it, or not.
fn at_a_rule(chance: &mut Chance, ruleset: &Ruleset, ports: &PortMap) -> (Ingress, Spec) {
    let rules: Vec<(&BridgeName, &Rule)> = ruleset
        .bridges
        .iter()
        .flat_map(|(name, bridge)| bridge.rules.values().map(move |rule| (name, rule)))
        .collect();
    let some_rule = |chance: &mut Chance| (!rules.is_empty()).then(|| *chance.of(&rules));
    let aim = some_rule(chance);
    let mut spec = any(chance);
    // In a pipeline several tables look at the packet: let it meet more than one rule.
    for _ in 0..chance.below(3) {
        if let Some((_, rule)) = some_rule(chance) {
            aim_at(chance, &mut spec, &rule.match_);
        }
    }
    if let Some((_, rule)) = aim {
        aim_at(chance, &mut spec, &rule.match_);
    }
    for _ in 0..chance.below(3) {
        move_off(chance, &mut spec);
    }
    let ingress = ingress(chance, aim, ports);
    spec.tunnel = tunnel(chance, &ingress, aim.map(|(_, rule)| &rule.match_), ports);
    (ingress, spec)
}

fn any(chance: &mut Chance) -> Spec {
    let ip = Ip {
        protocol: *chance.of(&PROTOCOLS),
        tos: *chance.of(&[0, 0, 16, 2]),
        ttl: 64,
        fragment: Fragment::No,
        src: *chance.of(&PORTS),
        dst: *chance.of(&PORTS),
        flags: *chance.of(&[0x02, 0x10, 0x12, 0x11]),
    };
    let network = match chance.below(12) {
        0 => arp(chance),
        1 => Network::Other { ethertype: *chance.of(&[0x88cc, 0x8847, 0x8809, 0x9000]) },
        2..=4 => {
            let ip = Ip { protocol: if ip.protocol == 1 { 58 } else { ip.protocol }, ..ip };
            Network::Ip6 { src: *chance.of(&IP6S), dst: *chance.of(&IP6S), ip }
        }
        _ => Network::Ip4 { src: *chance.of(&IPS), dst: *chance.of(&IPS), ip },
    };
    Spec {
        dst: host(chance),
        src: HOSTS + 0x0a,
        tags: if chance.one_in(4) { vec![tag(chance)] } else { Vec::new() },
        network,
        tunnel: None,
        payload: *chance.of(&[0, 6, 7, 60, 120]),
        marker: None,
        oddity: None,
    }
}

fn host(chance: &mut Chance) -> u64 {
    match chance.below(12) {
        0 => 0xffff_ffff_ffff,
        1 => 0x0100_5e00_0001,
        2 => 0x0180_c200_0000,
        other => HOSTS + 0x0a + u64::try_from(other % 4).unwrap_or(0),
    }
}

fn tag(chance: &mut Chance) -> (u16, u16) {
    let tpid = if chance.one_in(5) { 0x88a8 } else { 0x8100 };
    (tpid, *chance.of(&VIDS) | if chance.one_in(4) { 0x6000 } else { 0 })
}

fn arp(chance: &mut Chance) -> Network {
    Network::Arp {
        op: *chance.of(&[1, 2, 1, 3]),
        sha: HOSTS + 0x0a,
        spa: *chance.of(&IPS),
        tha: 0,
        tpa: *chance.of(&IPS),
    }
}

/// Gives the packet what a match asks for, as far as a packet can have it.
fn aim_at(chance: &mut Chance, spec: &mut Spec, takes: &Match) {
    let asked = |field| takes.get(field).map(|masked| masked.value);
    match asked(Field::EthType) {
        Some(0x0800) if !matches!(spec.network, Network::Ip4 { .. }) => {
            let ip = Ip {
                protocol: 6,
                tos: 0,
                ttl: 64,
                fragment: Fragment::No,
                src: 1000,
                dst: 80,
                flags: 2,
            };
            spec.network = Network::Ip4 { src: *chance.of(&IPS), dst: *chance.of(&IPS), ip };
        }
        Some(0x86dd) if !matches!(spec.network, Network::Ip6 { .. }) => {
            let ip = Ip {
                protocol: 6,
                tos: 0,
                ttl: 64,
                fragment: Fragment::No,
                src: 1000,
                dst: 80,
                flags: 2,
            };
            spec.network = Network::Ip6 { src: *chance.of(&IP6S), dst: *chance.of(&IP6S), ip };
        }
        Some(0x0806) if !matches!(spec.network, Network::Arp { .. }) => spec.network = arp(chance),
        Some(0x0800 | 0x86dd | 0x0806) | None => {}
        Some(other) => {
            spec.network = Network::Other { ethertype: u16::try_from(other).unwrap_or(0) };
        }
    }
    for asked in takes.fields() {
        let mix = |old: u128| old & !asked.masked.mask | asked.masked.value;
        write(spec, asked.field, mix);
    }
}

fn write(spec: &mut Spec, field: Field, mix: impl Fn(u128) -> u128) {
    let narrow = |value: u128| u16::try_from(value & 0xffff).unwrap_or(0);
    let wide = |value: u128| u64::try_from(value & 0xffff_ffff_ffff).unwrap_or(0);
    let word = |value: u128| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
    let byte = |value: u128| u8::try_from(value & 0xff).unwrap_or(0);
    match (field, &mut spec.network) {
        (Field::EthDst, _) => spec.dst = wide(mix(spec.dst.into())),
        (Field::EthSrc, _) => spec.src = wide(mix(spec.src.into())),
        (Field::VlanTci, _) => {
            let old = spec.tags.first().map_or(0, |(_, tci)| tci | 0x1000);
            match narrow(mix(old.into())) {
                tci if tci & 0x1000 == 0 => spec.tags.clear(),
                tci if spec.tags.is_empty() => spec.tags.push((0x8100, tci & !0x1000)),
                tci => spec.tags[0].1 = tci & !0x1000,
            }
        }
        (Field::IpSrc, Network::Ip4 { src, .. }) => *src = word(mix((*src).into())),
        (Field::IpDst, Network::Ip4 { dst, .. }) => *dst = word(mix((*dst).into())),
        (Field::Ipv6Src, Network::Ip6 { src, .. }) => *src = mix(*src),
        (Field::Ipv6Dst, Network::Ip6 { dst, .. }) => *dst = mix(*dst),
        (Field::ArpOp, Network::Arp { op, .. }) => *op = narrow(mix((*op).into())),
        (Field::ArpSpa, Network::Arp { spa, .. }) => *spa = word(mix((*spa).into())),
        (Field::ArpTpa, Network::Arp { tpa, .. }) => *tpa = word(mix((*tpa).into())),
        (_, Network::Ip4 { ip, .. } | Network::Ip6 { ip, .. }) => match field {
            Field::NwProto => ip.protocol = byte(mix(ip.protocol.into())),
            Field::NwTos => ip.tos = byte(mix(ip.tos.into())),
            Field::NwTtl => ip.ttl = byte(mix(ip.ttl.into())),
            Field::IpFrag => {
                ip.fragment = match mix(0) {
                    0 => Fragment::No,
                    1 => Fragment::First,
                    _ => Fragment::Later,
                }
            }
            Field::TcpSrc | Field::UdpSrc | Field::IcmpType | Field::Icmpv6Type => {
                ip.src = narrow(mix(ip.src.into()))
            }
            Field::TcpDst | Field::UdpDst | Field::IcmpCode | Field::Icmpv6Code => {
                ip.dst = narrow(mix(ip.dst.into()))
            }
            Field::TcpFlags => ip.flags = narrow(mix(ip.flags.into())),
            _ => {}
        },
        _ => {}
    }
}

/// Moves one field over a boundary.
fn move_off(chance: &mut Chance, spec: &mut Spec) {
    match chance.below(14) {
        0 => spec.dst = host(chance),
        1 => spec.src = HOSTS + 0x0a + u64::try_from(chance.below(3)).unwrap_or(0),
        2 => spec.tags.clear(),
        3 => spec.tags = vec![tag(chance)],
        4 => spec.tags.insert(0, tag(chance)),
        5 => spec.payload = *chance.of(&[0, 45, 46, 47, 86, 200]),
        other => {
            let (ttl, protocol, port) =
                (*chance.of(&TTLS), *chance.of(&PROTOCOLS), *chance.of(&PORTS));
            let fragment = *chance.of(&[Fragment::First, Fragment::Later]);
            let (tos, address) = (*chance.of(&[1, 3, 16, 0xfc]), *chance.of(&IPS));
            if let Network::Ip4 { dst, src, .. } = &mut spec.network {
                match other {
                    6 => *dst = address,
                    7 => *src = address,
                    _ => {}
                }
            }
            let Some(ip) = spec.ip() else { return };
            match other {
                8 | 9 => ip.ttl = ttl,
                10 => ip.fragment = fragment,
                11 => ip.protocol = protocol,
                12 => ip.dst = port,
                13 => ip.tos = tos,
                _ => {}
            }
        }
    }
    spec.tags.truncate(2);
}

fn ingress(chance: &mut Chance, aim: Option<(&BridgeName, &Rule)>, ports: &PortMap) -> Ingress {
    let asked = aim.and_then(|(bridge, rule)| {
        let port = rule.match_.exact(Field::InPort).and_then(|port| u16::try_from(port).ok())?;
        Some(Ingress { bridge: bridge.clone(), port: OfPort(port) })
    });
    let able = |ingress: &Ingress| {
        ports
            .port(&ingress.bridge, ingress.port)
            .is_some_and(|port| !matches!(port.kind, PortKind::Patch { .. }))
    };
    if let Some(asked) = asked.filter(|asked| able(asked) && !chance.one_in(8)) {
        return asked;
    }
    let all: Vec<Ingress> = ports
        .bridges
        .iter()
        .flat_map(|(bridge, ports)| {
            ports.ports.keys().map(|port| Ingress { bridge: bridge.clone(), port: *port })
        })
        .filter(able)
        .collect();
    // What comes in elsewhere meets no filter; a few show that.
    if chance.one_in(12) { chance.of(&all).clone() } else { card_port(chance, ports) }
}

/// A port whose packets meet filters, where there is one.
fn card_port(chance: &mut Chance, ports: &PortMap) -> Ingress {
    let all = ports.bridges.iter().flat_map(|(bridge, ports)| {
        ports.ports.keys().map(|port| Ingress { bridge: bridge.clone(), port: *port })
    });
    let (card, other): (Vec<Ingress>, Vec<Ingress>) =
        all.partition(|ingress| meets_filters(ports, ingress));
    chance.of(if card.is_empty() { &other } else { &card }).clone()
}

fn meets_filters(ports: &PortMap, ingress: &Ingress) -> bool {
    let port = ports.port(&ingress.bridge, ingress.port);
    port.is_some_and(|port| port.switch.is_some() || matches!(port.kind, PortKind::Tunnel(_)))
}

/// A header that this tunnel port takes.
fn tunnel(
    chance: &mut Chance,
    ingress: &Ingress,
    aim: Option<&Match>,
    ports: &PortMap,
) -> Option<TunnelHeader> {
    let port = ports.port(&ingress.bridge, ingress.port)?;
    let PortKind::Tunnel(tunnel) = &port.kind else { return None };
    let config = tunnel.config().ok()?;
    let asked = |field| aim.and_then(|aim| aim.get(field)).map(|masked| masked.value);
    let id = match config.in_key {
        TunnelKey::Fixed(key) => key,
        TunnelKey::Absent => 0,
        TunnelKey::Flow => asked(Field::TunId)
            .and_then(|id| u64::try_from(id).ok())
            .unwrap_or_else(|| *chance.of(&[5, 6, 1])),
    };
    let src = match config.remote {
        TunnelEnd::Addr(address) => address,
        TunnelEnd::Any | TunnelEnd::Flow => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
    };
    let option = asked(Field::TunMetadata(0)).unwrap_or_else(|| *chance.of(&[0x10002, 0x10003, 0]));
    let data = u32::try_from(option & 0xffff_ffff).unwrap_or(0).to_be_bytes();
    let geneve = tunnel.kind == flow_compiler::ports::TunnelKind::Geneve && !chance.one_in(8);
    let options = geneve.then(|| GeneveOption::new(0x0102, 0x80, &data).ok()).flatten();
    Some(TunnelHeader {
        id: Some(id),
        src,
        dst: super::super::switch::UNDERLAY_ADDRESS.parse().ok()?,
        tos: 0,
        ttl: 64,
        src_port: 0,
        dst_port: config.dst_port.unwrap_or(0),
        csum: false,
        no_frag: true,
        options: options.into_iter().collect(),
    })
}
