//! `--explain-packet`: what happens to one packet, step by step, by the rules and by the filters.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use flow_compiler::Compiled;
use flow_compiler::compile::interp::{
    Conntrack, Delivery, Effects, Egress, Fate, Filters, Followed, Frame, Hop, Outcome, Packet,
    Parser, World, openflow, outcomes,
};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::compile::verdict::{Reason, Verdict};
use flow_compiler::openflow::text::parse_rules;
use flow_compiler::openflow::{BridgeName, Field, OfPort, Ruleset};
use flow_compiler::ports::PortMap;
use tc_filter::{FilterId, IfIndex};

use super::error::PacketError;
use super::{names, outer, packet};

/// How many tags OVS looks through, unless it is set otherwise.
const VLAN_LIMIT: u8 = 1;

/// A rule, and what keeps packets of it in OVS.
pub(super) type Told<'a> = (&'a BridgeName, &'a Verdict, &'a Reason);

/// A packet that comes in by a port.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ingress: Ingress,
    pub(super) packet: Packet,
    conntrack: Conntrack,
}

impl Asked {
    /// Reads `[BRIDGE ]FLOW`, as `ofproto/trace` has it.
    pub(super) fn parse(
        text: &str,
        conntrack: Conntrack,
        ports: &PortMap,
        ruleset: &Ruleset,
    ) -> Result<Asked, PacketError> {
        let (bridge, flow) = bridge_of(text, ports)?;
        let rules = parse_rules(&format!("{flow} actions=drop"), &names(ports, &bridge));
        let rules = rules.map_err(|problem| PacketError::Syntax(Box::new(problem)))?;
        let fields = rules.into_iter().next().map(|rule| rule.match_).unwrap_or_default();
        let port = fields.exact(Field::InPort).or_else(|| fields.exact(Field::InPortOxm));
        let port = port.and_then(|port| u16::try_from(port).ok()).map(OfPort);
        let port = port.ok_or(PacketError::FromNowhere)?;
        let known = ports.port(&bridge, port).ok_or(PacketError::FromNowhere)?;
        let options = ruleset.bridges.get(&bridge).map(|rules| rules.tunnel_options.clone());
        let tunnel = outer::header(&fields, known, &options.unwrap_or_default())?;
        let ingress = Ingress { bridge, port };
        let packet = Packet { tunnel, ..Packet::from(packet::frame(&fields)) };
        Ok(Asked { ingress, packet, conntrack })
    }
}

fn bridge_of<'a>(text: &'a str, ports: &PortMap) -> Result<(BridgeName, &'a str), PacketError> {
    let named = text.split_once(' ').map(|(bridge, flow)| (BridgeName::from(bridge), flow));
    if let Some((bridge, flow)) = named.filter(|(bridge, _)| ports.bridges.contains_key(bridge)) {
        return Ok((bridge, flow));
    }
    let mut bridges = ports.bridges.keys();
    match (bridges.next(), bridges.next()) {
        (Some(only), None) => Ok((only.clone(), text)),
        _ => Err(PacketError::OfWhichBridge),
    }
}

/// A node to explain a packet on.
pub(super) struct Explanation<'a> {
    pub(super) ruleset: &'a Ruleset,
    pub(super) ports: &'a PortMap,
    pub(super) compiled: &'a Compiled,
    pub(super) encap_ecn: bool,
    pub(super) devices: &'a BTreeMap<String, IfIndex>,
}

