//! Connections: software tracks and commits, hardware carries what is established.
//!
//! Frames are made by hand, in both directions, through the filters that a compiler of OVN's rules would make: track in chain 0,
//! commit or forward in chain 1. A filter with ct cannot be `skip_sw`, so every filter here is in both.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::actions::same;
use super::lab::{self, Lab, REP0, REP1, VF0, VF1};
use super::packet::*;
use crate::cases::Ctx;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;

/// How long hardware may take to have a connection. The answers of a UDP connection come to it only when conntrack calls it assured,
/// two seconds after it began (nf_conntrack_udp_packet).
const SETTLE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// From np0r0 to np0r1 with ct, and back. `track` and `commit` are what is said to `action ct`; conntrack remembers beyond a case,
/// so each has a zone of its own.
fn filters(track: &str, commit: &str) -> anyhow::Result<()> {
    for (rep, other) in [(REP0, REP1), (REP1, REP0)] {
        lab::add_both(
            rep,
            &format!(
                "chain 0 prio 1 protocol ip flower ct_state -trk action ct {track} pipe action goto chain 1"
            ),
        )?;
        lab::add_both(
            rep,
            &format!(
                "chain 1 prio 1 protocol ip flower ct_state +trk+est action mirred egress redirect dev {other}"
            ),
        )?;
        lab::add_both(
            rep,
            &format!(
                "chain 1 prio 2 protocol ip flower ct_state +trk+new action ct {commit} pipe action mirred egress redirect dev {other}"
            ),
        )?;
    }
    Ok(())
}

/// Sends until the frame arrives without the representor seeing it, and gives what arrived.
fn until_in_hardware(
    lab: &Lab,
    (from, to): (&'static str, &'static str),
    frame: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        let seen = lab.send(from, frame, &[to])?;
        if let Ok(arrived) = seen.only_at(to) {
            return Ok(arrived.to_vec());
        }
        seen.at(to).context("on the slow path")?;
        thread::sleep(PAUSE);
    }
    anyhow::bail!("hardware never took the connection: {}", lab.nic.get("flow_counters")?)
}

pub(super) fn udp(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    filters("zone 7", "commit zone 7")?;
    let there = ether(ip4().udp(1000, 2000));
    let back = ether_between(DST_MAC, SRC_MAC, Ip4 { src: DST, dst: SRC, ..ip4() }.udp(2000, 1000));
    lab.send(VF0, &there, &[VF1])?.once_at(&[REP0, VF1]).context("the first packet")?;
    lab.send(VF1, &back, &[VF0])?.at(VF0).context("the answer")?;
    same(&until_in_hardware(&lab, (VF0, VF1), &there)?, &there)?;
    same(&until_in_hardware(&lab, (VF1, VF0), &back)?, &back)?;
    ensure!(lab::counter(&lab, "ct_hits")? >= 2, "hardware knew no connection");
    let other = ether(ip4().udp(1001, 2000));
    lab.send(VF0, &other, &[VF1])?.once_at(&[REP0, VF1]).context("of another connection")?;
    Ok(())
}

/// A handshake through software, data through hardware, and the FIN through software again.
pub(super) fn tcp(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    filters("zone 8", "commit zone 8")?;
    let there = |flags, at| ether(ip4().tcp_at(1000, 80, flags, at));
    let answer = Ip4 { src: DST, dst: SRC, ..ip4() };
    let back = |flags, at| ether_between(DST_MAC, SRC_MAC, answer.tcp_at(80, 1000, flags, at));
    lab.send(VF0, &there(SYN, (1, 0)), &[VF1])?.at(VF1)?;
    lab.send(VF1, &back(SYN_ACK, (1, 2)), &[VF0])?.at(VF0)?;
    lab.send(VF0, &there(ACK, (2, 2)), &[VF1])?.at(VF1)?;
    until_in_hardware(&lab, (VF0, VF1), &there(ACK, (2, 2)))?;
    until_in_hardware(&lab, (VF1, VF0), &back(ACK, (2, 2)))?;
    lab.send(VF0, &there(FIN_ACK, (2, 2)), &[VF1])?.once_at(&[REP0, VF1]).context("the FIN")?;
    Ok(())
}

/// Hardware translates as software did.
pub(super) fn nat(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    filters("zone 9 nat", "commit zone 9 nat src addr 192.0.2.1")?;
    let there = ether(ip4().udp(1000, 2000));
    let translated = ether(Ip4 { src: [192, 0, 2, 1].into(), ..ip4() }.udp(1000, 2000));
    let answer = Ip4 { src: DST, dst: [192, 0, 2, 1].into(), ..ip4() };
    let back = ether_between(DST_MAC, SRC_MAC, answer.udp(2000, 1000));
    let restored =
        ether_between(DST_MAC, SRC_MAC, Ip4 { src: DST, dst: SRC, ..ip4() }.udp(2000, 1000));
    same(lab.send(VF0, &there, &[VF1])?.at(VF1)?, &translated).context("in software")?;
    same(lab.send(VF1, &back, &[VF0])?.at(VF0)?, &restored).context("back in software")?;
    let arrived = until_in_hardware(&lab, (VF0, VF1), &there)?;
    same(&arrived, &translated).context("in hardware")?;
    ensure!(checksums_are_right(&arrived), "its checksums are wrong");
    same(&until_in_hardware(&lab, (VF1, VF0), &back)?, &restored).context("back in hardware")?;
    Ok(())
}

/// `ct clear` forgets, so that `-trk` matches again, with no software to help.
pub(super) fn clear(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(REP0, "chain 0 prio 1 protocol ip flower action ct clear pipe action goto chain 1")?;
    lab::add(
        REP0,
        "chain 1 prio 1 protocol ip flower ct_state -trk action mirred egress redirect dev np0r1",
    )?;
    lab.send(VF0, &ether(ip4().udp(1000, 2000)), &[VF1])?.only_at(VF1)?;
    Ok(())
}
