//! One verdict a rule, from its filters, its guards and what the passes settled.

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::FilterId;

use crate::capabilities::Target;
use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerChain, FlowerEntry, FlowerProgram, Ingress, RuleId};
use crate::compile::verdict::{Outcome, Reason, Verdict};
use crate::openflow::{BridgeName, Rule};

/// What is known of all rules.
pub(super) struct Facts {
    of_rules: Vec<OfRule>,
    /// The names of the ports that have filters, by number.
    names: Vec<String>,
}

/// Ports by number.
type Ports = BTreeSet<u32>;

impl Facts {
    /// What becomes of the packets of each rule, by the entries that got a prio.
    pub(super) fn of(program: &FlowerProgram, input: &Input<'_>) -> Facts {
        let mut of_rules = Vec::new();
        of_rules.resize_with(input.rules.iter().count(), OfRule::default);
        let names = program.ports.keys().map(|ingress| port_name(ingress, input)).collect();
        let mut facts = Facts { of_rules, names };
        for (chain, ports) in uses(program) {
            let Some(chain) = program.chains.get(chain) else { continue };
            // Which entries have a place may differ from port to port.
            for (missing, ports) in ports {
                for (stretch, ends) in stretches(chain, &missing) {
                    stretch.into_iter().for_each(|rule| facts.ends(rule, &ends, &ports));
                }
            }
        }
        facts
    }

    /// A filter belongs to the rule that says what happens; the rules before only lead there.
    pub(super) fn filter(&mut self, entry: &FlowerEntry, filter: FilterId) {
        let rule = entry.rule().and_then(|rule| self.of_rules.get_mut(rule.0));
        if let Some(rule) = rule {
            let place = if entry.is_guard() { &mut rule.guards } else { &mut rule.filters };
            place.push(filter);
        }
    }

    fn ends(&mut self, rule: RuleId, ends: &Ends, ports: &Ports) {
        let Some(rule) = self.of_rules.get_mut(rule.0) else { return };
        if ends.some_act {
            rule.acts_on.extend(ports);
        }
        for reason in &ends.kept {
            rule.kept.entry(reason.clone()).or_default().extend(ports);
        }
    }

    /// One verdict a rule.
    pub(super) fn verdicts(
        mut self,
        program: &FlowerProgram,
        input: &Input<'_>,
        cookies: &[u64],
    ) -> Vec<Verdict> {
        for settled in &program.settled {
            let name = settled.ingress.as_ref().map(|ingress| port_name(ingress, input));
            if let Some(rule) = self.of_rules.get_mut(settled.rule.0) {
                rule.settled.entry(settled.reason.clone()).or_default().extend(name);
            }
        }
        let Facts { of_rules, names } = self;
        let rules = input.rules.iter().zip(of_rules).zip(cookies);
        let verdicts = rules.map(|(((id, bridge, rule), facts), cookie)| {
            let mut known = Known::of(facts, &names);
            if known.is_left_before() && program.walked.contains(&id) {
                known.kept.insert(Reason::LeftBefore, BTreeSet::new());
            }
            known.verdict(id, bridge, rule, input, *cookie)
        });
        verdicts.collect()
    }
}

/// The tables of a chain that got no prio.
type Missing = BTreeSet<(usize, tc_filter::EtherType)>;

/// Which ports use each chain, by what of it has no place there.
fn uses(program: &FlowerProgram) -> BTreeMap<usize, BTreeMap<Missing, Ports>> {
    let mut uses: BTreeMap<usize, BTreeMap<Missing, Ports>> = BTreeMap::new();
    let tables: Vec<BTreeSet<_>> = program.chains.iter().map(FlowerChain::tables).collect();
    for (number, port) in (0..).zip(program.ports.values()) {
        for used in &port.uses {
            let here = tables.get(used.chain).into_iter().flatten();
            let missing = here.filter(|(depth, protocol)| {
                !program.prios.contains_key(&(used.number, *depth, *protocol))
            });
            let missing = missing.copied().collect();
            uses.entry(used.chain).or_default().entry(missing).or_default().insert(number);
        }
    }
    uses
}

/// What becomes of the packets that go by a stretch of rules.
#[derive(Default)]
struct Ends {
    some_act: bool,
    kept: BTreeSet<Reason>,
}

