//! Walks a packet of which little is known through the tables, and asks it a question where the ways part.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::alike::Ways;
use super::common::Common;
use super::conjunction;
use super::doom::{Doom, Unwalked};
use super::fragment;
use super::graph::{Edge, End, Graph, Micro, NodeId, Tail, apply};
use super::memo::Memo;
use super::reads::Reads;
use super::sets::{self, Held, Known};
use super::state::{Slot, State};
use super::table::{Candidate, Table};
use super::tie;
use super::turns::Turns;
use crate::compile::Input;
use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, Match, OfPort, TableId, VLAN_PRESENT};

/// A walk looks at so many tables; no sane pipeline has half of them.
const MAX_TABLES: u16 = 500;
/// So many questions may depend on each other.
const MAX_DEPTH: u16 = 96;
/// So many questions are worth asking for all ports together; what is behind them stays in OVS.
const MAX_NODES: usize = 40_000;

/// Walks packets through the tables, and remembers where it has been.
pub(in crate::compile) struct Explorer<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) graph: Graph,
    tables: BTreeMap<(u16, TableId), Rc<Table<'a>>>,
    known: FxHashMap<Place, Memo<NodeId>>,
    commons: FxHashMap<Place, Memo<Common>>,
    /// Whether an application helper may expect connections, so that a related one may be translated.
    pub(super) has_helpers: bool,
    /// Why the walk behind a translation is broken off.
    pub(super) doomed: Option<Doom>,
    pub(super) unwalked: BTreeSet<Unwalked>,
    /// The most turns that were taken behind the look-up that is walked.
    pub(super) farthest: Turns,
}

/// A question apart from the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    bridge: u16,
    table: TableId,
    overrides: Vec<(Field, u128)>,
    held: Vec<Held>,
    reports: bool,
    /// What is left to do in the callers, by the address of the actions: they live as long as the ruleset.
    frames: Vec<(usize, TableId)>,
    translated: bool,
    committed: bool,
    sent: bool,
    stack: u8,
}

/// A packet on its way.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    pub(super) bridge: u16,
    pub(super) state: State,
    pub(super) ops: Vec<Micro>,
    pub(super) rules: Vec<RuleId>,
    frames: Vec<Frame<'a>>,
    pub(super) turns: Turns,
    /// Whose actions are done: those of a rule in this table.
    table: TableId,
    depth: u16,
    /// Only the first rules are looked at.
    shallow: bool,
    /// A copy of the packet has left.
    pub(super) sent: bool,
    /// A connection has been committed, which OVS would do once more.
    pub(super) committed: bool,
    /// It is translated, and nothing was asked since that translation leaves alone.
    pub(super) exposed: bool,
    /// This is a copy, after which the packet is as it was before.
    pub(super) copies: bool,
}

/// What is left to do of one list of actions.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    rest: &'a [Action],
    table: TableId,
    nested: u16,
}

/// How it goes on after an action.
pub(super) enum Then {
    Go,
    End(End),
}

/// Which table is asked, and as what.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) table: TableId,
    pub(super) overrides: Vec<(Field, u128)>,
    /// What was asked about conjunctions before anything else.
    pub(super) held: Vec<Held>,
    /// The clauses of each conjunction, as they were before that was asked.
    pub(super) clauses: Rc<Known>,
    /// A controller may be told of a packet that no rule takes (`goto_table`, but not `resubmit`).
    pub(super) reports: bool,
}

impl Lookup {
    pub(super) fn plain(table: TableId) -> Lookup {
        let (overrides, held, clauses) = (Vec::new(), Vec::new(), Rc::default());
        Lookup { table, overrides, held, clauses, reports: false }
    }
}

