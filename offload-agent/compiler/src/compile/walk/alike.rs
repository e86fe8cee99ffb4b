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

use super::doom::changes;
use super::explore::{Explorer, Lookup, Walk};
use super::graph::{Edge, End, Micro, Tail};
use super::reads::Reads;
use super::table::Candidate;
use crate::compile::ir::overlaps;
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

struct OneWay<'a> {
    actions: &'a [Action],
    takes: Match,
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
            let (actions, takes) = (rule.rule.actions.as_slice(), rule.rest.clone());
            ways.0.push(OneWay { actions, takes, reads, tail: edge.tail.clone() });
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
        let untold = |takes: &Match| takes.fields().iter().all(|one| !self.reads.asks(one.field));
        self.actions == rule.rule.actions.as_slice()
            && changes(&self.takes) == changes(&rule.rest)
            && untold(&self.takes)
            && untold(&rule.rest)
    }
}

impl<'a> Explorer<'a> {
    /// Takes out the ways that lead where all packets go that no way takes, and returns them. What they depend on is added: of another packet
    /// they may lead elsewhere.
    pub(super) fn simplify(&self, edges: &mut Vec<Edge>, reads: &mut Reads) -> Vec<Edge> {
        let dropped = take_out(edges);
        self.read_by(&dropped, reads);
        dropped
    }

    /// What the ways that were taken out depend on. Most are the same as the one before.
    fn read_by(&self, ways: &[Edge], reads: &mut Reads) {
        let mut last: Option<&Edge> = None;
        for way in ways {
            let same = |last: &Edge| {
                last.tail.ops == way.tail.ops
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

/// Takes out what is redundant. Its rules are those of the last way, too.
fn take_out(edges: &mut Vec<Edge>) -> Vec<Edge> {
    let gone = redundant(edges);
    if !gone.contains(&true) {
        return Vec::new();
    }
    let all = std::mem::take(edges).into_iter().zip(gone);
    let (dropped, kept): (Vec<_>, Vec<_>) = all.partition(|(_, gone)| *gone);
    let dropped: Vec<Edge> = dropped.into_iter().map(|(edge, _)| edge).collect();
    edges.extend(kept.into_iter().map(|(edge, _)| edge));
    if let Some(last) = edges.last_mut() {
        let rules = dropped.iter().filter_map(|edge| edge.tail.rules.first().copied());
        last.tail.rules = rules.chain(last.tail.rules.iter().copied()).collect();
    }
    dropped
}

/// Which ways lead where the last one does, and are not in front of another that does not.
fn redundant(edges: &[Edge]) -> Vec<bool> {
    let mut gone = vec![false; edges.len()];
    let Some((last, before)) = edges.split_last() else { return gone };
    if last.takes != Match::any() {
        return gone;
    }
    let same: Vec<bool> = before.iter().map(|edge| leads_the_same_way(edge, last)).collect();
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

/// What a way does; what it asks on the way there does not matter.
fn does(edge: &Edge) -> impl Iterator<Item = &Micro> {
    edge.tail.ops.iter().filter(|op| !matches!(op, Micro::Read(_)))
}

fn leads_the_same_way(edge: &Edge, last: &Edge) -> bool {
    let same_end = match (&edge.tail.end, &last.tail.end) {
        (End::Node(here), End::Node(there)) => here == there,
        (End::Done, End::Done) => true,
        _ => false,
    };
    same_end && does(edge).eq(does(last))
}