/// The stretches of rules of a chain; many entries share each, so it is looked at once.
fn stretches(chain: &FlowerChain, missing: &Missing) -> Vec<(Vec<RuleId>, Ends)> {
    let mut ends: BTreeMap<usize, (Vec<RuleId>, Ends)> = BTreeMap::new();
    let has_place =
        |entry: &&FlowerEntry| entry.table().is_none_or(|table| !missing.contains(&table));
    for entry in chain.entries.iter().filter(has_place) {
        for stretch in entry.trail.stretches() {
            let place = stretch.as_ptr().addr();
            let (_, ends) =
                ends.entry(place).or_insert_with(|| (stretch.to_vec(), Ends::default()));
            match &entry.effect {
                Effect::Pass(reason) if !ends.kept.contains(reason) => {
                    ends.kept.insert(reason.clone());
                }
                Effect::Pass(_) => {}
                Effect::Act(_) | Effect::Goto { .. } => ends.some_act = true,
            }
        }
    }
    ends.into_values().collect()
}

fn port_name(ingress: &Ingress, input: &Input<'_>) -> String {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    port.map_or_else(|| ingress.port.to_string(), |port| port.name.clone())
}

/// What is known of one rule, by the numbers of ports.
#[derive(Default)]
struct OfRule {
    filters: Vec<FilterId>,
    guards: Vec<FilterId>,
    acts_on: Ports,
    kept: BTreeMap<Reason, Ports>,
    settled: BTreeMap<Reason, BTreeSet<String>>,
}

/// The same by their names.
struct Known {
    filters: BTreeSet<FilterId>,
    guards: BTreeSet<FilterId>,
    acts_on: BTreeSet<String>,
    kept: BTreeMap<Reason, BTreeSet<String>>,
}

impl Known {
    fn of(rule: OfRule, names: &[String]) -> Known {
        let named = |ports: &Ports| -> BTreeSet<String> {
            let places = ports.iter().filter_map(|port| usize::try_from(*port).ok());
            places.filter_map(|port| names.get(port).cloned()).collect()
        };
        let mut kept = rule.settled;
        for (reason, ports) in &rule.kept {
            kept.entry(reason.clone()).or_default().extend(named(ports));
        }
        Known {
            filters: rule.filters.into_iter().collect(),
            guards: rule.guards.into_iter().collect(),
            acts_on: named(&rule.acts_on),
            kept,
        }
    }

    /// Whether nothing is left of the ways that lead there, and nothing was said of it.
    fn is_left_before(&self) -> bool {
        self.acts_on.is_empty() && self.kept.is_empty()
    }

    fn verdict(
        mut self,
        id: RuleId,
        bridge: &BridgeName,
        rule: &Rule,
        input: &Input<'_>,
        cookie: u64,
    ) -> Verdict {
        let outcome = self.outcome(input.capabilities.target);
        if outcome == Outcome::Dead && self.kept.is_empty() {
            // No port has packets for it: `specialize` made no copy.
            self.kept.insert(Reason::NeverMatches, BTreeSet::new());
        }
        if outcome != Outcome::Dead {
            // On some port the rule may be hidden; what counts is what becomes of its packets elsewhere.
            self.kept.retain(|reason, _| !reason.is_dead());
        }
        let troubled: BTreeSet<&String> = self
            .kept
            .iter()
            .filter(|(reason, _)| !reason.is_marginal())
            .flat_map(|(_, ports)| ports)
            .collect();
        Verdict {
            rule: id,
            bridge: bridge.clone(),
            text: Verdict::text_of(rule),
            cookie,
            outcome,
            offloaded_on: self
                .acts_on
                .iter()
                .filter(|port| !troubled.contains(port))
                .cloned()
                .collect(),
            filters: self.filters,
            guards: self.guards,
            kept: self.kept,
        }
    }

    fn outcome(&self, target: Target) -> Outcome {
        let alive = || self.kept.keys().filter(|reason| !reason.is_dead());
        let serious = alive().any(|reason| !reason.is_marginal());
        match (self.acts_on.is_empty(), serious) {
            (true, _) if alive().next().is_none() => Outcome::Dead,
            (true, _) => Outcome::Ovs,
            (false, true) => Outcome::Split,
            (false, false) if target == Target::Software => Outcome::Software,
            (false, false) => Outcome::Hardware,
        }
    }
}