impl Explanation<'_> {
    /// Prints both ways, and whether they lead to the same end.
    pub(super) fn print(&self, asked: &Asked, to: &mut impl Write) -> io::Result<()> {
        let world = self.world(asked);
        writeln!(to, "packet: {:?}", asked.packet.frame)?;
        let ways = outcomes(&world, &asked.ingress, &asked.packet);
        for (at, way) in ways.iter().enumerate() {
            match ways.len() {
                1 => writeln!(to, "\nOpenFlow")?,
                many => writeln!(to, "\nOpenFlow, way {} of {many}", at + 1)?,
            }
            self.print_way(way, &asked.packet.frame, to)?;
        }
        let followed = self.follow(asked);
        writeln!(to, "\nTC")?;
        for id in &followed.hits {
            let text = self
                .compiled
                .plan
                .filters
                .get(id)
                .map(|filter| filter.text(self.devices).to_string());
            writeln!(to, "  {}", text.unwrap_or_default())?;
        }
        match &followed.fate {
            Fate::Ovs => {
                writeln!(to, "  => it reaches OVS as it came")?;
                self.print_reasons(asked, &ways, to)?;
            }
            Fate::Delivered(effects) => self.print_effects(effects, &asked.packet.frame, to)?,
            Fate::Spoiled => writeln!(
                to,
                "  => it reaches OVS, but not as it came: this is a fault of the compiler"
            )?,
        }
        let expected = openflow(&world, &asked.ingress, &asked.packet);
        let same =
            if followed.fate.agrees(&expected) { "the same end" } else { "NOT the same end" };
        writeln!(to, "\n{same}")
    }

    /// The node as the rules see it, with what connection tracking says of the packet.
    pub(super) fn world(&self, asked: &Asked) -> World<'_> {
        let mut world = World::new(self.ruleset, self.ports, VLAN_LIMIT);
        world.conntrack = asked.conntrack.clone();
        world
    }

    /// What keeps packets of this port in OVS, of all rules that take the packet. Not all of it need concern this packet.
    fn print_reasons(
        &self,
        asked: &Asked,
        ways: &[Outcome<'_>],
        to: &mut impl Write,
    ) -> io::Result<()> {
        for (bridge, verdict, reason) in self.reasons(asked, ways) {
            writeln!(to, "     {bridge} {}: {reason}", verdict.text)?;
        }
        Ok(())
    }

    /// The same, each rule and reason once, in the order in which the packet meets them.
    pub(super) fn reasons<'b>(
        &'b self,
        asked: &'b Asked,
        ways: &'b [Outcome<'_>],
    ) -> Vec<Told<'b>> {
        let Ingress { bridge, port } = &asked.ingress;
        let name = self.ports.port(bridge, *port).map_or("", |port| port.name.as_str());
        let hops = ways.iter().flat_map(|way| &way.hops);
        let rules = hops.filter_map(|hop| hop.rule.map(|rule| (hop.bridge, rule)));
        let mut told = BTreeSet::new();
        let mut all = Vec::new();
        for (bridge, rule) in rules {
            for verdict in self.compiled.verdicts.iter().filter(|one| one.is_of(bridge, rule)) {
                let kept = verdict.kept_on(name);
                all.extend(
                    kept.filter(|reason| told.insert((verdict.rule, *reason)))
                        .map(|reason| (bridge, verdict, reason)),
                );
            }
        }
        all
    }

    /// What the rule of a guard says of this packet's port, if it is one.
    pub(super) fn guard(&self, asked: &Asked, filter: &FilterId) -> Option<Vec<Told<'_>>> {
        let verdict = self.compiled.verdicts.iter().find(|one| one.guards.contains(filter))?;
        let port = self.ports.port(&asked.ingress.bridge, asked.ingress.port)?;
        let serious = verdict.kept_on(&port.name).filter(|reason| !reason.is_marginal());
        let reasons: Vec<Told<'_>> =
            serious.map(|reason| (&verdict.bridge, verdict, reason)).collect();
        (!reasons.is_empty()).then_some(reasons)
    }

    /// The filters that take the packet, in order, and where it ends.
    pub(super) fn follow(&self, asked: &Asked) -> Followed {
        let filters = Filters {
            plan: &self.compiled.plan,
            ports: self.ports,
            conntrack: &asked.conntrack,
            encap_ecn: self.encap_ecn,
        };
        filters.follow(&asked.ingress, &asked.packet, Parser::Card)
    }

    fn print_way(&self, way: &Outcome<'_>, came: &Frame, to: &mut impl Write) -> io::Result<()> {
        way.hops.iter().try_for_each(|hop| writeln!(to, "  {}", Step(hop)))?;
        self.print_effects(&way.effects, came, to)?;
        way.doubts.iter().try_for_each(|doubt| writeln!(to, "  => only OVS can do it: {doubt}"))
    }

    fn print_effects(
        &self,
        effects: &Effects,
        came: &Frame,
        to: &mut impl Write,
    ) -> io::Result<()> {
        if effects.deliveries.is_empty() {
            writeln!(to, "  => it is dropped")?;
        }
        for delivery in &effects.deliveries {
            writeln!(to, "  => {}", self.leaves(delivery, came))?;
        }
        for asked in &effects.tracked {
            let commit = if asked.commit.is_some() { ", and committed" } else { "" };
            writeln!(to, "  => it is tracked in zone {}{commit}", asked.zone.0)?;
        }
        effects
            .limits
            .iter()
            .try_for_each(|limit| writeln!(to, "  => it counts for a limit: {limit:?}"))
    }

    /// Where a packet leaves.
    pub(super) fn place(&self, to: &Egress) -> String {
        match to {
            Egress::Port(port) => {
                let name = self.ports.port(&port.bridge, port.port).map(|port| port.name.as_str());
                format!("{} of {}", name.unwrap_or("an unknown port"), port.bridge)
            }
            Egress::Tunnel(device) => format!("the tunnel device {device}"),
        }
    }

    fn leaves(&self, delivery: &Delivery, came: &Frame) -> String {
        let mut text = format!("it leaves by {}", self.place(&delivery.to));
        if let Some(tunnel) = &delivery.tunnel {
            let id = tunnel.id.map_or_else(String::new, |id| format!(", key {id}"));
            // Text takes everything.
            let _ = write!(text, " to {}{id}", tunnel.dst);
            for option in &tunnel.options {
                let _ = write!(text, ", option {option:?}");
            }
        }
        if delivery.frame != *came {
            let _ = write!(text, " as {:?}", delivery.frame);
        }
        text
    }
}

/// One look-up.
struct Step<'a>(&'a Hop<'a>);

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step(hop) = self;
        match hop.rule {
            Some(rule) => write!(f, "{} {rule}", hop.bridge),
            None => write!(f, "{} table={}: no rule takes it", hop.bridge, hop.table),
        }
    }
}
