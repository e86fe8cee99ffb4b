//! Chains and prios: who wins, where a goto leads, and how a packet that misses comes to the host.

use anyhow::{Context, ensure};

use super::actions::same;
use super::lab::{self, Lab, REP0, VF0, VF1, VF2};
use super::packet::*;
use crate::cases::Ctx;
use crate::sim::kernel::Flavour;

fn plain() -> Vec<u8> {
    ether(ip4().udp(1000, 2000))
}

/// The lowest prio that matches wins, in whatever order they were added.
pub(super) fn prios(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(REP0, "prio 30 protocol ip flower action drop")?;
    lab::add(
        REP0,
        "prio 10 protocol ip flower dst_ip 10.2.0.2 action mirred egress redirect dev np0r1",
    )?;
    lab::add(
        REP0,
        "prio 20 protocol ip flower ip_proto udp action mirred egress redirect dev np0r2",
    )?;
    lab.send(VF0, &plain(), &[VF1])?.only_at(VF1)?;
    let other = ether(Ip4 { dst: [10, 3, 0, 3].into(), ..ip4() }.udp(1, 2));
    lab.send(VF0, &other, &[VF2])?.only_at(VF2)?;
    let tcp = ether(Ip4 { dst: [10, 3, 0, 3].into(), ..ip4() }.tcp(1, 2, 2));
    lab.send(VF0, &tcp, &[])?.once_at(&[])?;
    lab::run("tc filter del dev np0r0 ingress prio 10")?;
    lab.send(VF0, &plain(), &[VF2])?.only_at(VF2)?;
    Ok(())
}

/// A filter that is replaced in place decides as the new one says, at once.
pub(super) fn replace(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    for (dev, end) in [("np0r1", VF1), ("np0r2", VF2), ("np0r1", VF1)] {
        lab::run(&format!(
            "tc filter replace dev np0r0 ingress prio 1 handle 1 protocol ip flower skip_sw dst_ip 10.2.0.2 \
             action mirred egress redirect dev {dev}"
        ))?;
        lab.send(VF0, &plain(), &[end])?.only_at(end)?;
    }
    let filters = lab::counter(&lab, "filters")?;
    ensure!(filters == 1, "there are {filters} filters in the card, not one");
    Ok(())
}

/// What an earlier chain did to the packet is what a later one sees.
pub(super) fn goto_sees_edits(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        REP0,
        "chain 0 prio 1 protocol ip flower action vlan push id 100 action goto chain 7",
    )?;
    lab::add(
        REP0,
        "chain 7 prio 1 protocol 802.1q flower vlan_id 100 vlan_ethtype ip dst_ip 10.2.0.2 \
         action vlan pop action goto chain 9",
    )?;
    lab::add(REP0, "chain 9 prio 1 protocol ip flower action mirred egress redirect dev np0r1")?;
    same(lab.send(VF0, &plain(), &[VF1])?.only_at(VF1)?, &plain())
}

/// A chain that only unreached filters are in is never asked; a loop ends.
pub(super) fn goto_loop_ends(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(REP0, "chain 5 prio 1 protocol ip flower action mirred egress redirect dev np0r2")?;
    lab.send(VF0, &plain(), &[REP0])?.only_at(REP0)?;
    lab::clear(REP0)?;
    lab::add(REP0, "chain 0 prio 1 protocol ip flower action goto chain 1")?;
    lab::add(REP0, "chain 1 prio 1 protocol ip flower action goto chain 1")?;
    lab.send(VF0, &plain(), &[])?.once_at(&[])
}

/// Chain 0 is in hardware and in software, what continues it in software only: where does the packet come out?
///
/// A kernel that is told the chain goes on there, once: the counter of the software filter in chain 0 stays at nought. One that
/// is not starts again in chain 0.
pub(super) fn miss_in_a_later_chain(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add_both(
        REP0,
        "chain 5 prio 1 protocol ip flower skip_hw action mirred egress redirect dev np0r1",
    )?;
    lab::add_both(REP0, "chain 0 prio 1 protocol ip flower action goto chain 5")?;
    let seen = lab.send(VF0, &plain(), &[REP0, VF1])?;
    seen.once_at(&[REP0, VF1]).context("by way of the representor")?;
    same(seen.at(VF1)?, &plain())?;
    let restored = ctx.kernel == Flavour::Own;
    let (hardware, software) = lab::hardware_and_software_packets(REP0, 0)?;
    ensure!(hardware == 1, "hardware counted {hardware} packets in chain 0");
    ensure!(
        software == u64::from(!restored),
        "software counted {software} packets in chain 0 on the {:?} kernel",
        ctx.kernel
    );
    let told = lab::counter(&lab, "restored")?;
    ensure!(told == u64::from(restored), "the card told software the chain of {told} packets");
    Ok(())
}

/// With the catch-all `pass` at the end of a later chain the packet reaches the representor as it came, on every kernel.
pub(super) fn pass_in_a_later_chain(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add_both(REP0, "chain 5 prio 9 protocol all flower action pass")?;
    lab::add_both(
        REP0,
        "chain 5 prio 1 protocol ip flower ip_proto tcp action mirred egress redirect dev np0r1",
    )?;
    lab::add_both(REP0, "chain 0 prio 1 protocol all flower action goto chain 5")?;
    same(lab.send(VF0, &plain(), &[REP0])?.only_at(REP0)?, &plain())?;
    lab.send(VF0, &ether(ip4().tcp(1, 2, 2)), &[VF1])?.only_at(VF1)?;
    Ok(())
}

/// On a kernel that cannot be told the chain, the packet comes as it was before the card edited it.
pub(super) fn miss_after_an_edit(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab::add(
        REP0,
        "chain 0 prio 1 protocol ip flower action vlan push id 100 priority 3 action goto chain 5",
    )?;
    let seen = lab.send(VF0, &plain(), &[REP0])?;
    let as_edited = ether(tagged(VLAN, 100, 3, ip4().udp(1000, 2000)));
    let expected = if ctx.kernel == Flavour::Own { as_edited } else { plain() };
    same(seen.only_at(REP0)?, &expected)
}
