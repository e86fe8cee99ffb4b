//! OpenFlow itself: the rules of all bridges, straight from the ruleset, on a packet as bytes.
//!
//! This is what filters are judged by, so it shares nothing with the compiler, and it is held to OVS's own
//! `ofproto/trace`. What it does not know, it says: a packet of which something is in [`Doubt`] has to reach OVS.

mod action_set;
mod choice;
mod classify;
mod commit;
mod effects;
mod flow;
mod group;
mod normal;
mod output;
mod track;
mod tunnel;
mod walk;

pub use effects::{Doubt, Effects, Hop, Limit, Outcome};
pub use tunnel::tunnel_port;

use std::collections::{BTreeMap, BTreeSet};

use super::{Conntrack, Packet};
use crate::compile::ir::Ingress;
use crate::openflow::{
    BandKind, BridgeName, BridgeRules, Field, MeterId, MeterUnit, Rule, Ruleset, TableId,
};
use crate::ports::{BridgePorts, Port, PortMap};
use choice::Choices;
use flow::Flow;
use walk::{State, Walk};

/// More ways than this through the choices of one packet are not walked.
pub const MAX_WAYS: usize = 256;

/// Everything that decides a packet's fate but the packet.
#[derive(Clone, Debug)]
pub struct World<'a> {
    ruleset: &'a Ruleset,
    tables: BTreeMap<(&'a BridgeName, TableId), Vec<&'a Rule>>,
    /// The ports of the bridges.
    pub ports: &'a PortMap,
    /// How many VLAN tags OVS looks through (`other_config:vlan-limit`, and what the datapath can).
    pub vlan_limit: u8,
    /// What connection tracking answers.
    pub conntrack: Conntrack,
}

/// What OVS alone would do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This, and nothing else.
    Delivered(Effects),
    /// It is not for filters to decide.
    Unknown(BTreeSet<Doubt>),
}

impl<'a> World<'a> {
    /// The rules and ports, with new connections in every zone.
    pub fn new(ruleset: &'a Ruleset, ports: &'a PortMap, vlan_limit: u8) -> World<'a> {
        let mut tables: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
        for (bridge, rules) in &ruleset.bridges {
            for rule in rules.rules.values() {
                tables.entry((bridge, rule.table)).or_default().push(rule);
            }
        }
        World { ruleset, tables, ports, vlan_limit, conntrack: Conntrack::default() }
    }

    /// The rules.
    pub fn ruleset(&self) -> &'a Ruleset {
        self.ruleset
    }

    fn table(&self, bridge: &'a BridgeName, table: TableId) -> impl Iterator<Item = &'a Rule> {
        self.tables.get(&(bridge, table)).into_iter().flatten().copied()
    }

    fn rules(&self, bridge: &BridgeName) -> Option<&'a BridgeRules> {
        self.ruleset.bridges.get(bridge)
    }

    /// What a meter limits, if it has one limit that drops.
    fn limit(&self, bridge: &BridgeName, id: MeterId) -> Option<Limit> {
        let meter = self.rules(bridge)?.meters.get(&id)?;
        let [band] = meter.bands.as_slice() else { return None };
        match (band.kind, meter.unit) {
            (BandKind::Drop, MeterUnit::Kbps) => Some(Limit::Bytes(u64::from(band.rate) * 125)),
            (BandKind::Drop, MeterUnit::Pktps) => Some(Limit::Packets(band.rate.into())),
            _ => None,
        }
    }
}

/// What OVS would do with a packet that comes in by a port.
pub fn openflow(world: &World<'_>, ingress: &Ingress, packet: &Packet) -> Expected {
    let outcomes = outcomes(world, ingress, packet);
    let mut doubts: BTreeSet<Doubt> =
        outcomes.iter().flat_map(|outcome| &outcome.doubts).cloned().collect();
    let mut effects = outcomes.into_iter().map(|outcome| outcome.effects);
    let first = effects.next().unwrap_or_default();
    if effects.any(|other| other != first) {
        doubts.insert(Doubt::Several);
    }
    if doubts.is_empty() { Expected::Delivered(first) } else { Expected::Unknown(doubts) }
}

