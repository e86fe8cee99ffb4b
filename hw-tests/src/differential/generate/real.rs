//! Rulesets of real systems, from a directory: `BRIDGE.flows.nostats.txt` (or `BRIDGE.flows.txt`) for each bridge, with
//! `.groups.txt`, `.meters.txt` and `.tlv.txt` where there are any, and `ovsdb-dump.txt` for the ports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flow_compiler::openflow::text::{
    Names, parse_groups, parse_meters, parse_rules, parse_tunnel_options,
};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};
use flow_compiler::ports::{
    Database, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole,
};

use super::{Scenario, Twists};

/// Names of flow files, the first that is there.
const FLOWS: [&str; 2] = ["flows.nostats.txt", "flows.txt"];
/// Names that a card's uplink has in the files.
const UPLINKS: [&str; 3] = ["eth", "uplink", "np0"];

/// Every directory below this one that holds a ruleset, or itself.
pub(crate) fn scenarios(directory: &Path) -> anyhow::Result<Vec<Scenario>> {
    if directory.join("ovsdb-dump.txt").exists() {
        return Ok(vec![scenario(directory)?]);
    }
    let mut below: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| directory.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("ovsdb-dump.txt").exists())
        .collect();
    below.sort();
    anyhow::ensure!(
        !below.is_empty(),
        "--rulesets {}: neither it nor a directory in it has an ovsdb-dump.txt",
        directory.display()
    );
    below.iter().map(|path| scenario(path)).collect()
}

fn scenario(directory: &Path) -> anyhow::Result<Scenario> {
    let dump = fs::read_to_string(directory.join("ovsdb-dump.txt"))?;
    let mut ports = Database::from_dump(&dump)?.ports();
    put_on_card(&mut ports);
    let mut ruleset = Ruleset::default();
    for bridge in ports.bridges.keys() {
        if let Some(rules) = bridge_rules(directory, bridge, &ports)? {
            ruleset.bridges.insert(bridge.clone(), rules);
        }
    }
    let name = directory.display().to_string();
    Ok(Scenario { name, ports, ruleset, twists: Twists::default() })
}

fn bridge_rules(
    directory: &Path,
    bridge: &BridgeName,
    ports: &PortMap,
) -> anyhow::Result<Option<BridgeRules>> {
    let path = |kind: &str| directory.join(format!("{bridge}.{kind}"));
    let read = |kind: &str| fs::read_to_string(path(kind)).ok();
    let Some(flows) = FLOWS.iter().find_map(|kind| read(kind)) else { return Ok(None) };
    let named = ports.bridges.get(bridge).into_iter().flat_map(|bridge| &bridge.ports);
    let names = Names {
        ports: named.map(|(number, port)| (port.name.clone(), *number)).collect(),
        ..Names::default()
    };
    let mut rules: BridgeRules = parse_rules(&flows, &names)?.into_iter().collect();
    let groups = parse_groups(&read("groups.txt").unwrap_or_default(), &names)?;
    rules.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    let meters = parse_meters(&read("meters.txt").unwrap_or_default())?;
    rules.meters = meters.into_iter().map(|meter| (meter.id, meter)).collect();
    rules.tunnel_options = parse_tunnel_options(&read("tlv.txt").unwrap_or_default())?;
    Ok(Some(rules))
}

/// The files come from machines without a card: their ports get one, the wire included.
fn put_on_card(ports: &mut PortMap) {
    for bridge in ports.bridges.values_mut() {
        bridge.datapath_type = "system".to_owned();
    }
    let mut next = 100;
    let mut devices: BTreeMap<String, u32> = BTreeMap::new();
    for port in ports.bridges.values_mut().flat_map(|bridge| bridge.ports.values_mut()) {
        let device = match &port.kind {
            PortKind::Patch { .. } => continue,
            PortKind::Tunnel(tunnel) => tunnel.device().unwrap_or_default(),
            _ => port.name.clone(),
        };
        let ifindex = *devices.entry(device).or_insert_with(|| {
            next += 1;
            next
        });
        port.ifindex = Some(PortIfIndex(ifindex));
        on_card(port);
    }
}

fn on_card(port: &mut Port) {
    if let PortKind::Other(_) = port.kind {
        port.kind = PortKind::System;
    }
    if port.kind == PortKind::System {
        let wire = UPLINKS.iter().any(|start| port.name.starts_with(start));
        let role = if wire { SwitchRole::Uplink } else { SwitchRole::Representor };
        port.switch = Some(SwitchPort { id: "c0ffee".to_owned(), role });
    }
}
