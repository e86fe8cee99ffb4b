//! Every action: what it does to a packet, and where the packet goes then.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::lab::{self, Lab, REP0, UPLINK, VF0, VF1, VF2, WIRE};
use super::packet::*;
use crate::cases::Ctx;

/// What a filter does with a frame: the frame that comes out, and where.
struct Row {
    filter: &'static str,
    sent: fn() -> Vec<u8>,
    at: &'static [&'static str],
    received: fn() -> Vec<u8>,
}

const fn row(
    filter: &'static str,
    sent: fn() -> Vec<u8>,
    at: &'static [&'static str],
    received: fn() -> Vec<u8>,
) -> Row {
    Row { filter, sent, at, received }
}

fn plain() -> Vec<u8> {
    ether(ip4().udp(1000, 2000))
}

fn tag_100() -> Vec<u8> {
    ether(tagged(VLAN, 100, 3, ip4().udp(1000, 2000)))
}

const TO_VF1: &[&str] = &[VF1];

const ROWS: &[Row] = &[
    // Forwarding
    row("protocol ip flower action mirred egress redirect dev np0r1", plain, TO_VF1, plain),
    row("protocol ip flower action mirred egress redirect dev np0", plain, &[WIRE], plain),
    row(
        "protocol ip flower action mirred egress mirror dev np0r1 action mirred egress redirect dev np0",
        plain,
        &[VF1, WIRE],
        plain,
    ),
    row(
        "protocol ip flower action mirred egress mirror dev np0r1 action mirred egress mirror dev np0r2",
        plain,
        &[VF1, VF2],
        plain,
    ),
    row("protocol ip flower action drop", plain, &[], plain),
    row("protocol ip flower action pass", plain, &[REP0], plain),
    row("protocol ip flower action trap", plain, &[REP0], plain),
    // VLAN
    row(
        "protocol ip flower action vlan push id 100 priority 3 action mirred egress redirect dev np0",
        plain,
        &[WIRE],
        tag_100,
    ),
    row(
        "protocol 802.1q flower vlan_id 100 action vlan pop action mirred egress redirect dev np0r1",
        tag_100,
        TO_VF1,
        plain,
    ),
    row(
        "protocol 802.1q flower vlan_id 100 action vlan push id 200 priority 5 protocol 802.1ad action mirred egress redirect dev np0",
        tag_100,
        &[WIRE],
        || ether(tagged(QINQ, 200, 5, tagged(VLAN, 100, 3, ip4().udp(1000, 2000)))),
    ),
    row(
        "protocol 802.1ad flower action vlan pop action vlan pop action mirred egress redirect dev np0r1",
        || ether(tagged(QINQ, 200, 5, tagged(VLAN, 100, 3, ip4().udp(1000, 2000)))),
        TO_VF1,
        plain,
    ),
    row(
        "protocol 802.1q flower action vlan modify id 300 action mirred egress redirect dev np0r1",
        tag_100,
        TO_VF1,
        || ether(tagged(VLAN, 300, 3, ip4().udp(1000, 2000))),
    ),
    row(
        "protocol 802.1q flower action vlan modify id 300 priority 6 action mirred egress redirect dev np0r1",
        tag_100,
        TO_VF1,
        || ether(tagged(VLAN, 300, 6, ip4().udp(1000, 2000))),
    ),
    // Header edits
    row(
        "protocol ip flower action pedit ex munge eth src set 02:cc:00:00:00:09 munge eth dst set 02:dd:00:00:00:0a pipe action mirred egress redirect dev np0r1",
        plain,
        TO_VF1,
        || ether_between([2, 0xcc, 0, 0, 0, 9], [2, 0xdd, 0, 0, 0, 10], ip4().udp(1000, 2000)),
    ),
    row(
        "protocol ip flower ip_proto udp action pedit ex munge ip src set 192.0.2.1 munge ip dst set 192.0.2.2 pipe action csum ip4h and udp pipe action mirred egress redirect dev np0r1",
        plain,
        TO_VF1,
        || {
            let ip = Ip4 { src: [192, 0, 2, 1].into(), dst: [192, 0, 2, 2].into(), ..ip4() };
            ether(ip.udp(1000, 2000))
        },
    ),
    row(
        "protocol ip flower ip_proto udp action pedit ex munge ip ttl add 0xff pipe action csum ip4h pipe action mirred egress redirect dev np0r1",
        plain,
        TO_VF1,
        || ether(Ip4 { ttl: 63, ..ip4() }.udp(1000, 2000)),
    ),
    row(
        "protocol ip flower ip_proto udp action pedit ex munge ip tos set 0x28 retain 0xfc pipe action csum ip4h pipe action mirred egress redirect dev np0r1",
        || ether(Ip4 { tos: 3, ..ip4() }.udp(1000, 2000)),
        TO_VF1,
        || ether(Ip4 { tos: 0x2b, ..ip4() }.udp(1000, 2000)),
    ),
    row(
        "protocol ip flower ip_proto udp action pedit ex munge udp sport set 1111 munge udp dport set 2222 pipe action csum udp pipe action mirred egress redirect dev np0r1",
        plain,
        TO_VF1,
        || ether(ip4().udp(1111, 2222)),
    ),
    row(
        "protocol ip flower ip_proto tcp action pedit ex munge tcp dport set 8080 pipe action csum tcp pipe action mirred egress redirect dev np0r1",
        || ether(ip4().tcp(1000, 80, 2)),
        TO_VF1,
        || ether(ip4().tcp(1000, 8080, 2)),
    ),
    row(
        "protocol ipv6 flower ip_proto udp action pedit ex munge ip6 dst set 2001:db8:9::9 munge ip6 hoplimit add 0xff pipe action csum udp pipe action mirred egress redirect dev np0r1",
        || ether(ip6().udp(1000, 2000)),
        TO_VF1,
        || {
            let dst = std::net::Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
            ether(Ip6 { dst, hops: 63, ..ip6() }.udp(1000, 2000))
        },
    ),
    row(
        "protocol 802.1q flower vlan_id 100 vlan_ethtype ip ip_proto udp action pedit ex munge ip dst set 192.0.2.2 pipe action csum ip4h and udp pipe action vlan pop action mirred egress redirect dev np0r1",
        tag_100,
        TO_VF1,
        || ether(Ip4 { dst: [192, 0, 2, 2].into(), ..ip4() }.udp(1000, 2000)),
    ),
    // Order: what was mirrored before an edit is as it was.
    row(
        "protocol ip flower action vlan push id 100 priority 3 action mirred egress redirect dev np0r1",
        plain,
        TO_VF1,
        tag_100,
    ),
];

