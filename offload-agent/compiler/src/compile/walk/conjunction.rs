//! Conjunctions: rules that are clauses of a larger one, written out.
//!
//! OVS takes a packet for `conj_id=7` when for every clause of conjunction 7 one of its rules takes the packet; then it
//! looks the packet up again with that id (`find_conjunctive_match` in `lib/classifier.c`). A rule of the same priority
//! that is no clause wins.
//!
//! ```text
//! ip_src=A -> conjunction(7,1/2)       ip_src=A,tcp_dst=80 -> (what conj_id=7 does)
//! ip_src=B -> conjunction(7,1/2)       ip_src=B,tcp_dst=80 -> (what conj_id=7 does)
//! tcp_dst=80 -> conjunction(7,2/2)
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use super::explore::{Explorer, Lookup, Walk};
use super::graph::{Edge, End, Tail};
use super::sets::{Clause, about};
use super::table::{Candidate, Conjunction, clauses};
use crate::compile::ir::{RuleId, both, overlaps};
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Match};

/// A conjunction that comes to more filters than this stays in OVS.
const MOST: usize = 4096;

/// The conjunction's clauses: by dimension, the matches of its rules.
#[derive(Clone, Default)]
pub(super) struct Clauses {
    pub(super) dimensions: BTreeMap<u8, Vec<Match>>,
    pub(super) wanted: u8,
    pub(super) rules: Rc<[RuleId]>,
    pub(super) unknown: Option<Reason>,
}

/// The edges that the clauses of one priority come to.
pub(super) fn edges<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    at: &Lookup,
    clauses: &[&Candidate<'a>],
) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    let mut before: Vec<(Match, &[Action])> = Vec::new();
    for ((_, id), clauses) in collect(clauses, at) {
        if !clauses.is_whole() {
            continue;
        }
        let mut lookup = Lookup { held: Vec::new(), clauses: Rc::default(), ..at.clone() };
        lookup.overrides.push((Field::ConjId, id.into()));
        let does =
            explorer.candidates(walk, &lookup).first().map(|one| one.rule.actions.as_slice());
        let Some(does) = does else { continue };
        let products = products(&clauses);
        let end = end(explorer, walk, lookup, &clauses, products.is_none());
        let tail = Tail { rules: clauses.rules.clone(), ops: Rc::default(), end };
        for takes in products.unwrap_or_else(|| widest(&clauses)) {
            edges.splice(0..0, rivals(&takes, does, &before, &clauses.rules));
            before.push((takes.clone(), does));
            edges.push(Edge { takes, tail: tail.clone() });
        }
    }
    edges
}

impl Clauses {
    /// Whether there is a rule for each clause.
    pub(super) fn is_whole(&self) -> bool {
        self.dimensions.len() >= usize::from(self.wanted)
    }

    /// A clause says how many there are. OVS takes the word of the one that it finds first, so of clauses that disagree those count that all
    /// of them speak of.
    fn want(&mut self, n_clauses: u8) {
        if self.wanted != 0 && self.wanted != n_clauses {
            self.unknown = Some(Reason::Conjunction);
        }
        self.wanted = if self.wanted == 0 { n_clauses } else { self.wanted.min(n_clauses) };
    }

    /// Leaves out the clauses that only some speak of.
    fn agree(&mut self) {
        let wanted = self.wanted;
        self.dimensions.retain(|number, _| *number < wanted);
    }

    /// Puts in which of the clauses hold, where that was asked already.
    fn settle(&mut self, of: Conjunction, at: &Lookup) {
        let mut fails = false;
        for (number, matches) in &mut self.dimensions {
            let asked = about(matches);
            let Some((_, held)) = at.held.iter().find(|(field, _)| Some(*field) == asked) else {
                continue;
            };
            fails |= held.binary_search(&Clause { of, number: *number }).is_err();
            *matches = vec![Match::any()];
        }
        let held = at.held.iter().flat_map(|(_, clauses)| clauses);
        for clause in held.filter(|clause| clause.of == of) {
            self.dimensions.insert(clause.number, vec![Match::any()]);
        }
        if fails {
            self.dimensions.clear();
        }
    }
}

/// The conjunctions that these rules are clauses of.
pub(super) fn collect(
    candidates: &[&Candidate<'_>],
    at: &Lookup,
) -> BTreeMap<Conjunction, Clauses> {
    let mut by_id: BTreeMap<Conjunction, Clauses> = BTreeMap::new();
    let mut rules: BTreeMap<Conjunction, Vec<RuleId>> = BTreeMap::new();
    for clause in at.held.iter().flat_map(|(_, clauses)| clauses) {
        if let Some(known) = at.clauses.get(&clause.of) {
            by_id.entry(clause.of).or_insert_with(|| known.clone());
        }
    }
    for candidate in candidates {
        for (of, clause, n_clauses) in clauses(candidate.rule) {
            let known = at.clauses.get(&of);
            if known.is_none() && !at.held.is_empty() {
                continue;
            }
            let clauses = by_id.entry(of).or_insert_with(|| known.cloned().unwrap_or_default());
            clauses.want(n_clauses);
            clauses.dimensions.entry(clause).or_default().push(candidate.rest.clone());
            clauses.unknown = clauses.unknown.take().or_else(|| candidate.unknown.clone());
            rules.entry(of).or_default().push(candidate.id);
        }
    }
    for (of, clauses) in &mut by_id {
        if clauses.rules.is_empty() {
            clauses.rules = rules.remove(of).unwrap_or_default().into();
        }
        clauses.agree();
        clauses.settle(*of, at);
    }
    by_id
}

fn end<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    lookup: Lookup,
    clauses: &Clauses,
    too_many: bool,
) -> End {
    match &clauses.unknown {
        Some(reason) => End::Ovs(reason.clone()),
        None if too_many => End::Ovs(Reason::Conjunction),
        None => {
            let mut walk = walk.fork();
            clauses.dimensions.values().flatten().for_each(|takes| walk.told(takes));
            End::Node(explorer.join(&walk, lookup))
        }
    }
}

/// Every way to satisfy all clauses; `None` if there are too many.
fn products(clauses: &Clauses) -> Option<Vec<Match>> {
    let mut products = vec![Match::any()];
    for dimension in clauses.dimensions.values() {
        if dimension.contains(&Match::any()) {
            continue;
        }
        if products.len().saturating_mul(dimension.len()) > MOST {
            return None;
        }
        let pairs = products.iter().flat_map(|a| dimension.iter().filter_map(|b| both(a, b)));
        products = pairs.collect();
    }
    Some(products)
}

/// The dimension with the fewest matches: it takes every packet of the conjunction, and more.
fn widest(clauses: &Clauses) -> Vec<Match> {
    clauses.dimensions.values().min_by_key(|matches| matches.len()).cloned().unwrap_or_default()
}

/// Of two conjunctions that take one packet and do different things, OVS says which one wins.
fn rivals(
    takes: &Match,
    does: &[Action],
    before: &[(Match, &[Action])],
    rules: &Rc<[RuleId]>,
) -> Vec<Edge> {
    let others = before.iter().filter(|(other, done)| *done != does && overlaps(other, takes));
    let shared = others.filter_map(|(other, _)| both(other, takes));
    let guards = shared.map(|takes| {
        let end = End::Ovs(Reason::Conjunction);
        Edge { takes, tail: Tail { rules: rules.clone(), ops: Rc::default(), end } }
    });
    guards.collect()
}
