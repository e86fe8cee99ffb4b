//! One verdict a rule, from its filters, its guards and what the passes settled.

use std::collections::{BTreeMap, BTreeSet};

use super::Lowered;
use crate::capabilities::Target;
use crate::compile::Input;
use crate::compile::ir::{Effect, FlowerProgram, Ingress, RuleId};
use crate::compile::verdict::{Outcome, Reason, Verdict};
use crate::openflow::{BridgeName, Rule};

pub(super) fn collect(
    lowered: &[Lowered],
    program: &FlowerProgram,
    input: &Input<'_>,
) -> Vec<Verdict> {
    let mut facts: BTreeMap<RuleId, Facts> = BTreeMap::new();
    for one in lowered {
        let port = port_name(&one.ingress, input);
        for rule in one.trail.rules() {
            facts.entry(rule).or_default().filter(one, &port);
        }
    }
    for (ingress, chains) in &program.ports {
        let port = port_name(ingress, input);
        for entry in chains.iter().flat_map(|chain| &chain.entries) {
            let Effect::Pass(reason) = &entry.effect else { continue };
            for rule in entry.trail.rules() {
                facts.entry(rule).or_default().kept(reason, Some(port.clone()));
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

fn port_name(ingress: &Ingress, input: &Input<'_>) -> String {
    let port = input.ports.port(&ingress.bridge, ingress.port);
    port.map_or_else(|| ingress.port.to_string(), |port| port.name.clone())
}

/// The rule without its actions, as OVS writes it.
fn text(rule: &Rule) -> String {
    let takes = rule.match_.to_string();
    let comma = if takes.is_empty() { "" } else { "," };
    format!("table={},priority={}{comma}{takes}", rule.table, rule.priority)
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
    fn filter(&mut self, one: &Lowered, port: &str) {
        if one.guard {
            self.guards.insert(one.filter.id());
        } else {
            self.filters.insert(one.filter.id());
            self.acts_on.insert(port.to_owned());
        }
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
            text: text(rule),
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
        match (self.filters.is_empty(), serious) {
            (true, _) if alive().next().is_none() => Outcome::Dead,
            (true, _) => Outcome::Ovs,
            (false, true) => Outcome::Split,
            (false, false) if target == Target::Software => Outcome::Software,
            (false, false) => Outcome::Hardware,
        }
    }
}
