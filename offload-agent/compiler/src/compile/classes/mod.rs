//! What becomes of each kind of packets at each port: the other half of the verdicts, which tell it for each rule.
//!
//! It is read from the plan alone, so it says what the filters do, whatever the passes thought. "In hardware" is said of a class only if every
//! packet of it meets filters that finish it, and none of them is for the kernel alone; a single packet that OVS has to have makes it
//! split, with the reason.
//!
//! ```text
//! eth1 of br0: 12 filters in 1 chain
//!   hardware     1+0 VLAN 100: all packets
//!                    TC: to pod1 1
//!   split        1+2 untagged: IPv4 TCP
//!                    TC: dropped 1
//!                    OVS by 1 filter: controller is not offloaded (rule 5)
//! ```

mod asked;
mod class;
mod cover;
mod text;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tc_filter::{Attach, Filter, FilterId, IfIndex};

pub use class::{Class, Connection, Family, Kind, Lane, Protocol, Tag, Tunnel};
pub use text::Shown;

use super::Compiled;
use super::ir::{Ingress, Key, KeyField, RuleId, Unguarded};
use super::verdict::{Outcome, Reason};
use crate::openflow::{BridgeName, OfPort};
use crate::ports::{Port, PortKind, PortMap, TunnelEnd};
use class::{Region, lanes};
use walk::{Chains, Ends};

/// What becomes of the packets that come in by a port, or by the tunnels of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortVerdict {
    /// The bridge.
    pub bridge: BridgeName,
    /// The ports: one, or all tunnels of a device.
    pub ports: Vec<String>,
    /// Their device.
    pub device: Option<IfIndex>,
    /// Its filters.
    pub filters: usize,
    /// The chains that they are in.
    pub chains: usize,
    /// Why there are none: all packets go to OVS.
    pub idle: Option<Reason>,
    /// Its classes; none for an idle port.
    pub classes: Vec<ClassVerdict>,
}

/// What becomes of a class of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassVerdict {
    /// Which packets.
    pub class: Class,
    /// Where they are finished; `Split` if OVS gets some of them.
    pub outcome: Outcome,
    /// The filters that finish some of them.
    pub filters: BTreeSet<FilterId>,
    /// Where those send them, and how many filters do.
    pub to: BTreeMap<Destination, usize>,
    /// Why filters pass some of them to OVS.
    pub kept: BTreeMap<Reason, Kept>,
    /// Why OVS gets what no filter takes; `None` if every packet meets one.
    pub missed: Option<BTreeSet<Reason>>,
}

/// What a reason keeps in OVS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The filters that pass it.
    pub guards: BTreeSet<FilterId>,
    /// Their rules; none has a guard of a link protocol.
    pub rules: BTreeSet<RuleId>,
}

/// Where packets end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// At a device, where they leave.
    Device {
        /// The device.
        device: IfIndex,
        /// The far end of the tunnel, if it is a tunnel's.
        remote: Option<IpAddr>,
    },
    /// Nowhere.
    Dropped,
}

impl ClassVerdict {
    /// Whether OVS gets nothing but odd frames: a TTL that runs out, headers that flower does not read.
    pub fn leaves_odd_frames_only(&self) -> bool {
        let missed = self.missed.iter().flatten();
        let all = self.kept.keys().chain(missed);
        self.missed.as_ref().is_none_or(|why| !why.is_empty()) && all.into_iter().all(is_odd)
    }
}

/// Whether a reason concerns odd frames of a class, and not one that is a class of its own.
fn is_odd(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::LlcFrame
            | Reason::SecondTag
            | Reason::AuthHeader
            | Reason::Ipv6Headers
            | Reason::FragmentFlags
            | Reason::ArpOperation
            | Reason::TaggedBefore
            | Reason::Carries
            | Reason::TtlExpires
    )
}

/// The verdicts of all ports, or of one: by bridge, and by the port's number.
pub fn classes(compiled: &Compiled, ports: &PortMap, only: Option<Attach>) -> Vec<PortVerdict> {
    let node = Node::of(compiled, ports);
    let wanted = |device: &Device<'_>| only.is_none_or(|only| device.attach() == Some(only));
    node.devices().iter().filter(|device| wanted(device)).flat_map(|one| node.port(one)).collect()
}

/// A compilation, with what is asked for often.
struct Node<'a> {
    compiled: &'a Compiled,
    ports: &'a PortMap,
    rules: BTreeMap<FilterId, RuleId>,
    by_device: BTreeMap<Attach, Vec<&'a Filter>>,
}

/// A port, or the tunnels of a device.
struct Device<'a> {
    bridge: &'a BridgeName,
    ports: Vec<(OfPort, &'a Port)>,
}

