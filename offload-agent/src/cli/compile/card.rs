//! Which ports sit on a card. The kernel knows, and here there is no kernel to ask: what is not told is assumed.

use std::collections::{BTreeMap, BTreeSet};

use flow_compiler::ports::{
    BridgePorts, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole,
};

use super::CompileError;

/// The switch of a port of which no switch is told.
pub(super) const ONE_CARD: &str = "card";

/// What the command line says of the card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The devices on it; none told is all.
    pub(super) ports: Vec<String>,
    /// Its wires.
    pub(super) uplinks: Vec<String>,
}

/// Puts devices on the card, and gives each that has none a number as the kernel would.
///
/// # Errors
///
/// For a name that no device has.
pub(super) fn complete(ports: &mut PortMap, wanted: &Wanted) -> Result<(), CompileError> {
    check(ports, wanted)?;
    for bridge in ports.bridges.values_mut() {
        let has_owners = bridge.ports.values().any(has_owner);
        for port in bridge.ports.values_mut() {
            port.switch = place(port, wanted, has_owners);
        }
    }
    number(ports);
    Ok(())
}

fn check(ports: &PortMap, wanted: &Wanted) -> Result<(), CompileError> {
    let all = ports.bridges.values().flat_map(|bridge| bridge.ports.values());
    let devices: BTreeSet<&str> =
        all.filter(|port| is_device(port)).map(|port| port.name.as_str()).collect();
    let mut told = wanted.ports.iter().chain(&wanted.uplinks);
    match told.find(|name| !devices.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(CompileError::NoSuchDevice {
            name: name.clone(),
            known: devices.into_iter().collect::<Vec<_>>().join(", "),
        }),
    }
}

fn is_device(port: &Port) -> bool {
    port.kind == PortKind::System
}

/// Whether the port is somebody's: of a pod, of a virtual machine.
fn has_owner(port: &Port) -> bool {
    port.external_ids.contains_key("iface-id")
}

/// Where a port sits. A bridge on which no port has an owner is taken for one that leads out, and its devices for wires.
fn place(port: &Port, wanted: &Wanted, has_owners: bool) -> Option<SwitchPort> {
    let on = |role| Some(SwitchPort { id: ONE_CARD.to_owned(), role });
    match &port.kind {
        // Tunnels are taken to run over the card.
        PortKind::Tunnel(_) => on(SwitchRole::Uplink),
        PortKind::System if wanted.uplinks.contains(&port.name) => on(SwitchRole::Uplink),
        PortKind::System if wanted.ports.contains(&port.name) => on(SwitchRole::Representor),
        PortKind::System if !wanted.ports.is_empty() => None,
        // The file of ports said it.
        PortKind::System if port.switch.is_some() => port.switch.clone(),
        PortKind::System if has_owners || !wanted.uplinks.is_empty() => on(SwitchRole::Representor),
        PortKind::System => on(SwitchRole::Uplink),
        PortKind::Internal | PortKind::Patch { .. } | PortKind::Other(_) => None,
    }
}

/// Numbers for devices that have none: the OpenFlow number where it is free, since people know it.
fn number(ports: &mut PortMap) {
    let mut numbers = Numbers::of(ports);
    for (number, port) in ports.bridges.values_mut().flat_map(|BridgePorts { ports, .. }| ports) {
        let kept = port.ifindex.filter(|index| numbers.claim(*index));
        port.ifindex = match &port.kind {
            PortKind::Patch { .. } => None,
            PortKind::Tunnel(tunnel) => {
                tunnel.device().map(|device| numbers.of_tunnel(device, u32::from(number.0)))
            }
            _ => kept.or_else(|| Some(numbers.next(u32::from(number.0)))),
        };
    }
}

/// The numbers that are given out.
struct Numbers {
    /// Numbers that were told, by how many ports still wait for them.
    told: BTreeMap<PortIfIndex, usize>,
    taken: BTreeSet<PortIfIndex>,
    tunnels: BTreeMap<String, PortIfIndex>,
}

impl Numbers {
    fn of(ports: &PortMap) -> Numbers {
        let mut told = BTreeMap::new();
        let all = ports.bridges.values().flat_map(|bridge| bridge.ports.values());
        all.filter_map(|port| port.ifindex).for_each(|index| *told.entry(index).or_default() += 1);
        Numbers { told, taken: BTreeSet::new(), tunnels: BTreeMap::new() }
    }

