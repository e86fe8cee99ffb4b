//! A bridge with a card's ports, and packets of every shape the compiler has to tell apart.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod card;

use std::collections::BTreeMap;
use std::net::IpAddr;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{
    self, Connection, Conntrack, Filters, Frame, Oracle, Packet, Parser, Rewrite, State,
    Translation, TunnelHeader, World,
};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::openflow::text::{Names, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Field, OfPort, Rule, Ruleset};
use flow_compiler::plan::Plan;
use flow_compiler::ports::{
    BridgePorts, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole,
};
use tc_filter::CtZone;

pub(crate) const BRIDGE: &str = "br0";

/// The device of the uplink.
const UPLINK: u32 = 11;

/// Port 1 is the uplink, 2 and 3 are representors, 4 is a veth, LOCAL is the bridge's own.
pub(crate) fn ports() -> PortMap {
    let on_card = |role| Some(SwitchPort { id: "c0ffee".to_owned(), role });
    let all = [
        (OfPort(1), "np0", UPLINK, PortKind::System, on_card(SwitchRole::Uplink)),
        (OfPort(2), "np0r0", 12, PortKind::System, on_card(SwitchRole::Representor)),
        (OfPort(3), "np0r1", 13, PortKind::System, on_card(SwitchRole::Representor)),
        (OfPort(4), "veth0", 14, PortKind::System, None),
        (OfPort::LOCAL, BRIDGE, 15, PortKind::Internal, None),
    ];
    let ports = all.into_iter().map(|(number, name, ifindex, kind, switch)| {
        let ifindex = Some(PortIfIndex(ifindex));
        (number, Port { name: name.to_owned(), ifindex, kind, switch, ..Port::default() })
    });
    let bridge = BridgePorts { ports: ports.collect(), ..BridgePorts::default() };
    PortMap { bridges: BTreeMap::from([(BridgeName::from(BRIDGE), bridge)]) }
}

/// One end of a patch.
pub(crate) fn patch(name: &str, peer: &str) -> Port {
    Port {
        name: name.to_owned(),
        kind: PortKind::Patch { peer: peer.to_owned() },
        ..Port::default()
    }
}

/// The outer header of a packet from this end to the node.
pub(crate) fn tunnel_header(remote: &str, id: u64) -> TunnelHeader {
    TunnelHeader {
        id: Some(id),
        src: remote.parse().unwrap(),
        dst: IpAddr::from([192, 0, 2, 9]),
        tos: 0,
        ttl: 64,
        src_port: 0,
        dst_port: 6081,
        csum: false,
        no_frag: true,
        options: Vec::new(),
    }
}

pub(crate) fn port(number: u16) -> Ingress {
    Ingress { bridge: BridgeName::from(BRIDGE), port: OfPort(number) }
}

pub(crate) fn rule(text: &str) -> Rule {
    parse_rules(text, &Names::default()).unwrap().remove(0)
}

pub(crate) fn ruleset(rules: impl IntoIterator<Item = Rule>) -> Ruleset {
    let rules: BridgeRules = rules.into_iter().collect();
    Ruleset { bridges: BTreeMap::from([(BridgeName::from(BRIDGE), rules)]) }
}

/// Compiles, and compares the fate of every packet on every port with OpenFlow's, whatever connection tracking says.
pub(crate) fn check(ruleset: &Ruleset, ports: &PortMap, card: &Capabilities, packets: &[Frame]) {
    let packets: Vec<Packet> = packets.iter().map(Frame::packet).collect();
    let known = |ingress: &Ingress| ruleset_knows(ruleset, ingress);
    let ingresses: Vec<Ingress> = [1, 2].map(port).into_iter().filter(known).collect();
    check_ports(ruleset, ports, card, &ingresses, &packets);
}

/// The same for these ports, with packets that may come with a tunnel header.
pub(crate) fn check_ports(
    ruleset: &Ruleset,
    ports: &PortMap,
    card: &Capabilities,
    ingresses: &[Ingress],
    packets: &[Packet],
) {
    let compiled = flow_compiler::compile(ruleset, ports, card);
    card::takes(card, &compiled.plan);
    let limits = card.vlan_limit.map_or_else(|| vec![1, 2], |limit| vec![limit]);
    let mut worlds: Vec<World<'_>> =
        limits.into_iter().map(|limit| World::new(ruleset, ports, limit)).collect();
    for conntrack in answers(ruleset) {
        worlds.iter_mut().for_each(|world| world.conntrack = conntrack.clone());
        for ingress in ingresses {
            check_port(&compiled.plan, card.copies_ecn(), &worlds, ingress, packets);
        }
    }
}

