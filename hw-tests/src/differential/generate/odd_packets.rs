//! Packets that OVS and the kernel's flow dissector read in different ways, and rules that ask for what one of them sees and the other does
//! not. Headers that are cut off are not among them: no filter can tell them, and that is known and accepted.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::oddity::Oddity;
use super::super::packet::{Network, Spec};
use super::super::topology;
use super::{HOSTS, lines};

const UDP: u8 = 17;
const MPLS_IN_IP: u8 = 137;
/// Redundant rings (HSR, PRP) and batman-adv, behind which the dissector goes on.
const SEEN_THROUGH: [u16; 3] = [0x892f, 0x88fb, 0x4305];
/// Hop by hop, routing, destination, authentication.
const EXTENSIONS: [u8; 4] = [0, 43, 60, 51];
/// The dissector looks at no more headers (`MAX_FLOW_DISSECT_HDRS`).
const MOST_HEADERS: usize = 15;

/// What most packets have.
const WIDE: [&str; 5] = ["ip", "ipv6", "ipv6", "tcp6", "udp6"];

const ASKED: [&str; 14] = [
    "tcp",
    "tcp6",
    "udp6",
    "udp",
    "tcp,tp_dst=80",
    "tcp6,tp_dst=80",
    "udp6,tp_dst=80",
    "tcp,tp_dst=0",
    "tcp,tcp_flags=+syn-ack",
    "ip,nw_proto=137",
    "ipv6,nw_proto=51",
    "dl_type=0x892f",
    "dl_type=0x88fb",
    "dl_type=0x4305",
];

/// What is written, for packets that a match asks for by its first word.
const EDITS: [(&str, &str); 7] = [
    ("udp6", "mod_tp_dst:81,"),
    ("udp6", "set_field:fd00::9->ipv6_dst,"),
    ("udp", "mod_nw_dst:10.0.0.2,"),
    ("tcp", "mod_tp_dst:81,"),
    ("tcp", "mod_nw_dst:10.0.0.2,"),
    ("ipv6", "dec_ttl,"),
    ("ip", "dec_ttl,"),
];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut rules = Vec::new();
    for port in topology::VFS {
        for (priority, asked) in [(1, &WIDE[..]), (2, &ASKED), (3, &ASKED)] {
            let (asked, to) = (*chance.of(asked), *chance.of(&topology::VFS));
            let edit = edit(chance, asked);
            rules.push(format!(
                "priority={priority},in_port={port},{asked} actions={edit}output:{to}"
            ));
        }
    }
    let end = if chance.one_in(2) { "drop".to_owned() } else { "output:1".to_owned() };
    rules.push(format!("priority=0 actions={end}"));
    lines::ruleset(&rules)
}

/// Something that packets of this match have; half of the rules change nothing.
fn edit(chance: &mut Chance, asked: &str) -> &'static str {
    let kind = asked.split(',').next().unwrap_or_default();
    let able: Vec<&str> =
        EDITS.iter().filter(|(of, _)| *of == kind).map(|(_, edit)| *edit).collect();
    if chance.one_in(2) {
        return "";
    }
    able.get(chance.below(able.len())).copied().unwrap_or_default()
}

/// Makes a packet odd.
pub(crate) fn twist(chance: &mut Chance, spec: &mut Spec) {
    match chance.below(7) {
        0 => extended(chance, spec, 1),
        1 => extended(chance, spec, MOST_HEADERS + 3),
        2 => unsummed(spec),
        3 => seen_through(chance, spec),
        4 => labelled(spec),
        _ => {}
    }
    whole(spec);
}

/// A packet that is aimed at the number of an extension header has that header: where the last one is missing, OVS's two datapaths read
/// the packet in different ways (`parse_ipv6_ext_hdrs` in `lib/flow.c`, `parse_ipv6hdr` in the kernel's `net/openvswitch/flow.c`).
fn whole(spec: &mut Spec) {
    let Network::Ip6 { ip, .. } = &mut spec.network else { return };
    if EXTENSIONS.contains(&ip.protocol) {
        spec.oddity = Some(Oddity::Extensions(vec![ip.protocol]));
        ip.protocol = UDP;
    }
}

/// So many extension headers, or fewer.
fn extended(chance: &mut Chance, spec: &mut Spec, most: usize) {
    let count = 1 + chance.below(most);
    let numbers = if count == 1 || chance.one_in(2) { &EXTENSIONS[..] } else { &EXTENSIONS[..3] };
    spec.oddity = Some(Oddity::Extensions((0..count).map(|_| *chance.of(numbers)).collect()));
}

fn unsummed(spec: &mut Spec) {
    if let Some(ip) = spec.ip() {
        ip.protocol = UDP;
    }
    spec.oddity = Some(Oddity::NoChecksum);
}

/// An EtherType behind which the dissector finds another packet.
fn seen_through(chance: &mut Chance, spec: &mut Spec) {
    // A unicast packet of batman-adv, version 15, then the frame inside; a ring's tag is six bytes.
    const BATMAN: [u8; 10] = [0x40, 15, 50, 1, 2, 0, 0, 0, 0, 1];
    const RING: [u8; 4] = [0, 20, 0, 1];
    let ethertype = *chance.of(&SEEN_THROUGH);
    let inside = Spec { tags: Vec::new(), ..spec.clone() }.frame().0;
    let mut body = if ethertype == 0x4305 { BATMAN.to_vec() } else { RING.to_vec() };
    body.extend(if ethertype == 0x4305 { &inside[..] } else { &inside[12..] });
    spec.network = Network::Other { ethertype };
    spec.oddity = Some(Oddity::Body(body));
    spec.dst = HOSTS + 0x0b;
}

/// A label of MPLS right above IP.
fn labelled(spec: &mut Spec) {
    const LABEL: [u8; 4] = [0, 0x01, 0x01, 64];
    if let Some(ip) = spec.ip() {
        ip.protocol = MPLS_IN_IP;
    }
    spec.oddity = Some(Oddity::Body([&LABEL[..], &[0x45; 24]].concat()));
}
