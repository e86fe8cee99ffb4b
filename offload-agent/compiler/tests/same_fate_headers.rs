//! Packets whose headers flower reads otherwise than OVS does: those it takes for what they carry, and those it gives up on.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use world::{check, frame, ipv4, ipv6, ipv6_behind, ports, pppoe, rule, ruleset, tcp, wrapped};

/// Every profile, and what is not known of `vlan-limit`. Without LLC frames SNAP is not looked at, a documented hole.
fn cards() -> impl Iterator<Item = Capabilities> {
    let profiles =
        Capabilities::PROFILES.into_iter().map(|name| Capabilities::profile(name).unwrap());
    let cards = profiles.map(|card| Capabilities { llc: true, ..card });
    cards.chain([Capabilities { vlan_limit: None, ..Capabilities::nicsim() }])
}

fn check_all(rules: &[&str], packets: &[Frame]) {
    for card in cards() {
        check(&ruleset(rules.iter().map(|text| rule(text))), &ports(), &card, packets);
    }
}

/// Bodies under no tag, one and two.
fn tagged(bodies: &[Vec<u8>]) -> Vec<Frame> {
    let stacks: [&[(u16, u16)]; 4] =
        [&[], &[(0x8100, 5)], &[(0x88a8, 6)], &[(0x8100, 5), (0x8100, 6)]];
    bodies.iter().flat_map(|body| stacks.map(|tags| frame(tags, body))).collect()
}

