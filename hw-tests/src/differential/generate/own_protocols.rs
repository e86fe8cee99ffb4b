//! Ports on which OVS speaks a protocol, seen from the rules: buckets that watch a port with BFD, ports that spanning tree does not let
//! forward, and a patch whose other end names another.

use std::collections::BTreeMap;

use flow_compiler::openflow::{BridgeName, Ruleset};

use super::super::chance::Chance;
use super::super::{links, topology};
use super::lines;

/// What packets are sent with; `{port}` is a VF.
const SENDS: [&str; 9] = [
    "group:1",
    "group:1",
    "group:2",
    "output:{port}",
    "output:{port},output:11",
    "output:11",
    "output:12",
    "output:12,output:{port}",
    "output:5",
];

/// The same on the bridge with spanning tree.
const TREE_SENDS: [&str; 5] = ["output:1", "output:2", "output:3", "in_port", "NORMAL"];

/// A ruleset for the bridges of [`links`].
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let rule = |chance: &mut Chance, port: u16, sends: &[&str]| {
        let packets = *chance.of(&["ip", "ip", "tcp", "arp"]);
        let vf = *chance.of(&topology::VFS);
        let sends = chance.of(sends).replace("{port}", &vf.to_string());
        format!("priority={},in_port={port},{packets} actions={sends}", 1 + chance.below(3))
    };
    let numbers = topology::VFS.into_iter().chain([links::WATCHED, links::TO_TREE]);
    let rules: Vec<String> = numbers.map(|port| rule(chance, port, &SENDS)).collect();
    let groups = [group(chance, 1, "ff"), group(chance, 2, "select,selection_method=hash")];
    let mut tree = |ports: &[u16]| -> Vec<String> {
        ports.iter().map(|port| rule(chance, *port, &TREE_SENDS)).collect()
    };
    let (tree, rapid) = (tree(&[1, 2, 2, 3, 3]), tree(&[2, 2, 3, 3]));
    let mut integration = lines::bridge(&rules, &groups)?;
    integration.tunnel_options = links::options();
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), integration),
            (BridgeName::from(topology::PROVIDER), lines::normal()?),
            (BridgeName::from(links::TREE), lines::bridge(&tree, &[])?),
            (BridgeName::from(links::RAPID_TREE), lines::bridge(&rapid, &[])?),
        ]),
    })
}

/// Buckets that watch ports, those they send to and others.
fn group(chance: &mut Chance, number: usize, kind: &str) -> String {
    const WATCHED: [u16; 4] = [links::WATCHED, links::WATCHED, 2, 3];
    let buckets: String = (0..2 + chance.below(2))
        .map(|_| {
            let watched = *chance.of(&WATCHED);
            let to = if chance.one_in(4) { *chance.of(&topology::VFS) } else { watched };
            format!(",bucket=watch_port:{watched},actions=output:{to}")
        })
        .collect();
    format!("group_id={number},type={kind}{buckets}")
}