/// Every way a packet may go, or the first [`MAX_WAYS`]; OVS takes one of them.
pub fn outcomes<'w>(world: &'w World<'w>, ingress: &Ingress, packet: &Packet) -> Vec<Outcome<'w>> {
    let Some((start, doubts)) = arrive(world, ingress, packet) else { return Vec::new() };
    let mut outcomes = Vec::new();
    let mut next = Some(Choices::default());
    while let Some(choices) = next.filter(|_| outcomes.len() < MAX_WAYS) {
        let mut walk = Walk::new(world, choices);
        walk.doubts.clone_from(&doubts);
        let (outcome, taken) = walk.run(start.clone());
        outcomes.push(outcome);
        next = taken.turn();
    }
    outcomes
}

/// Whether OVS copies or samples packets of a bridge.
fn has_to_see(ports: &BridgePorts) -> bool {
    ports.watched || ports.sampled || !ports.mirrors.is_empty()
}

/// A packet at the first table of its bridge, with what is in doubt before any rule sees it.
fn arrive<'w>(
    world: &'w World<'w>,
    ingress: &Ingress,
    packet: &Packet,
) -> Option<(State<'w>, BTreeSet<Doubt>)> {
    let (bridge, ports) = world.ports.bridges.get_key_value(&ingress.bridge)?;
    let port = ports.ports.get(&ingress.port)?;
    let mut flow = Flow::parsed(&packet.frame, world.vlan_limit);
    flow.set(Field::InPort, u128::from(ingress.port.0));
    let base = flow.clone();
    if let Some(header) = &packet.tunnel {
        flow.enter_tunnel(header, world.rules(bridge));
    }
    let mut doubts = BTreeSet::new();
    if has_to_see(ports) {
        doubts.insert(Doubt::Sampled);
    }
    doubts.extend(before_the_first_table(ports, port, &flow));
    let state = State {
        bridge,
        flow,
        base,
        frame: packet.frame.clone(),
        stack: Vec::new(),
        action_set: Vec::new(),
        table: TableId(0),
        depth: 0,
        exit: false,
        tunnel_dst: packet.tunnel.as_ref().map(|header| header.dst),
        translated: false,
        unclear: None,
    };
    Some((state, doubts))
}

/// What a port may do to a packet that comes in by it.
fn before_the_first_table(ports: &BridgePorts, port: &Port, flow: &Flow) -> Option<Doubt> {
    if ports.hidden_rules.is_some() {
        return Some(HIDDEN_RULES);
    }
    if is_link_protocol(port, flow) {
        return Some(Doubt::LinkProtocol);
    }
    port.protocols.stp.then_some(SPANNING_TREE)
}

/// In-band control, or the rule of a bridge that failed open.
const HIDDEN_RULES: Doubt = Doubt::Unspecified("what rules do that no dump shows");

/// A port that listens or learns only drops (`may_receive`, `xport_stp_forward_state`).
const SPANNING_TREE: Doubt = Doubt::Unspecified("whether spanning tree lets the port forward");

/// `process_special`: what OVS takes for itself.
fn is_link_protocol(port: &Port, flow: &Flow) -> bool {
    const LACP: u128 = 0x8809;
    const CFM: u128 = 0x8902;
    const LLDP: u128 = 0x88cc;
    const STP: u128 = 0x0180_c200_0000;
    const BFD: u128 = 3784;
    let (kind, speaks) = (flow.ethertype(), port.protocols);
    let bfd = flow.protocol() == 17 && flow.get(Field::UdpDst) == BFD;
    let bpdu = flow.get(Field::EthDst) == STP;
    (speaks.lacp && kind == LACP)
        || (speaks.cfm && kind == CFM)
        || (speaks.lldp && kind == LLDP)
        || (speaks.bfd && flow.is_ip() && bfd)
        || (speaks.stp && bpdu)
}