/// Frames that carry others, whole and cut off, and some that do not.
fn carriers() -> Vec<Frame> {
    let inner = ipv4(6, 0, &tcp(1000, 80, 2));
    let batman = |version| [&[0x40, version][..], &[0; 20]].concat();
    tagged(&[
        ipv4(137, 0, &[0; 8]),
        ipv4(137, 0x2000, &[0; 8]),
        ipv4(137, 0x0010, &[0; 8]),
        ipv6(137, &[0; 8]),
        ipv6(60, &[137, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
        wrapped(0x892f, &[0; 4], &inner),
        wrapped(0x88fb, &[0; 4], &inner),
        wrapped(0x892f, &[0; 4], &wrapped(0x892f, &[0; 4], &[])),
        wrapped(0x4305, &batman(15), &inner),
        wrapped(0x4305, &batman(14), &inner),
        pppoe(0, 0x0021),
        pppoe(0, 0xc021),
        pppoe(1, 0xc021),
        wrapped(0x8847, &[0; 8], &[]),
        inner.clone(),
        ipv6(6, &tcp(1000, 80, 2)),
        world::arp(1, 1, [10, 0, 0, 1]),
        world::llc(),
    ])
}

#[test]
fn what_flower_takes_for_what_it_carries_goes_where_its_ethertype_leads() {
    let packets = carriers();
    let kinds = [
        "ip",
        "ip,nw_src=10.0.0.1",
        "ip,nw_proto=137",
        "ip,ip_frag=no",
        "tcp",
        "ipv6",
        "ipv6,nw_proto=137",
        "ipv6,nw_ttl=9",
        "ip,dl_vlan=5",
        "dl_type=0x892f",
        "dl_type=0x88fb",
        "dl_type=0x4305",
        "dl_type=0x8864",
        "dl_type=0x8847",
        "arp",
    ];
    for kind in kinds {
        for (first, second) in
            [("drop", "output:2"), ("output:2", "drop"), ("CONTROLLER", "output:2")]
        {
            for below in ["in_port=1", "dl_dst=02:00:00:00:00:0b", "dl_vlan=5", "vlan_tci=0/0x1fff"]
            {
                let first = format!("priority=10,{kind} actions={first}");
                let second = format!("priority=1,{below} actions={second}");
                check_all(&[&first, &second, "priority=0 actions=output:3"], &packets);
            }
        }
    }
}

/// The last rule's packets cannot be those of the first, but they can be those of the second.
#[test]
fn other_ethertypes_are_kept_from_filters_behind() {
    check_all(
        &[
            "priority=9,ip,dl_src=02:00:00:00:00:0c actions=drop",
            "priority=5,dl_dst=02:00:00:00:00:0b actions=output:2",
            "priority=1,dl_src=02:00:00:00:00:0a actions=output:3",
        ],
        &carriers(),
    );
}

#[test]
fn what_flower_takes_for_what_it_carries_is_told_in_later_tables() {
    let packets = carriers();
    for first in ["", "dl_vlan=5,", "ip,", "ct_state=-trk,"] {
        let first =
            format!("{first}actions=move:NXM_OF_ETH_SRC[0..3]->NXM_NX_REG0[0..3],resubmit(,1)");
        for kind in ["ip,nw_src=10.0.0.1", "ipv6", "dl_type=0x892f", "ip,ip_frag=no"] {
            let drop = format!("table=1,priority=2,{kind} actions=drop");
            check_all(&[&first, &drop, "table=1,priority=1 actions=output:2"], &packets);
        }
    }
}

/// IPv6 with so many headers that flower reads the protocol, its ports alone, or nothing above IP.
fn long_ones() -> Vec<Frame> {
    let tcp_80 = tcp(1000, 80, 2);
    let solicitation = [135, 0, 0, 0, 0, 0, 0, 0];
    let behind_auth = |next: u8, rest: &[u8]| {
        ipv6(51, &[&[next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], rest].concat())
    };
    let fragment = [&[6, 0, 0, 1, 0, 0, 0, 9], &tcp_80[..]].concat();
    let lengths = [1, 13, 14, 15, 16, 17, 18].into_iter();
    let bodies = lengths.flat_map(|headers| {
        let whole = [(6, &tcp_80[..]), (58, &solicitation), (137, &[0; 8]), (44, &fragment)];
        whole.map(|(next, payload)| ipv6_behind(headers, next, payload))
    });
    let others = [behind_auth(6, &tcp_80), behind_auth(44, &fragment), ipv6(6, &tcp_80)];
    tagged(&bodies.chain(others).collect::<Vec<_>>())
}

#[test]
fn what_flower_gives_up_on_goes_where_its_protocol_leads() {
    let packets = long_ones();
    let kinds = [
        "ipv6,nw_proto=6",
        "tcp6,tp_dst=80",
        "tcp6,tcp_flags=+syn",
        "tcp6,tcp_flags=-ack",
        "icmp6",
        "icmp6,icmp_type=135",
        "icmp6,icmp_type=0",
        "icmp6,icmp_code=0",
        "ipv6,nw_proto=60",
        "ipv6,nw_proto=44",
        "ipv6,nw_proto=137",
        "ipv6,ip_frag=yes",
        "ipv6,ip_frag=no",
        "ipv6,dl_vlan=5,ip_frag=first",
    ];
    for kind in kinds {
        for (first, second) in
            [("drop", "output:2"), ("output:2", "drop"), ("CONTROLLER", "output:2")]
        {
            for below in ["in_port=1", "ipv6", "ipv6,ipv6_dst=fd00::2", "tcp6", "dl_vlan=5"] {
                let first = format!("priority=10,{kind} actions={first}");
                let second = format!("priority=1,{below} actions={second}");
                check_all(&[&first, &second], &packets);
            }
        }
    }
}

/// TC computes a checksum over IPv6 where there was none, and OVS does not.
#[test]
fn udp_over_ipv6_that_has_no_checksum_gets_none() {
    const CHECKSUM: usize = 6;
    let with = |mut datagram: Vec<u8>, sum: [u8; 2]| {
        datagram[CHECKSUM..].copy_from_slice(&sum);
        datagram
    };
    // The second is right: all words of the packet and the pseudo header add up to all ones.
    let datagrams = [world::udp(53, 80), with(world::udp(53, 80), [0x05, 0x55])];
    let bodies = datagrams.map(|datagram| ipv6(17, &datagram));
    let others = [ipv6(6, &tcp(1000, 80, 2)), ipv4(17, 0, &world::udp(53, 80))];
    let packets = tagged(&bodies.into_iter().chain(others).collect::<Vec<_>>());
    for does in [
        "mod_tp_dst:53,output:2",
        "mod_tp_src:1,output:2",
        "set_field:fd00::9->ipv6_dst,output:2",
        "set_field:fd00::9->ipv6_src,output:2",
        "dec_ttl,output:2",
    ] {
        let one = format!("priority=10,in_port=1,udp6 actions={does}");
        check_all(&[&one], &packets);
        check_all(&[&one, "priority=1 actions=output:3"], &packets);
    }
    for does in ["set_field:fd00::9->ipv6_dst,output:2", "mod_nw_tos:8,output:2"] {
        check_all(
            &[&format!("in_port=1,ipv6 actions={does}"), "priority=1 actions=drop"],
            &packets,
        );
    }
    check_all(
        &[
            "udp6,in_port=1 actions=ct(table=1,zone=5)",
            "table=1,udp6 actions=mod_tp_dst:53,output:2",
        ],
        &packets,
    );
}