    /// Takes a number that was told; a second port cannot have it.
    fn claim(&mut self, index: PortIfIndex) -> bool {
        self.told.remove(&index).is_some() && self.taken.insert(index)
    }

    fn next(&mut self, wish: u32) -> PortIfIndex {
        let mut candidates = std::iter::once(wish).chain(1..).map(PortIfIndex);
        let free =
            |index: &PortIfIndex| !self.told.contains_key(index) && !self.taken.contains(index);
        let index = candidates.find(free).unwrap_or(PortIfIndex(wish));
        self.taken.insert(index);
        index
    }

    /// All tunnels of a kind share one device.
    fn of_tunnel(&mut self, device: String, wish: u32) -> PortIfIndex {
        if let Some(index) = self.tunnels.get(&device) {
            return *index;
        }
        let index = self.next(wish);
        self.tunnels.insert(device, index);
        index
    }
}

#[cfg(test)]
mod tests {
    use flow_compiler::openflow::{BridgeName, OfPort};
    use flow_compiler::ports::{Tunnel, TunnelKind};

    use super::*;

    fn device(name: &str, owner: Option<&str>) -> Port {
        let ids = owner.map(|id| ("iface-id".to_owned(), id.to_owned()));
        Port { name: name.to_owned(), external_ids: ids.into_iter().collect(), ..Port::default() }
    }

    fn tunnel(name: &str) -> Port {
        let tunnel = Tunnel { kind: TunnelKind::Geneve, options: BTreeMap::new() };
        Port { kind: PortKind::Tunnel(tunnel), ..device(name, None) }
    }

    fn node() -> PortMap {
        let bridge = |name: &str, ports: Vec<Port>| {
            let ports = (1..).map(OfPort).zip(ports).collect();
            (BridgeName::from(name), BridgePorts { ports, ..BridgePorts::default() })
        };
        let inside =
            vec![device("pod0", Some("a")), device("ovn0", None), tunnel("t1"), tunnel("t2")];
        PortMap {
            bridges: [bridge("br-int", inside), bridge("br-ex", vec![device("eth1", None)])].into(),
        }
    }

    fn roles(wanted: &Wanted) -> Vec<(String, Option<SwitchRole>, Option<u32>)> {
        let mut ports = node();
        complete(&mut ports, wanted).unwrap();
        let all = ports.bridges.into_values().flat_map(|bridge| bridge.ports.into_values());
        let row =
            |port: Port| (port.name, port.switch.map(|at| at.role), port.ifindex.map(|it| it.0));
        all.map(row).collect()
    }

    #[test]
    fn unless_told_every_device_is_on_the_card_and_those_of_a_bridge_without_owners_are_wires() {
        let (port, wire) = (Some(SwitchRole::Representor), Some(SwitchRole::Uplink));
        let names = |rows: &[(&str, Option<SwitchRole>, u32)]| -> Vec<_> {
            rows.iter()
                .map(|(name, role, index)| ((*name).to_owned(), *role, Some(*index)))
                .collect()
        };
        let expected = [
            ("eth1", wire, 1),
            ("pod0", port, 2),
            ("ovn0", port, 3),
            ("t1", wire, 4),
            ("t2", wire, 4),
        ];
        let mut found = roles(&Wanted::default());
        found.sort_by_key(|row| row.2);
        // `pod0` wished for 1, which `eth1` of the bridge before has; `ovn0` for 2.
        assert_eq!(found, names(&expected));
    }

    #[test]
    fn what_is_told_is_all_there_is() {
        let wanted = Wanted { ports: vec!["pod0".to_owned()], uplinks: vec!["eth1".to_owned()] };
        let on_card: Vec<String> =
            roles(&wanted).into_iter().filter(|row| row.1.is_some()).map(|row| row.0).collect();
        assert_eq!(on_card, ["eth1", "pod0", "t1", "t2"]);
    }

    #[test]
    fn a_device_that_is_not_there_is_named_with_those_that_are() {
        let wanted = Wanted { ports: vec!["pod9".to_owned()], uplinks: Vec::new() };
        let error = complete(&mut node(), &wanted).unwrap_err().to_string();
        assert!(error.contains("pod9") && error.contains("eth1, ovn0, pod0"), "{error}");
    }
}
