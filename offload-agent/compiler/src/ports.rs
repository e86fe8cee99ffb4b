//! The ports of the bridges: which interface an OpenFlow port number stands for, and how it treats VLAN tags.
//!
//! OVS keeps this in OVSDB, so no rule says it. It is a value here; whoever reads OVSDB fills it in.

mod database;
mod dump;
mod fdb;
mod hidden;
mod mirror;
mod tunnel;

pub use database::{Cell, Database, Row, RowUpdate};
pub use dump::DumpError;
pub use fdb::{Fdb, FdbEntry, FdbError, FdbKey};
pub use mirror::{Mirror, MirrorOutput};
pub use tunnel::{OuterByte, Tunnel, TunnelConfig, TunnelEnd, TunnelError, TunnelKey, TunnelKind};

use std::collections::{BTreeMap, BTreeSet};

use crate::openflow::{BridgeName, OfPort};

/// All ports of all bridges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMap {
    /// The bridges by name.
    pub bridges: BTreeMap<BridgeName, BridgePorts>,
}

impl PortMap {
    /// One port of one bridge.
    pub fn port(&self, bridge: &BridgeName, port: OfPort) -> Option<&Port> {
        self.bridges.get(bridge)?.ports.get(&port)
    }

    /// The bridge and number of a port, by its interface name.
    pub fn find(&self, name: &str) -> Option<(&BridgeName, OfPort)> {
        self.bridges
            .iter()
            .find_map(|(bridge, ports)| ports.by_name(name).map(|port| (bridge, port)))
    }

    /// Where a packet arrives that goes out by this patch port. Both ends have to name each other, and their bridges have to
    /// be of one datapath (`ofport_update_peer` in `ofproto-dpif.c`).
    pub fn patch_peer(&self, bridge: &BridgeName, port: OfPort) -> Option<(&BridgeName, OfPort)> {
        let (here, from) = (self.bridges.get(bridge)?, self.port(bridge, port)?);
        let PortKind::Patch { peer } = &from.kind else { return None };
        let (other, number) = self.find(peer)?;
        let there = self.bridges.get(other)?;
        let back = matches!(&there.ports.get(&number)?.kind, PortKind::Patch { peer } if *peer == from.name);
        (back && here.datapath() == there.datapath()).then_some((other, number))
    }
}

/// The ports of one bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgePorts {
    /// `system` (the kernel datapath, also when empty), `netdev` (user space) or `dummy`.
    pub datapath_type: String,
    /// The ports by OpenFlow number.
    pub ports: BTreeMap<OfPort, Port>,
    /// OVS copies or samples packets of the bridge (a mirror, NetFlow, sFlow, IPFIX), so it has to see them all.
    pub watched: bool,
    /// That OVS may have rules which no dump shows, and which go before all others; as it is said of a port.
    pub hidden_rules: Option<&'static str>,
    /// OVS samples packets of the bridge: NetFlow, sFlow or IPFIX.
    pub sampled: bool,
    /// The copies that OVS makes of the bridge's packets.
    pub mirrors: Vec<Mirror>,
    /// VLANs in which OVS learns no addresses and floods every packet (`flood_vlans`).
    pub flood_vlans: BTreeSet<u16>,
    /// OVS looks into IGMP and MLD to know who wants which group (`mcast_snooping_enable`).
    pub mcast_snooping: bool,
    /// `NORMAL` forwards frames to reserved multicast addresses, too (`other_config:forward-bpdu`).
    pub forward_bpdu: bool,
    /// The addresses that `NORMAL` has learned. OVSDB does not tell them.
    pub fdb: Fdb,
}

impl BridgePorts {
    /// The type of the datapath; one that is empty is the kernel's.
    fn datapath(&self) -> &str {
        if self.datapath_type.is_empty() { "system" } else { &self.datapath_type }
    }

    /// The link protocols of a port, and of those that share its device.
    pub fn protocols_of_device(&self, number: OfPort) -> LinkProtocols {
        let Some(port) = self.ports.get(&number) else { return LinkProtocols::default() };
        let shares = |other: &&Port| port.shares_device_with(other);
        let others = self.ports.values().filter(shares).map(|other| other.protocols);
        others.fold(port.protocols, LinkProtocols::or)
    }

    /// The number of the port with this interface name.
    pub fn by_name(&self, name: &str) -> Option<OfPort> {
        self.ports.iter().find(|(_, port)| port.name == name).map(|(number, _)| *number)
    }
}

/// The kernel's number of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIfIndex(pub u32);

