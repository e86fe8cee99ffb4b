//! Every flower key: a packet that hits the filter is delivered by the card, one that misses goes to the representor.

use anyhow::{Context, ensure};

use super::lab::{self, Lab, REP0, VF0, VF1};
use super::packet::*;
use crate::cases::Ctx;

/// A match, a frame it takes, and one it leaves.
struct Row {
    filter: &'static str,
    hit: fn() -> Vec<u8>,
    miss: fn() -> Vec<u8>,
}

const fn row(filter: &'static str, hit: fn() -> Vec<u8>, miss: fn() -> Vec<u8>) -> Row {
    Row { filter, hit, miss }
}

fn plain() -> Vec<u8> {
    ether(ip4().udp(1000, 2000))
}

fn plain6() -> Vec<u8> {
    ether(ip6().udp(1000, 2000))
}

fn arp() -> Vec<u8> {
    ether(Arp::request().build())
}

fn single_tag() -> Vec<u8> {
    ether(tagged(VLAN, 100, 3, ip4().udp(1000, 2000)))
}

fn double_tag() -> Vec<u8> {
    ether(tagged(QINQ, 200, 5, tagged(VLAN, 100, 3, ip4().udp(1000, 2000))))
}

const ROWS: &[Row] = &[
    // Ethernet
    row("protocol all flower dst_mac 02:bb:00:00:00:02", plain, || {
        ether_between(SRC_MAC, [2, 0xbb, 0, 0, 0, 3], ip4().udp(1000, 2000))
    }),
    row("protocol all flower src_mac 02:aa:00:00:00:00/ff:ff:00:00:00:00", plain, || {
        ether_between([2, 0xab, 0, 0, 0, 1], DST_MAC, ip4().udp(1000, 2000))
    }),
    row("protocol ip flower", plain, plain6),
    row("protocol ipv6 flower", plain6, plain),
    row("protocol arp flower", arp, plain),
    row("protocol 0x88b5 flower", || ether((0x88b5, vec![1, 2, 3])), plain),
    // VLAN
    row("protocol 802.1q flower", single_tag, plain),
    row("protocol 802.1q flower vlan_id 100", single_tag, || {
        ether(tagged(VLAN, 101, 3, ip4().udp(1000, 2000)))
    }),
    row("protocol 802.1q flower vlan_prio 3", single_tag, || {
        ether(tagged(VLAN, 100, 4, ip4().udp(1000, 2000)))
    }),
    row("protocol 802.1q flower vlan_id 100 vlan_ethtype ip", single_tag, || {
        ether(tagged(VLAN, 100, 3, ip6().udp(1000, 2000)))
    }),
    row("protocol 802.1q flower vlan_id 100 vlan_ethtype ip dst_ip 10.2.0.2", single_tag, || {
        ether(tagged(VLAN, 100, 3, Ip4 { dst: SRC, ..ip4() }.udp(1000, 2000)))
    }),
    row("protocol ip flower dst_ip 10.2.0.2", plain, single_tag),
    row("protocol 802.1ad flower vlan_id 200", double_tag, || {
        ether(tagged(VLAN, 200, 5, tagged(VLAN, 100, 3, ip4().udp(1000, 2000))))
    }),
    row(
        "protocol 802.1ad flower vlan_id 200 vlan_prio 5 vlan_ethtype 802.1q cvlan_id 100 cvlan_prio 3",
        double_tag,
        || ether(tagged(QINQ, 200, 5, tagged(VLAN, 101, 3, ip4().udp(1000, 2000)))),
    ),
    row(
        "protocol 802.1ad flower vlan_ethtype 802.1q cvlan_id 100 cvlan_ethtype ip ip_proto udp dst_port 2000",
        double_tag,
        || ether(tagged(QINQ, 200, 5, tagged(VLAN, 100, 3, ip4().udp(1000, 2001)))),
    ),
    // ARP
    row("protocol arp flower arp_op request", arp, || {
        ether(Arp { op: 2, ..Arp::request() }.build())
    }),
    row("protocol arp flower arp_sip 10.1.0.1 arp_tip 10.2.0.0/16", arp, || {
        ether(Arp { tip: SRC, ..Arp::request() }.build())
    }),
    row("protocol arp flower arp_sha 02:aa:00:00:00:01", arp, || {
        ether(Arp { sha: DST_MAC, ..Arp::request() }.build())
    }),
    row("protocol arp flower arp_tha 00:00:00:00:00:00", arp, || {
        ether(Arp { tha: DST_MAC, ..Arp::request() }.build())
    }),
    // IPv4
    row("protocol ip flower src_ip 10.1.0.1", plain, || {
        ether(Ip4 { src: DST, ..ip4() }.udp(1000, 2000))
    }),
    row(
        "protocol ip flower dst_ip 10.2.0.0/16",
        || ether(Ip4 { dst: [10, 2, 77, 7].into(), ..ip4() }.udp(1000, 2000)),
        || ether(Ip4 { dst: [10, 3, 0, 2].into(), ..ip4() }.udp(1000, 2000)),
    ),
    row("protocol ip flower ip_proto udp", plain, || ether(ip4().tcp(1000, 2000, 2))),
    row(
        "protocol ip flower ip_tos 0x28/0xfc",
        || ether(Ip4 { tos: 0x2a, ..ip4() }.udp(1000, 2000)),
        plain,
    ),
    row("protocol ip flower ip_ttl 64", plain, || ether(Ip4 { ttl: 63, ..ip4() }.udp(1000, 2000))),
    row(
        "protocol ip flower ip_ttl 0/0xfe",
        || ether(Ip4 { ttl: 1, ..ip4() }.udp(1000, 2000)),
        || ether(Ip4 { ttl: 2, ..ip4() }.udp(1000, 2000)),
    ),
    row(
        "protocol ip flower ip_flags frag",
        || ether(Ip4 { fragment: LATER_FRAGMENT, ..ip4() }.udp(1000, 2000)),
        plain,
    ),
    row("protocol ip flower ip_flags nofrag", plain, || {
        ether(Ip4 { fragment: FIRST_FRAGMENT, ..ip4() }.udp(1000, 2000))
    }),
    row(
        "protocol ip flower ip_flags frag/firstfrag",
        || ether(Ip4 { fragment: FIRST_FRAGMENT, ..ip4() }.udp(1000, 2000)),
        || ether(Ip4 { fragment: LATER_FRAGMENT, ..ip4() }.udp(1000, 2000)),
    ),
    // IPv6
    row("protocol ipv6 flower src_ip 2001:db8:1::1", plain6, || {
        ether(Ip6 { src: DST6, ..ip6() }.udp(1000, 2000))
    }),
    row("protocol ipv6 flower dst_ip 2001:db8:2::/48", plain6, || {
        ether(Ip6 { dst: SRC6, ..ip6() }.udp(1000, 2000))
    }),
    row(
        "protocol ipv6 flower ip_tos 0x28/0xfc",
        || ether(Ip6 { class: 0x28, ..ip6() }.udp(1000, 2000)),
        plain6,
    ),
    row("protocol ipv6 flower ip_ttl 64", plain6, || {
        ether(Ip6 { hops: 1, ..ip6() }.udp(1000, 2000))
    }),
    row(
        "protocol ipv6 flower ip_flags frag",
        || ether(Ip6 { fragmented: true, ..ip6() }.udp(1000, 2000)),
        plain6,
    ),
    row(
        "protocol ipv6 flower ip_proto tcp dst_port 443",
        || ether(ip6().tcp(1000, 443, 2)),
        || ether(ip6().tcp(1000, 80, 2)),
    ),
    // L4
    row(
        "protocol ip flower ip_proto tcp src_port 1000 dst_port 443",
        || ether(ip4().tcp(1000, 443, 2)),
        || ether(ip4().tcp(1001, 443, 2)),
    ),
    row(
        "protocol ip flower ip_proto udp dst_port 2000/0xfff0",
        || ether(ip4().udp(1000, 2015)),
        || ether(ip4().udp(1000, 2016)),
    ),
    row(
        "protocol ip flower ip_proto udp dst_port 3000-3010",
        || ether(ip4().udp(1000, 3010)),
        || ether(ip4().udp(1000, 3011)),
    ),
    row(
        "protocol ip flower ip_proto tcp src_port 100-200 dst_port 3000-3010",
        || ether(ip4().tcp(100, 3005, 2)),
        || ether(ip4().tcp(99, 3005, 2)),
    ),
    row(
        "protocol ip flower ip_proto sctp dst_port 38412",
        || ether(ip4().sctp(1000, 38412)),
        || ether(ip4().sctp(1000, 38413)),
    ),
    row(
        "protocol ip flower ip_proto tcp tcp_flags 0x2/0x17",
        || ether(ip4().tcp(1000, 443, 0x42)),
        || ether(ip4().tcp(1000, 443, 0x12)),
    ),
    row(
        "protocol ip flower ip_proto icmp type 8 code 0",
        || ether(ip4().icmp(8, 0)),
        || ether(ip4().icmp(0, 0)),
    ),
    row(
        "protocol ipv6 flower ip_proto icmpv6 type 135",
        || ether(ip6().icmp(135, 0)),
        || ether(ip6().icmp(136, 0)),
    ),
    row("protocol ip flower indev np0r0", plain, plain6),
    // Without a tracked packet there is no state.
    row("protocol ip flower ct_state -trk", plain, plain6),
];

