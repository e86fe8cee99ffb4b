//! Rules of one priority that take the same packet: OpenFlow does not say which of them wins, so OVS decides. Where they do
//! the same it does not matter.
//!
//! ```text
//! #0 priority=5,ip         -> output:2      priority=5,tcp,tp_dst=80 -> ovs: rule 1 has the same priority
//! #1 priority=5,tcp_dst=80 -> output:3      #0 ...
//!                                           #1 ...
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::alike::same_bits;
use super::graph::{Edge, End, Tail};
use super::table::Candidate;
use crate::compile::ir::{both, overlaps};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};

/// Up to this, comparing all pairs is quicker than an index. Debug builds have one for three rules, so that the tests with their small tables
/// ask it.
const FEW: usize = if cfg!(debug_assertions) { 2 } else { 24 };

/// What stays in OVS because two rules of one priority want it.
pub(super) fn guards(rules: &[&Candidate<'_>]) -> Vec<Edge> {
    between(rules, &pairs(rules))
}

/// The same for pairs that are known.
pub(super) fn between(rules: &[&Candidate<'_>], pairs: &Pairs) -> Vec<Edge> {
    let mut guards = Vec::new();
    for (a, b) in pairs {
        let (Some(a), Some(b)) = (rules.get(*a), rules.get(*b)) else { continue };
        if a.rule.actions == b.rule.actions && a.rule.idle_timeout == b.rule.idle_timeout {
            continue;
        }
        let Some(takes) = both(&a.rest, &b.rest) else { continue };
        let end =
            |reason| Tail { rules: [a.id, b.id].into(), ops: Rc::default(), end: End::Ovs(reason) };
        guards.push(Edge { takes, tail: end(Reason::SamePriority(b.id)) });
    }
    guards
}

/// Rules that overlap, by place.
type Pairs = BTreeSet<(usize, usize)>;

/// The pairs that overlap.
pub(super) fn pairs(rules: &[&Candidate<'_>]) -> Pairs {
    if rules.len() > FEW {
        return indexed(rules);
    }
    let numbers = 0..rules.len();
    let all = numbers.clone().flat_map(|a| numbers.clone().skip(a + 1).map(move |b| (a, b)));
    all.filter(|(a, b)| overlaps(&rules[*a].rest, &rules[*b].rest)).collect()
}

/// The fields and masks of a match.
type Shape = Vec<(Field, u128)>;

/// What a match asks of the bits of a shape.
type Values = SmallVec<[u128; 2]>;

/// Rules of one shape overlap when their values are equal; rules of two shapes when the bits they share are.
fn indexed(rules: &[&Candidate<'_>]) -> Pairs {
    let shapes = by_shape(rules);
    let mut pairs = BTreeSet::new();
    for (number, (shape, members)) in shapes.iter().enumerate() {
        for (other, others) in &shapes[number..] {
            if shape == other && is_of_one_shape(members, rules) {
                continue;
            }
            let common = common(shape, other);
            let mut by_value: FxHashMap<Values, SmallVec<[usize; 1]>> = FxHashMap::default();
            for at in members {
                by_value.entry(values(&rules[*at].rest, &common)).or_default().push(*at);
            }
            for at in others {
                let same = by_value.get(&values(&rules[*at].rest, &common));
                let same = same.into_iter().flatten().filter(|other| *other != at);
                pairs.extend(same.map(|other| (*at.min(other), *at.max(other))));
            }
        }
    }
    pairs
}

/// Whether rules asked for the same bits before anything was known of the packet, and still do: no two of them take one packet.
fn is_of_one_shape(members: &[usize], rules: &[&Candidate<'_>]) -> bool {
    let first = members.first().and_then(|at| rules[*at].shape);
    first.is_some() && members.iter().all(|at| rules[*at].shape == first)
}

/// The places of the rules of each shape.
fn by_shape(rules: &[&Candidate<'_>]) -> Vec<(Shape, Vec<usize>)> {
    let mut places: BTreeMap<Shape, usize> = BTreeMap::new();
    let mut shapes: Vec<(Shape, Vec<usize>)> = Vec::new();
    let mut last: Option<(&Match, usize)> = None;
    for (at, rule) in rules.iter().enumerate() {
        let as_before = last.filter(|(takes, _)| same_bits(takes.fields(), rule.rest.fields()));
        let place = as_before.map_or_else(
            || {
                let shape = shape(&rule.rest);
                *places.entry(shape).or_insert_with_key(|shape| {
                    shapes.push((shape.clone(), Vec::new()));
                    shapes.len() - 1
                })
            },
            |(_, place)| place,
        );
        shapes[place].1.push(at);
        last = Some((&rule.rest, place));
    }
    shapes
}

fn shape(takes: &Match) -> Shape {
    takes.fields().iter().map(|field| (field.field, field.masked.mask)).collect()
}

fn common(a: &Shape, b: &Shape) -> Shape {
    let theirs: BTreeMap<Field, u128> = b.iter().copied().collect();
    let shared = a.iter().filter_map(|(field, mask)| Some((*field, mask & theirs.get(field)?)));
    shared.filter(|(_, mask)| *mask != 0).collect()
}

fn values(takes: &Match, shape: &Shape) -> Values {
    let value = |(field, mask): &(Field, u128)| takes.get(*field).map_or(0, |m| m.value & mask);
    shape.iter().map(value).collect()
}