pub(super) fn every_action_does_what_it_says(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    for row in ROWS {
        check(&lab, row).with_context(|| format!("filter `{}`", row.filter))?;
    }
    Ok(())
}

fn check(lab: &Lab, row: &Row) -> anyhow::Result<()> {
    lab::only(REP0, &format!("prio 1 {}", row.filter))?;
    let seen = lab.send(VF0, &(row.sent)(), row.at)?;
    seen.once_at(row.at)?;
    for end in row.at {
        same(seen.at(end)?, &(row.received)()).with_context(|| format!("the copy at {end}"))?;
    }
    let counted = lab::card_packets(lab)?;
    ensure!(counted == 1, "the filter counted {counted} packets");
    Ok(())
}

/// Equal up to the padding of short frames.
pub(super) fn same(frame: &[u8], expected: &[u8]) -> anyhow::Result<()> {
    ensure!(
        frame.starts_with(expected) && frame[expected.len()..].iter().all(|byte| *byte == 0),
        "the frame is\n{frame:02x?}, not\n{expected:02x?}"
    );
    Ok(())
}

/// A copy that is mirrored before an edit is not edited.
pub(super) fn order_matters(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        REP0,
        "protocol ip flower ip_proto udp action mirred egress mirror dev np0r1 \
         action vlan push id 100 priority 3 \
         action mirred egress mirror dev np0r2 \
         action pedit ex munge ip dst set 192.0.2.2 pipe action csum ip4h and udp pipe \
         action mirred egress redirect dev np0",
    )?;
    let seen = lab.send(VF0, &plain(), &[VF1, VF2, WIRE])?;
    seen.once_at(&[VF1, VF2, WIRE])?;
    same(seen.at(VF1)?, &plain())?;
    same(seen.at(VF2)?, &tag_100())?;
    let edited = Ip4 { dst: [192, 0, 2, 2].into(), ..ip4() };
    same(seen.at(WIRE)?, &ether(tagged(VLAN, 100, 3, edited.udp(1000, 2000))))
}

/// From the wire, filters of the uplink are asked.
pub(super) fn from_the_wire(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        UPLINK,
        "protocol 802.1q flower vlan_id 100 action vlan pop action mirred egress redirect dev np0r1",
    )?;
    same(lab.send(WIRE, &tag_100(), &[VF1])?.only_at(VF1)?, &plain())?;
    lab.send(WIRE, &plain(), &[UPLINK])?.only_at(UPLINK)?;
    Ok(())
}

/// Filters of a block that two representors share are asked for both.
pub(super) fn shared_block(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    for rep in ["np0r0", "np0r1"] {
        lab::run(&format!("tc qdisc del dev {rep} clsact"))?;
        lab::run(&format!("tc qdisc add dev {rep} ingress_block 7 clsact"))?;
    }
    lab::run(
        "tc filter add block 7 protocol ip flower skip_sw action mirred egress redirect dev np0r2",
    )?;
    lab.send(VF0, &plain(), &[VF2])?.only_at(VF2)?;
    lab.send(VF1, &plain(), &[VF2])?.only_at(VF2)?;
    lab::run("tc qdisc del dev np0r0 clsact")?;
    lab.send(VF0, &plain(), &[REP0])?.only_at(REP0)?;
    lab.send(VF1, &plain(), &[VF2])?.only_at(VF2)?;
    Ok(())
}

/// A burst passes, what exceeds it is dropped, and time fills the bucket again.
pub(super) fn police(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        REP0,
        "protocol ip flower action police pkts_rate 1 pkts_burst 3 conform-exceed drop/pipe \
         action mirred egress redirect dev np0r1",
    )?;
    for _ in 0..3 {
        lab.send(VF0, &plain(), &[VF1])?.only_at(VF1)?;
    }
    let mut passed = 0;
    for _ in 0..5 {
        passed += usize::from(lab.send(VF0, &plain(), &[])?.only_at(VF1).is_ok());
    }
    // Five packets take less than five seconds.
    ensure!(passed < 5, "nothing was dropped");
    std::thread::sleep(Duration::from_millis(1100));
    lab.send(VF0, &plain(), &[VF1])?.only_at(VF1)?;
    Ok(())
}

/// What is longer than the limit is dropped; the Ethernet header does not count.
pub(super) fn police_limits_length(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        REP0,
        "protocol ip flower action police mtu 228 conform-exceed drop/pipe \
         action mirred egress redirect dev np0r1",
    )?;
    // 20 and 8 bytes of headers, and the eight bytes that every frame here ends with.
    lab.send(VF0, &ether(ip4().udp_with(1000, 2000, &[7; 192])), &[VF1])?.only_at(VF1)?;
    lab.send(VF0, &ether(ip4().udp_with(1000, 2000, &[7; 193])), &[])?.once_at(&[])
}
