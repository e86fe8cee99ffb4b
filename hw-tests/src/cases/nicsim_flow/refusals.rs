//! What the card does not take, and the sentence with which it says so.

use anyhow::{Context, ensure};

use super::lab::{self, Lab, REP0, UPLINK, VF0, VF1};
use super::packet::*;
use crate::cases::Ctx;
use crate::guest::tool::json;

const REDIRECT: &str = "action mirred egress redirect dev np0r1";

/// Profile, filter, and a part of the sentence.
const ROWS: &[(&str, &str, &str)] = &[
    ("any", "protocol mpls_uc flower mpls_label 5 action drop", "Match on MPLS is not supported"),
    (
        "any",
        "protocol all flower num_of_vlans 2 action drop",
        "Match on number of VLANs is not supported",
    ),
    (
        "any",
        "protocol ip flower action sample rate 10 group 1 action mirred egress redirect dev np0r1",
        "Action sample is not supported",
    ),
    (
        "any",
        "protocol ip flower action vlan push id 7",
        "Rule must have at least one forward/drop action",
    ),
    ("any", "protocol ip flower action mirred egress redirect dev lo", "not on the same switch"),
    ("any", "protocol ip flower action skbedit mark 7 action drop", "skbedit"),
    (
        "mlx5",
        "protocol ip flower ip_proto sctp dst_port 5 action drop",
        "Only UDP and TCP transports are supported for L4 matching",
    ),
    ("mlx5", "protocol arp flower arp_op request action drop", "Unsupported key"),
    ("mlx5", "protocol ip flower ip_proto udp dst_port 1-5 action drop", "Unsupported key"),
    (
        "mlx5",
        "protocol ip flower ip_flags frag/firstfrag action drop",
        "Match on frag first/later is not supported",
    ),
    (
        "mlx5",
        "protocol ip flower action mirred egress mirror dev np0r1 action trap",
        "sole action only",
    ),
    (
        "mlx5",
        "protocol ip flower ip_proto udp action csum udp action mirred egress redirect dev np0r1",
        "only offloaded with pedit",
    ),
    (
        "mlx5",
        "protocol ip flower action pedit ex munge ip ttl set 5 pipe action drop",
        "Drop with modify header action is not supported",
    ),
    (
        "mlx5",
        "protocol ip flower action pedit ex munge ip ttl set 5 pipe action csum ip4h pipe action mirred egress redirect dev np0r1",
        "re-write of non TCP/UDP",
    ),
    (
        "mlx5",
        "protocol ip flower action mirred egress mirror dev np0r1 action mirred egress redirect dev np0r1",
        "can't duplicate output to same device",
    ),
    (
        "mlx5",
        "protocol ip flower action mirred egress redirect dev np0r0",
        "can't forward from a VF to itself",
    ),
    (
        "mlx5",
        "protocol 802.1q flower vlan_id 5 vlan_prio 1 action vlan modify id 6 priority 2 action mirred egress redirect dev np0r1",
        "Changing VLAN prio is not supported",
    ),
    ("ice", "chain 1 protocol ip flower action drop", "only offload of chain 0"),
    ("ice", "protocol ip flower ip_proto tcp tcp_flags 2 action drop", "Unsupported key used"),
    (
        "ice",
        "protocol ip flower ip_proto sctp dst_port 5 action drop",
        "Only UDP and TCP transport are supported",
    ),
    (
        "ice",
        "protocol ip flower action vlan push id 7 action mirred egress redirect dev np0r1",
        "Unsupported action in switchdev mode",
    ),
    ("ice", "protocol ip flower action goto chain 1", "Unsupported action in switchdev mode"),
    ("ice", "protocol ip flower action pass", "Unsupported action in switchdev mode"),
];

