//! What many packets have in common in a large table.
//!
//! Of a table with a rule for each address, most rules do the same whatever else is known of the packet. Those that differ are
//! few: they are asked first, and the others are a question of their own that all have in common.
//!
//! ```text
//! table 33  eth_dst=A  -> asks the policy        of TCP: A: ..         of UDP: A: ..
//!           eth_dst=B  -> output:tunnel                  any: ask(1)           any: ask(1)
//!           eth_dst=C  -> output:tunnel          ask(1)  B: output:tunnel   C: output:tunnel
//! ```
//!
//! The question stands behind the rules of higher priority and behind those others of its own that overlap none of its rules; the rules of
//! lower priority belong to it.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::alike::{Ways, same_bits};
use super::explore::{Explorer, Lookup, Walk};
use super::graph::{Edge, End, NodeId, Tail};
use super::reads::Reads;
use super::sets::PLENTY_OF_TABLES;
use super::table::Candidate;
use super::tie;
use crate::compile::ir::RuleId;
use crate::openflow::{Match, MatchField, OfPriority};

/// With fewer rules in common a question of their own is not worth it. Debug builds ask it for a few rules, so that the tests with their
/// small tables come here, too.
const WORTH_SHARING: usize = if cfg!(debug_assertions) { 2 } else { 64 };

/// A question that packets have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) node: NodeId,
    /// The rules of its priority that it asks for.
    pub(super) rules: Rc<FxHashSet<RuleId>>,
    priority: OfPriority,
    /// The others of its priority that could take a packet.
    others: Rc<FxHashSet<RuleId>>,
    /// The rules of lower priority that could.
    lower: Rc<[RuleId]>,
}

/// The candidates of a table, from the point of view of one priority.
struct Levels<'f, 'a> {
    above: &'f [Candidate<'a>],
    level: &'f [Candidate<'a>],
    lower: &'f [Candidate<'a>],
}

impl<'f, 'a> Levels<'f, 'a> {
    fn around(priority: OfPriority, found: &'f [Candidate<'a>]) -> Self {
        let (above, rest) =
            found.split_at(found.partition_point(|one| one.rule.priority > priority));
        let (level, lower) =
            rest.split_at(rest.partition_point(|one| one.rule.priority == priority));
        Levels { above, level, lower }
    }

    /// Around the first priority with many rules, if all of them can be told from each other.
    fn large(found: &'f [Candidate<'a>]) -> Option<Self> {
        let mut rest = found;
        while let Some(first) = rest.first() {
            let levels = Levels::around(first.rule.priority, rest);
            if levels.level.len() >= WORTH_SHARING {
                let plain = |one: &Candidate<'_>| {
                    !one.is_clause() && !one.is_certain() && one.unknown.is_none()
                };
                return levels
                    .level
                    .iter()
                    .all(plain)
                    .then(|| Levels::around(first.rule.priority, found));
            }
            rest = levels.lower;
        }
        None
    }
}

