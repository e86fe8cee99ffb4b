//! The ways that packets come in: every port with a device that TC sees, and every tunnel. What is known at the start of
//! the pipeline is set here; then each way is walked through the tables.
//!
//! A tunnel device carries the packets of all tunnels of its kind. Which tunnel it is, the outer addresses say, so each of
//! its ports is a way of its own behind a match on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ptr;

use rustc_hash::FxHashSet;

use super::reach;
use super::unfold::{Root, Unfold, most_entries};
use crate::compile::Input;
use crate::compile::ir::{Ingress, Program, RuleId, Settled, both, overlaps};
use crate::compile::verdict::Reason;
use crate::compile::walk::state::{Origin, State};
use crate::compile::walk::{Explorer, Unwalked};
use crate::openflow::{BridgeName, Field, Match, OfPort, VLAN_PRESENT};
use crate::ports::{Port, PortKind, Tunnel, TunnelEnd, TunnelKey};

pub(in crate::compile) fn run(input: &Input<'_>) -> Program {
    let mut program = Program::default();
    let mut explorer = Explorer::new(input);
    let kinds = kinds(input);
    let mut devices: Vec<(Ingress, Vec<Root>)> = Vec::new();
    let mut unseen: Vec<(Ingress, Reason, BTreeSet<RuleId>)> = Vec::new();
    for (ingress, ports) in arrivals(input) {
        let mut roots = Vec::new();
        for (number, port) in ports {
            let at = Ingress { port: number, ..ingress.clone() };
            let bridge = input.bridge_number(&at.bridge);
            let Some((takes, state)) = start(number, port, input) else { continue };
            if let Some(why) = unfit(port, &at.bridge, input) {
                let reason = Reason::Ingress { port: port.name.clone(), why };
                let rules = seen_by(&mut explorer, bridge, &state);
                unseen.push((at.clone(), reason.clone(), rules));
                program.idle.insert(at, reason);
                continue;
            }
            for kind in &kinds {
                let mut state = state.clone();
                state.learn(kind);
                let Some(takes) = both(&takes, kind) else { continue };
                let tail = explorer.enter(bridge, state.clone());
                roots.push(Root { takes, state, tail });
            }
        }
        if !roots.is_empty() {
            devices.push((ingress, roots));
        }
    }
    let unwalked = explorer.unwalked().clone();
    let graph = explorer.graph();
    let mut unfold = Unfold::new(&graph, input, most_entries(devices.len()));
    for (ingress, roots) in &devices {
        let chains = unfold.device(ingress, roots);
        program.ports.insert(ingress.clone(), chains);
    }
    program.chains = unfold.finish();
    settle(&mut program, input, &unseen, &unwalked);
    program
}

/// The kinds of packets that are walked on their own.
///
/// Where connections are tracked, only whole unicast packets of TCP and UDP can be finished in hardware; what is known of
/// them from the start answers most questions of such a pipeline, and everything else stays in OVS without one.
fn kinds(input: &Input<'_>) -> Vec<Match> {
    if !input.tracks() {
        return vec![Match::any()];
    }
    let families = [IPV4, IPV6].into_iter().filter(|family| *family == IPV4 || input.has_ipv6());
    let mut kinds = Vec::new();
    for family in families {
        for protocol in [TCP, UDP] {
            for tag in [0, u128::from(VLAN_PRESENT)] {
                let kind = Match::any()
                    .with(Field::EthType, family)
                    .with(Field::NwProto, protocol)
                    .with(Field::IpFrag, 0)
                    .with_masked(Field::EthDst, 0, MULTICAST)
                    .with_masked(Field::VlanTci, tag, VLAN_PRESENT.into());
                kinds.push(kind);
            }
        }
    }
    kinds
}

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
const TCP: u128 = 6;
const UDP: u128 = 17;
/// The bit of an address that is for many.
const MULTICAST: u128 = 0x0100_0000_0000;

/// The rules that packets of a port without filters may go by. In a pipeline that tracks, they are too many to tell.
fn seen_by(explorer: &mut Explorer<'_>, bridge: u16, state: &State) -> BTreeSet<RuleId> {
    let tail = explorer.enter_shallow(bridge, state.clone());
    explorer.rules_of(&tail)
}

/// A bridge, and of it a device that several ports share, or one port.
type Device = (BridgeName, Option<u32>, OfPort);

