//! Filters on a packet: TC's chains as the kernel walks them (`tcf_classify`), or a card with the kernel behind it.

mod act;
mod csum;
mod key;
mod pedit;

use std::collections::BTreeMap;

use tc_filter::{Attach, ChainId, CtZone, Filter, FilterId, HwPolicy, IfIndex};

use super::{
    Connection, Conntrack, Dissected, Effects, Egress, Fate, Frame, Packet, Parser, TunnelHeader,
};
#[cfg(doc)]
use crate::capabilities::Capabilities;
use crate::compile::ir::Ingress;
use crate::plan::Plan;
use crate::ports::{Port, PortKind, PortMap};
use act::End;

/// The kernel drops a packet that jumps more often (`max_reclassify_loop`).
const MAX_JUMPS: usize = 16;

/// Everything that decides what filters do with a packet, but the packet.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    /// The filters.
    pub plan: &'a Plan,
    /// Whose devices they name.
    pub ports: &'a PortMap,
    /// What connection tracking answers.
    pub conntrack: &'a Conntrack,
    /// Whether an outer header gets the packet's own ECN bits, see [`Capabilities::copies_ecn`].
    pub encap_ecn: bool,
}

/// A packet's way through the filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where it ends.
    pub fate: Fate,
    /// The filters that took it, in order.
    pub hits: Vec<FilterId>,
}

/// A packet among the filters.
#[derive(Clone, Debug)]
struct Passing<'a> {
    /// As it came.
    arrived: &'a Packet,
    /// Its bytes by now.
    frame: Frame,
    /// The tunnel header it came with, until `tunnel_key unset`.
    tunnel: Option<TunnelHeader>,
    /// The tunnel header it shall leave with.
    set: Option<TunnelHeader>,
    /// What the last `ct` found, and in which zone.
    tracked: Option<(CtZone, Connection)>,
    effects: Effects,
}

impl Passing<'_> {
    /// Whether OVS would get it as it came, with nothing done yet that OVS would do again.
    fn is_as_it_came(&self) -> bool {
        let committed = self.effects.tracked.iter().any(|asked| asked.commit.is_some());
        self.frame == self.arrived.frame
            && self.tunnel == self.arrived.tunnel
            && self.set.is_none()
            && self.tracked.is_none()
            && self.effects.deliveries.is_empty()
            && !committed
    }

    fn pass(&self) -> Fate {
        if self.is_as_it_came() { Fate::Ovs } else { Fate::Spoiled }
    }
}

/// What the filters on a port's device do with a packet.
pub fn plan(filters: &Filters<'_>, ingress: &Ingress, packet: &Packet, parser: Parser) -> Fate {
    filters.follow(ingress, packet, parser).fate
}

impl Filters<'_> {
    /// Follows a packet that comes in by a port.
    pub fn follow(&self, ingress: &Ingress, packet: &Packet, parser: Parser) -> Followed {
        let mut passing = Passing {
            arrived: packet,
            frame: packet.frame.clone(),
            tunnel: packet.tunnel.clone(),
            set: None,
            tracked: None,
            effects: Effects::default(),
        };
        let mut hits = Vec::new();
        let hook = self.ports.port(&ingress.bridge, ingress.port).and_then(hook);
        let fate = hook.map_or(Fate::Ovs, |hook| self.walk(hook, &mut passing, parser, &mut hits));
        Followed { fate, hits }
    }

    fn walk(
        &self,
        hook: Attach,
        passing: &mut Passing<'_>,
        parser: Parser,
        hits: &mut Vec<FilterId>,
    ) -> Fate {
        let (mut chain, mut parser) = (ChainId::ZERO, parser);
        let mut jumps = 0;
        while jumps <= MAX_JUMPS {
            match self.chain((hook, chain), passing, parser, hits) {
                End::Done => return Fate::Delivered(std::mem::take(&mut passing.effects).sorted()),
                End::Pass => return passing.pass(),
                End::Spoiled => return Fate::Spoiled,
                End::Goto(next) => (chain, jumps) = (next, jumps + 1),
                // What the card does not take, the kernel sees in the same chain.
                End::Miss if parser == Parser::Card => parser = Parser::Kernel,
                // A miss in another chain than the first is no way back to OVS's beginning.
                End::Miss if chain == ChainId::ZERO => return passing.pass(),
                End::Miss => return Fate::Spoiled,
            }
        }
        Fate::Spoiled
    }

    fn chain(
        &self,
        place: (Attach, ChainId),
        passing: &mut Passing<'_>,
        parser: Parser,
        hits: &mut Vec<FilterId>,
    ) -> End {
        let seen = Dissected::of(&passing.frame, parser);
        let hidden = match parser {
            Parser::Kernel => HwPolicy::SkipSw,
            Parser::Card => HwPolicy::SkipHw,
        };
        for filter in in_chain(self.plan, place).filter(|filter| filter.hw != hidden) {
            if !key::hits(filter, &seen, passing) {
                continue;
            }
            hits.push(filter.id());
            match self.execute(filter, passing) {
                Some(end) => return end,
                // `continue`: the next filter, which sees the packet as it was read.
                None => continue,
            }
        }
        End::Miss
    }

    fn execute(&self, filter: &Filter, passing: &mut Passing<'_>) -> Option<End> {
        for action in filter.actions.iter() {
            match self.act(action, passing) {
                act::Next::Action => {}
                act::Next::Filter => return None,
                act::Next::End(end) => return Some(end),
            }
        }
        Some(End::Pass)
    }

    /// Which port a device is.
    fn egress(&self, device: IfIndex) -> Option<(Egress, &Port)> {
        for (bridge, ports) in &self.ports.bridges {
            for (number, port) in &ports.ports {
                if port.ifindex.is_some_and(|ifindex| ifindex.0 == device.0) {
                    let to = match &port.kind {
                        PortKind::Tunnel(tunnel) => Egress::Tunnel(tunnel.device()?),
                        _ => Egress::Port(Ingress { bridge: bridge.clone(), port: *number }),
                    };
                    return Some((to, port));
                }
            }
        }
        None
    }
}

/// Where the packets of a port meet filters: what the host sends into a bridge leaves the bridge's own device.
fn hook(port: &Port) -> Option<Attach> {
    let device = IfIndex(port.ifindex?.0);
    match port.kind {
        PortKind::Internal => Some(Attach::Egress(device)),
        _ => Some(Attach::Ingress(device)),
    }
}

/// The filters of a chain in the order in which the kernel tries them.
fn in_chain(plan: &Plan, (attach, chain): (Attach, ChainId)) -> impl Iterator<Item = &Filter> {
    let here: &BTreeMap<FilterId, Filter> = &plan.filters;
    here.values().filter(move |filter| filter.attach == attach && filter.chain == chain)
}
