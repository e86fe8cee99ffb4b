//! The bridges of [`super::topology`] and more: ports on which OVS itself speaks a protocol, a bridge with spanning tree, a patch whose
//! other end names another, and more tunnels on one device.

use std::collections::BTreeMap;

use flow_compiler::openflow::{BridgeName, OfPort, TunnelOption};
use flow_compiler::ports::{BridgePorts, LinkProtocols, Port, PortMap, TunnelKind};

use super::switch::UNDERLAY_ADDRESS;
use super::topology::{self, INTEGRATION, PROVIDER, VFS, local, patch, tunnel, vf};

/// The bridge with spanning tree, and one with rapid spanning tree. Port 1 of the first is a patch.
pub(crate) const TREE: &str = "br-tree";
pub(crate) const RAPID_TREE: &str = "br-rapid";
pub(crate) const TREE_PORTS: [u16; 2] = [2, 3];
/// On the integration bridge: a VF with BFD, a patch that is not named back, and one to the spanning tree.
pub(crate) const WATCHED: u16 = 5;
pub(crate) const HALF_PATCH: u16 = 11;
pub(crate) const TO_TREE: u16 = 12;
/// A tunnel with BFD, and one whose other end is this node itself; both on the device of the other Geneve tunnels.
pub(crate) const WATCHED_TUNNEL: u16 = 24;
pub(crate) const TUNNEL_TO_ITSELF: u16 = 25;

const BFD: LinkProtocols =
    LinkProtocols { bfd: true, cfm: false, lldp: false, lacp: false, stp: false };
const STP: LinkProtocols =
    LinkProtocols { bfd: false, cfm: false, lldp: false, lacp: false, stp: true };
const GENEVE_DEVICE: u32 = 301;

/// All bridges.
pub(crate) fn topology() -> PortMap {
    let mut ports = without_trees();
    let patch = patch("tree-to-int", "int-to-tree");
    ports.bridges.insert(BridgeName::from(TREE), tree("tree", 400, Some(patch)));
    ports.bridges.insert(BridgeName::from(RAPID_TREE), tree("rapid", 500, None));
    ports
}

/// Those without spanning tree, which lets nothing through.
pub(crate) fn without_trees() -> PortMap {
    let mut ports = topology::topology();
    let mut of = |bridge: &str| ports.bridges.remove(&BridgeName::from(bridge)).unwrap_or_default();
    let bridges = BTreeMap::from([
        (BridgeName::from(INTEGRATION), integration(of(INTEGRATION))),
        (BridgeName::from(PROVIDER), provider(of(PROVIDER))),
    ]);
    PortMap { bridges }
}

/// What two fields of tunnels are.
pub(crate) fn options() -> BTreeMap<u8, TunnelOption> {
    let mut options = topology::options();
    options.insert(1, TunnelOption { class: 0x0102, kind: 0x81, length: 4 });
    options
}

fn integration(mut bridge: BridgePorts) -> BridgePorts {
    for number in VFS {
        // Buckets of groups hang on that.
        bridge.ports.entry(OfPort(number)).and_modify(|port| port.link_up = Some(true));
    }
    let watched = Port { protocols: BFD, link_up: Some(true), ..vf("vf5".to_owned(), 105) };
    let to = |name, remote| {
        let options = [("key", "flow"), ("remote_ip", remote)];
        tunnel(name, TunnelKind::Geneve, GENEVE_DEVICE, &options)
    };
    let watched_tunnel = Port { protocols: BFD, ..to("gnv2", "203.0.113.24") };
    bridge.ports.extend([
        (OfPort(WATCHED), watched),
        (OfPort(HALF_PATCH), patch("int-to-half", "half-to-int")),
        (OfPort(TO_TREE), patch("int-to-tree", "tree-to-int")),
        (OfPort(WATCHED_TUNNEL), watched_tunnel),
        (OfPort(TUNNEL_TO_ITSELF), to("gnv3", UNDERLAY_ADDRESS)),
    ]);
    bridge
}

fn provider(mut bridge: BridgePorts) -> BridgePorts {
    bridge.ports.insert(OfPort(9), patch("half-to-int", "int-to-ex"));
    bridge
}

fn tree(name: &str, devices: u32, patch: Option<Port>) -> BridgePorts {
    let mut ports: BTreeMap<OfPort, Port> =
        patch.into_iter().map(|patch| (OfPort(1), patch)).collect();
    for number in TREE_PORTS {
        ports.insert(OfPort(number), vf(format!("{name}{number}"), devices + u32::from(number)));
    }
    ports.insert(OfPort::LOCAL, local(&format!("br-{name}"), devices + 10));
    ports.values_mut().for_each(|port| port.protocols = STP);
    BridgePorts { datapath_type: "system".to_owned(), ports, ..BridgePorts::default() }
}

/// Which spanning tree a bridge has that has one; ports do not say that.
pub(crate) fn spanning_tree(bridge: &BridgeName) -> &'static str {
    if bridge.0 == RAPID_TREE { "rstp_enable" } else { "stp_enable" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use flow_compiler::ports::{PortIfIndex, PortKind};

    use super::*;

    #[test]
    fn no_device_but_that_of_tunnels_is_two_ports() {
        let topology = topology();
        let ports = topology.bridges.values().flat_map(|bridge| bridge.ports.values());
        let devices: Vec<PortIfIndex> = ports
            .filter(|port| !matches!(port.kind, PortKind::Tunnel(_)))
            .filter_map(|port| port.ifindex)
            .collect();
        assert_eq!(devices.iter().collect::<BTreeSet<_>>().len(), devices.len());
    }
}
