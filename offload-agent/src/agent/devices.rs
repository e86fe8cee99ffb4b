//! What the kernel says of the netdevs that are ports of a bridge: which card they are on, and whether it takes
//! filters. OVSDB does not know, so the port map is completed here before it is compiled.

use std::collections::BTreeMap;

use flow_compiler::ports::{Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole};
use serde::Serialize;
use switchdev::ethtool::Ethtool;
use switchdev::inventory::{self, Netdev};
use switchdev::{CardError, Sysfs};
use tc_filter::IfIndex;

use crate::config::HwPolicy;

/// The netdevs of this network namespace, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(BTreeMap<String, Device>);

/// A netdev, as far as offload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub ifindex: IfIndex,
    /// Where it sits on a card's switch.
    pub switch: Option<SwitchPort>,
    /// Whether its driver is asked about filters (`hw-tc-offload`).
    pub takes_filters: bool,
}

/// Whether a port's rules can be in hardware.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offload {
    /// They can.
    Ready,
    /// They could: the device's `hw-tc-offload` is off.
    SwitchedOff,
    /// The device is on no card in switchdev mode.
    NoCard,
    /// The device is not there, or in another network namespace.
    NoDevice,
}

impl Offload {
    /// What to do about it, for people.
    #[must_use]
    pub fn remedy(&self, port: &str) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::SwitchedOff => {
                Some(format!("hw-tc-offload is off; ethtool -K {port} hw-tc-offload on"))
            }
            Self::NoCard => Some("it is no port of a card in switchdev mode".to_owned()),
            Self::NoDevice => Some("there is no such netdev in this network namespace".to_owned()),
        }
    }
}

impl Devices {
    /// Reads sysfs, and asks each device on a card for `hw-tc-offload`.
    ///
    /// # Errors
    ///
    /// When sysfs or ethtool netlink does not answer as it should.
    pub fn read(sysfs: &Sysfs, ethtool: &mut Ethtool) -> Result<Self, CardError> {
        let mut devices = BTreeMap::new();
        for netdev in inventory::netdevs(sysfs)? {
            let switch = switch_port(&netdev);
            // A device that goes away meanwhile takes none.
            let takes_filters =
                switch.is_some() && ethtool.hw_tc_offload(&netdev.name).unwrap_or(false);
            let device = Device { ifindex: netdev.ifindex, switch, takes_filters };
            devices.insert(netdev.name, device);
        }
        Ok(Self(devices))
    }

    /// The numbers of all of them.
    pub fn numbers(&self) -> impl Iterator<Item = IfIndex> {
        self.0.values().map(|device| device.ifindex)
    }

    /// The name of a device, by its number.
    #[must_use]
    pub fn name(&self, ifindex: IfIndex) -> Option<&str> {
        self.0.iter().find(|(_, device)| device.ifindex == ifindex).map(|(name, _)| name.as_str())
    }

    /// Completes the ports with what the kernel knows, and says of each netdev whether rules can be offloaded there.
    pub fn complete(&self, ports: &mut PortMap, policy: HwPolicy) -> BTreeMap<String, Offload> {
        let card = self.only_card(policy);
        let mut offload = BTreeMap::new();
        for port in ports.bridges.values_mut().flat_map(|bridge| bridge.ports.values_mut()) {
            match &port.kind {
                PortKind::System => {
                    offload.insert(port.name.clone(), self.complete_one(port, policy));
                }
                PortKind::Tunnel(tunnel) => {
                    let device = tunnel.device().and_then(|name| self.0.get(&name));
                    port.ifindex = device.map(|device| PortIfIndex(device.ifindex.0));
                    port.switch = card.clone().filter(|_| device.is_some());
                }
                PortKind::Internal | PortKind::Patch { .. } | PortKind::Other(_) => {}
            }
        }
        offload
    }

    /// Where tunnels run: over the only card that takes filters. With two, the kernel's routes would have to say which.
    fn only_card(&self, policy: HwPolicy) -> Option<SwitchPort> {
        if policy == HwPolicy::SkipHw {
            return Some(the_kernel());
        }
        let ready = self.0.values().filter(|device| device.takes_filters);
        let mut cards: Vec<&str> =
            ready.filter_map(|device| device.switch.as_ref().map(|at| at.id.as_str())).collect();
        cards.sort_unstable();
        cards.dedup();
        match cards.as_slice() {
            [id] => Some(SwitchPort { id: (*id).to_owned(), role: SwitchRole::Uplink }),
            _ => None,
        }
    }

    fn complete_one(&self, port: &mut Port, policy: HwPolicy) -> Offload {
        let Some(device) = self.0.get(&port.name) else { return Offload::NoDevice };
        port.ifindex = Some(PortIfIndex(device.ifindex.0));
        if policy == HwPolicy::SkipHw {
            port.switch = Some(the_kernel());
            return Offload::Ready;
        }
        port.switch = device.switch.clone().filter(|_| device.takes_filters);
        match (&device.switch, device.takes_filters) {
            (None, _) => Offload::NoCard,
            (Some(_), false) => Offload::SwitchedOff,
            (Some(_), true) => Offload::Ready,
        }
    }
}