fn check_port(
    plan: &Plan,
    encap_ecn: bool,
    worlds: &[World<'_>],
    ingress: &Ingress,
    packets: &[Packet],
) {
    for world in worlds {
        let filters = Filters { plan, ports: world.ports, conntrack: &world.conntrack, encap_ecn };
        for packet in packets {
            let expected = interp::openflow(world, ingress, packet);
            for parser in [Parser::Kernel, Parser::Card] {
                let fate = interp::plan(&filters, ingress, packet, parser);
                assert!(
                    fate.agrees(&expected),
                    "on {ingress}, vlan-limit {}, {:?}, packet {packet:?}\nOpenFlow: {expected:?}\n\
                     filters, {parser:?}: {fate:?}\n{}",
                    world.vlan_limit,
                    world.conntrack,
                    story(world.ruleset(), plan)
                );
            }
        }
    }
}

/// What connection tracking may say about the one connection of a packet, if anybody asks.
fn answers(ruleset: &Ruleset) -> Vec<Conntrack> {
    let mut rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    if !rules.any(|rule| rule.to_string().contains("ct(")) {
        return vec![Conntrack::default()];
    }
    let translated = Translation {
        dst: Rewrite { address: Some([10, 0, 0, 9].into()), port: None },
        ..Translation::default()
    };
    let states = [State::New, State::Established, State::Reply, State::Invalid];
    let plain = states.map(|state| Connection { state, ..Connection::default() });
    let marked = Connection { mark: 1, translation: translated, ..plain[1] };
    let all = plain.into_iter().chain([marked]);
    let known = all.map(|connection| Conntrack {
        zones: BTreeMap::from([5, 6].map(|zone| (CtZone(zone), connection))),
        ..Conntrack::default()
    });
    // As the datapath that reads a packet anew, and says so where that makes a difference.
    let anew = Conntrack {
        zones: BTreeMap::from([(CtZone(5), plain[1])]),
        oracle: Oracle::Trace,
        ..Conntrack::default()
    };
    // Translated in one zone, and new or established in another.
    let apart = [plain[0], plain[1]].map(|other| Conntrack {
        zones: BTreeMap::from([(CtZone(5), marked), (CtZone(6), other)]),
        ..Conntrack::default()
    });
    let helped = has_helpers(ruleset).then(|| {
        let state = State::EstablishedRelated;
        let expected = Connection { state, ..Connection::default() };
        Conntrack { zones: [(CtZone(5), expected)].into(), ..Conntrack::default() }
    });
    known.chain([anew]).chain(apart).chain(helped).collect()
}

fn has_helpers(ruleset: &Ruleset) -> bool {
    let mut rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    rules.any(|rule| rule.to_string().contains("alg="))
}

/// Whether a look at the second port can show anything that the first one does not.
fn ruleset_knows(ruleset: &Ruleset, ingress: &Ingress) -> bool {
    let mut rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    ingress.port == OfPort(1) || rules.any(|rule| rule.match_.get(Field::InPort).is_some())
}

fn story(ruleset: &Ruleset, plan: &flow_compiler::plan::Plan) -> String {
    let rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    let rules: Vec<String> = rules.map(Rule::to_string).collect();
    let filters: Vec<String> = plan
        .filters
        .values()
        .map(|filter| format!("{:?}", filter.text(&tc_filter::text::Numbered)))
        .collect();
    format!("{}\n{}", rules.join("\n"), filters.join("\n"))
}

pub(crate) const HOST_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub(crate) const HOST_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// A frame with these tags (EtherType and TCI, the outer one first) and what follows them.
pub(crate) fn frame(tags: &[(u16, u16)], rest: &[u8]) -> Frame {
    let mut bytes = [HOST_B, HOST_A].concat();
    for (tpid, tci) in tags {
        bytes.extend(tpid.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(rest);
    Frame(bytes)
}

/// Every body under every stack of tags.
pub(crate) fn packets() -> Vec<Frame> {
    let stacks = stacks();
    bodies().iter().flat_map(|body| stacks.iter().map(|tags| frame(tags, body))).collect()
}

/// Enough for worlds with many rulesets: the tags and bodies that differ most.
pub(crate) fn few_packets() -> Vec<Frame> {
    let stacks =
        stacks().into_iter().enumerate().filter(|(number, _)| [0, 2, 3, 7, 8].contains(number));
    let bodies = bodies();
    let bodies = || {
        bodies
            .iter()
            .enumerate()
            .filter(|(number, _)| ![2, 6, 8, 13, 14, 16, 21, 22, 33, 35].contains(number))
    };
    stacks
        .flat_map(|(_, tags)| bodies().map(move |(_, body)| frame(&tags, body)).collect::<Vec<_>>())
        .collect()
}

/// Few shapes, and a TTL that runs out.
pub(crate) fn shapes() -> Vec<Frame> {
    let dying = ipv4_with_ttl(1, 6, 0, &tcp(1000, 80, 2));
    few_packets().into_iter().step_by(3).chain([frame(&[], &dying)]).collect()
}

/// No tag, VLANs 0, 5 and 6, priority 3, the drop eligible bit, the other EtherType, and two tags in all four ways.
pub(crate) fn stacks() -> Vec<Vec<(u16, u16)>> {
    vec![
        vec![],
        vec![(0x8100, 0)],
        vec![(0x8100, 5)],
        vec![(0x8100, 0x1005)],
        vec![(0x8100, 0x7005)],
        vec![(0x8100, 6)],
        vec![(0x8100, 0x7006)],
        vec![(0x88a8, 5)],
        vec![(0x8100, 5), (0x8100, 6)],
        vec![(0x88a8, 6), (0x8100, 5)],
        vec![(0x8100, 5), (0x88a8, 5)],
        vec![(0x88a8, 5), (0x88a8, 6)],
    ]
}

/// From the EtherType on: what stands above Ethernet, sound and odd.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let tcp_80 = tcp(1000, 80, 2);
    let no_port = tcp(0, 0, 2);
    vec![
        ipv4(6, 0, &tcp_80),
        ipv4(6, 0, &tcp(80, 81, 0x10)),
        ipv4(6, 0, &no_port),
        ipv4(6, 0x2000, &tcp_80),
        ipv4(6, 0x0010, &tcp_80),
        ipv4(17, 0, &udp(53, 80)),
        ipv4(17, 0x2000, &udp(53, 80)),
        ipv4(1, 0, &[8, 0, 0, 0, 0, 0, 0, 0]),
        ipv4(1, 0x0010, &[8, 0, 0, 0, 0, 0, 0, 0]),
        ipv4(47, 0, &[0; 8]),
        ipv6(6, &tcp_80),
        ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]),
        ipv6(44, &[&[6, 0, 0, 1, 0, 0, 0, 9], tcp_80.as_slice()].concat()),
        ipv6(44, &[&[6, 0, 0, 0x11, 0, 0, 0, 9], tcp_80.as_slice()].concat()),
        ipv6(44, &[&[6, 0, 0, 0, 0, 0, 0, 9], tcp_80.as_slice()].concat()),
        ipv6(51, &[&[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], tcp_80.as_slice()].concat()),
        ipv6(0, &[&[6, 0, 1, 4, 0, 0, 0, 0], tcp_80.as_slice()].concat()),
        arp(1, 1, [10, 0, 0, 1]),
        arp(1, 2, [10, 0, 0, 1]),
        arp(1, 3, [10, 0, 0, 1]),
        arp(1, 1, [0, 0, 0, 0]),
        arp(1, 9, [0, 0, 0, 0]),
        arp(6, 1, [10, 0, 0, 1]),
        snap(&ipv4(6, 0, &tcp_80)),
        snap(&arp(1, 1, [10, 0, 0, 1])),
        llc(),
        vec![0, 6, 0xff, 0xff, 0, 0, 0, 0],
        vec![0x88, 0xcc, 1, 2, 3, 4],
        vec![0x08, 0x00, 0x4f, 0, 0, 9],
        vec![0x08, 0x06, 0, 1],
        vec![0x08, 0x00],
        ipv4_with(0x12, 64, 6, 0, &tcp_80),
        ipv4(137, 0, &[0; 8]),
        ipv6(137, &[0; 8]),
        wrapped(0x892f, &[0; 4], &ipv4(6, 0, &tcp_80)),
        pppoe(1, 0x0021),
        ipv6_behind(17, 6, &tcp_80),
        ipv6(
            51,
            &[&[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9], &tcp_80[..]].concat(),
        ),
    ]
}

