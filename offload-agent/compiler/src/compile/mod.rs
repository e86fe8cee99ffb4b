//! Compiles a ruleset to filters: [`compile`] is the list of passes.
//!
//! ```text
//! Ruleset ─► arrive ─► walk ─► unfold ─┐                     Program: OpenFlow's view, tables and registers gone
//!            ┌─────────────────────────┘
//!            └► split ─► legalize ─► nested ─► ground ─► hoist ─► shield ─► assign_chains ─► budget ─► assign_prios ─► lower ─► Plan
//!                                                                     FlowerProgram: flower's view
//! ```
//!
//! All of it is pure: the same rules, ports and capabilities give the same bytes. From `split` on, an entry takes exactly
//! the packets OpenFlow gives its rules, or it passes them to OVS; no later pass has to think about OpenFlow again.

pub mod classes;
pub mod interp;
pub mod ir;
mod lower;
mod pass;
pub mod verdict;
pub mod verify;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use crate::capabilities::Capabilities;
use crate::openflow::{
    Action, BridgeName, Field, Group, GroupId, Match, Meter, MeterId, Ruleset, TunnelOption,
};
use crate::plan::Plan;
use crate::ports::{BridgePorts, Port, PortKind, PortMap, TunnelConfig};
use ir::{FlowerProgram, Ingress, PortRef, Program, Rules, Unguarded};
use tc_filter::FilterId;
use verdict::{Reason, Verdict};

/// What a ruleset comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The filters.
    pub plan: Plan,
    /// One for every rule, in the order of bridge, table, priority and match.
    pub verdicts: Vec<Verdict>,
    /// What the filters leave to OVS.
    pub left: Left,
}

/// What the filters of the ports leave to OVS, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// By a filter that passes it.
    pub guards: BTreeMap<FilterId, Reason>,
    /// By having no filter for it.
    pub unguarded: BTreeSet<Unguarded>,
    /// What no rule takes, by port.
    pub rest: BTreeMap<Ingress, Reason>,
    /// All that comes in by these ports, which have no filters.
    pub ports: BTreeMap<Ingress, Reason>,
    /// All but whole unicast packets of TCP and UDP, for connections are tracked.
    pub untracked: bool,
    /// All of IPv6, which no rule asks for.
    pub no_ipv6: bool,
}

/// Compiles the rules of all bridges for the ports that sit on a card.
pub fn compile(ruleset: &Ruleset, ports: &PortMap, capabilities: &Capabilities) -> Compiled {
    let input = Input::new(ruleset, ports, capabilities);
    let program = front(&input);
    let program = back(program, &input, Stage::AssignPrios);
    lower::run(&program, &input)
}

/// What every pass may look at.
#[derive(Debug)]
pub struct Input<'a> {
    /// The rules.
    pub rules: Rules<'a>,
    /// The ports.
    pub ports: &'a PortMap,
    /// The card.
    pub capabilities: &'a Capabilities,
    ruleset: &'a Ruleset,
    /// The bridges by number.
    bridges: Vec<&'a BridgeName>,
    /// What the options of the tunnels mean.
    tunnels: BTreeMap<PortRef, TunnelConfig>,
    tracks: bool,
    has_ipv6: bool,
}

