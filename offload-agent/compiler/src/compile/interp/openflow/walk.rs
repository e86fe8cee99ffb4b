//! A packet's way through the tables: look-ups and actions in the order in which OVS translates them
//! (`do_xlate_actions` in `ofproto/ofproto-dpif-xlate.c`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::ControlFlow;

use super::choice::Choices;
use super::classify::classify;
use super::effects::{Doubt, Effects, Hop, Outcome};
use super::flow::{Flow, Tag};
use super::{World, action_set, commit};
use crate::compile::interp::{Frame, State as Relation};
use crate::openflow::{
    Action, BridgeName, Field, MeterId, OfPort, Resubmit, Subfield, TableId, VLAN_PRESENT,
};
use crate::ports::FdbKey;

/// OVS stops after so many nested look-ups (`MAX_DEPTH`), and after so many look-ups in all (`MAX_RESUBMITS`).
const MAX_DEPTH: usize = 64;
const MAX_LOOKUPS: usize = 4096;
/// OVS keeps track of so many tags (`FLOW_MAX_VLAN_HEADERS`).
const MAX_TAGS: usize = 2;
const DOT1Q: u16 = 0x8100;

pub(super) type Flowing = ControlFlow<()>;
pub(super) const ON: Flowing = ControlFlow::Continue(());
pub(super) const STOP: Flowing = ControlFlow::Break(());

/// A packet on its way.
#[derive(Clone, Debug)]
pub(super) struct State<'w> {
    /// The bridge it is in.
    pub(super) bridge: &'w BridgeName,
    /// Its fields as the actions so far want them.
    pub(super) flow: Flow,
    /// Its fields as its bytes have them.
    pub(super) base: Flow,
    /// Its bytes.
    pub(super) frame: Frame,
    /// The pipeline's stack.
    pub(super) stack: Vec<u128>,
    /// What is to be done at the end.
    pub(super) action_set: Vec<&'w Action>,
    /// The table of the last look-up.
    pub(super) table: TableId,
    /// How deep the look-ups are nested.
    pub(super) depth: usize,
    /// An `exit` was met.
    pub(super) exit: bool,
    /// The end of the tunnel that it came by, as it was when the packet started.
    pub(super) tunnel_dst: Option<IpAddr>,
    /// Its bytes were translated after they were read.
    pub(super) translated: bool,
    /// Something was done to it that nobody defines; it matters once it is sent.
    pub(super) unclear: Option<&'static str>,
}