impl<'a> Walk<'a> {
    fn new(bridge: u16, state: State) -> Walk<'a> {
        let (ops, rules, frames) = (Vec::new(), Vec::new(), Vec::new());
        Walk {
            bridge,
            state,
            ops,
            rules,
            frames,
            turns: Turns::default(),
            table: TableId(0),
            depth: 0,
            shallow: false,
            sent: false,
            committed: false,
            exposed: false,
            copies: false,
        }
    }

    /// The same packet at the start of the next tail.
    pub(super) fn fork(&self) -> Walk<'a> {
        Walk { ops: Vec::new(), rules: Vec::new(), depth: self.depth + 1, ..self.clone() }
    }

    /// A question was answered by what these bits hold.
    pub(super) fn reads(&mut self, reads: Reads) {
        match self.ops.last_mut() {
            Some(Micro::Read(before)) => before.merge(&reads),
            _ => self.ops.push(Micro::Read(reads)),
        }
    }

    pub(super) fn perform(&mut self, op: Micro) {
        if let Some(reads) = fragment::asked(&op, &self.state) {
            self.reads(reads);
        }
        apply(&op, &mut self.state);
        self.turns.nested += u16::from(matches!(op, Micro::Cross(_)));
        self.ops.push(op);
    }

    pub(super) fn call(&mut self, rest: &'a [Action], table: TableId) {
        let nested = self.turns.nested + u16::from(table <= self.table);
        self.frames.push(Frame { rest, table, nested });
    }

    fn next(&mut self) -> Option<(&'a Action, TableId)> {
        loop {
            let frame = self.frames.last_mut()?;
            match frame.rest.split_first() {
                Some((first, rest)) => {
                    frame.rest = rest;
                    (self.table, self.turns.nested) = (frame.table, frame.nested);
                    return Some((first, frame.table));
                }
                None => {
                    self.frames.pop();
                }
            }
        }
    }

    /// Whether there may be a tag behind the outer one.
    pub(super) fn has_inner_tag(&mut self) -> bool {
        let mut reads = Reads::default();
        reads.test_at(&self.state, Slot::InnerTag, VLAN_PRESENT.into());
        self.reads(reads);
        self.state.settled(Slot::InnerTag).value(VLAN_PRESENT.into()) != Some(0)
    }

    /// Whether nothing that is left to do concerns the packet; then it is left out.
    pub(super) fn is_last(&mut self) -> bool {
        let idle = self.frames.iter().all(|frame| frame.rest.iter().all(is_idle));
        if idle {
            self.frames.clear();
        }
        idle
    }

    /// Whether what is left to do sends more copies through the pipeline, or out of it. Every copy asks its own questions,
    /// so the ways multiply: that is flooding, and OVS's.
    pub(super) fn floods(&self, table: TableId) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        frame.rest.iter().any(|action| match action {
            Action::Resubmit(again) => again.table == Some(table),
            Action::Output(_) | Action::Clone(_) | Action::Group(_) => true,
            _ => false,
        })
    }

    pub(super) fn stop(&mut self) {
        self.frames.clear();
    }

    pub(super) fn end(self, end: End) -> Tail {
        Tail { rules: self.rules.into(), ops: self.ops.into(), end }
    }
}

/// Whether an action without any after it that sends does nothing at all.
fn is_idle(action: &Action) -> bool {
    matches!(
        action,
        Action::SetField(_)
            | Action::Load { .. }
            | Action::Move { .. }
            | Action::Push(_)
            | Action::Pop(_)
            | Action::Note(_)
            | Action::CtClear
            | Action::ClearActions
            | Action::WriteMetadata(_)
            | Action::SetTunnel { .. }
            | Action::StripVlan
            | Action::PopVlan
    )
}

