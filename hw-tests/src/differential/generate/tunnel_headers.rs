//! Headers of tunnels: packets with two options of which rules ask one, flags that rules write, tunnels that lead into a tunnel to this
//! node itself, and what OVS takes on one of two tunnels of a device.

use std::collections::BTreeMap;

use flow_compiler::openflow::{BridgeName, Ruleset};
use tc_filter::GeneveOption;

use super::super::chance::Chance;
use super::super::packet::{Network, Spec};
use super::super::{links, topology};
use super::lines;

const ASKED: [&str; 9] = [
    "tun_metadata0=0x10002",
    "tun_metadata0=0x2/0xffff",
    "tun_metadata0=0",
    "tun_metadata1=0x10003",
    "tun_metadata1=0x3/0xffff",
    "tun_metadata0=0x10002,tun_metadata1=0x10003",
    "tun_id=5",
    "udp,tp_dst=3784",
    "ip",
];

/// What is done; `{port}` is a VF and `{tunnel}` a tunnel.
const DOES: [&str; 12] = [
    "output:{port}",
    "output:{port}",
    "output:{tunnel}",
    "output:25",
    "set_field:oam->tun_flags,output:{tunnel}",
    "set_tunnel:5,output:{tunnel}",
    "load:0x10002->NXM_NX_TUN_METADATA0[],output:{tunnel}",
    "load:0x10003->NXM_NX_TUN_METADATA1[],output:{tunnel}",
    "load:0x3->NXM_NX_TUN_METADATA1[0..15],output:{tunnel}",
    "move:NXM_NX_TUN_METADATA1[0..31]->NXM_NX_REG1[],resubmit(,1)",
    "resubmit(,1)",
    "set_field:203.0.113.9->tun_dst,output:{tunnel}",
];

const GENEVE: [u16; 4] = [20, 21, links::WATCHED_TUNNEL, links::TUNNEL_TO_ITSELF];
const BFD_PORTS: [u16; 3] = [3784, 3784, 4784];
const UDP: u8 = 17;

/// A ruleset for the bridges of [`links`].
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut rules = Vec::new();
    for port in GENEVE.into_iter().chain([1, 2, links::WATCHED]) {
        for priority in 1..=1 + chance.below(2) {
            let asked = if port < 20 { "ip" } else { *chance.of(&ASKED) };
            let does = does(chance, &DOES);
            rules.push(format!("priority={priority},in_port={port},{asked} actions={does}"));
        }
    }
    for _ in 0..2 + chance.below(2) {
        let (priority, asked) = (1 + chance.below(3), *chance.of(&ASKED));
        rules.push(format!(
            "table=1,priority={priority},{asked} actions={}",
            does(chance, &DOES[..7])
        ));
    }
    rules.push(format!("table=1,priority=3,reg1=0x10003 actions={}", does(chance, &DOES[..7])));
    rules.push(format!("table=1,priority=0 actions={}", does(chance, &DOES[..7])));
    let mut integration = lines::bridge(&rules, &[])?;
    integration.tunnel_options = links::options();
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), integration),
            (BridgeName::from(topology::PROVIDER), lines::normal()?),
        ]),
    })
}

fn does(chance: &mut Chance, all: &[&str]) -> String {
    let (port, tunnel) = (*chance.of(&topology::VFS), *chance.of(&GENEVE));
    let does = chance.of(all).replace("{port}", &port.to_string());
    does.replace("{tunnel}", &tunnel.to_string())
}

/// Another option in the tunnel's header, and packets of BFD.
pub(crate) fn twist(chance: &mut Chance, spec: &mut Spec) {
    if let Some(header) = spec.tunnel.as_mut().filter(|_| chance.one_in(2)) {
        let data: u32 = *chance.of(&[0x10003, 0x20003, 0]);
        let second = GeneveOption::new(0x0102, 0x81, &data.to_be_bytes()).ok();
        header.options.extend(second);
        if chance.one_in(3) {
            header.options.reverse();
        }
    }
    if let Network::Ip4 { ip, .. } | Network::Ip6 { ip, .. } = &mut spec.network
        && chance.one_in(4)
    {
        (ip.protocol, ip.dst) = (UDP, *chance.of(&BFD_PORTS));
    }
}
