//! Rules that do the same.
//!
//! Most rules of a large table only say "go on": to each the walk behind it would be the same, as long as nothing there asks for what the
//! rule told. It is made once. And a rule that goes on where packets go that no rule here takes needs no way of its own.
//!
//! ```text
//! ip_dst=A -> resubmit(,14)         ip_dst=169.254.0.0/16: done (drop)
//! ip_dst=B -> resubmit(,14)         any: ask(14)
//! ip_dst=169.254.0.0/16 -> drop
//! any      -> resubmit(,14)
//! ```

use std::collections::BTreeSet;
use std::rc::Rc;

use super::doom::changes;
use super::explore::{Explorer, Lookup, Walk};
use super::graph::{Edge, End, Micro, Tail};
use super::reads::Reads;
use super::table::Candidate;
use crate::compile::ir::{RuleId, overlaps};
use crate::openflow::{Action, Match, MatchField};

/// So many different lists of actions are remembered.
const MOST_REMEMBERED: usize = 8;
/// So many rules that do the same in the end need no ways of their own.
const MANY: usize = 16;
/// Comparing more pairs than this takes longer than it is worth.
const MOST_PAIRS: usize = 1 << 18;

/// The ways of a table so far, by what the rules do.
#[derive(Default)]
pub(super) struct Ways<'a>(Vec<OneWay<'a>>);

/// The way of a rule of which nothing behind asks what it told.
struct OneWay<'a> {
    actions: &'a [Action],
    /// Whether a translation may change all that the rule asks for.
    changes: bool,
    /// What is asked behind it.
    reads: Reads,
    tail: Tail,
}

impl<'a> Explorer<'a> {
    /// A rule's way, which is that of another if they do the same and nothing behind asks for what tells them apart.
    pub(super) fn way(
        &mut self,
        walk: &Walk<'a>,
        at: &Lookup,
        rule: &Candidate<'a>,
        ways: &mut Ways<'a>,
    ) -> Edge {
        // What OVS keeps for another reason than its actions is none of theirs.
        if rule.unknown.is_some() || rule.rule.idle_timeout != 0 {
            return self.edge(walk, at, rule);
        }
        if let Some(tail) = ways.find(rule) {
            return Edge { takes: rule.rest.clone(), tail };
        }
        let edge = self.edge(walk, at, rule);
        if ways.0.len() < MOST_REMEMBERED {
            let reads = self.graph.reads(&edge.tail);
            if is_untold(&rule.rest, &reads) {
                let (actions, changes) = (rule.rule.actions.as_slice(), changes(&rule.rest));
                ways.0.push(OneWay { actions, changes, reads, tail: edge.tail.clone() });
            }
        }
        edge
    }
}

impl<'a> Ways<'a> {
    fn find(&self, rule: &Candidate<'a>) -> Option<Tail> {
        let same = self.0.iter().find(|one| one.is_that_of(rule))?;
        let rules = same.tail.rules.iter().skip(1);
        let rules = [rule.id].into_iter().chain(rules.copied()).collect();
        Some(Tail { rules, ..same.tail.clone() })
    }
}

impl OneWay<'_> {
    fn is_that_of(&self, rule: &Candidate<'_>) -> bool {
        self.actions == rule.rule.actions.as_slice()
            && self.changes == changes(&rule.rest)
            && is_untold(&rule.rest, &self.reads)
    }
}

/// Whether nothing asks for what a match tells.
fn is_untold(takes: &Match, reads: &Reads) -> bool {
    takes.fields().iter().all(|one| !reads.asks(one.field))
}

