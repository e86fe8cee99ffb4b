//! A table's rules, found by what is known.
//!
//! Rules that ask for the same bits of the pipeline's own fields (registers, metadata, the input port) form a group, and
//! within a group they are found by value. Of a table with thousands of rules a walk looks at those of its datapath only. Where
//! those are still many, they are found by what is known of the packet, too: a table of all addresses has a rule for each.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::reads::Reads;
use super::state::{Slot, State};
use super::value::Test;
use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Masked, Match, OfPriority, Rule};

/// So few rules of a shape are looked at one by one.
const FEW_RULES: usize = 8;

/// The rules of one table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    rules: Vec<(RuleId, &'a Rule)>,
    groups: Vec<Group>,
}

/// Rules that ask for the same bits of the pipeline's fields.
#[derive(Debug, Default)]
struct Group {
    asked: Asked,
    by_value: BTreeMap<Vec<u128>, Bucket>,
    /// What the first of the fields is asked to be.
    first: BTreeSet<u128>,
}

/// The rules of a group that ask for the same values.
#[derive(Debug, Default)]
struct Bucket {
    few: Vec<usize>,
    many: Vec<Shape>,
}

/// Rules of a bucket that ask for the same bits of the packet.
#[derive(Debug)]
struct Shape {
    asked: Asked,
    rules: Vec<(usize, Vec<u128>)>,
    /// What each of the fields is asked to be.
    values: Vec<FxHashSet<u128>>,
    /// The rules by those fields of which the value is known.
    by_known: RefCell<FxHashMap<u64, ByValue>>,
}

/// Bits of fields.
type Asked = Vec<(Field, u128)>;

/// Rules by the values they ask for.
type ByValue = FxHashMap<Vec<u128>, Vec<usize>>;

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
        let mut groups: BTreeMap<Asked, BTreeMap<Vec<u128>, Vec<usize>>> = BTreeMap::new();
        for (at, (_, rule)) in rules.iter().enumerate() {
            let (asked, values): (Asked, Vec<_>) = of_the_pipeline(&rule.match_).unzip();
            groups.entry(asked).or_default().entry(values).or_default().push(at);
        }
        let groups = groups.into_iter().map(|(asked, by_value)| {
            let first = by_value.keys().filter_map(|values| values.first().copied()).collect();
            let buckets = by_value.into_iter();
            let by_value = buckets.map(|(values, at)| (values, Bucket::of(&at, &rules)));
            Group { asked, by_value: by_value.collect(), first }
        });
        let groups = groups.collect();
        Table { rules, groups }
    }

    /// The rules that may take a packet, the highest priority first, up to those of the priority that certainly does.
    pub(super) fn candidates(
        &self,
        state: &State,
        overrides: &[(Field, u128)],
        reads: &mut Reads,
    ) -> Vec<Candidate<'a>> {
        let buckets = self.groups.iter().flat_map(|group| group.find(state, overrides, reads));
        // What is next: a rule, or all rules of a shape, which are looked for when it is the first one's turn.
        let (mut next, mut shapes) = (BinaryHeap::new(), Vec::new());
        for bucket in buckets {
            next.extend(bucket.few.iter().map(|at| Reverse((*at, None))));
            for shape in &bucket.many {
                next.extend(shape.rules.first().map(|(at, _)| Reverse((*at, Some(shapes.len())))));
                shapes.push(shape);
            }
        }
        let mut found = Vec::new();
        let mut last = OfPriority(0);
        while let Some(Reverse((at, shape))) = next.pop() {
            if self.rules.get(at).is_some_and(|(_, rule)| rule.priority < last) {
                break;
            }
            if let Some(shape) = shape.and_then(|shape| shapes.get(shape)) {
                next.extend(shape.find(state, reads).into_iter().map(|at| Reverse((at, None))));
                continue;
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
    fn find(&self, state: &State, overrides: &[(Field, u128)], reads: &mut Reads) -> Vec<&Bucket> {
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
            let Some(value) = value else { return self.by_value.values().collect() };
            if number == 0 && !self.first.contains(&value) {
                return Vec::new();
            }
            values.push(value);
        }
        self.by_value.get(&values).into_iter().collect()
    }
}

impl Bucket {
    fn of(places: &[usize], rules: &[(RuleId, &Rule)]) -> Bucket {
        let mut shapes: BTreeMap<Asked, Vec<(usize, Vec<u128>)>> = BTreeMap::new();
        for at in places {
            let Some((_, rule)) = rules.get(*at) else { continue };
            let (asked, values) = of_the_packet(&rule.match_).unzip();
            shapes.entry(asked).or_default().push((*at, values));
        }
        let mut bucket = Bucket::default();
        for (asked, rules) in shapes {
            if rules.len() <= FEW_RULES || asked.len() > MOST_FIELDS {
                bucket.few.extend(rules.into_iter().map(|(at, _)| at));
            } else {
                bucket.many.push(Shape::of(asked, rules));
            }
        }
        bucket
    }
}

impl Shape {
    fn of(asked: Asked, rules: Vec<(usize, Vec<u128>)>) -> Shape {
        let of_field = |number: usize| {
            rules.iter().filter_map(move |(_, values)| values.get(number).copied()).collect()
        };
        let values = (0..asked.len()).map(of_field).collect();
        Shape { asked, rules, values, by_known: RefCell::default() }
    }

    /// The rules that nothing known rules out.
    fn find(&self, state: &State, reads: &mut Reads) -> Vec<usize> {
        let (mut known, mut values) = (0, Vec::new());
        for (number, ((field, mask), asked)) in self.asked.iter().zip(&self.values).enumerate() {
            reads.test(state, *field, *mask);
            let Some(value) = state.settled(Slot::Field(*field)).value(*mask) else { continue };
            if !asked.contains(&value) {
                return Vec::new();
            }
            known |= 1 << number;
            values.push(value);
        }
        let mut by_known = self.by_known.borrow_mut();
        let by_value = by_known.entry(known).or_insert_with(|| self.by(known));
        by_value.get(&values).cloned().unwrap_or_default()
    }

    fn by(&self, known: u64) -> ByValue {
        let mut by_value = ByValue::default();
        for (at, values) in &self.rules {
            let values = values.iter().enumerate();
            let values = values.filter(|(number, _)| known >> number & 1 == 1);
            let values: Vec<u128> = values.map(|(_, value)| *value).collect();
            by_value.entry(values).or_default().push(*at);
        }
        by_value
    }
}

/// More fields than any rule asks for; the set of those that are known is a number.
const MOST_FIELDS: usize = 60;

fn is_of_the_pipeline(field: Field) -> bool {
    field.is_register() || matches!(field, Field::InPort | Field::ConjId)
}

/// What a match asks of the other fields, in order.
fn of_the_packet(takes: &Match) -> impl Iterator<Item = ((Field, u128), u128)> {
    let asked = takes.fields().iter().filter(|field| !is_of_the_pipeline(field.field));
    asked.map(|field| ((field.field, field.masked.mask), field.masked.value))
}

/// What a match asks of the pipeline's fields, the datapath first, since it tells most rules apart.
fn of_the_pipeline(takes: &Match) -> impl Iterator<Item = ((Field, u128), u128)> {
    let asked = takes.fields().iter().filter(|field| is_of_the_pipeline(field.field));
    let mut fields: Vec<(Field, Masked)> = asked.map(|field| (field.field, field.masked)).collect();
    fields.sort_by_key(|(field, _)| (*field != Field::Metadata, *field));
    fields.into_iter().map(|(field, masked)| ((field, masked.mask), masked.value))
}