/// The devices of the bridges, each with its ports.
fn arrivals<'a>(input: &Input<'a>) -> Vec<(Ingress, Vec<(OfPort, &'a Port)>)> {
    let mut devices: BTreeMap<Device, Vec<(OfPort, &Port)>> = BTreeMap::new();
    for (bridge, ports) in &input.ports.bridges {
        for (number, port) in &ports.ports {
            let tunnel = matches!(port.kind, PortKind::Tunnel(_));
            let device = port.ifindex.filter(|_| tunnel).map(|index| index.0);
            let own = if device.is_some() { OfPort(0) } else { *number };
            devices.entry((bridge.clone(), device, own)).or_default().push((*number, port));
        }
    }
    let named = devices.into_iter().filter_map(|((bridge, _, _), ports)| {
        let (port, _) = *ports.first()?;
        Some((Ingress { bridge, port }, ports))
    });
    named.collect()
}

/// What is known of the packets of a port; `None` where none come in.
fn start(number: OfPort, port: &Port, input: &Input<'_>) -> Option<(Match, State)> {
    let one_tag = input.capabilities.vlan_limit == Some(1);
    match &port.kind {
        PortKind::Tunnel(tunnel) => {
            let takes = outer(tunnel);
            let mut state = State::new(Origin::Tunnel, number, one_tag);
            state.learn(&takes);
            Some((takes, state))
        }
        PortKind::Patch { .. } => None,
        _ => Some((Match::any(), State::new(Origin::Device, number, one_tag))),
    }
}

/// The outer header of a tunnel's packets, as its options say.
fn outer(tunnel: &Tunnel) -> Match {
    let Ok(config) = tunnel.config() else { return Match::any() };
    let mut takes = Match::any();
    for (end, four, six) in [
        (config.remote, Field::TunSrc, Field::TunIpv6Src),
        (config.local, Field::TunDst, Field::TunIpv6Dst),
    ] {
        match end {
            TunnelEnd::Addr(IpAddr::V4(ip)) => takes = takes.with(four, ip.to_bits().into()),
            TunnelEnd::Addr(IpAddr::V6(ip)) => takes = takes.with(six, ip.to_bits()),
            TunnelEnd::Any | TunnelEnd::Flow => {}
        }
    }
    match config.in_key {
        TunnelKey::Fixed(key) => takes.with(Field::TunId, key.into()),
        TunnelKey::Absent | TunnelKey::Flow => takes,
    }
}

/// Why no filter may stand at a port.
fn unfit(port: &Port, bridge: &BridgeName, input: &Input<'_>) -> Option<&'static str> {
    let ports = input.ports.bridges.get(bridge)?;
    if ports.datapath_type == "netdev" {
        return Some("is in OVS's user-space datapath, which TC does not see");
    }
    if ports.watched {
        return Some(
            "is on a bridge with a mirror, NetFlow, sFlow or IPFIX, which has to see its packets",
        );
    }
    if ports.hidden_rules.is_some() {
        return ports.hidden_rules;
    }
    if port.protocols.stp {
        return Some("is on a bridge with spanning tree, which may keep it from forwarding");
    }
    match &port.kind {
        PortKind::Internal => Some("is an internal port"),
        PortKind::Patch { .. } => Some("is a patch port"),
        PortKind::Tunnel(tunnel) => {
            unfit_tunnel(port, tunnel).or_else(|| disputed(port, tunnel, bridge, input))
        }
        PortKind::Other(_) => Some("is of a type without TC"),
        PortKind::System if port.bond.is_some() => Some("is a member of a bond"),
        PortKind::System if port.policing.is_some() => {
            Some("has an ingress policing rate, which OVS enforces")
        }
        PortKind::System if port.switch.is_none() => Some("is not a port of a card's switch"),
        PortKind::System if port.ifindex.is_none() => Some("has no device"),
        PortKind::System => None,
    }
}

/// Which of several tunnels a packet is of can only be told by its remote end.
fn unfit_tunnel(port: &Port, tunnel: &Tunnel) -> Option<&'static str> {
    use crate::ports::TunnelKind::{Geneve, Gre, Vxlan};
    let Ok(config) = tunnel.config() else { return Some("has an option that cannot be read") };
    match () {
        () if !matches!(tunnel.kind, Geneve | Gre | Vxlan) => Some("is a tunnel of another kind"),
        () if port.ifindex.is_none() => Some("is a tunnel whose device is not known"),
        () if tunnel.kind == Gre && config.in_key == TunnelKey::Flow => {
            Some("is a GRE tunnel whose key the flow decides")
        }
        () if config.in_key == TunnelKey::Absent => Some("is a tunnel without a key"),
        () if !config.extensions.is_empty() => Some("is a tunnel with extensions"),
        () if !matches!(config.remote, TunnelEnd::Addr(_)) => {
            Some("is a tunnel whose other end the flow decides")
        }
        () => None,
    }
}

/// Why it is not certain whose packets these are. OVS gives a packet to the tunnel that says most about it, and filters of two
/// bridges on one device would mix.
fn disputed(
    port: &Port,
    tunnel: &Tunnel,
    bridge: &BridgeName,
    input: &Input<'_>,
) -> Option<&'static str> {
    let ours = outer(tunnel);
    input.ports.bridges.iter().find_map(|(name, ports)| {
        let others = ports.ports.values().filter(|other| other.ifindex == port.ifindex);
        let mut others = others.filter(|other| (name, &other.name) != (bridge, &port.name));
        others.find_map(|other| match &other.kind {
            PortKind::Tunnel(_) if name != bridge => {
                Some("shares its device with a tunnel of another bridge")
            }
            PortKind::Tunnel(other) if overlaps(&ours, &outer(other)) => {
                Some("may get packets that are another tunnel's")
            }
            _ => None,
        })
    })
}

/// The last word on rules that no filter comes of.
fn settle(
    program: &mut Program,
    input: &Input<'_>,
    unseen: &[(Ingress, Reason, BTreeSet<RuleId>)],
    unwalked: &BTreeSet<Unwalked>,
) {
    let mut seen: BTreeSet<RuleId> = BTreeSet::new();
    // Many entries share a trail, or a stretch of rules.
    let (mut trails, mut stretches) = (FxHashSet::default(), FxHashSet::default());
    for entry in program.chains.iter().flat_map(|chain| &chain.entries) {
        for trail in entry.trail.back() {
            if !trails.insert(ptr::from_ref(trail)) {
                break;
            }
            if stretches.insert(trail.rules.as_ptr()) {
                seen.extend(trail.rules.iter().copied());
            }
        }
    }
    program.walked.clone_from(&seen);
    for (ingress, reason, rules) in unseen {
        for rule in rules {
            let (ingress, reason) = (Some(ingress.clone()), reason.clone());
            program.settled.push(Settled { rule: *rule, ingress, reason });
            seen.insert(*rule);
        }
    }
    program.settled.extend(reach::the_rest(input, &seen, unwalked));
}