pub(super) fn every_key_hits_and_misses(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    for row in ROWS {
        check(&lab, row).with_context(|| format!("filter `{}`", row.filter))?;
    }
    Ok(())
}

fn check(lab: &Lab, row: &Row) -> anyhow::Result<()> {
    lab::only(REP0, &format!("prio 1 {} action mirred egress redirect dev np0r1", row.filter))?;
    lab.send(VF0, &(row.hit)(), &[VF1])?.only_at(VF1).context("the packet to hit")?;
    lab.send(VF0, &(row.miss)(), &[REP0])?.only_at(REP0).context("the packet to miss")?;
    let counted = lab::card_packets(lab)?;
    ensure!(counted == 1, "the filter counted {counted} packets");
    Ok(())
}

/// Packets, bytes and the time of the last use come to `tc -s`.
pub(super) fn counters_reach_tc(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(REP0, "prio 1 protocol ip flower action mirred egress redirect dev np0r1")?;
    for _ in 0..3 {
        lab.send(VF0, &plain(), &[VF1])?.only_at(VF1)?;
    }
    for _ in 0..2 {
        let (hardware, software) = lab::hardware_and_software_packets(REP0, 0)?;
        ensure!((hardware, software) == (3, 0), "hardware {hardware}, software {software} packets");
    }
    Ok(())
}