/// A frame of another kind that has this one, from its EtherType on, behind a header.
pub(crate) fn wrapped(ethertype: u16, header: &[u8], inner: &[u8]) -> Vec<u8> {
    [&ethertype.to_be_bytes(), header, inner].concat()
}

/// A PPPoE frame with this code, 0 in a session, and this protocol.
pub(crate) fn pppoe(code: u8, protocol: u16) -> Vec<u8> {
    [&[0x88, 0x64, 0x11, code, 0, 1, 0, 2][..], &protocol.to_be_bytes()].concat()
}

/// IPv6 with so many headers of options in front of the payload.
pub(crate) fn ipv6_behind(headers: usize, next: u8, payload: &[u8]) -> Vec<u8> {
    const OPTIONS: u8 = 60;
    let option = |kind: u8| vec![kind, 0, 1, 4, 0, 0, 0, 0];
    let kinds = std::iter::repeat_n(OPTIONS, headers - 1).chain([next]);
    ipv6(OPTIONS, &kinds.map(option).chain([payload.to_vec()]).collect::<Vec<_>>().concat())
}

pub(crate) fn tcp(src: u16, dst: u16, flags: u16) -> Vec<u8> {
    let ports = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    let flags = (0x5000 | flags).to_be_bytes();
    [ports.as_slice(), &[0; 8], &flags, &[0; 6]].concat()
}