pub(super) fn each_profile_says_why(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    for (profile, filter, sentence) in ROWS {
        lab.nic.set("profile", profile)?;
        let said = lab::add_refused(REP0, filter)
            .with_context(|| format!("profile {profile}: `{filter}`"))?;
        ensure!(said.contains(sentence), "profile {profile}: `{filter}` was refused with: {said}");
    }
    let filters = lab::counter(&lab, "filters")?;
    ensure!(filters == 0, "{filters} refused filters are in the card");
    Ok(())
}

/// A refusal of hardware leaves a filter without `skip_sw` in software.
pub(super) fn refused_filters_stay_in_software(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _lab = Lab::new(ctx, "profile=ice")?;
    lab::add_both(REP0, &format!("protocol ip flower ip_proto tcp tcp_flags 2 {REDIRECT}"))?;
    let filters = json("tc -j filter show dev np0r0 ingress")?;
    ensure!(filters.to_string().contains("\"not_in_hw\":true"), "it is in hardware: {filters}");
    Ok(())
}

/// A full card says so, and has room again when a filter goes.
pub(super) fn capacity(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "capacity=2")?;
    let filter = |port: u16| {
        format!("prio {port} protocol ip flower ip_proto udp dst_port {port} {REDIRECT}")
    };
    lab::add(REP0, &filter(1))?;
    lab::add(REP0, &filter(2))?;
    let said = lab::add_refused(REP0, &filter(3))?;
    ensure!(said.contains("Flow table is full: it holds 2 filters"), "refused with: {said}");
    lab::run("tc filter del dev np0r0 ingress prio 1")?;
    lab::add(REP0, &filter(3))?;
    lab.send(VF0, &ether(ip4().udp(9, 3)), &[VF1])?.only_at(VF1)?;
    Ok(())
}

/// The n-th insertion fails, and only that one.
pub(super) fn insertion_fault(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    lab.nic.set("insert_fail_nth", 2)?;
    lab::add(REP0, &format!("prio 1 protocol ip flower {REDIRECT}"))?;
    let said = lab::add_refused(REP0, &format!("prio 2 protocol ipv6 flower {REDIRECT}"))?;
    ensure!(said.contains("Firmware failed to insert the filter"), "refused with: {said}");
    lab::add(REP0, &format!("prio 3 protocol arp flower {REDIRECT}"))
}

/// Nothing goes to hardware while hw-tc-offload is off, in legacy mode, or by matchall.
pub(super) fn offload_must_be_on(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    switchdev::ethtool::Ethtool::open()?.set_hw_tc_offload(REP0, false)?;
    let said = lab::add_refused(REP0, &format!("protocol ip flower {REDIRECT}"))?;
    ensure!(said.contains("TC offload is disabled on net device"), "refused with: {said}");
    let said = lab::refused("tc filter add dev np0r1 ingress matchall skip_sw action drop")?;
    ensure!(said.contains("matchall is not offloaded"), "refused with: {said}");
    lab.nic.set_mode("legacy")?;
    let said = lab::add_refused(UPLINK, "protocol ip flower action drop")?;
    ensure!(said.contains("only in switchdev mode"), "refused with: {said}");
    Ok(())
}

/// mlx5 without ignore_flow_level has few chains and prios, and one way through them.
pub(super) fn mlx5_without_ignore_flow_level(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "profile=mlx5")?;
    lab::add(REP0, "chain 4 prio 17 protocol ip flower action drop")?;
    lab.nic.set("ignore_flow_level", "N")?;
    let rows = [
        (
            "chain 4 prio 1 protocol ip flower action drop",
            "Requested chain is out of supported range",
        ),
        (
            "chain 1 prio 17 protocol ip flower action drop",
            "Requested priority is out of supported range",
        ),
        (
            "chain 2 prio 1 protocol ip flower action goto chain 1",
            "Goto lower numbered chain isn't supported",
        ),
        (
            "chain 2 prio 1 protocol ip flower action goto chain 4",
            "Requested destination chain is out of supported range",
        ),
    ];
    for (filter, sentence) in rows {
        let said = lab::add_refused(REP0, filter)?;
        ensure!(said.contains(sentence), "`{filter}` was refused with: {said}");
    }
    Ok(())
}
