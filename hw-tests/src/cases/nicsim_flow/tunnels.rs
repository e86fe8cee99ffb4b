//! Tunnels end in the card: frames of the wire lose their outer header, frames of a VF get one.
//!
//! A filter of a tunnel device cannot be `skip_sw`: the kernel counts a device that reaches a driver by way of flow_indr as one that
//! does not offload (tcf_block_offload_bind in net/sched/cls_api.c). So these are in both, and the outer frames are not addressed to
//! the host, which therefore leaves alone what the card does not take.
//!
//! The PF's netdev has the near address, the far end is a neighbour that is told by hand; so no packet of the host's own is about.

use anyhow::{Context, ensure};

use super::actions::same;
use super::lab::{self, Lab, REP0, UPLINK, VF0, VF1, WIRE};
use super::packet::*;
use crate::cases::Ctx;
use crate::guest::tool::run;

const NEAR: [u8; 4] = [172, 16, 0, 1];
const FAR: [u8; 4] = [172, 16, 0, 2];
const FAR_MAC: Mac = [0x02, 0xfa, 0, 0, 0, 2];
const VNI: u32 = 4242;
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;
const OPTION: GeneveOption = GeneveOption { class: 0x0102, kind: 0x80, data: 0x0a0b_0c0d };

/// A tunnel device that goes when it is dropped.
pub(super) struct Tunnel(&'static str);

impl Tunnel {
    pub(super) fn new(name: &'static str, kind: &str) -> anyhow::Result<Self> {
        run(&format!("ip link add {name} type {kind}"))?;
        let tunnel = Self(name);
        run(&format!("ip link set {name} up"))?;
        run(&format!("tc qdisc add dev {name} clsact"))?;
        Ok(tunnel)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("ip link del {}", self.0)) {
            eprintln!("{error:#}");
        }
    }
}

/// The way to the far end.
pub(super) fn underlay() -> anyhow::Result<()> {
    run(&format!("ip addr add 172.16.0.1/24 dev {UPLINK}"))?;
    know_neighbour()
}

fn inner() -> Vec<u8> {
    ether(ip4().udp(1000, 2000))
}

fn outer() -> Ip4 {
    Ip4 { src: FAR.into(), dst: NEAR.into(), ..ip4() }
}

/// The frame of the wire around an inner one.
fn from_far(payload: Payload) -> Vec<u8> {
    ether_between(FAR_MAC, [2, 0, 0, 0, 0, 9], payload)
}

/// What an outer frame carries behind its Ethernet, IPv4 and UDP headers, after a look at those.
fn behind_udp(frame: &[u8], port: u16) -> anyhow::Result<&[u8]> {
    ensure!(frame[..6] == FAR_MAC, "it is not addressed to the far end: {:02x?}", &frame[..6]);
    ensure!(frame[26..30] == NEAR && frame[30..34] == FAR, "addresses {:?}", &frame[26..34]);
    ensure!(frame[36..38] == port.to_be_bytes(), "UDP port {:?}", &frame[36..38]);
    ensure!(checksum(&frame[14..34]) == 0, "the outer IPv4 checksum is wrong");
    Ok(&frame[42..])
}

pub(super) fn vxlan_both_ways(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    let _vxlan = Tunnel::new("vxlan0", "vxlan dstport 4789 external")?;
    lab::add_both(
        "vxlan0",
        "protocol ip flower enc_src_ip 172.16.0.2 enc_dst_ip 172.16.0.1 enc_key_id 4242 enc_dst_port 4789 \
         enc_ttl 64 dst_ip 10.2.0.2 action tunnel_key unset pipe action mirred egress redirect dev np0r1",
    )?;
    let frame = from_far(outer().udp_with(5555, VXLAN_PORT, &vxlan(VNI, &inner())));
    same(lab.send(WIRE, &frame, &[VF1])?.only_at(VF1)?, &inner())?;
    let other = from_far(outer().udp_with(5555, VXLAN_PORT, &vxlan(VNI + 1, &inner())));
    let seen = lab.send(WIRE, &other, &[UPLINK])?;
    same(seen.only_at(UPLINK)?, &other).context("of another network")?;

    lab::add(
        REP0,
        "protocol ip flower action tunnel_key set id 4242 src_ip 172.16.0.1 dst_ip 172.16.0.2 dst_port 4789 \
         ttl 33 tos 0x20 csum action mirred egress redirect dev vxlan0",
    )?;
    let seen = lab.send(VF0, &inner(), &[WIRE])?;
    let frame = seen.only_at(WIRE)?;
    same(behind_udp(frame, VXLAN_PORT)?, &vxlan(VNI, &inner()))?;
    ensure!(frame[22] == 33 && frame[15] == 0x20, "TTL {} and TOS {:#x}", frame[22], frame[15]);
    Ok(())
}