impl<'a> Input<'a> {
    /// Everything that is compiled together.
    pub fn new(
        ruleset: &'a Ruleset,
        ports: &'a PortMap,
        capabilities: &'a Capabilities,
    ) -> Input<'a> {
        let mut bridges: Vec<&BridgeName> =
            ports.bridges.keys().chain(ruleset.bridges.keys()).collect();
        bridges.sort_unstable();
        bridges.dedup();
        let rules = Rules::of(ruleset);
        let tracks = rules.iter().any(|(_, _, rule)| rule.actions.iter().any(recirculates));
        let has_ipv6 = rules.iter().any(|(_, _, rule)| asks_ipv6(&rule.match_));
        let tunnels = tunnels(ports, &bridges);
        Input { rules, ports, capabilities, ruleset, bridges, tunnels, tracks, has_ipv6 }
    }

    /// A bridge's place among all bridges.
    pub fn bridge_number(&self, bridge: &BridgeName) -> u16 {
        let place = self.bridges.binary_search(&bridge).unwrap_or(self.bridges.len());
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// The name of a bridge.
    pub fn bridge(&self, number: u16) -> Option<&'a BridgeName> {
        self.bridges.get(usize::from(number)).copied()
    }

    /// The ports of a bridge.
    pub fn bridge_ports(&self, number: u16) -> Option<&'a BridgePorts> {
        self.ports.bridges.get(self.bridge(number)?)
    }

    /// A port of any bridge.
    pub fn port_at(&self, at: PortRef) -> Option<&'a Port> {
        self.bridge_ports(at.bridge)?.ports.get(&at.port)
    }

    /// What the options of a tunnel mean, if they can be read.
    pub fn tunnel(&self, at: PortRef) -> Option<&TunnelConfig> {
        self.tunnels.get(&at)
    }

    /// A group.
    pub fn group(&self, bridge: u16, id: GroupId) -> Option<&'a Group> {
        self.ruleset.bridges.get(self.bridge(bridge)?)?.groups.get(&id)
    }

    /// A meter.
    pub fn meter(&self, bridge: u16, id: MeterId) -> Option<&'a Meter> {
        self.ruleset.bridges.get(self.bridge(bridge)?)?.meters.get(&id)
    }

    /// Whether some rule looks at packets again after connection tracking.
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// Whether some rule asks for an IPv6 address that is neither link-local nor a group's.
    pub fn has_ipv6(&self) -> bool {
        self.has_ipv6
    }

    /// The tunnel options that a bridge's fields stand for.
    pub fn tunnel_options(&self, bridge: u16) -> BTreeMap<u8, TunnelOption> {
        self.tunnel_options_of(bridge).cloned().unwrap_or_default()
    }

    /// The tunnel option that one of a bridge's fields stands for.
    pub fn tunnel_option(&self, bridge: u16, number: u8) -> Option<TunnelOption> {
        self.tunnel_options_of(bridge)?.get(&number).copied()
    }

    fn tunnel_options_of(&self, bridge: u16) -> Option<&BTreeMap<u8, TunnelOption>> {
        Some(&self.ruleset.bridges.get(self.bridge(bridge)?)?.tunnel_options)
    }
}

fn tunnels(ports: &PortMap, bridges: &[&BridgeName]) -> BTreeMap<PortRef, TunnelConfig> {
    let numbered = bridges
        .iter()
        .zip(0..)
        .filter_map(|(name, number)| Some((number, ports.bridges.get(*name)?)));
    let tunnels = numbered.flat_map(|(bridge, ports)| {
        ports.ports.iter().filter_map(move |(number, port)| match &port.kind {
            PortKind::Tunnel(tunnel) => {
                Some((PortRef { bridge, port: *number }, tunnel.config().ok()?))
            }
            _ => None,
        })
    });
    tunnels.collect()
}

fn recirculates(action: &Action) -> bool {
    matches!(action, Action::Ct(ct) if ct.table.is_some())
}

fn asks_ipv6(takes: &Match) -> bool {
    const GLOBAL: u128 = 0xe000 << 112;
    let asked = [Field::Ipv6Src, Field::Ipv6Dst].into_iter().filter_map(|field| takes.get(field));
    asked.into_iter().any(|address| {
        let first = address.value & GLOBAL;
        address.mask & GLOBAL == GLOBAL && first != GLOBAL
    })
}

/// The passes, in order; tests stop after one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the pass of the same name")]
pub enum Stage {
    Unfold,
    Split,
    Legalize,
    Nested,
    Ground,
    Hoist,
    Shield,
    AssignChains,
    Budget,
    AssignPrios,
}

/// OpenFlow's view: what each port sees once tables and registers are gone.
pub fn front(input: &Input<'_>) -> Program {
    let program = pass::arrive::run(input);
    verify::checked(|| verify::program(&program));
    program
}

/// The passes over flower's view, up to and with one of them.
pub fn back(program: Program, input: &Input<'_>, last: Stage) -> FlowerProgram {
    let mut program = pass::split::run(program, input);
    let mut step = |stage: Stage, pass: fn(&mut FlowerProgram, &Input<'_>)| {
        if stage <= last {
            pass(&mut program, input);
        }
        verify::checked(|| verify::flower(&program, stage.min(last)));
    };
    step(Stage::Split, |_, _| {});
    step(Stage::Legalize, pass::legalize::run);
    step(Stage::Nested, pass::nested::run);
    step(Stage::Ground, pass::ground::run);
    step(Stage::Hoist, pass::hoist::run);
    step(Stage::Shield, pass::shield::run);
    step(Stage::AssignChains, pass::assign_chains::run);
    step(Stage::Budget, pass::budget::run);
    step(Stage::AssignPrios, pass::assign_prios::run);
    program
}