/// In software every device can send to every other.
fn the_kernel() -> SwitchPort {
    SwitchPort { id: "kernel".to_owned(), role: SwitchRole::Representor }
}

fn switch_port(netdev: &Netdev) -> Option<SwitchPort> {
    let id = netdev.phys_switch_id.as_ref()?.to_string();
    let uplink = netdev.phys_port_name.as_ref().is_some_and(|name| name.is_uplink());
    let role = if uplink { SwitchRole::Uplink } else { SwitchRole::Representor };
    Some(SwitchPort { id, role })
}

#[cfg(test)]
mod tests {
    use flow_compiler::openflow::{BridgeName, OfPort};
    use flow_compiler::ports::{BridgePorts, Tunnel, TunnelKind};

    use super::*;

    fn ports(names: &[&str]) -> PortMap {
        let port = |name: &&str| Port { name: (*name).to_owned(), ..Port::default() };
        let numbered = (1..).map(OfPort).zip(names.iter().map(port)).collect();
        let bridge = BridgePorts { ports: numbered, ..BridgePorts::default() };
        PortMap { bridges: [(BridgeName::from("br0"), bridge)].into() }
    }

    fn device(ifindex: u32, switch: Option<&str>, takes_filters: bool) -> Device {
        let switch =
            switch.map(|id| SwitchPort { id: id.to_owned(), role: SwitchRole::Representor });
        Device { ifindex: IfIndex(ifindex), switch, takes_filters }
    }

    fn devices() -> Devices {
        let devices = [
            ("np0r0", device(5, Some("aa"), true)),
            ("np0r1", device(6, Some("aa"), false)),
            ("veth0", device(7, None, false)),
        ];
        Devices(devices.into_iter().map(|(name, device)| (name.to_owned(), device)).collect())
    }

    #[test]
    fn only_a_device_that_takes_filters_is_on_a_card_for_the_compiler() {
        let mut map = ports(&["np0r0", "np0r1", "veth0", "away"]);
        let offload = devices().complete(&mut map, HwPolicy::SkipSw);
        let states: Vec<_> = offload.into_iter().collect();
        assert_eq!(
            states,
            [
                ("away".to_owned(), Offload::NoDevice),
                ("np0r0".to_owned(), Offload::Ready),
                ("np0r1".to_owned(), Offload::SwitchedOff),
                ("veth0".to_owned(), Offload::NoCard),
            ]
        );
        let bridge = &map.bridges[&BridgeName::from("br0")];
        let on_card: Vec<bool> = bridge.ports.values().map(|port| port.switch.is_some()).collect();
        assert_eq!(on_card, [true, false, false, false]);
    }

    /// A bridge with a Geneve tunnel only.
    fn tunnel() -> PortMap {
        let mut map = ports(&["ovn-a"]);
        let port = map.bridges.values_mut().flat_map(|bridge| bridge.ports.values_mut());
        let kind = TunnelKind::Geneve;
        port.for_each(|port| {
            port.kind = PortKind::Tunnel(Tunnel { kind, options: BTreeMap::new() });
        });
        map
    }

    fn tunnel_port(devices: &Devices) -> Port {
        let mut map = tunnel();
        devices.complete(&mut map, HwPolicy::SkipSw);
        map.bridges[&BridgeName::from("br0")].ports[&OfPort(1)].clone()
    }

    #[test]
    fn a_tunnel_port_is_the_kernels_device_of_its_kind_and_runs_over_the_only_card() {
        let mut devices = devices();
        assert_eq!(tunnel_port(&devices).ifindex, None, "OVS has not made the device yet");
        devices.0.insert("genev_sys_6081".to_owned(), device(9, None, false));
        let port = tunnel_port(&devices);
        assert_eq!(port.ifindex, Some(PortIfIndex(9)));
        assert_eq!(port.switch, Some(SwitchPort { id: "aa".to_owned(), role: SwitchRole::Uplink }));
        devices.0.insert("np1r0".to_owned(), device(10, Some("bb"), true));
        assert_eq!(tunnel_port(&devices).switch, None, "over which card is not known");
    }

    #[test]
    fn without_hardware_every_device_counts() {
        let mut map = ports(&["np0r1", "veth0"]);
        let offload = devices().complete(&mut map, HwPolicy::SkipHw);
        assert!(offload.values().all(|state| *state == Offload::Ready));
    }

    #[test]
    fn a_port_that_is_switched_off_says_how_to_switch_it_on() {
        let words = Offload::SwitchedOff.remedy("np0r1").unwrap();
        assert!(words.contains("ethtool -K np0r1 hw-tc-offload on"), "{words}");
    }
}