pub(super) fn geneve_with_options(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    let _geneve = Tunnel::new("gen0", "geneve dstport 6081 external")?;
    lab::add_both(
        "gen0",
        "protocol ip flower enc_key_id 4242 enc_dst_port 6081 geneve_opts 0102:80:0a0b0c0d/ffff:ff:ffffffff \
         action tunnel_key unset pipe action mirred egress redirect dev np0r1",
    )?;
    let with =
        |option| from_far(outer().udp_with(5555, GENEVE_PORT, &geneve(VNI, option, &inner())));
    same(lab.send(WIRE, &with(Some(OPTION)), &[VF1])?.only_at(VF1)?, &inner())?;
    let other = GeneveOption { data: 1, ..OPTION };
    lab.send(WIRE, &with(Some(other)), &[UPLINK])?.only_at(UPLINK)?;
    lab.send(WIRE, &with(None), &[UPLINK])?.only_at(UPLINK)?;

    lab::add(
        REP0,
        "protocol ip flower action tunnel_key set id 4242 src_ip 172.16.0.1 dst_ip 172.16.0.2 dst_port 6081 \
         nocsum geneve_opts 0102:80:0a0b0c0d action mirred egress redirect dev gen0",
    )?;
    let seen = lab.send(VF0, &inner(), &[WIRE])?;
    same(behind_udp(seen.only_at(WIRE)?, GENEVE_PORT)?, &geneve(VNI, Some(OPTION), &inner()))
}

pub(super) fn gre_with_a_key(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    let _gre = Tunnel::new("gre1", "gretap external")?;
    lab::add_both(
        "gre1",
        "protocol ip flower enc_key_id 4242 enc_src_ip 172.16.0.2 \
         action tunnel_key unset pipe action mirred egress redirect dev np0r1",
    )?;
    same(lab.send(WIRE, &from_far(outer().gre(VNI, &inner())), &[VF1])?.only_at(VF1)?, &inner())?;
    lab.send(WIRE, &from_far(outer().gre(1, &inner())), &[UPLINK])?.only_at(UPLINK)?;

    lab::add(
        REP0,
        "protocol ip flower action tunnel_key set id 4242 src_ip 172.16.0.1 dst_ip 172.16.0.2 nocsum \
         action mirred egress redirect dev gre1",
    )?;
    let seen = lab.send(VF0, &inner(), &[WIRE])?;
    let expected = Ip4 { src: NEAR.into(), dst: FAR.into(), ..ip4() }.gre(VNI, &inner()).1;
    // Behind the IPv4 header, whose id is the sender's affair.
    same(&seen.only_at(WIRE)?[34..], &expected[20..])
}

/// While the next hop is unknown the packet goes to the host, which asks for it.
pub(super) fn unknown_neighbour(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    let _vxlan = Tunnel::new("vxlan0", "vxlan dstport 4789 external")?;
    run(&format!("ip neigh del 172.16.0.2 dev {UPLINK}"))?;
    lab::add(
        REP0,
        "protocol ip flower action tunnel_key set id 4242 src_ip 172.16.0.1 dst_ip 172.16.0.2 dst_port 4789 \
         action mirred egress redirect dev vxlan0",
    )?;
    same(lab.send(VF0, &inner(), &[REP0])?.only_at(REP0)?, &inner())?;
    know_neighbour()?;
    lab.send(VF0, &inner(), &[WIRE])?.only_at(WIRE)?;
    Ok(())
}

fn know_neighbour() -> anyhow::Result<()> {
    run(&format!("ip neigh replace 172.16.0.2 lladdr 02:fa:00:00:00:02 nud permanent dev {UPLINK}"))
        .map(drop)
}

/// A destination that is not behind the uplink, and a tunnel device without a key to set.
pub(super) fn refused(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _lab = Lab::new(ctx, "")?;
    underlay()?;
    let _vxlan = Tunnel::new("vxlan0", "vxlan dstport 4789 external")?;
    let said =
        lab::add_refused(REP0, "protocol ip flower action mirred egress redirect dev vxlan0")?;
    ensure!(said.contains("only behind tunnel_key set"), "refused with: {said}");
    let said = lab::add_refused(
        REP0,
        "protocol ip flower action tunnel_key set id 1 src_ip 127.0.0.1 dst_ip 127.0.0.2 dst_port 4789 \
         action mirred egress redirect dev vxlan0",
    )?;
    ensure!(said.contains("not reached through the uplink"), "refused with: {said}");
    Ok(())
}

/// A tunnel device that goes away takes its filters out of the card, and one that comes back starts anew.
pub(super) fn device_goes_away(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    for _ in 0..2 {
        let vxlan = Tunnel::new("vxlan0", "vxlan dstport 4789 external")?;
        lab::add_both(
            "vxlan0",
            "protocol ip flower enc_key_id 4242 enc_dst_port 4789 action drop",
        )?;
        drop(vxlan);
        let filters = lab::counter(&lab, "filters")?;
        ensure!(filters == 0, "{filters} filters are still in the card");
    }
    let frame = from_far(outer().udp_with(5555, VXLAN_PORT, &vxlan(VNI, &inner())));
    lab.send(WIRE, &frame, &[UPLINK])?.only_at(UPLINK)?;
    Ok(())
}