/// A port of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The name of the interface.
    pub name: String,
    /// The number of its device in the kernel. OVSDB knows none for a tunnel port: there it is that of [`Tunnel::device`],
    /// which many tunnel ports share. A patch port has none.
    pub ifindex: Option<PortIfIndex>,
    /// What the port is.
    pub kind: PortKind,
    /// The access or native VLAN.
    pub tag: Option<u16>,
    /// The VLANs a trunk carries; empty is all.
    pub trunks: BTreeSet<u16>,
    /// How tags are treated.
    pub vlan_mode: VlanMode,
    /// The inner VLANs a `dot1q-tunnel` port carries; empty is all.
    pub cvlans: BTreeSet<u16>,
    /// What an untagged packet with a VLAN priority gets on its way out.
    pub priority_tags: PriorityTags,
    /// `NORMAL` forwards nothing between two protected ports.
    pub protected: bool,
    /// The OVSDB port it belongs to, where several interfaces make a bond.
    pub bond: Option<String>,
    /// OVS limits what comes in (`ingress_policing_*`).
    pub policing: Option<Policing>,
    /// The card's embedded switch that the device is a port of; `None` for a device that no card can forward for.
    pub switch: Option<SwitchPort>,
    /// What OVS does with frames on this port before any table sees them.
    pub protocols: LinkProtocols,
    /// The MAC address in use, where known.
    pub mac: Option<u64>,
    /// Whether the link is up, where known.
    pub link_up: Option<bool>,
    /// `external_ids` of the interface: whose port this is.
    pub external_ids: BTreeMap<String, String>,
}

impl Port {
    /// Whether both are tunnels of one device.
    fn shares_device_with(&self, other: &Port) -> bool {
        let tunnels = [self, other].iter().all(|port| matches!(port.kind, PortKind::Tunnel(_)));
        tunnels && self.ifindex.is_some() && self.ifindex == other.ifindex
    }
}

/// Where a device sits on a card's embedded switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchPort {
    /// `phys_switch_id`: devices with the same one can forward to each other in hardware.
    pub id: String,
    /// Which side of the switch it is.
    pub role: SwitchRole,
}

/// Which side of the embedded switch a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwitchRole {
    /// The host's end of a VF, an SF or the PF.
    #[default]
    Representor,
    /// The wire.
    Uplink,
}

/// Link protocols that OVS itself speaks on a port: it takes their frames before the first table does
/// (`xlate_actions`, `process_special`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkProtocols {
    /// `Interface bfd:enable`.
    pub bfd: bool,
    /// `Interface cfm_mpid` is set.
    pub cfm: bool,
    /// `Interface lldp:enable`, or auto-attach.
    pub lldp: bool,
    /// `Port lacp` is active or passive.
    pub lacp: bool,
    /// `Bridge stp_enable` or `rstp_enable`.
    pub stp: bool,
}

impl LinkProtocols {
    /// Those that either has.
    fn or(self, other: LinkProtocols) -> LinkProtocols {
        LinkProtocols {
            bfd: self.bfd || other.bfd,
            cfm: self.cfm || other.cfm,
            lldp: self.lldp || other.lldp,
            lacp: self.lacp || other.lacp,
            stp: self.stp || other.stp,
        }
    }

    /// Whether any of those that tell whether the port works: while it does not, a bucket that watches it is skipped.
    pub fn watches_link(self) -> bool {
        self.bfd || self.cfm || self.lacp
    }
}

/// What a port is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortKind {
    /// A network device of the kernel.
    #[default]
    System,
    /// A device that OVS makes: the host's end of a bridge.
    Internal,
    /// One end of a patch to another bridge.
    Patch {
        /// The interface name of the other end.
        peer: String,
    },
    /// A tunnel.
    Tunnel(Tunnel),
    /// Another type, by its OVSDB name (`dpdk`, `tap`, `dummy`, ...).
    Other(String),
}

/// How a port treats VLAN tags (`Port vlan_mode`; left out, it follows from `tag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VlanMode {
    /// Carries tagged packets of `trunks`, and untagged ones as VLAN 0.
    #[default]
    Trunk,
    /// Carries VLAN `tag` without a tag.
    Access,
    /// A trunk whose `tag` VLAN leaves with a tag.
    NativeTagged,
    /// A trunk whose `tag` VLAN leaves without a tag.
    NativeUntagged,
    /// Puts every packet into VLAN `tag`, around the tag it has.
    Dot1qTunnel,
}

/// Whether a packet of VLAN 0 that has a priority leaves with a tag (`Port other_config:priority-tags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriorityTags {
    /// It leaves without one.
    #[default]
    Never,
    /// It leaves with one when the priority is not 0.
    IfNonzero,
    /// It always leaves with one.
    Always,
}

/// OVS's limit on what comes in by a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policing {
    /// Kilobits per second; 0 is no limit.
    pub rate_kbps: u64,
    /// Kilobits.
    pub burst_kbits: u64,
    /// Thousands of packets per second; 0 is no limit.
    pub rate_kpkts: u64,
    /// Thousands of packets.
    pub burst_kpkts: u64,
}

/// A MAC address, `aa:55:aa:55:00:0f`.
fn mac(text: &str) -> Option<u64> {
    let byte = |byte: &str| u64::from_str_radix(byte, 16).ok().filter(|byte| *byte <= 0xff);
    let bytes: Vec<u64> = text.split(':').map(byte).collect::<Option<_>>()?;
    (bytes.len() == 6).then(|| bytes.iter().fold(0, |mac, byte| mac << 8 | byte))
}
