//! A table's rules, in the order in which they are looked for.
//!
//! Rules that ask for the same bits of the pipeline's own fields (registers, metadata, the input port) form a group, and
//! within a group they are found by value. Of a table with thousands of rules a walk looks at those of its datapath only. Where
//! those are still many, they are found by what is known of the packet, too: a table of all addresses has a rule for each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Masked, Match, OfPriority, Rule};

/// So few rules of a shape are looked at one by one. Debug builds look for all others, so that the tests with their small tables do, too.
const FEW_RULES: usize = if cfg!(debug_assertions) { 1 } else { 8 };

/// A conjunction by its priority and its id.
pub(super) type Conjunction = (OfPriority, u32);

/// The rules of one table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) rules: Vec<(RuleId, &'a Rule)>,
    pub(super) groups: Vec<Group>,
    /// How many clauses each conjunction has.
    pub(super) conjunctions: FxHashMap<Conjunction, usize>,
}

/// Rules that ask for the same bits of the pipeline's fields.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) asked: Asked,
    pub(super) by_value: BTreeMap<Vec<u128>, Bucket>,
    /// What the first of the fields is asked to be.
    pub(super) first: BTreeSet<u128>,
}

/// The rules of a group that ask for the same values.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) few: Vec<usize>,
    pub(super) many: Vec<Shape>,
    pub(super) clauses: FxHashMap<Conjunction, Clauses>,
}

/// Clauses of one conjunction.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub(super) numbers: BTreeSet<u8>,
    pub(super) rules: Vec<usize>,
}

/// Rules of a bucket that ask for the same bits of the packet.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) asked: Asked,
    pub(super) rules: Vec<(usize, Vec<u128>)>,
    /// What each of the fields is asked to be.
    pub(super) values: Vec<FxHashSet<u128>>,
    /// The rules by those fields of which the value is known.
    pub(super) by_known: RefCell<FxHashMap<u64, ByValue>>,
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
    /// The shape it was found in, among those of the table that were looked through.
    pub(super) shape: Option<usize>,
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
        bucket.few.sort_unstable();
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

    pub(super) fn by(&self, known: u64) -> ByValue {
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

pub(super) fn is_of_the_pipeline(field: Field) -> bool {
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
