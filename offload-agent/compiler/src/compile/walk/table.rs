//! A table's rules, found by what the pipeline knows.
//!
//! Rules that ask for the same bits of the pipeline's own fields (registers, metadata, the input port) form a group, and
//! within a group they are found by value. Of a table with thousands of rules a walk looks at those of its datapath only.

use std::collections::{BTreeMap, BTreeSet};

use super::reads::Reads;
use super::state::State;
use super::value::Test;
use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Masked, Match, OfPriority, Rule};

/// The rules of one table.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    rules: Vec<(RuleId, &'a Rule)>,
    groups: Vec<Group>,
}

/// Rules that ask for the same bits of the pipeline's fields.
#[derive(Clone, Debug, Default)]
struct Group {
    asked: Vec<(Field, u128)>,
    by_value: BTreeMap<Vec<u128>, Vec<usize>>,
    /// What the first of the fields is asked to be.
    first: BTreeSet<u128>,
}

/// A rule that may take the packet.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: RuleId,
    pub(super) rule: &'a Rule,
    /// What is left to ask of the packet.
    pub(super) rest: Match,
    /// Why nobody can tell whether it takes the packet.
    pub(super) unknown: Option<Reason>,
}

impl Candidate<'_> {
    /// Whether it takes every packet that gets here.
    pub(super) fn is_certain(&self) -> bool {
        self.unknown.is_none() && self.rest == Match::any() && !self.is_clause()
    }

    /// Whether it is only a part of a conjunction.
    pub(super) fn is_clause(&self) -> bool {
        self.rule.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }))
    }
}

impl<'a> Table<'a> {
    /// The rules, the highest priority first.
    pub(super) fn of(rules: Vec<(RuleId, &'a Rule)>) -> Table<'a> {
        let mut groups: BTreeMap<Vec<(Field, u128)>, Group> = BTreeMap::new();
        for (at, (_, rule)) in rules.iter().enumerate() {
            let (asked, values): (Vec<_>, Vec<_>) = of_the_pipeline(&rule.match_).unzip();
            let group =
                groups.entry(asked.clone()).or_insert_with(|| Group { asked, ..Group::default() });
            group.first.extend(values.first());
            group.by_value.entry(values).or_default().push(at);
        }
        Table { rules, groups: groups.into_values().collect() }
    }

    /// The rules that may take a packet, the highest priority first, up to those of the priority that certainly does.
    pub(super) fn candidates(
        &self,
        state: &State,
        overrides: &[(Field, u128)],
        reads: &mut Reads,
    ) -> Vec<Candidate<'a>> {
        let mut places: Vec<usize> = Vec::new();
        for group in &self.groups {
            group.find(state, overrides, reads, &mut places);
        }
        places.sort_unstable();
        let mut found = Vec::new();
        let mut last = OfPriority(0);
        for at in places {
            if self.rules.get(at).is_some_and(|(_, rule)| rule.priority < last) {
                break;
            }
            let Some(candidate) = self.candidate(at, state, overrides, reads) else { continue };
            // Once the conjunction is known, its clauses count no more.
            if candidate.is_clause() && overrides.iter().any(|(field, _)| *field == Field::ConjId) {
                continue;
            }
            if candidate.is_certain() {
                last = candidate.rule.priority;
            }
            found.push(candidate);
        }
        found
    }

    fn candidate(
        &self,
        at: usize,
        state: &State,
        overrides: &[(Field, u128)],
        reads: &mut Reads,
    ) -> Option<Candidate<'a>> {
        let (id, rule) = *self.rules.get(at)?;
        let unknown = rule.match_.unsupported().first().map(Reason::unknown_match);
        let mut candidate = Candidate { id, rule, rest: Match::any(), unknown };
        for asked in rule.match_.fields() {
            if let Some((_, value)) = overrides.iter().find(|(field, _)| *field == asked.field) {
                if !asked.masked.covers(*value) {
                    return None;
                }
                continue;
            }
            reads.test(state, asked.field, asked.masked.mask);
            match state.test(asked.field, asked.masked) {
                Test::Never => return None,
                Test::Unknown => candidate.unknown = Some(Reason::NotKnown(asked.field)),
                Test::If(parts) => {
                    parts
                        .into_iter()
                        .for_each(|(field, masked)| candidate.rest.insert(field, masked));
                }
            }
        }
        Some(candidate)
    }
}

impl Group {
    fn find(
        &self,
        state: &State,
        overrides: &[(Field, u128)],
        reads: &mut Reads,
        found: &mut Vec<usize>,
    ) {
        let mut values = Vec::with_capacity(self.asked.len());
        for (number, (field, mask)) in self.asked.iter().enumerate() {
            let overridden = overrides.iter().find(|(other, _)| other == field);
            let value = match overridden {
                Some((_, value)) => Some(value & mask),
                None => {
                    reads.field(*field, *mask);
                    state.field(*field).value(*mask)
                }
            };
            let Some(value) = value else {
                found.extend(self.by_value.values().flatten());
                return;
            };
            if number == 0 && !self.first.contains(&value) {
                return;
            }
            values.push(value);
        }
        found.extend(self.by_value.get(&values).into_iter().flatten());
    }
}

/// What a match asks of the pipeline's fields, the datapath first, since it tells most rules apart.
fn of_the_pipeline(takes: &Match) -> impl Iterator<Item = ((Field, u128), u128)> {
    let asked = |field: &&crate::openflow::MatchField| {
        field.field.is_register() || matches!(field.field, Field::InPort | Field::ConjId)
    };
    let mut fields: Vec<(Field, Masked)> =
        takes.fields().iter().filter(asked).map(|field| (field.field, field.masked)).collect();
    fields.sort_by_key(|(field, _)| (*field != Field::Metadata, *field));
    fields.into_iter().map(|(field, masked)| ((field, masked.mask), masked.value))
}