impl Device<'_> {
    fn index(&self) -> Option<IfIndex> {
        let (_, port) = self.ports.first()?;
        Some(IfIndex(port.ifindex?.0))
    }

    fn attach(&self) -> Option<Attach> {
        self.index().map(Attach::Ingress)
    }

    /// What is known of the packets that come in: of those in a tunnel, where they come from.
    fn ways(&self) -> Vec<Key> {
        self.ports.iter().map(|(_, port)| way(port)).collect()
    }

    fn has(&self, ingress: &Ingress) -> bool {
        *self.bridge == ingress.bridge
            && self.ports.iter().any(|(number, _)| *number == ingress.port)
    }
}

impl<'a> Node<'a> {
    fn of(compiled: &'a Compiled, ports: &'a PortMap) -> Node<'a> {
        let of_verdict = |verdict: &'a super::verdict::Verdict| {
            verdict.guards.iter().map(|guard| (*guard, verdict.rule))
        };
        let mut by_device: BTreeMap<Attach, Vec<&Filter>> = BTreeMap::new();
        for filter in compiled.plan.filters.values() {
            by_device.entry(filter.attach).or_default().push(filter);
        }
        let rules = compiled.verdicts.iter().flat_map(of_verdict).collect();
        Node { compiled, ports, rules, by_device }
    }

    /// The ports that packets come in by. What comes by a patch port has come in elsewhere.
    fn devices(&self) -> Vec<Device<'a>> {
        let mut devices: Vec<Device<'a>> = Vec::new();
        for (bridge, ports) in &self.ports.bridges {
            let mut tunnels: BTreeMap<IfIndex, usize> = BTreeMap::new();
            for (number, port) in &ports.ports {
                let own = |devices: &mut Vec<Device<'a>>| {
                    devices.push(Device { bridge, ports: vec![(*number, port)] });
                };
                match (&port.kind, port.ifindex.map(|index| IfIndex(index.0))) {
                    (PortKind::Patch { .. }, _) => {}
                    (PortKind::Tunnel(_), Some(index)) => match tunnels.get(&index) {
                        Some(at) => devices[*at].ports.push((*number, port)),
                        None => {
                            tunnels.insert(index, devices.len());
                            own(&mut devices);
                        }
                    },
                    _ => own(&mut devices),
                }
            }
        }
        devices
    }

    /// The verdict on the ports of a device that have filters, and on each that can have none.
    fn port(&self, device: &Device<'a>) -> Vec<PortVerdict> {
        let why = |number: OfPort| {
            let ingress = Ingress { bridge: device.bridge.clone(), port: number };
            self.compiled.left.ports.get(&ingress)
        };
        let ports = device.ports.iter().copied();
        let fit = ports.clone().filter(|(number, _)| why(*number).is_none()).collect();
        let fit = Device { bridge: device.bridge, ports: fit };
        let busy = (!fit.ports.is_empty()).then(|| self.busy(&fit, device));
        let idle = ports.filter_map(|(number, port)| Some(idle(device, port, why(number)?)));
        busy.into_iter().chain(idle).collect()
    }

    /// The verdict on ports that may have filters, all or some of a device's.
    fn busy(&self, fit: &Device<'a>, device: &Device<'a>) -> PortVerdict {
        let filters = device.attach().and_then(|attach| self.by_device.get(&attach));
        let filters = filters.map_or(&[][..], Vec::as_slice);
        let left = self.left_of(device).filter(|one| one.whole).map(|one| one.key.clone());
        let chains = Chains::of(filters, fit.ways(), left.collect());
        PortVerdict {
            bridge: device.bridge.clone(),
            ports: fit.ports.iter().map(|(_, port)| port.name.clone()).collect(),
            device: device.index(),
            filters: filters.len(),
            chains: chains.len(),
            idle: None,
            classes: self.classes(device, &chains),
        }
    }

    fn classes(&self, device: &Device<'a>, chains: &Chains<'_>) -> Vec<ClassVerdict> {
        let mut all = Vec::new();
        for (lane, region) in lanes(chains.first()) {
            let walk = chains.within(&region);
            for kind in Kind::all() {
                let region = kind.within(&region);
                let mut met = walk.follow(&region);
                let of_all = met.remove(&None).unwrap_or_default();
                if met.is_empty() {
                    let class = Class { lane, kind, connection: None };
                    all.push(self.verdict(device, class, &region, vec![(None, of_all.clone())]));
                }
                for (connection, ends) in met {
                    let class = Class { lane, kind, connection };
                    let mut parts = vec![(connection, ends)];
                    // What filters do before they track is done to packets of all connections.
                    if connection != Some(Connection::NewLater) {
                        parts.push((None, of_all.clone()));
                    }
                    all.push(self.verdict(device, class, &region, parts));
                }
            }
        }
        all
    }

    fn verdict(
        &self,
        device: &Device<'a>,
        class: Class,
        region: &Region,
        parts: Vec<(Option<Connection>, Ends<'_>)>,
    ) -> ClassVerdict {
        let in_card = parts.iter().all(|(found, ends)| {
            let tracked = found.is_none() || class.kind.is_tracked();
            ends.done.values().all(|(filter, _)| tracked && walk::in_card(filter, *found))
        });
        let mut ends = Ends::default();
        parts.into_iter().for_each(|(_, part)| ends.add(part));
        let missed = ends.missed.then(|| self.missed(device, class, region, ends.unruled));
        let left = !ends.passed.is_empty() || missed.is_some();
        let outcome = match (ends.done.is_empty(), left) {
            (true, true) => Outcome::Ovs,
            (true, false) => Outcome::Dead,
            (false, true) => Outcome::Split,
            (false, false) if in_card => Outcome::Hardware,
            (false, false) => Outcome::Software,
        };
        let mut to = BTreeMap::new();
        for destination in ends.done.values().flat_map(|(_, to)| to) {
            *to.entry(*destination).or_default() += 1;
        }
        ClassVerdict {
            class,
            outcome,
            filters: ends.done.into_keys().collect(),
            to,
            kept: self.kept(&ends.passed),
            missed,
        }
    }

    fn kept(&self, guards: &BTreeSet<FilterId>) -> BTreeMap<Reason, Kept> {
        /// Of a filter that is there because TC has no words for what its rule does.
        const UNSAID: Reason = Reason::CardAction("do what the rule says");
        let mut kept: BTreeMap<Reason, Kept> = BTreeMap::new();
        for guard in guards {
            let reason = self.compiled.left.guards.get(guard).cloned().unwrap_or(UNSAID);
            let kept = kept.entry(reason).or_default();
            kept.guards.insert(*guard);
            kept.rules.extend(self.rules.get(guard));
        }
        kept
    }

    /// What of a device's packets OVS gets without a filter.
    fn left_of(&self, device: &Device<'_>) -> impl Iterator<Item = &'a Unguarded> {
        let all = self.compiled.left.unguarded.iter();
        all.filter(|one| device.has(&one.ingress))
    }

    /// Why packets of a class that no filter takes are OVS's.
    fn missed(
        &self,
        device: &Device<'_>,
        class: Class,
        region: &Region,
        unruled: bool,
    ) -> BTreeSet<Reason> {
        let left = &self.compiled.left;
        let here = self.left_of(device).filter(|one| region.and(&one.key).is_some());
        let mut why: BTreeSet<Reason> = here.map(|one| one.reason.clone()).collect();
        let rest = left.rest.iter().filter(|(ingress, _)| unruled && device.has(ingress));
        why.extend(rest.map(|(_, reason)| reason.clone()));
        let ipv6 = matches!(class.kind, Kind::Ip(Family::IPv6, _));
        let whole = match () {
            () if left.no_ipv6 && ipv6 => Some(Reason::NoIpv6),
            () if left.untracked && !class.kind.is_tracked() => Some(Reason::NotTracked),
            () => None,
        };
        if let Some(whole) = whole {
            // With all packets of the class the odd ones are OVS's, and nobody walked them to see more.
            why.retain(|reason| matches!(reason, Reason::LinkProtocol(_)));
            why.insert(whole);
        }
        why
    }
}

/// The outer addresses of a tunnel's packets.
fn way(port: &Port) -> Key {
    let PortKind::Tunnel(tunnel) = &port.kind else { return Key::any() };
    let Ok(config) = tunnel.config() else { return Key::any() };
    let ends = [
        (config.remote, KeyField::EncIpv4Src, KeyField::EncIpv6Src),
        (config.local, KeyField::EncIpv4Dst, KeyField::EncIpv6Dst),
    ];
    ends.into_iter().fold(Key::any(), |key, (end, four, six)| match end {
        TunnelEnd::Addr(IpAddr::V4(address)) => key.with(four, address.to_bits().into()),
        TunnelEnd::Addr(IpAddr::V6(address)) => key.with(six, address.to_bits()),
        TunnelEnd::Any | TunnelEnd::Flow => key,
    })
}

fn idle(device: &Device<'_>, port: &Port, why: &Reason) -> PortVerdict {
    PortVerdict {
        bridge: device.bridge.clone(),
        ports: vec![port.name.clone()],
        device: device.index(),
        filters: 0,
        chains: 0,
        idle: Some(why.clone()),
        classes: Vec::new(),
    }
}