pub(crate) fn udp(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes(), [0, 8], [0, 0]].concat()
}

/// IPv4 from 10.0.0.1 to 10.0.0.2, TTL 64, DSCP 4, with this fragment word.
pub(crate) fn ipv4(proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    ipv4_with_ttl(64, proto, fragment, payload)
}

/// The checksums are right: an edit mends a wrong one in TC and carries it on in OVS, and neither matters to anybody.
pub(crate) fn ipv4_with_ttl(ttl: u8, proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    ipv4_with(0x10, ttl, proto, fragment, payload)
}

/// The same with this TOS.
pub(crate) fn ipv4_with(tos: u8, ttl: u8, proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let [length_high, length_low] = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let header = [0x45, tos, length_high, length_low, 0, 0, high, low, ttl, proto, 0, 0];
    let mut header = [header.as_slice(), &src, &dst].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    let payload =
        if fragment == 0 { summed(proto, &[src, dst].concat(), payload) } else { payload.to_vec() };
    [&[8, 0], header.as_slice(), &payload].concat()
}

/// IPv6 from fd00::1 to fd00::2.
pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let address = |last| [&[0xfd][..], &[0; 14], &[last]].concat();
    let ends = [address(1), address(2)].concat();
    let header = [0x60, 0, 0, 0, high, low, next, 64];
    [&[0x86, 0xdd], header.as_slice(), &ends, &summed(next, &ends, payload)].concat()
}

/// A payload whose own checksum is right. That of UDP is left out, as it may be.
fn summed(proto: u8, ends: &[u8], payload: &[u8]) -> Vec<u8> {
    const ICMP: u8 = 1;
    const TCP: u8 = 6;
    const ICMP6: u8 = 58;
    let at = match proto {
        TCP => 16,
        ICMP | ICMP6 => 2,
        _ => return payload.to_vec(),
    };
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let pseudo = [ends, &[0, proto], &length].concat();
    let pseudo = if proto == ICMP { Vec::new() } else { pseudo };
    let sum = checksum(&[pseudo.as_slice(), payload].concat());
    let mut payload = payload.to_vec();
    payload[at..at + 2].copy_from_slice(&sum);
    payload
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()).to_be_bytes()
}

/// ARP of this hardware type and operation, from `sender`.
pub(crate) fn arp(hardware: u8, operation: u8, sender: [u8; 4]) -> Vec<u8> {
    let start = [8, 6, 0, hardware, 8, 0, 6, 4, 0, operation];
    [&start[..], &HOST_A, &sender, &[0; 6], &[10, 0, 0, 2]].concat()
}

/// A frame with a length, and the EtherType behind a SNAP header.
pub(crate) fn snap(body: &[u8]) -> Vec<u8> {
    [&[0, 60, 0xaa, 0xaa, 3, 0, 0, 0], body].concat()
}

/// A spanning tree frame.
pub(crate) fn llc() -> Vec<u8> {
    vec![0, 7, 0x42, 0x42, 3, 0, 0, 0, 0, 0]
}