impl Common {
    /// The ways of a packet that has this in common; `found` is what other rules could take it. `None` if these are not the same as before.
    pub(super) fn edges<'a>(
        &self,
        explorer: &mut Explorer<'a>,
        walk: &Walk<'a>,
        at: &Lookup,
        found: &[Candidate<'a>],
    ) -> Option<Vec<Edge>> {
        let Levels { above, level, lower } = Levels::around(self.priority, found);
        let ids = |rules: &[Candidate<'a>]| rules.iter().map(|one| one.id).collect::<Vec<_>>();
        if *ids(lower) != *self.lower || !ids(level).iter().all(|id| self.others.contains(id)) {
            return None;
        }
        let mut edges = explorer.levels(walk, at, above);
        edges.extend(explorer.levels(walk, at, level));
        edges.push(leads_to(self.node));
        Some(edges)
    }
}

impl<'a> Explorer<'a> {
    /// The ways of a packet in a table, and what of them it may have in common with others; what they depend on is added.
    pub(super) fn edges_and_common(
        &mut self,
        walk: &Walk<'a>,
        at: &Lookup,
        found: &[Candidate<'a>],
        reads: &mut Reads,
    ) -> (Vec<Edge>, Option<Common>) {
        let card = self.input.capabilities;
        let plenty = card.has_chains() && card.max_tables >= PLENTY_OF_TABLES;
        let Some(levels) = Levels::large(found).filter(|_| plenty && at.held.is_empty()) else {
            return (self.edges(walk, at, found), None);
        };
        let mut edges = self.levels(walk, at, levels.above);
        let rules: Vec<&Candidate<'a>> = levels.level.iter().collect();
        let ties = tie::pairs(&rules);
        edges.extend(tie::between(&rules, &ties));
        let fresh = edges.len();
        let mut ways = Ways::default();
        edges.extend(rules.iter().map(|rule| self.way(walk, at, rule, &mut ways)));
        if self.is_doomed(walk, &edges, fresh) {
            return (edges, None);
        }
        let lower = self.edges(walk, at, levels.lower);
        if self.broken_off().is_some() {
            return (edges, None);
        }
        let mut rest = edges.split_off(fresh);
        rest.extend(lower);
        let mut read = Reads::default();
        let gone = self.simplify(&mut rest, &mut read);
        let gone: FxHashSet<RuleId> = gone.into_iter().collect();
        let left: Vec<&Candidate<'a>> =
            rules.iter().copied().filter(|rule| !gone.contains(&rule.id)).collect();
        let lower = rest.split_off(left.len());
        let disputed: FxHashSet<RuleId> =
            ties.into_iter().flat_map(|(a, b)| [rules[a].id, rules[b].id]).collect();
        let alike = self.alike(&left, &rest, &disputed);
        let in_common =
            |rule: &RuleId| alike.contains(rule) || gone.contains(rule) && !disputed.contains(rule);
        let common: FxHashSet<RuleId> = rules.iter().map(|one| one.id).filter(in_common).collect();
        if common.len() < WORTH_SHARING {
            edges.extend(rest.into_iter().chain(lower));
            reads.merge(&read);
            return (edges, None);
        }
        let mut behind = Vec::new();
        for (way, rule) in rest.into_iter().zip(left) {
            if alike.contains(&rule.id) { behind.push(way) } else { edges.push(way) }
        }
        behind.extend(lower);
        read.merge(&self.asked(walk, at, &common, &levels));
        let node = self.shared(walk, behind, read);
        edges.push(leads_to(node));
        let others = rules.iter().map(|rule| rule.id).filter(|id| !common.contains(id));
        let found = Common {
            node,
            priority: rules[0].rule.priority,
            others: Rc::new(others.collect()),
            lower: levels.lower.iter().map(|one| one.id).collect(),
            rules: Rc::new(common),
        };
        (edges, Some(found))
    }

    /// The rules that overlap no other and whose ways depend on the same bits: the most of one kind.
    fn alike(
        &self,
        rules: &[&Candidate<'a>],
        ways: &[Edge],
        disputed: &FxHashSet<RuleId>,
    ) -> FxHashSet<RuleId> {
        let mut kinds: FxHashMap<Reads, FxHashSet<RuleId>> = FxHashMap::default();
        for (rule, way) in rules.iter().zip(ways) {
            if !disputed.contains(&rule.id) && !matches!(way.tail.end, End::Ovs(_)) {
                kinds.entry(self.graph.reads_in_front(way)).or_default().insert(rule.id);
            }
        }
        let most =
            kinds.into_values().max_by_key(|rules| (rules.len(), rules.iter().min().copied()));
        most.unwrap_or_default()
    }

    /// What decides whether the rules in common, and those of lower priority, could take the packet.
    fn asked(
        &self,
        walk: &Walk<'a>,
        at: &Lookup,
        common: &FxHashSet<RuleId>,
        levels: &Levels<'_, 'a>,
    ) -> Reads {
        let mut reads = Reads::default();
        let in_common = levels.level.iter().filter(|one| common.contains(&one.id));
        let mut last: &[MatchField] = &[];
        for rule in in_common.chain(levels.lower) {
            let fields = rule.rule.match_.fields();
            // Most rules ask for the same bits as the one before.
            if same_bits(fields, last) {
                continue;
            }
            last = fields;
            for asked in fields {
                if !at.overrides.iter().any(|(field, _)| *field == asked.field) {
                    reads.test(&walk.state, asked.field, asked.masked.mask);
                }
            }
        }
        reads
    }
}

fn leads_to(node: NodeId) -> Edge {
    let tail = Tail { rules: Rc::default(), ops: Rc::default(), end: End::Node(node) };
    Edge { takes: Match::any(), tail }
}