impl<'a> Explorer<'a> {
    /// Takes out the ways that lead where all packets go that no way takes, and returns their first rules. All their rules are those of the
    /// last way, too. What they depend on is added: of another packet they may lead elsewhere.
    pub(super) fn simplify(&self, edges: &mut Vec<Edge>, reads: &mut Reads) -> Vec<RuleId> {
        let gone = redundant(edges);
        let dropped = || edges.iter().zip(&gone).filter(|(_, gone)| **gone).map(|(edge, _)| edge);
        self.read_by(dropped(), reads);
        if !gone.contains(&true) {
            return Vec::new();
        }
        let first: Vec<RuleId> =
            dropped().filter_map(|way| way.tail.rules.first().copied()).collect();
        let behind: BTreeSet<RuleId> =
            dropped().flat_map(|way| way.tail.rules.iter().skip(1).copied()).collect();
        let mut gone = gone.into_iter();
        edges.retain(|_| gone.next() != Some(true));
        if let Some(last) = edges.last_mut() {
            let before = first.iter().chain(&behind);
            last.tail.rules = before.chain(&*last.tail.rules).copied().collect();
        }
        first
    }

    /// What the ways that were taken out depend on. Most are the same as the one before.
    fn read_by<'w>(&self, ways: impl Iterator<Item = &'w Edge>, reads: &mut Reads) {
        let mut last: Option<&Edge> = None;
        for way in ways {
            let same = |last: &Edge| {
                same_ops(&last.tail, &way.tail)
                    && leads_the_same_way(last, way)
                    && same_bits(last.takes.fields(), way.takes.fields())
            };
            if !last.is_some_and(same) {
                reads.merge(&self.graph.reads_in_front(way));
            }
            last = Some(way);
        }
    }
}

/// Whether two matches ask for the same bits.
pub(super) fn same_bits(a: &[MatchField], b: &[MatchField]) -> bool {
    let same =
        |(a, b): (&MatchField, &MatchField)| a.field == b.field && a.masked.mask == b.masked.mask;
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// Which ways lead where the last one does, and are not in front of another that does not.
fn redundant(edges: &[Edge]) -> Vec<bool> {
    let mut gone = vec![false; edges.len()];
    let Some((last, before)) = edges.split_last() else { return gone };
    if last.takes != Match::any() {
        return gone;
    }
    let same = leading_the_same_way(before, last);
    let alike = same.iter().filter(|same| **same).count();
    // A rule that says what happens in the end has filters of its own, unless there are very many.
    let ends = !matches!(last.tail.end, End::Node(_));
    if ends && alike < MANY || alike.saturating_mul(before.len() - alike) > MOST_PAIRS {
        return gone;
    }
    let mut others = Vec::<&Match>::new();
    for (at, edge) in before.iter().enumerate().rev() {
        if !same[at] {
            others.push(&edge.takes);
        }
        gone[at] = same[at] && !others.iter().any(|other| overlaps(other, &edge.takes));
    }
    gone
}

/// Which ways lead where the last one does. Most share the tail of the one before.
fn leading_the_same_way(ways: &[Edge], last: &Edge) -> Vec<bool> {
    let mut known: Option<(&Edge, bool)> = None;
    let same = ways.iter().map(|way| {
        let as_before = |(before, _): &(&Edge, bool)| {
            Rc::ptr_eq(&before.tail.ops, &way.tail.ops) && same_end(before, way)
        };
        let same = match known.filter(as_before) {
            Some((_, same)) => same,
            None => leads_the_same_way(way, last),
        };
        known = Some((way, same));
        same
    });
    same.collect()
}

/// What a way does; what it asks on the way there does not matter.
fn does(edge: &Edge) -> impl Iterator<Item = &Micro> {
    edge.tail.ops.iter().filter(|op| !matches!(op, Micro::Read(_)))
}

fn leads_the_same_way(edge: &Edge, last: &Edge) -> bool {
    same_end(edge, last) && does(edge).eq(does(last))
}

fn same_end(a: &Edge, b: &Edge) -> bool {
    match (&a.tail.end, &b.tail.end) {
        (End::Node(here), End::Node(there)) => here == there,
        (End::Done, End::Done) => true,
        _ => false,
    }
}

fn same_ops(a: &Tail, b: &Tail) -> bool {
    Rc::ptr_eq(&a.ops, &b.ops) || a.ops == b.ops
}
