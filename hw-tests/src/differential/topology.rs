//! The bridges that random rulesets run on: an integration bridge with ports on the card, tunnels and a patch to a
//! provider bridge whose ports treat VLANs in every way OVS knows.

use std::collections::{BTreeMap, BTreeSet};

use flow_compiler::openflow::{BridgeName, OfPort, TunnelOption};
use flow_compiler::ports::{
    BridgePorts, Fdb, FdbEntry, FdbKey, Port, PortIfIndex, PortKind, PortMap, PriorityTags,
    SwitchPort, SwitchRole, Tunnel, TunnelKind, VlanMode,
};

pub(crate) const INTEGRATION: &str = "br-int";
pub(crate) const PROVIDER: &str = "br-ex";
/// Ports of the integration bridge, by what they are.
pub(crate) const VFS: [u16; 4] = [1, 2, 3, 4];
pub(crate) const VETH: u16 = 6;
pub(crate) const PATCH: u16 = 10;
pub(crate) const TUNNELS: [u16; 4] = [20, 21, 22, 23];
/// Ports of the provider bridge; 1 is the patch, 2 the wire.
pub(crate) const PROVIDER_PORTS: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// All bridges.
pub(crate) fn topology() -> PortMap {
    let bridges = BTreeMap::from([
        (BridgeName::from(INTEGRATION), integration()),
        (BridgeName::from(PROVIDER), provider()),
    ]);
    PortMap { bridges }
}

/// What `tun_metadata0` is, as OVN has it.
pub(crate) fn options() -> BTreeMap<u8, TunnelOption> {
    BTreeMap::from([(0, TunnelOption { class: 0x0102, kind: 0x80, length: 4 })])
}

fn on_card(role: SwitchRole) -> Option<SwitchPort> {
    Some(SwitchPort { id: "c0ffee".to_owned(), role })
}

pub(super) fn vf(name: String, ifindex: u32) -> Port {
    Port {
        name,
        ifindex: Some(PortIfIndex(ifindex)),
        switch: on_card(SwitchRole::Representor),
        ..Port::default()
    }
}

fn integration() -> BridgePorts {
    let mut ports: BTreeMap<OfPort, Port> = VFS
        .iter()
        .map(|number| (OfPort(*number), vf(format!("vf{number}"), 100 + u32::from(*number))))
        .collect();
    ports.insert(OfPort(VETH), Port { switch: None, ..vf("veth0".to_owned(), 106) });
    ports.insert(OfPort(PATCH), patch("int-to-ex", "ex-to-int"));
    for (number, tunnel) in TUNNELS.into_iter().zip(tunnels()) {
        ports.insert(OfPort(number), tunnel);
    }
    ports.insert(OfPort::LOCAL, local(INTEGRATION, 110));
    BridgePorts { datapath_type: "system".to_owned(), ports, ..BridgePorts::default() }
}

fn provider() -> BridgePorts {
    let mut ports = BTreeMap::from([
        (OfPort(1), patch("ex-to-int", "int-to-ex")),
        (OfPort(2), Port { switch: on_card(SwitchRole::Uplink), ..vf("wire".to_owned(), 202) }),
    ]);
    let modes = [
        (3, VlanMode::Access, Some(5), vec![]),
        (4, VlanMode::NativeUntagged, Some(6), vec![]),
        (5, VlanMode::NativeTagged, Some(7), vec![5, 7]),
        (6, VlanMode::Trunk, None, vec![5, 6]),
        (7, VlanMode::Dot1qTunnel, Some(9), vec![]),
    ];
    for (number, vlan_mode, tag, trunks) in modes {
        let port = vf(format!("ex{number}"), 200 + u32::from(number));
        let trunks: BTreeSet<u16> = trunks.into_iter().collect();
        ports.insert(OfPort(number), Port { vlan_mode, tag, trunks, ..port });
    }
    let tagging = vf("ex8".to_owned(), 208);
    ports.insert(OfPort(8), Port { priority_tags: PriorityTags::Always, ..tagging });
    ports.insert(OfPort::LOCAL, local(PROVIDER, 210));
    BridgePorts { datapath_type: "system".to_owned(), ports, fdb: fdb(), ..BridgePorts::default() }
}

/// Most addresses are known, in some VLANs; the others are flooded.
fn fdb() -> Fdb {
    let mut entries = BTreeMap::new();
    let known = [
        (0, 0x0a, 1),
        (0, 0x0b, 2),
        (5, 0x0a, 1),
        (5, 0x0b, 2),
        (5, 0x0c, 3),
        (6, 0x0a, 4),
        (6, 0x0b, 2),
    ];
    let more = [(7, 0x0b, 5), (9, 0x0c, 7), (7, 0x0a, 1), (6, 0x0c, 6), (9, 0x0b, 2), (9, 0x0a, 8)];
    // Behind ports that do not carry the VLAN, where a person may put them.
    let by_hand = [(0, 0x0c, 6), (7, 0x0c, 3)];
    for (vlan, host, port) in known.into_iter().chain(more).chain(by_hand) {
        let key = FdbKey { vlan, mac: super::generate::HOSTS + host };
        entries.insert(key, FdbEntry { port: OfPort(port), is_static: true });
    }
    Fdb { entries }
}

pub(super) fn patch(name: &str, peer: &str) -> Port {
    let kind = PortKind::Patch { peer: peer.to_owned() };
    Port { name: name.to_owned(), kind, ..Port::default() }
}

pub(super) fn local(bridge: &str, ifindex: u32) -> Port {
    Port {
        name: bridge.to_owned(),
        kind: PortKind::Internal,
        ifindex: Some(PortIfIndex(ifindex)),
        ..Port::default()
    }
}

pub(super) fn tunnel(name: &str, kind: TunnelKind, ifindex: u32, options: &[(&str, &str)]) -> Port {
    let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    Port {
        name: name.to_owned(),
        kind: PortKind::Tunnel(Tunnel { kind, options: options.collect() }),
        ifindex: Some(PortIfIndex(ifindex)),
        ..Port::default()
    }
}

/// Two that OVN would make, one VXLAN whose rules say all, one with its own key.
fn tunnels() -> [Port; 4] {
    [
        tunnel(
            "gnv0",
            TunnelKind::Geneve,
            301,
            &[("key", "flow"), ("remote_ip", "203.0.113.20"), ("csum", "true")],
        ),
        tunnel("gnv1", TunnelKind::Geneve, 301, &[("key", "flow"), ("remote_ip", "203.0.113.21")]),
        tunnel(
            "vxl0",
            TunnelKind::Vxlan,
            302,
            &[("key", "flow"), ("remote_ip", "203.0.113.22"), ("ttl", "9")],
        ),
        tunnel(
            "vxl1",
            TunnelKind::Vxlan,
            302,
            &[("key", "77"), ("remote_ip", "203.0.113.23"), ("df_default", "false")],
        ),
    ]
}
