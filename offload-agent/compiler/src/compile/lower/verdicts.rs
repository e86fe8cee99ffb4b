//! One verdict a rule, from its filters, its guards and what the passes settled.

use std::collections::{BTreeMap, BTreeSet};

use super::Lowered;
use crate::capabilities::Target;
use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerChain, FlowerProgram, Ingress, RuleId};
use crate::compile::verdict::{Outcome, Reason, Verdict};
use crate::openflow::{BridgeName, Rule};

pub(super) fn collect(
    lowered: &[Lowered],
    program: &FlowerProgram,
    input: &Input<'_>,
) -> Vec<Verdict> {
    let mut facts: BTreeMap<RuleId, Facts> = BTreeMap::new();
    for one in lowered {
        if let Some(rule) = one.trail.last() {
            facts.entry(rule).or_default().filter(one);
        }
    }
    for (ingress, chains) in &program.ports {
        let port = port_name(ingress, input);
        for (stretch, ends) in stretches(chains) {
            for rule in stretch {
                facts.entry(rule).or_default().ends(&ends, &port);
            }
        }
    }
    for settled in &program.settled {
        let name = settled.ingress.as_ref().map(|ingress| port_name(ingress, input));
        facts.entry(settled.rule).or_default().kept(&settled.reason, name);
    }
    input
        .rules
        .iter()
        .map(|(id, bridge, rule)| {
            facts.remove(&id).unwrap_or_default().verdict(id, bridge, rule, input)
        })
        .collect()
}

/// What becomes of the packets that go by a stretch of rules.
#[derive(Default)]
struct Ends {
    some_act: bool,
    kept: BTreeSet<Reason>,
}

/// The stretches of rules of a port; many entries share each, so it is looked at once.
fn stretches(chains: &[FlowerChain]) -> Vec<(Vec<RuleId>, Ends)> {
    let mut ends: BTreeMap<usize, (Vec<RuleId>, Ends)> = BTreeMap::new();
    for entry in chains.iter().flat_map(|chain| &chain.entries) {
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

/// What is known of one rule.
#[derive(Default)]
struct Facts {
    filters: BTreeSet<tc_filter::FilterId>,
    guards: BTreeSet<tc_filter::FilterId>,
    acts_on: BTreeSet<String>,
    kept: BTreeMap<Reason, BTreeSet<String>>,
}

impl Facts {
    /// A filter belongs to the rule that says what happens; the rules before only lead there.
    fn filter(&mut self, one: &Lowered) {
        let place = if one.keeps.is_some() { &mut self.guards } else { &mut self.filters };
        place.insert(one.filter.id());
    }

    fn ends(&mut self, ends: &Ends, port: &str) {
        if ends.some_act {
            self.acts_on.insert(port.to_owned());
        }
        ends.kept.iter().for_each(|reason| self.kept(reason, Some(port.to_owned())));
    }

    fn kept(&mut self, reason: &Reason, port: Option<String>) {
        self.kept.entry(reason.clone()).or_default().extend(port);
    }

    fn verdict(
        mut self,
        id: RuleId,
        bridge: &BridgeName,
        rule: &Rule,
        input: &Input<'_>,
    ) -> Verdict {
        let outcome = self.outcome(input.capabilities.target);
        if outcome == Outcome::Dead && self.kept.is_empty() {
            // No port has packets for it: `specialize` made no copy.
            self.kept(&Reason::NeverMatches, None);
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
            cookie: input.rules.cookie(id),
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
