//! The last word on rules that no packet of any port got to: nothing leads to their table, or a rule of higher priority
//! takes all their packets, or they ask for what no packet has there.
//!
//! ```text
//! table 0  #0 priority=9,ip -> output:2
//! table 0  #1 priority=5,tcp -> drop        #1 settled: rule 0 takes all its packets
//! table 9  #2 ... -> output:3               #2 settled: nothing leads to table 9
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::Input;
use crate::compile::ir::{RuleId, Settled};
use crate::compile::verdict::Reason;
use crate::compile::walk::Unwalked;
use crate::openflow::{Action, BridgeName, Field, GroupId, Rule, TableId};

/// Where every packet starts.
const FIRST: TableId = TableId(0);

/// What is to say of the rules that were not seen.
pub(super) fn the_rest(
    input: &Input<'_>,
    seen: &BTreeSet<RuleId>,
    unwalked: &BTreeSet<Unwalked>,
) -> Vec<Settled> {
    let mut tables: BTreeMap<(&BridgeName, TableId), Covers> = BTreeMap::new();
    let bridges: BTreeSet<&BridgeName> = input.rules.iter().map(|(_, bridge, _)| bridge).collect();
    let reached: BTreeMap<&BridgeName, BTreeSet<TableId>> =
        bridges.into_iter().map(|bridge| (bridge, reachable(bridge, FIRST, input))).collect();
    let unwalked = behind(input, unwalked);
    let mut settled = Vec::new();
    for (id, bridge, rule) in input.rules.iter() {
        let table = tables.entry((bridge, rule.table)).or_default();
        if !seen.contains(&id) {
            let leads = reached.get(bridge).is_some_and(|tables| tables.contains(&rule.table));
            let reason = match (leads, table.over(rule)) {
                (false, _) => Reason::UnreachableTable(rule.table),
                (true, Some(higher)) => Reason::Hidden(higher),
                (true, None) => {
                    let behind = unwalked.get(&(bridge, rule.table));
                    let behind = behind.filter(|_| !input.tracks() || is_tracked(rule));
                    behind.cloned().unwrap_or_else(|| unseen(rule, input))
                }
            };
            settled.push(Settled { rule: id, ingress: None, reason });
        }
        table.add(id, rule);
    }
    settled
}

/// Why no way was found to a rule that nothing hides.
fn unseen(rule: &Rule, input: &Input<'_>) -> Reason {
    match input.tracks() {
        false => Reason::NeverMatches,
        true if is_tracked(rule) && !input.capabilities.has_ct() => {
            Reason::CardAction("track connections")
        }
        true => Reason::NotTracked,
    }
}

/// The rules of a table so far, by what they ask for, to find one that takes all packets of another.
#[derive(Default)]
struct Covers(BTreeMap<Vec<(Field, u128)>, ByValue>);

/// The rules that ask for the same bits, by what they ask them to be, with their priority.
type ByValue = BTreeMap<Vec<u128>, (u16, RuleId)>;

impl Covers {
    fn add(&mut self, id: RuleId, rule: &Rule) {
        let clause = rule.actions.iter().any(|one| matches!(one, Action::Conjunction { .. }));
        if clause || !rule.match_.unsupported().is_empty() {
            return;
        }
        let asked = rule.match_.fields().iter();
        let (shape, values) =
            asked.map(|field| ((field.field, field.masked.mask), field.masked.value)).unzip();
        let place = self.0.entry(shape).or_default();
        place.entry(values).or_insert((rule.priority.0, id));
    }

    fn over(&self, rule: &Rule) -> Option<RuleId> {
        let found = self.0.iter().filter_map(|(shape, rules)| {
            let values = shape.iter().map(|(field, mask)| {
                let masked = rule.match_.get(*field).filter(|m| m.mask & mask == *mask)?;
                Some(masked.value & mask)
            });
            let values: Vec<u128> = values.collect::<Option<_>>()?;
            rules.get(&values).filter(|(priority, _)| *priority > rule.priority.0)
        });
        found.map(|(_, id)| *id).min()
    }
}

/// Why the rules of a table may not have been seen: what led there was broken off.
fn behind<'a>(
    input: &Input<'a>,
    unwalked: &BTreeSet<Unwalked>,
) -> BTreeMap<(&'a BridgeName, TableId), Reason> {
    let mut behind = BTreeMap::new();
    for Unwalked { bridge, table, reason } in unwalked {
        let Some(bridge) = input.bridge(*bridge) else { continue };
        for table in reachable(bridge, *table, input) {
            behind.entry((bridge, table)).or_insert_with(|| reason.clone());
        }
    }
    behind
}

/// Whether some TCP or UDP packet may match.
fn is_tracked(rule: &Rule) -> bool {
    let is = |field: Field, of: &[u128]| {
        rule.match_.get(field).is_none_or(|asked| of.iter().any(|value| asked.covers(*value)))
    };
    is(Field::EthType, &[0x0800, 0x86dd]) && is(Field::NwProto, &[6, 17])
}

fn reachable(bridge: &BridgeName, from: TableId, input: &Input<'_>) -> BTreeSet<TableId> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(table) = todo.pop() {
        if seen.insert(table) {
            let rules = input.rules.of_table(bridge, table);
            rules.for_each(|rule| Leads { input, bridge, table }.follow(&rule.actions, &mut todo));
        }
    }
    seen
}

/// Where actions of one table lead.
struct Leads<'a> {
    input: &'a Input<'a>,
    bridge: &'a BridgeName,
    table: TableId,
}

impl Leads<'_> {
    fn follow(&self, actions: &[Action], todo: &mut Vec<TableId>) {
        actions.iter().for_each(|action| self.follow_one(action, todo));
    }

    fn follow_one(&self, action: &Action, todo: &mut Vec<TableId>) {
        match action {
            Action::Resubmit(resubmit) => todo.push(resubmit.table.unwrap_or(self.table)),
            Action::GotoTable(table) => todo.push(*table),
            Action::Ct(ct) => {
                todo.extend(ct.table);
                self.follow(&ct.actions, todo);
            }
            Action::Clone(actions) | Action::WriteActions(actions) => self.follow(actions, todo),
            Action::Group(id) => self.follow_group(*id, todo),
            _ => {}
        }
    }

    /// A bucket may hold a group again; OVS refuses rings of groups, so this ends.
    fn follow_group(&self, id: GroupId, todo: &mut Vec<TableId>) {
        let group = self.input.rules.group(self.bridge, id);
        let buckets = group.into_iter().flat_map(|group| &group.buckets);
        buckets.for_each(|bucket| self.follow(&bucket.actions, todo));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_rule_of_higher_priority_hides_a_narrower_one() {
        let text =
            "priority=9,ip actions=drop\npriority=5,tcp actions=drop\npriority=5,arp actions=drop";
        let rules = crate::openflow::text::parse_rules(text, &Default::default()).unwrap();
        let mut over = Covers::default();
        over.add(RuleId(0), &rules[0]);
        assert_eq!(over.over(&rules[1]), Some(RuleId(0)));
        assert_eq!(over.over(&rules[2]), None);
    }
}