/// One way through the rules, as it is walked.
pub(super) struct Walk<'w> {
    pub(super) world: &'w World<'w>,
    pub(super) choices: Choices,
    pub(super) effects: Effects,
    pub(super) doubts: BTreeSet<Doubt>,
    hops: Vec<Hop<'w>>,
    pub(super) answers: Vec<Relation>,
    pub(super) untraceable: BTreeSet<&'static str>,
    lookups: usize,
    /// Something was met that this reading cannot follow.
    lost: bool,
    /// How often an address translation changed the packet.
    pub(super) translations: usize,
    /// Addresses that `NORMAL` has learned from this packet.
    pub(super) learned: BTreeMap<(&'w BridgeName, FdbKey), OfPort>,
    /// Packets that start again behind connection tracking.
    pub(super) waiting: VecDeque<State<'w>>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(world: &'w World<'w>, choices: Choices) -> Walk<'w> {
        Walk {
            world,
            choices,
            effects: Effects::default(),
            doubts: BTreeSet::new(),
            hops: Vec::new(),
            answers: Vec::new(),
            untraceable: BTreeSet::new(),
            lookups: 0,
            lost: false,
            translations: 0,
            learned: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Walks from the packet's table to the end, and then with whatever recirculates.
    pub(super) fn run(mut self, start: State<'w>) -> (Outcome<'w>, Choices) {
        self.waiting.push_back(start);
        while let Some(mut state) = self.waiting.pop_front() {
            let table = state.table;
            self.first_table(&mut state, table);
            self.finish(&mut state);
        }
        let Walk { effects, doubts, hops, answers, untraceable, choices, .. } = self;
        (Outcome { effects: effects.sorted(), doubts, hops, answers, untraceable }, choices)
    }

    /// A look-up that a packet has to pass: OVS may tell a controller of a miss.
    pub(super) fn first_table(&mut self, state: &mut State<'w>, table: TableId) {
        if !self.lookup(state, table, None) {
            self.doubts.insert(Doubt::Miss(state.bridge.clone(), table));
        }
    }

    /// Runs what was put off until the end, unless an `exit` was met.
    pub(super) fn finish(&mut self, state: &mut State<'w>) {
        let put_off = std::mem::take(&mut state.action_set);
        self.list(state, &action_set::ordered(&put_off));
    }

    /// What this reading cannot follow ends it.
    pub(super) fn lost(&mut self, doubt: Doubt) {
        self.doubts.insert(doubt);
        self.lost = true;
    }

    /// Looks a table up as if the packet came by this port, and runs what is found; whether something is.
    fn lookup(&mut self, state: &mut State<'w>, table: TableId, port: Option<OfPort>) -> bool {
        if self.lost {
            return true;
        }
        if state.depth >= MAX_DEPTH || self.lookups >= MAX_LOOKUPS {
            self.lost(Doubt::TooDeep);
            return true;
        }
        self.lookups += 1;
        let seen = state.flow.looked_up(port);
        let found = classify(self.world.table(state.bridge, table), &seen);
        if found.unsure {
            self.lost(Doubt::NotUnderstood("a field of a match".to_owned()));
        }
        let rule = match found.rules.as_slice() {
            [] => None,
            rules => rules.get(self.choices.of(rules.len())).copied(),
        };
        self.hops.push(Hop { bridge: state.bridge, table, rule });
        let Some(rule) = rule else { return false };
        if rule.idle_timeout != 0 {
            self.doubts.insert(Doubt::KeepsAlive);
        }
        self.subroutine(state, table, &rule.actions.iter().collect::<Vec<_>>());
        true
    }

    fn subroutine(&mut self, state: &mut State<'w>, table: TableId, actions: &[&'w Action]) {
        let (caller, depth) = (state.table, state.depth);
        state.depth += usize::from(table <= caller);
        state.table = table;
        self.list(state, actions);
        (state.table, state.depth) = (caller, depth);
    }

    /// Runs actions until one of them ends the list.
    pub(super) fn list(&mut self, state: &mut State<'w>, actions: &[&'w Action]) {
        for (at, action) in actions.iter().enumerate() {
            if state.exit || self.lost {
                return;
            }
            if let Action::CheckPktLarger { len, dst } = action {
                return self.by_length(state, *len, *dst, &actions[at + 1..]);
            }
            if self.step(state, action).is_break() {
                return;
            }
        }
    }

    fn step(&mut self, state: &mut State<'w>, action: &'w Action) -> Flowing {
        match action {
            Action::Output(port) => self.output(state, *port),
            Action::OutputReg { source, .. } => self.output_to_field(state, *source),
            Action::OutputTrunc { port, max_len } => self.output_cut(state, *port, *max_len),
            Action::OutputController { .. } | Action::Controller(_) => {
                self.doubt(Doubt::Controller)
            }
            Action::Group(id) => return self.group(state, *id),
            Action::Resubmit(resubmit) => self.resubmit(state, *resubmit),
            Action::GotoTable(table) => self.first_table(state, *table),
            Action::Clone(actions) => self.on_a_copy(state, actions),
            Action::Ct(ct) => self.track(state, ct),
            Action::CtClear => state.flow.clear_conntrack(),
            Action::Meter(id) => self.meter(state, *id),
            Action::WriteActions(actions) => state.action_set.extend(actions),
            Action::ClearActions => state.action_set.clear(),
            Action::Exit => state.exit = true,
            Action::Learn(_) => self.doubt(Doubt::Learns),
            Action::Sample(_) => self.doubt(Doubt::Sampled),
            Action::FinTimeout { .. } => self.doubt(Doubt::KeepsAlive),
            Action::Bundle(bundle) => self.bundle(state, bundle),
            Action::Multipath(multipath) => {
                let links = usize::try_from(multipath.n_links).unwrap_or(usize::MAX);
                let link = self.choices.of(links);
                state.flow.store(multipath.dst, u128::try_from(link).unwrap_or(0));
            }
            Action::DecTtl { .. } => return self.dec_ttl(state),
            other => return self.edit(state, other),
        }
        ON
    }

    fn doubt(&mut self, doubt: Doubt) {
        self.doubts.insert(doubt);
    }

    fn resubmit(&mut self, state: &mut State<'w>, to: Resubmit) {
        if to.ct {
            return self.lost(Doubt::NotUnderstood("resubmit with the tuple of conntrack".into()));
        }
        let port = to.in_port.filter(|port| *port != OfPort::IN_PORT);
        self.lookup(state, to.table.unwrap_or(state.table), port);
    }

    /// On a copy, which does what was put off until the end too: nothing of it is seen afterwards, but for an `exit`
    /// (`clone_xlate_actions` does not take it back).
    fn on_a_copy(&mut self, state: &mut State<'w>, actions: &'w [Action]) {
        let before = self.translations;
        let mut copy = state.clone();
        self.list(&mut copy, &actions.iter().collect::<Vec<_>>());
        self.finish(&mut copy);
        state.exit = copy.exit;
        self.after_a_copy(state, &copy, before);
    }

    /// The datapath may have done without a copy. Then a translation stays in the packet, and what the copy wrote, or a copy of the
    /// copy, is written back as it was before an earlier translation.
    pub(super) fn after_a_copy(&self, state: &mut State<'w>, copy: &State<'w>, before: usize) {
        const LEFT: &str = "what a copy leaves in a packet that was translated";
        let written = copy.base != state.base || copy.unclear == Some(LEFT);
        if self.translations > before {
            state.unclear = Some("what a translation of a copy leaves in the packet");
        } else if state.translated && written {
            state.unclear = Some(LEFT);
        }
    }

    /// `check_pkt_larger`: the rest of the list and the action set run with the answer; the caller never sees it.
    fn by_length(&mut self, state: &mut State<'w>, len: u16, dst: Subfield, rest: &[&'w Action]) {
        if !state.action_set.is_empty() {
            // OVS 3.1 runs it for long packets, and for all of them once more behind.
            return self.lost(Doubt::Unspecified("an action set before check_pkt_larger"));
        }
        if !state.stack.is_empty() {
            // Short packets find what is left of it by the actions for long ones.
            return self.lost(Doubt::Unspecified("a stack before check_pkt_larger"));
        }
        // The length is that of the packet as it is by now, with the tags that were pushed.
        self.commit(state);
        let mut copy = state.clone();
        copy.flow.store(dst, u128::from(state.frame.0.len() > usize::from(len)));
        self.list(&mut copy, rest);
        self.finish(&mut copy);
        if copy.exit {
            self.doubt(Doubt::Unspecified("how far an exit behind check_pkt_larger goes"));
        }
    }

    /// A TTL that runs out tells a controller and ends this list of actions, not its callers.
    fn dec_ttl(&mut self, state: &mut State<'w>) -> Flowing {
        if !state.flow.is_ip() {
            return ON;
        }
        match state.flow.get(Field::NwTtl) {
            0 | 1 => {
                // The controller gets the packet as it is now.
                self.commit(state);
                self.doubt(Doubt::Controller);
                STOP
            }
            ttl => {
                state.flow.set(Field::NwTtl, ttl - 1);
                ON
            }
        }
    }

    fn meter(&mut self, state: &State<'w>, id: MeterId) {
        match self.world.limit(state.bridge, id) {
            Some(limit) => self.effects.limits.push(limit),
            None => self.lost(Doubt::NotUnderstood(format!("meter {}", id.0))),
        }
    }

    fn edit(&mut self, state: &mut State<'w>, action: &Action) -> Flowing {
        let flow = &mut state.flow;
        match action {
            Action::Note(_) | Action::Conjunction { .. } | Action::Debug(_) | Action::PopQueue => {}
            Action::Move { src, dst } => {
                if flow.has(src.field) && flow.has(dst.field) {
                    let value = flow.read(*src);
                    flow.store(*dst, value);
                }
            }
            Action::Push(from) => state.stack.push(flow.read(*from)),
            Action::Pop(to) => {
                if let Some(value) = state.stack.pop() {
                    flow.store(*to, value);
                }
            }
            Action::DeleteField(field) => flow.delete(*field),
            Action::PopVlan | Action::StripVlan => drop(flow.tags.drain(..flow.tags.len().min(1))),
            Action::PushVlan(tpid) => {
                // `flow_push_vlan_uninit`: for a third tag the innermost goes.
                flow.tags.truncate(MAX_TAGS - 1);
                flow.tags.insert(0, Tag { tpid: *tpid, tci: VLAN_PRESENT });
            }
            Action::ModVlanVid(id) => set_tag(flow, *id, 0x0fff, true),
            Action::SetVlanVid(id) => set_tag(flow, *id, 0x0fff, false),
            Action::ModVlanPcp(pcp) => set_tag(flow, u16::from(*pcp) << 13, 0xe000, true),
            Action::SetVlanPcp(pcp) => set_tag(flow, u16::from(*pcp) << 13, 0xe000, false),
            Action::ModTpSrc(port) => set_port(flow, 0, *port),
            Action::ModTpDst(port) => set_port(flow, 1, *port),
            other => return self.assign(state, other),
        }
        ON
    }

    fn assign(&mut self, state: &mut State<'w>, action: &Action) -> Flowing {
        let Some(set) = action.assignment().filter(|set| super::flow::is_known(set.field)) else {
            self.lost(Doubt::NotUnderstood(action.to_string()));
            return STOP;
        };
        let untagged = state.flow.tags.is_empty();
        if untagged && matches!(set.field, Field::VlanVid | Field::VlanTci) {
            // OpenFlow forbids it, and OVS's versions do different things.
            state.unclear = Some("the VLAN id of a packet without a tag is written");
        }
        if state.flow.has(set.field) {
            state.flow.write(set.field, set.masked);
        }
        ON
    }

    /// The bytes as the actions so far want them.
    pub(super) fn commit(&mut self, state: &mut State<'w>) {
        if let Some(what) = state.unclear {
            self.lost(Doubt::Unspecified(what));
        } else if let Err(doubt) = commit::commit(state) {
            self.lost(doubt);
        }
    }
}

fn set_tag(flow: &mut Flow, value: u16, mask: u16, push: bool) {
    if flow.tags.is_empty() && push {
        flow.tags.push(Tag { tpid: DOT1Q, tci: VLAN_PRESENT });
    }
    if let Some(tag) = flow.tags.first_mut() {
        tag.tci = tag.tci & !mask | value & mask | VLAN_PRESENT;
    }
}

/// `mod_tp_src` and `mod_tp_dst`: whichever protocol has the port.
fn set_port(flow: &mut Flow, end: usize, port: u16) {
    let fields = match flow.protocol() {
        6 => [Field::TcpSrc, Field::TcpDst],
        17 => [Field::UdpSrc, Field::UdpDst],
        132 => [Field::SctpSrc, Field::SctpDst],
        _ => return,
    };
    if flow.is_ip() && !flow.is_later_fragment() {
        flow.set(fields[end], u128::from(port));
    }
}
