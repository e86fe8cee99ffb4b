//! A table's rules, found by what is known.
//!
//! Rules that ask for the same bits of the pipeline's own fields (registers, metadata, the input port) form a group, and
//! within a group they are found by value. Of a table with thousands of rules a walk looks at those of its datapath only. Where
//! those are still many, they are found by what is known of the packet, too: a table of all addresses has a rule for each.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::question;
use super::reads::Reads;
use super::state::{Slot, State};
use super::value::Test;
use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Masked, Match, OfPriority, Rule};

/// So few rules of a shape are looked at one by one.
const FEW_RULES: usize = 8;

/// A conjunction by its priority and its id.
pub(super) type Conjunction = (OfPriority, u32);

/// The rules of one table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    rules: Vec<(RuleId, &'a Rule)>,
    groups: Vec<Group>,
    /// How many clauses each conjunction has.
    conjunctions: FxHashMap<Conjunction, usize>,
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
    clauses: FxHashMap<Conjunction, Clauses>,
}

/// Clauses of one conjunction.
#[derive(Debug, Default)]
struct Clauses {
    numbers: BTreeSet<u8>,
    rules: Vec<usize>,
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

/// What is looked at next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A rule.
    Rule,
    /// One that was found by what is known.
    Found,
    /// All rules of a shape.
    Shape(usize),
}

impl Next {
    fn shape(self) -> Option<usize> {
        match self {
            Next::Shape(shape) => Some(shape),
            Next::Rule | Next::Found => None,
        }
    }
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
        clauses(self.rule).next().is_some()
    }
}

/// The conjunctions that a rule is a clause of, with the clause's number and how many there are.
pub(super) fn clauses(rule: &Rule) -> impl Iterator<Item = (Conjunction, u8, u8)> {
    rule.actions.iter().filter_map(|action| match action {
        Action::Conjunction { id, clause, n_clauses } => {
            Some(((rule.priority, *id), *clause, *n_clauses))
        }
        _ => None,
    })
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
        let mut conjunctions: FxHashMap<Conjunction, usize> = FxHashMap::default();
        for (of, _, n_clauses) in rules.iter().flat_map(|(_, rule)| clauses(rule)) {
            let wanted = conjunctions.entry(of).or_insert(usize::MAX);
            *wanted = usize::from(n_clauses).min(*wanted);
        }
        Table { rules, groups, conjunctions }
    }

    /// The rules that may take a packet, the highest priority first, up to those of the priority that certainly does. Some may be
    /// left out.
    pub(super) fn candidates(
        &self,
        state: &State,
        overrides: &[(Field, u128)],
        left_out: Option<&FxHashSet<RuleId>>,
        reads: &mut Reads,
    ) -> Vec<Candidate<'a>> {
        let is_left_out = |at: usize| {
            left_out
                .is_some_and(|rules| self.rules.get(at).is_some_and(|(id, _)| rules.contains(id)))
        };
        let buckets = self.groups.iter().flat_map(|group| group.find(state, overrides, reads));
        let buckets: Vec<&Bucket> = buckets.collect();
        // What is next: a rule, or all rules of a shape, which are looked for when it is the first one's turn.
        let (mut next, mut shapes) = (BinaryHeap::new(), Vec::new());
        // Once the conjunction is known, its clauses count no more.
        if !overrides.iter().any(|(field, _)| *field == Field::ConjId) {
            let clauses = self.clauses_of_whole(&buckets);
            next.extend(clauses.into_iter().map(|at| Reverse((at, Next::Rule))));
        }
        for bucket in buckets {
            next.extend(bucket.few.iter().map(|at| Reverse((*at, Next::Rule))));
            for shape in &bucket.many {
                let first = shape.rules.first();
                next.extend(first.map(|(at, _)| Reverse((*at, Next::Shape(shapes.len())))));
                shapes.push(shape);
            }
        }
        let mut found = Vec::new();
        let mut last = OfPriority(0);
        while let Some(Reverse((at, what))) = next.pop() {
            if self.rules.get(at).is_some_and(|(_, rule)| rule.priority < last) {
                break;
            }
            if let Some(shape) = what.shape().and_then(|shape| shapes.get(shape)) {
                let found = shape.find(state, reads).into_iter();
                let found = found.filter(|at| !is_left_out(*at));
                next.extend(found.map(|at| Reverse((at, Next::Found))));
                continue;
            }
            if is_left_out(at) {
                continue;
            }
            // What is asked of one that was found was read when it was looked for.
            let reads = Some(&mut *reads).filter(|_| what != Next::Found);
            let Some(candidate) = self.candidate(at, state, overrides, reads) else { continue };
            if candidate.is_certain() {
                last = candidate.rule.priority;
            }
            found.push(candidate);
        }
        found
    }

    /// The clauses of those conjunctions that still may have a rule for each.
    fn clauses_of_whole(&self, buckets: &[&Bucket]) -> BTreeSet<usize> {
        let mut found: FxHashMap<Conjunction, (BTreeSet<u8>, Vec<&Clauses>)> = FxHashMap::default();
        for (of, clauses) in buckets.iter().flat_map(|bucket| &bucket.clauses) {
            let (numbers, all) = found.entry(*of).or_default();
            numbers.extend(&clauses.numbers);
            all.push(clauses);
        }
        found.retain(|of, (numbers, _)| {
            self.conjunctions.get(of).is_some_and(|n| *n <= numbers.len())
        });
        let all = found.into_values().flat_map(|(_, all)| all);
        all.flat_map(|clauses| clauses.rules.iter().copied()).collect()
    }

    fn candidate(
        &self,
        at: usize,
        state: &State,
        overrides: &[(Field, u128)],
        mut reads: Option<&mut Reads>,
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
            if let Some(reads) = &mut reads {
                reads.test(state, asked.field, asked.masked.mask);
            }
            match state.test(asked.field, asked.masked) {
                Test::Never => return None,
                Test::Unknown => candidate.unknown = Some(Reason::NotKnown(asked.field)),
                Test::If(parts) if !question::add(&mut candidate.rest, parts.iter().copied()) => {
                    return None;
                }
                Test::If(_) => {}
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
                    reads.test(state, *field, *mask);
                    state.peek(Slot::Field(*field), |bits| bits.value(*mask))
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
        let mut bucket = Bucket::default();
        for at in places {
            let Some((_, rule)) = rules.get(*at) else { continue };
            if bucket.has_clauses(*at, rule) {
                continue;
            }
            let (asked, values) = of_the_packet(&rule.match_).unzip();
            shapes.entry(asked).or_default().push((*at, values));
        }
        for (asked, rules) in shapes {
            if rules.len() <= FEW_RULES || asked.len() > MOST_FIELDS {
                bucket.few.extend(rules.into_iter().map(|(at, _)| at));
            } else {
                bucket.many.push(Shape::of(asked, rules));
            }
        }
        bucket
    }

    /// Takes a rule in as clauses, if it is any.
    fn has_clauses(&mut self, at: usize, rule: &Rule) -> bool {
        let mut any = false;
        for (of, number, _) in clauses(rule) {
            let clauses = self.clauses.entry(of).or_default();
            clauses.numbers.insert(number);
            clauses.rules.push(at);
            any = true;
        }
        any
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