impl<'a> Explorer<'a> {
    pub(in crate::compile) fn new(input: &'a Input<'a>) -> Explorer<'a> {
        let mut rules: BTreeMap<(u16, TableId), Vec<_>> = BTreeMap::new();
        for (id, bridge, rule) in input.rules.iter() {
            rules.entry((input.bridge_number(bridge), rule.table)).or_default().push((id, rule));
        }
        let tables = rules.into_iter().map(|(name, rules)| (name, Rc::new(Table::of(rules))));
        let groups = input.ruleset.bridges.values().flat_map(|bridge| bridge.groups.values());
        let mut in_groups = groups.flat_map(|group| &group.buckets).flat_map(|one| &one.actions);
        let mut in_rules = input.rules.iter().flat_map(|(_, _, rule)| &rule.actions);
        Explorer {
            input,
            graph: Graph::default(),
            tables: tables.collect(),
            known: FxHashMap::default(),
            commons: FxHashMap::default(),
            doomed: None,
            unwalked: BTreeSet::new(),
            farthest: Turns::default(),
            has_helpers: in_rules.any(has_helper) || in_groups.any(has_helper),
        }
    }

    /// What becomes of the packets of a state that come in at the first table of a bridge.
    pub(in crate::compile) fn enter(&mut self, bridge: u16, state: State) -> Tail {
        self.start(Walk::new(bridge, state), Lookup::plain(TableId(0)))
    }

    /// The same for a port that gets no filters: where a pipeline tracks connections, only its first rules.
    pub(in crate::compile) fn enter_shallow(&mut self, bridge: u16, state: State) -> Tail {
        let mut walk = Walk::new(bridge, state);
        if self.input.tracks() {
            (walk.depth, walk.shallow) = (MAX_DEPTH, true);
        }
        self.start(walk, Lookup::plain(TableId(0)))
    }

    /// All rules that packets may go by behind a tail.
    pub(in crate::compile) fn rules_of(&self, tail: &Tail) -> BTreeSet<RuleId> {
        let mut found = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        let mut todo = vec![tail];
        while let Some(tail) = todo.pop() {
            found.extend(tail.rules.iter().copied());
            match &tail.end {
                End::Done | End::Ovs(_) => {}
                End::Ct(ct) => todo.extend(ct.states.iter().map(|edge| &edge.tail)),
                End::Node(id) if nodes.insert(*id) => {
                    let node = self.graph.node(*id);
                    let edges = node.into_iter().flat_map(|node| &node.edges);
                    todo.extend(edges.map(|edge| &edge.tail));
                }
                End::Node(_) => {}
            }
        }
        found
    }

    pub(in crate::compile) fn graph(self) -> Graph {
        self.graph
    }

    pub(super) fn start(&mut self, mut walk: Walk<'a>, at: Lookup) -> Tail {
        match self.look_up(&mut walk, at) {
            Then::Go => self.run(walk),
            Then::End(end) => walk.end(end),
        }
    }

    /// Does what is left to do, up to a question or the end.
    pub(super) fn run(&mut self, mut walk: Walk<'a>) -> Tail {
        while let Some((action, table)) = walk.next() {
            if let Then::End(end) = self.act(&mut walk, action, table) {
                return walk.end(end);
            }
        }
        walk.end(End::Done)
    }

    /// Looks a packet up in a table: where one rule certainly takes it, the walk goes on there.
    pub(super) fn look_up(&mut self, walk: &mut Walk<'a>, at: Lookup) -> Then {
        walk.turns.tables += 1;
        let outside = std::mem::replace(&mut self.farthest, walk.turns);
        let then = self.looked_up(walk, at);
        self.farthest = self.farthest.most(outside);
        then
    }

    fn looked_up(&mut self, walk: &mut Walk<'a>, at: Lookup) -> Then {
        if let Some(end) = self.broken_off() {
            return Then::End(end);
        }
        if let Some(reason) = self.is_enough(walk) {
            return Then::End(self.give_up(walk, at.table, reason));
        }
        let Some(table) = self.tables.get(&(walk.bridge, at.table)).cloned() else {
            return missed(walk, &at);
        };
        let place = place(walk, &at);
        if let Some(node) = self.asked_before(walk, &place) {
            return Then::End(self.goes_on(walk, at.table, node));
        }
        let mut reads = Reads::default();
        let common =
            self.commons.get(&place).and_then(|commons| commons.find(&walk.state)).cloned();
        if let Some(common) = common.filter(|common| self.reaches(walk, common.node)) {
            let left_out = Some(&*common.rules);
            let found = table.candidates(&walk.state, &at.overrides, left_out, &mut reads);
            if let Some(edges) = common.edges(self, walk, &at, &found) {
                return Then::End(self.asks(walk, place, reads, edges));
            }
        }
        let found = table.candidates(&walk.state, &at.overrides, None, &mut reads);
        match found.as_slice() {
            [] => {
                walk.reads(reads);
                missed(walk, &at)
            }
            [one] if one.is_certain() => {
                walk.reads(reads);
                enter(walk, one, at.table)
            }
            _ => Then::End(self.ask(walk, at, place, reads, found)),
        }
    }

    /// OVS goes on where a walk does not.
    fn give_up(&mut self, walk: &Walk<'a>, table: TableId, reason: Reason) -> End {
        if !walk.shallow {
            let bridge = walk.bridge;
            self.unwalked.insert(Unwalked { bridge, table, reason: reason.clone() });
        }
        End::Ovs(reason)
    }

    /// On with a node that another walk came to.
    fn goes_on(&mut self, walk: &Walk<'a>, table: TableId, node: NodeId) -> End {
        if self.reaches(walk, node) {
            End::Node(node)
        } else {
            self.give_up(walk, table, Reason::TooDeep)
        }
    }

    /// Whether a walk gets to all ends of a node; if so, those are as far away as they are.
    fn reaches(&mut self, walk: &Walk<'a>, node: NodeId) -> bool {
        let farthest = walk.turns.and(self.graph.turns_behind(node));
        let reaches = !farthest.are_too_many();
        if reaches {
            self.farthest = self.farthest.most(farthest);
        }
        reaches
    }

    /// Why a walk goes no further.
    fn is_enough(&self, walk: &Walk<'a>) -> Option<Reason> {
        let turns = walk.turns;
        if turns.are_too_many() || turns.tables > MAX_TABLES || walk.depth > MAX_DEPTH {
            return Some(Reason::TooDeep);
        }
        (self.graph.len() > MAX_NODES).then_some(Reason::TooLarge(MAX_NODES))
    }

    /// The node for the same question about a packet of which the same is known, as far as that counts.
    fn asked_before(&self, walk: &Walk<'a>, place: &Place) -> Option<NodeId> {
        self.known.get(place)?.find(&walk.state).copied()
    }

    /// The node for a question that the state does not answer.
    fn ask(
        &mut self,
        walk: &Walk<'a>,
        at: Lookup,
        place: Place,
        reads: Reads,
        found: Vec<Candidate<'a>>,
    ) -> End {
        if let Some(edges) = sets::edges(self, walk, &at, &reads, &found) {
            let end = self.asks(walk, place, reads, edges);
            if let End::Node(node) = end {
                self.graph.set_forgets(node);
            }
            return end;
        }
        let mut reads = reads;
        let (edges, common) = self.edges_and_common(walk, &at, &found, &mut reads);
        if let Some(common) = common {
            let decides = self.graph.reads_of(common.node).widened();
            self.commons.entry(place.clone()).or_default().put(decides, &walk.state, common);
        }
        self.asks(walk, place, reads, edges)
    }

    /// A new node, which is remembered.
    fn asks(
        &mut self,
        walk: &Walk<'a>,
        place: Place,
        mut reads: Reads,
        mut edges: Vec<Edge>,
    ) -> End {
        if let Some(end) = self.broken_off() {
            return end;
        }
        self.simplify(&mut edges, &mut reads);
        let node = self.shared(walk, edges, reads);
        let reads = self.graph.reads_of(node).widened();
        self.known.entry(place).or_default().put(reads, &walk.state, node);
        End::Node(node)
    }

    /// A new node that other walks may come to.
    pub(super) fn shared(&mut self, walk: &Walk<'a>, edges: Vec<Edge>, reads: Reads) -> NodeId {
        let node = self.graph.add(edges, reads);
        self.graph.set_turns_behind(node, self.farthest.behind(walk.turns));
        node
    }

    /// The node for the same question where more is known of conjunctions.
    pub(super) fn ask_again(
        &mut self,
        walk: &Walk<'a>,
        at: Lookup,
        reads: &Reads,
        found: impl FnOnce() -> Vec<Candidate<'a>>,
    ) -> End {
        let place = place(walk, &at);
        match self.asked_before(walk, &place) {
            Some(node) => self.goes_on(walk, at.table, node),
            None => self.ask(walk, at, place, reads.clone(), found()),
        }
    }

    /// The ways of these candidates, and of what none of them takes.
    pub(super) fn edges(
        &mut self,
        walk: &Walk<'a>,
        at: &Lookup,
        found: &[Candidate<'a>],
    ) -> Vec<Edge> {
        let mut edges = self.levels(walk, at, found);
        let total = edges.last().is_some_and(|last| last.takes == Match::any());
        if !total && self.broken_off().is_none() && !found.iter().any(Candidate::is_certain) {
            let miss = walk.fork();
            let tail = match missed(&miss, at) {
                Then::Go => self.run(miss),
                Then::End(end) => miss.end(end),
            };
            edges.push(Edge { takes: Match::any(), tail });
            self.is_doomed(walk, &edges, edges.len() - 1);
        }
        edges
    }

    /// One priority after the other: first what OpenFlow leaves open, then the rules, then the conjunctions.
    pub(super) fn levels(
        &mut self,
        walk: &Walk<'a>,
        at: &Lookup,
        found: &[Candidate<'a>],
    ) -> Vec<Edge> {
        let (mut edges, mut ways) = (Vec::new(), Ways::default());
        let mut rest = found;
        while let Some(first) = rest.first() {
            let same = |one: &Candidate<'_>| one.rule.priority == first.rule.priority;
            let (level, lower) = rest.split_at(rest.partition_point(same));
            let (clauses, rules): (Vec<_>, Vec<_>) =
                level.iter().partition(|candidate| candidate.is_clause());
            let fresh = edges.len();
            edges.extend(tie::guards(&rules));
            for rule in rules {
                edges.push(self.way(walk, at, rule, &mut ways));
                if self.is_doomed(walk, &edges, fresh) {
                    return edges;
                }
            }
            if !clauses.is_empty() {
                edges.extend(conjunction::edges(self, walk, at, &clauses));
                if self.is_doomed(walk, &edges, fresh) {
                    return edges;
                }
            }
            rest = lower;
            if edges.last().is_some_and(|last| last.takes == Match::any()) {
                return edges;
            }
        }
        edges
    }

    pub(super) fn edge(&mut self, walk: &Walk<'a>, at: &Lookup, rule: &Candidate<'a>) -> Edge {
        let takes = rule.rest.clone();
        let mut walk = walk.fork();
        walk.state.learn(&takes);
        walk.told(&takes);
        if let Some(reason) = &rule.unknown {
            walk.rules.push(rule.id);
            return Edge { takes, tail: walk.end(End::Ovs(reason.clone())) };
        }
        let tail = match enter(&mut walk, rule, at.table) {
            Then::Go => self.run(walk),
            Then::End(end) => walk.end(end),
        };
        Edge { takes, tail }
    }

    /// A node that only leads on, for many edges with one outcome. Behind it nothing is known of which of them it was.
    pub(super) fn join(&mut self, walk: &Walk<'a>, at: Lookup) -> NodeId {
        let tail = self.start(walk.fork(), at);
        let node = self.graph.add(vec![Edge { takes: Match::any(), tail }], Reads::default());
        self.graph.set_joins(node);
        node
    }

    pub(super) fn candidates(&self, walk: &Walk<'a>, at: &Lookup) -> Vec<Candidate<'a>> {
        let table = self.tables.get(&(walk.bridge, at.table));
        let mut reads = Reads::default();
        table.map_or_else(Vec::new, |t| t.candidates(&walk.state, &at.overrides, None, &mut reads))
    }
}

fn has_helper(action: &Action) -> bool {
    match action {
        Action::Ct(ct) => ct.alg.is_some() || ct.actions.iter().any(has_helper),
        Action::Clone(actions) | Action::WriteActions(actions) => actions.iter().any(has_helper),
        _ => false,
    }
}

/// No rule takes the packet. In a subroutine nothing happens; elsewhere what happens depends on the controller.
fn missed(walk: &Walk<'_>, at: &Lookup) -> Then {
    let reports = walk.frames.is_empty() || at.reports;
    if reports { Then::End(End::Ovs(Reason::Missed(at.table))) } else { Then::Go }
}

fn enter<'a>(walk: &mut Walk<'a>, rule: &Candidate<'a>, table: TableId) -> Then {
    walk.rules.push(rule.id);
    if rule.rule.idle_timeout != 0 {
        return Then::End(End::Ovs(Reason::IdleTimeout));
    }
    walk.call(&rule.rule.actions, table);
    Then::Go
}

fn place(walk: &Walk<'_>, at: &Lookup) -> Place {
    let frames = walk.frames.iter().map(|frame| (frame.rest.as_ptr().addr(), frame.table));
    Place {
        bridge: walk.bridge,
        table: at.table,
        overrides: at.overrides.clone(),
        held: at.held.clone(),
        reports: at.reports,
        frames: frames.collect(),
        translated: walk.state.translated,
        // What may have been translated must not come back to OVS in any case.
        committed: walk.committed && !walk.state.translated,
        sent: walk.sent,
        stack: walk.state.stack,
    }
}

/// The port that a resubmit pretends the packet came in by.
pub(super) fn as_port(port: OfPort) -> Vec<(Field, u128)> {
    vec![(Field::InPort, port.0.into())]
}
