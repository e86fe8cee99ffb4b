//! Rows of the Open vSwitch database, as far as anyone here asks for them, and the ports they describe.
//!
//! A cell is text, whatever its column's type: that is how both the JSON of the server and the tables that
//! `ovsdb-client dump` prints can be read into one value.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BridgePorts, Fdb, LinkProtocols, Mirror, MirrorOutput, Policing, Port, PortIfIndex, PortKind,
    PortMap, PriorityTags, Tunnel, TunnelKind, VlanMode, hidden, mac,
};
use crate::openflow::{BridgeName, OfPort};

/// What one column of one row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Any number of values; an optional value has none or one.
    Set(Vec<String>),
    /// Keys with their values.
    Map(BTreeMap<String, String>),
}

/// The columns of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The cells by column name.
    pub cells: BTreeMap<String, Cell>,
}

impl Row {
    /// The values of a column; none when it is empty, not there, or a map.
    pub fn set(&self, column: &str) -> &[String] {
        match self.cells.get(column) {
            Some(Cell::Set(values)) => values,
            _ => &[],
        }
    }

    /// The only value of a column, when there is one that says something.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.set(column).first().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The value behind a key of a map.
    pub fn key(&self, column: &str, key: &str) -> Option<&str> {
        match self.cells.get(column) {
            Some(Cell::Map(map)) => map.get(key).map(String::as_str),
            _ => None,
        }
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Option<T> {
        self.text(column)?.parse().ok()
    }

    fn numbers<T: std::str::FromStr + Ord>(&self, column: &str) -> BTreeSet<T> {
        self.set(column).iter().filter_map(|number| number.parse().ok()).collect()
    }

    fn is_true(&self, column: &str) -> bool {
        self.text(column) == Some("true")
    }

    fn map(&self, column: &str) -> BTreeMap<String, String> {
        match self.cells.get(column) {
            Some(Cell::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowUpdate {
    /// The table.
    pub table: String,
    /// The row's UUID.
    pub uuid: String,
    /// All of the row as it is now; `None` when it is gone.
    pub row: Option<Row>,
}

/// The rows of the database by table and UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    tables: BTreeMap<String, BTreeMap<String, Row>>,
}

impl Database {
    /// Takes a change in; `true` when the database is not what it was.
    pub fn apply(&mut self, update: RowUpdate) -> bool {
        let table = self.tables.entry(update.table).or_default();
        match update.row {
            Some(row) => table.insert(update.uuid, row.clone()).as_ref() != Some(&row),
            None => table.remove(&update.uuid).is_some(),
        }
    }

    /// Takes changes in, in their order; `true` when the database is not what it was.
    pub fn apply_all(&mut self, updates: impl IntoIterator<Item = RowUpdate>) -> bool {
        let mut changed = false;
        for update in updates {
            changed |= self.apply(update);
        }
        changed
    }

    /// The rows of a table.
    pub fn table(&self, table: &str) -> impl Iterator<Item = &Row> {
        self.tables.get(table).into_iter().flat_map(BTreeMap::values)
    }

    /// A setting of the whole switch, `Open_vSwitch other_config:KEY`.
    pub fn switch_setting(&self, key: &str) -> Option<&str> {
        self.table("Open_vSwitch").find_map(|row| row.key("other_config", key))
    }

    /// Whether OVS offloads to TC itself and so owns the hooks that we would use.
    pub fn hw_offload(&self) -> bool {
        self.switch_setting("hw-offload") == Some("true")
    }

    /// How many VLAN tags OVS looks through (`vlan-limit`; 0 is as many as it can).
    pub fn vlan_limit(&self) -> Option<u8> {
        self.switch_setting("vlan-limit").map_or(Some(1), |limit| limit.parse().ok())
    }

    /// Whether OVS waits for its rules to be restored and forwards nothing yet.
    pub fn is_restoring(&self) -> bool {
        self.switch_setting("flow-restore-wait") == Some("true")
    }

    /// The ports of all bridges. An interface that OVS could not open has no number and is left out.
    pub fn ports(&self) -> PortMap {
        let bridges = self.table("Bridge").filter_map(|bridge| {
            Some((BridgeName::from(bridge.text("name")?), self.bridge(bridge)))
        });
        PortMap { bridges: bridges.collect() }
    }

    fn bridge(&self, bridge: &Row) -> BridgePorts {
        let ports = bridge.set("ports").iter().filter_map(|uuid| self.row("Port", uuid));
        BridgePorts {
            datapath_type: bridge.text("datapath_type").unwrap_or_default().to_owned(),
            ports: ports.flat_map(|port| self.interfaces(bridge, port)).collect(),
            watched: WATCHERS.iter().any(|column| !bridge.set(column).is_empty()),
            hidden_rules: hidden::rules(self, bridge),
            sampled: SAMPLERS.iter().any(|column| !bridge.set(column).is_empty()),
            mirrors: self.mirrors(bridge),
            flood_vlans: bridge.numbers("flood_vlans"),
            mcast_snooping: bridge.is_true("mcast_snooping_enable"),
            forward_bpdu: bridge.key("other_config", "forward-bpdu") == Some("true"),
            fdb: Fdb::default(),
        }
    }

    fn interfaces(&self, bridge: &Row, port: &Row) -> Vec<(OfPort, Port)> {
        let interfaces =
            port.set("interfaces").iter().filter_map(|uuid| self.row("Interface", uuid));
        let ports = interfaces.filter_map(|interface| {
            Some((OfPort(interface.number("ofport")?), describe(bridge, port, interface)))
        });
        ports.collect()
    }

    fn mirrors(&self, bridge: &Row) -> Vec<Mirror> {
        let mirrors = bridge.set("mirrors").iter().filter_map(|uuid| self.row("Mirror", uuid));
        let mut mirrors: Vec<Mirror> = mirrors.map(|mirror| self.mirror(mirror)).collect();
        mirrors.sort_by(|a, b| a.name.cmp(&b.name));
        mirrors
    }

    fn mirror(&self, mirror: &Row) -> Mirror {
        let vlan = mirror.number("output_vlan").map(MirrorOutput::Vlan);
        let port = self.numbers_of_ports(mirror.set("output_port"));
        Mirror {
            name: mirror.text("name").unwrap_or_default().to_owned(),
            select_all: mirror.is_true("select_all"),
            select_src: self.numbers_of_ports(mirror.set("select_src_port")),
            select_dst: self.numbers_of_ports(mirror.set("select_dst_port")),
            select_vlans: mirror.numbers("select_vlan"),
            filter: mirror.text("filter").map(str::to_owned),
            output: Some(port)
                .filter(|port| !port.is_empty())
                .map(MirrorOutput::Port)
                .or(vlan)
                .unwrap_or_default(),
            snaplen: mirror.number("snaplen"),
        }
    }

    /// The OpenFlow numbers of all interfaces of these rows of `Port`.
    fn numbers_of_ports(&self, ports: &[String]) -> BTreeSet<OfPort> {
        let ports = ports.iter().filter_map(|uuid| self.row("Port", uuid));
        let interfaces = ports.flat_map(|port| port.set("interfaces"));
        let rows = interfaces.filter_map(|uuid| self.row("Interface", uuid));
        rows.filter_map(|interface| interface.number("ofport").map(OfPort)).collect()
    }

    /// Some rows of a table.
    pub(super) fn rows(&self, table: &'static str, uuids: &[String]) -> impl Iterator<Item = &Row> {
        uuids.iter().filter_map(move |uuid| self.row(table, uuid))
    }

    fn row(&self, table: &str, uuid: &str) -> Option<&Row> {
        self.tables.get(table)?.get(uuid)
    }
}

/// Columns of a bridge that make OVS copy or sample its packets.
const WATCHERS: [&str; 4] = ["mirrors", "netflow", "sflow", "ipfix"];
/// Columns of a bridge that make OVS sample its packets.
const SAMPLERS: [&str; 3] = ["netflow", "sflow", "ipfix"];

fn describe(bridge: &Row, port: &Row, interface: &Row) -> Port {
    let tag = port.number("tag");
    let is_bond = port.set("interfaces").len() > 1;
    Port {
        name: interface.text("name").unwrap_or_default().to_owned(),
        ifindex: interface.number("ifindex").filter(|index| *index != 0).map(PortIfIndex),
        kind: kind(interface),
        tag,
        trunks: port.numbers("trunks"),
        vlan_mode: vlan_mode(port.text("vlan_mode"), tag),
        cvlans: port.numbers("cvlans"),
        priority_tags: priority_tags(port.key("other_config", "priority-tags")),
        protected: port.is_true("protected"),
        bond: port.text("name").filter(|_| is_bond).map(str::to_owned),
        policing: policing(interface),
        switch: None,
        protocols: protocols(bridge, port, interface),
        mac: interface.text("mac_in_use").and_then(mac),
        link_up: interface.text("link_state").map(|state| state == "up"),
        external_ids: interface.map("external_ids"),
    }
}

fn kind(interface: &Row) -> PortKind {
    let name = interface.text("type").unwrap_or_default();
    if let Some(tunnel) = TunnelKind::from_name(name) {
        return PortKind::Tunnel(Tunnel { kind: tunnel, options: interface.map("options") });
    }
    match name {
        "" | "system" => PortKind::System,
        "internal" => PortKind::Internal,
        "patch" => PortKind::Patch {
            peer: interface.key("options", "peer").unwrap_or_default().to_owned(),
        },
        other => PortKind::Other(other.to_owned()),
    }
}

/// Without a mode of its own, a port with a tag is an access port.
fn vlan_mode(mode: Option<&str>, tag: Option<u16>) -> VlanMode {
    match (mode, tag) {
        (Some("access"), _) => VlanMode::Access,
        (Some("native-tagged"), _) => VlanMode::NativeTagged,
        (Some("native-untagged"), _) => VlanMode::NativeUntagged,
        (Some("dot1q-tunnel"), _) => VlanMode::Dot1qTunnel,
        (None, Some(_)) => VlanMode::Access,
        _ => VlanMode::Trunk,
    }
}

fn priority_tags(setting: Option<&str>) -> PriorityTags {
    match setting {
        Some("always") => PriorityTags::Always,
        // `true` is what OVS before 2.13 knew.
        Some("if-nonzero" | "true") => PriorityTags::IfNonzero,
        _ => PriorityTags::Never,
    }
}

fn policing(interface: &Row) -> Option<Policing> {
    let limit = |column: &str| interface.number(column).unwrap_or_default();
    let policing = Policing {
        rate_kbps: limit("ingress_policing_rate"),
        burst_kbits: limit("ingress_policing_burst"),
        rate_kpkts: limit("ingress_policing_kpkts_rate"),
        burst_kpkts: limit("ingress_policing_kpkts_burst"),
    };
    (policing.rate_kbps != 0 || policing.rate_kpkts != 0).then_some(policing)
}

fn protocols(bridge: &Row, port: &Row, interface: &Row) -> LinkProtocols {
    LinkProtocols {
        bfd: interface.key("bfd", "enable") == Some("true"),
        cfm: interface.text("cfm_mpid").is_some(),
        lldp: interface.key("lldp", "enable") == Some("true")
            || bridge.text("auto_attach").is_some(),
        lacp: matches!(port.text("lacp"), Some("active" | "passive")),
        stp: bridge.is_true("stp_enable") || bridge.is_true("rstp_enable"),
    }
}
