//! From the graph to what each input port sees: lists of entries, cut into chains.
//!
//! A chain begins where packets come back from connection tracking, and at a question that several ways lead to and that is
//! long enough to be worth a filter that goes there. Everything else is written out. Packets that come with the same pending edits share a
//! chain, those of other ports, too, if nothing in it depends on the port but headers of tunnels, which each port fills in.
//!
//! ```text
//! ask  tcp: set eth_src=A, ask(1)        port 1  tcp -> goto 1
//!      udp: set eth_src=A, ask(1)                udp -> goto 1
//! ask(1) ip_dst=.. (100 ways)            chain 1 ip_dst=.. -> set eth_src=A,output:2 ...
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::compile::Input;
use crate::compile::ir::{
    Arrival, Bound, Chain, CtAsked, CtStep, Does, Encap, Entry, Filling, HeaderBits, Ingress,
    OnUntagged, PortRef, RuleId, Step, Trail, both,
};
use crate::compile::verdict::Reason;
use crate::compile::walk::fragment::{FRAGMENT, mistaken, moves_ports};
use crate::compile::walk::graph::{
    Edge, End, Graph, Micro, NodeId, Recirculation, Tail, apply, is_of_the_pipeline,
};
use crate::compile::walk::needs::Needs;
use crate::compile::walk::port_problem;
use crate::compile::walk::reads::Reads;
use crate::compile::walk::state::{Slot, State};
use crate::compile::walk::value::Bits;
use crate::openflow::{BridgeName, Field, Masked, Match, MatchField, OfPort, VLAN_PRESENT, Zone};
use crate::ports::{PortKind, TunnelKey, TunnelKind};

const BEHIND_A_TAG: Reason = Reason::Action("ct behind a pushed VLAN tag");

const COMMIT: Reason = Reason::Action("ct(commit) before a large part of the pipeline");

/// `ct_state=+est` ([`Field::CtState`]).
const ESTABLISHED: u128 = 2;
/// A question with fewer ends is written out wherever it is asked.
const WORTH_A_CHAIN: usize = 12;
/// So many ends are written out once more for packets whose connection has just been committed: they cannot share a chain with others,
/// for a commit may translate them, and OVS goes on with what they were before. Where there are more, those few packets stay in OVS.
const MOST_BEHIND_COMMIT: usize = 256;
/// More entries than this for one device, and the rest stays in OVS. What policies of a busy pod come to fits.
const MOST_ENTRIES: usize = 48_000;
/// Where there are many devices, each has a share of this, which bounds what a compilation takes; but no less than [`FEWEST_ENTRIES`].
const MOST_ENTRIES_IN_ALL: usize = 1_000_000;
const FEWEST_ENTRIES: usize = 16_000;

/// One way that packets come in by a device.
pub(in crate::compile) struct Root {
    /// Which of the device's packets, where it has more than one port.
    pub(in crate::compile) takes: Match,
    /// What is known of them.
    pub(in crate::compile) state: State,
    /// What happens to them.
    pub(in crate::compile) tail: Tail,
}

/// The most entries that each of so many devices may have.
pub(in crate::compile) fn most_entries(devices: usize) -> usize {
    (MOST_ENTRIES_IN_ALL / devices.max(1)).clamp(FEWEST_ENTRIES, MOST_ENTRIES)
}

/// The chains of all devices.
pub(in crate::compile) struct Unfold<'a> {
    graph: &'a Graph,
    input: &'a Input<'a>,
    chains: Vec<Chain>,
    known: BTreeMap<ChainKey, usize>,
    /// Which chains have a guard for TTLs that run out, by how much is taken off, for packets in which state.
    ttl_guards: BTreeSet<(usize, u8, Masked)>,
    /// How many entries a device may have.
    most: usize,
}

/// The chains of one device.
struct Device<'u, 'a> {
    all: &'u mut Unfold<'a>,
    ingress: Rc<Ingress>,
    class: Class,
    /// The chains that its packets get to.
    used: BTreeSet<usize>,
    todo: Vec<(Way, Start<'a>)>,
    later: Vec<(Way, Start<'a>)>,
    entries: usize,
}

/// What devices have to have in common to share a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    bridge: Option<BridgeName>,
    tunnel: bool,
    switch: Option<String>,
}

impl<'a> Unfold<'a> {
    pub(in crate::compile) fn new(graph: &'a Graph, input: &'a Input<'a>, most: usize) -> Self {
        let (chains, known, ttl_guards) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Unfold { graph, input, chains, known, ttl_guards, most }
    }

    /// The chains of one more device, the first one first.
    pub(in crate::compile) fn device(
        &mut self,
        ingress: &Ingress,
        roots: &'a [Root],
    ) -> Vec<usize> {
        let first = self.chains.len();
        let ingress = Rc::new(ingress.clone());
        self.chains.push(Chain::new(ingress.clone(), Arrival::default()));
        let mut device = Device {
            class: Class::of(&ingress, self.input),
            all: self,
            ingress,
            used: BTreeSet::new(),
            todo: Vec::new(),
            later: Vec::new(),
            entries: 0,
        };
        for root in roots {
            device.follow(Way::new(first, root), &root.tail);
            while let Some((way, start)) = device.todo.pop().or_else(|| device.later.pop()) {
                device.chain(way, start);
            }
        }
        [first].into_iter().chain(device.used).collect()
    }

    pub(in crate::compile) fn finish(mut self) -> Vec<Chain> {
        self.chains.iter_mut().for_each(leave_the_rest);
        self.chains
    }
}

impl Class {
    fn of(ingress: &Ingress, input: &Input<'_>) -> Class {
        let Some(port) = input.ports.port(&ingress.bridge, ingress.port) else {
            return Class::default();
        };
        Class {
            bridge: Some(ingress.bridge.clone()),
            tunnel: matches!(port.kind, PortKind::Tunnel(_)),
            switch: port.switch.as_ref().map(|at| at.id.clone()),
        }
    }
}

/// What no rule takes at the end of a chain goes to OVS without a filter of its own.
fn leave_the_rest(chain: &mut Chain) {
    let idle = |entry: &Entry| matches!(entry.does, Does::Ovs(_)) && entry.trail.last().is_none();
    while chain.arrival.bound == Bound::Free && chain.entries.last().is_some_and(idle) {
        chain.rest = chain.entries.pop().and_then(|entry| match entry.does {
            Does::Ovs(reason) => Some(reason),
            Does::Steps(_) | Does::Goto { .. } => None,
        });
    }
}

/// Where a chain starts.
#[derive(Clone, Copy)]
enum Start<'a> {
    Node(NodeId),
    Ct(&'a Recirculation),
}

/// What makes two chains one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ChainKey {
    start: (usize, bool),
    class: Class,
    /// The device itself, if packets may be sent to it.
    own: Option<Rc<Ingress>>,
    needs: Vec<Bits>,
    pending: Pending,
    arrival: Arrival,
    translated_in: Option<u16>,
}

/// Changes to the packet that are not made yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    headers: BTreeMap<Field, Masked>,
    tags: Vec<Step>,
    ttl: u8,
    /// The most that the TTL was counted down by, in copies that were sent nowhere, too: the sender is told in any case.
    most_ttl: u8,
    /// A change that TC cannot make.
    problem: Option<Reason>,
}

/// Packets on their way through the graph.
#[derive(Clone)]
struct Way {
    chain: usize,
    takes: Match,
    state: State,
    pending: Pending,
    /// The changes that were there when the packet was last sent.
    sent: Pending,
    steps: Vec<Step>,
    trail: Rc<Trail>,
    arrival: Arrival,
    /// The zone it was tracked in last, if it came out translated as its connection there is.
    translated_in: Option<u16>,
    /// A port was written or copied, and there may be fragments.
    moved_ports: bool,
}

impl Way {
    fn new(chain: usize, root: &Root) -> Way {
        Way {
            chain,
            takes: root.takes.clone(),
            state: root.state.clone(),
            pending: Pending::default(),
            sent: Pending::default(),
            steps: Vec::new(),
            trail: Rc::new(Trail::default()),
            arrival: Arrival::default(),
            translated_in: None,
            moved_ports: false,
        }
    }

    /// The same packets at the start of another chain.
    fn at(&self, chain: usize) -> Way {
        let (takes, trail) = (Match::any(), Rc::new(Trail::default()));
        Way { chain, takes, trail, ..self.clone() }
    }

    /// Whose return to OVS is barred in a chain that the way goes on in.
    fn bound_behind(&self) -> Bound {
        let state = self.state.told.get(Field::CtState);
        let established = state.is_none_or(|state| state.mask & !state.value & ESTABLISHED == 0);
        match self.arrival.bound {
            Bound::Established if !established => Bound::Free,
            Bound::Free => Bound::Free,
            Bound::Established | Bound::All => Bound::All,
        }
    }

    fn by(&mut self, rules: &Rc<[RuleId]>) {
        if !rules.is_empty() {
            let before = Some(self.trail.clone()).filter(|trail| trail.last().is_some());
            self.trail = Rc::new(Trail { rules: rules.clone(), before });
        }
    }
}

impl<'a> Device<'_, 'a> {
    fn chain(&mut self, way: Way, start: Start<'a>) {
        match start {
            Start::Node(id) => self.ask(way, id),
            Start::Ct(ct) => ct.states.iter().for_each(|edge| self.edge(way.clone(), edge, true)),
        }
    }

    fn ask(&mut self, way: Way, id: NodeId) {
        let Some(node) = self.all.graph.node(id) else { return };
        if self.entries > self.all.most {
            return self.entry(way, Does::Ovs(Reason::TooMany(self.all.most)));
        }
        for edge in &node.edges {
            self.edge(way.clone(), edge, !node.forgets && !self.all.graph.forgets(edge));
        }
    }

    fn edge(&mut self, mut way: Way, edge: &'a Edge, learns: bool) {
        let is_tunnels = |field: &MatchField| matches!(field.field, Field::TunMetadata(_));
        let absent = !self.class.tunnel && edge.takes.fields().iter().any(is_tunnels);
        if absent || both(&way.state.told, &edge.takes).is_none() {
            return;
        }
        let Some(takes) = both(&way.takes, &edge.takes) else { return };
        way.takes = takes;
        if learns {
            way.state.learn(&edge.takes);
        }
        self.follow(way, &edge.tail);
    }

    fn follow(&mut self, mut way: Way, tail: &'a Tail) {
        way.by(&tail.rules);
        if self.entries > self.all.most {
            return self.entry(way, Does::Ovs(Reason::TooMany(self.all.most)));
        }
        self.perform(&mut way, &tail.ops);
        match &tail.end {
            End::Done => self.finish(way),
            End::Ovs(reason) => self.entry(way, Does::Ovs(reason.clone())),
            End::Node(id) => self.go_on(way, *id),
            End::Ct(ct) => self.track(way, ct),
        }
    }

    fn go_on(&mut self, mut way: Way, id: NodeId) {
        let Some(node) = self.all.graph.node(id) else { return };
        self.guard_fragments(&mut way, self.all.graph.reads_of(id));
        let large = node.size >= WORTH_A_CHAIN || node.apart;
        let worth = self.all.input.capabilities.has_chains() && large;
        if let Some(through) = way.recommits().filter(|_| worth) {
            let next = Way { steps: Vec::new(), ..way.clone() };
            let does = self.next(next, id, &node.needs, through);
            return self.entry(way, does);
        }
        if !worth || node.callers < 2 {
            return self.ask(way, id);
        }
        let free = way.arrival.bound == Bound::Free;
        if !way.steps.is_empty() {
            let commits = way.steps.iter().any(|step| matches!(step, Step::Track(_)));
            // Where packets must not come back to OVS, this would keep all the others from the chain.
            let too_many = free && commits && node.size > MOST_BEHIND_COMMIT;
            return if too_many { self.entry(way, Does::Ovs(COMMIT)) } else { self.ask(way, id) };
        }
        let does = self.next(way.clone(), id, &node.needs, Vec::new());
        self.entry(way, does);
    }

    /// On to the chain that asks this question.
    fn next(&mut self, mut way: Way, id: NodeId, needs: &Needs, through: Vec<CtStep>) -> Does {
        way.arrival.bound = way.bound_behind();
        self.find(&way, (id.number(), false), needs, Start::Node(id), through)
    }

    fn track(&mut self, mut way: Way, ct: &'a Recirculation) {
        if !self.all.input.capabilities.has_ct() {
            return self.entry(way, Does::Ovs(Reason::CardAction("track connections")));
        }
        let Some(through) = ct_step(&ct.asked, &way.state) else {
            return self.entry(way, Does::Ovs(Reason::Action("ct in a zone that is not known")));
        };
        let Some(mut all) = tracked_before(std::mem::take(&mut way.steps)) else {
            return self.entry(way, Does::Ovs(Reason::Action("ct with more done before it")));
        };
        if way.pending.tags_on(0) > 1 {
            return self.entry(way, Does::Ovs(BEHIND_A_TAG));
        }
        self.guard_second_tag(&way);
        let zone = through.zone;
        all.push(through);
        let mut next = way.clone();
        next.arrival = Arrival { tracked: true, bound: bound(way.arrival.bound, ct) };
        let state = Bits::link(Field::CtState);
        next.state.tracked(&Bits::constant(zone.into()), state, ct.asked.translates());
        next.state.learn(&Match::any().with_masked(Field::IpFrag, 0, 3));
        next.translated_in = ct.asked.translates().then_some(zone);
        let start = (std::ptr::from_ref(ct).addr(), true);
        let does = self.find(&next, start, &ct.needs, Start::Ct(ct), all);
        self.entry(way, does);
    }

    /// On to the chain for these packets, made if there is none yet. Those of new connections come last: at a limit it is they that stay in
    /// OVS.
    fn find(
        &mut self,
        way: &Way,
        start: (usize, bool),
        needs: &Needs,
        from: Start<'a>,
        through: Vec<CtStep>,
    ) -> Does {
        let (bits, filling) = self.needed(way, needs);
        let key = ChainKey {
            start,
            class: self.class.clone(),
            own: needs.outputs.may_have(self.ingress.port).then(|| self.ingress.clone()),
            needs: bits,
            pending: way.pending.clone(),
            arrival: way.arrival,
            translated_in: way.translated_in,
        };
        if let Some(chain) = self.all.known.get(&key).copied() {
            return match self.takes_over(chain) {
                true => Does::Goto { through, chain, filling },
                false => Does::Ovs(Reason::TooMany(self.all.most)),
            };
        }
        let chain = self.all.chains.len();
        self.all.chains.push(Chain::new(self.ingress.clone(), way.arrival));
        self.all.known.insert(key, chain);
        self.used.insert(chain);
        let is_new = matches!(from, Start::Ct(ct) if ct.asked.commit);
        let mut next = way.at(chain);
        for (register, held) in filling.iter().flat_map(|filling| filling.iter()) {
            next.state.leave_open(*register, held.mask);
        }
        let todo = if is_new { &mut self.later } else { &mut self.todo };
        todo.push((next, from));
        Does::Goto { through, chain, filling }
    }

    /// What the steps behind depend on, and what is filled in there.
    fn needed(&self, way: &Way, needs: &Needs) -> (Vec<Bits>, Option<Filling>) {
        let mut bits: Vec<Bits> =
            needs.steps.settled(&way.state).map(|(_, _, bits)| bits).collect();
        for (slot, mask, held) in needs.came_by.settled(&way.state) {
            let elsewhere = slot == Slot::Field(Field::InPort)
                && as_port(held.value(mask)).is_some_and(|port| !needs.outputs.may_have(port));
            // Wherever it came by, it is not sent back there.
            bits.push(if elsewhere { Bits::constant(OfPort::NONE.0.into()) } else { held });
        }
        let headers = needs.headers.without(&needs.steps).without(&needs.came_by);
        let headers: Vec<_> = headers.settled(&way.state).collect();
        let inherits = headers.iter().any(|(_, _, held)| held.is_open());
        let mut filling = Vec::new();
        for (slot, mask, held) in headers {
            match (slot, held.value(mask)) {
                (Slot::Field(field), Some(value)) if field.is_register() && !inherits => {
                    filling.push((field, Masked::new(value, mask)));
                }
                _ => bits.push(held),
            }
        }
        (bits, (!inherits).then(|| filling.into()))
    }

    /// Shares a chain, with all that it leads to, if the device may have so many entries more.
    fn takes_over(&mut self, chain: usize) -> bool {
        let (mut fresh, mut todo) = (FxHashSet::default(), vec![chain]);
        let mut more = 0;
        while let Some(at) = todo.pop() {
            if self.used.contains(&at) || !fresh.insert(at) {
                continue;
            }
            let entries = &self.all.chains[at].entries;
            more += entries.len();
            todo.extend(entries.iter().filter_map(|entry| match entry.does {
                Does::Goto { chain, .. } => Some(chain),
                _ => None,
            }));
        }
        let fits = fresh.is_empty() || self.entries + more <= self.all.most;
        if fits {
            self.entries += more;
            self.used.extend(fresh);
        }
        fits
    }

    fn perform(&mut self, way: &mut Way, ops: &[Micro]) {
        let mut saved: Vec<(State, Pending)> = Vec::new();
        for op in ops {
            match op {
                Micro::Save => saved.push((way.state.clone(), way.pending.clone())),
                Micro::Restore => {
                    if let Some((state, pending)) = saved.pop() {
                        way.state = state;
                        way.pending = pending.after_copy(&way.pending);
                    }
                }
                op => self.one(way, op),
            }
        }
    }

    fn one(&mut self, way: &mut Way, op: &Micro) {
        way.moved_ports |= moves_ports(op, &way.state);
        apply(op, &mut way.state);
        match op {
            Micro::Load(field, masked) if !is_of_the_pipeline(*field) => {
                way.pending.write(*field, *masked);
            }
            Micro::Copy(_, to) if !is_of_the_pipeline(to.field) => {
                let value = way.state.settled(Slot::Field(to.field)).value(to.mask());
                match value {
                    Some(value) => way.pending.write(to.field, Masked { value, mask: to.mask() }),
                    None => way.pending.problem = Some(Reason::Copy(to.field)),
                }
            }
            Micro::Vlan(step) => way.pending.tags.push(step.clone()),
            Micro::DecTtl => way.pending.dec_ttl(),
            Micro::Output(to) => self.output(way, *to),
            Micro::Encap(to, fields, ecn) => self.encap(way, *to, fields, *ecn),
            Micro::Commit(asked) => match ct_step(asked, &way.state) {
                Some(step) => {
                    self.guard_second_tag(way);
                    way.track(step);
                }
                None => way.fail(Reason::Action("ct in a zone that is not known")),
            },
            Micro::Meter(bridge, id) => way.steps.push(Step::Meter(*bridge, *id)),
            Micro::Untrack | Micro::Cross(_) => way.translated_in = None,
            Micro::Read(reads) => self.guard_fragments(way, reads),
            _ => {}
        }
    }

    /// Fragments of which a table would see other ports than the walk does.
    fn guard_fragments(&mut self, way: &mut Way, reads: &Reads) {
        if !way.moved_ports || !mistaken(reads, &way.state) {
            return;
        }
        way.moved_ports = false;
        let fragment = Match::any().with_masked(Field::IpFrag, FRAGMENT.value, FRAGMENT.mask);
        if let Some(takes) = both(&way.takes, &fragment) {
            self.entry(Way { takes, ..way.clone() }, Does::Ovs(Reason::FragmentPorts));
        }
    }

    fn output(&self, way: &mut Way, to: PortRef) {
        let back = in_port(&way.state);
        let to = match (to.port, back) {
            (OfPort::IN_PORT, None) => {
                return way.fail(Reason::Action("IN_PORT where that is not known"));
            }
            (OfPort::IN_PORT, Some(port)) => PortRef { port, ..to },
            (port, Some(back)) if port == back => return,
            (_, None) => return way.fail(Reason::NotKnown(Field::InPort)),
            _ => to,
        };
        // A rule may have written a port that is none, and nobody gets what is sent there.
        if self.all.input.port_at(to).is_none() {
            return;
        }
        if let Some(reason) = self.problem(to) {
            way.fail(reason);
        }
        way.commit();
        way.steps.push(Step::Output(to));
    }

    fn encap(&self, way: &mut Way, to: PortRef, fields: &[Field], ecn: u8) {
        match in_port(&way.state) {
            None => return way.fail(Reason::NotKnown(Field::InPort)),
            Some(back) if back == to.port => return,
            Some(_) => {}
        }
        match self.header(way, to, fields) {
            Some(encap) => {
                way.commit();
                way.steps.push(Step::Encap(Box::new(Encap { ecn, ..encap })));
            }
            None => way.fail(Reason::Action("output to a tunnel with a header that is not known")),
        }
    }

    fn header(&self, way: &Way, to: PortRef, fields: &[Field]) -> Option<Encap> {
        let known = |field: Field| way.state.settled(Slot::Field(field)).header_bits();
        let port = self.all.input.port_at(to)?;
        let PortKind::Tunnel(tunnel) = &port.kind else { return None };
        let id = match self.all.input.tunnel(to)?.out_key {
            TunnelKey::Absent => None,
            TunnelKey::Flow => Some(known(Field::TunId)?),
            TunnelKey::Fixed(key) => Some(HeaderBits::known(key.into())),
        };
        let mut options = Vec::new();
        // Only Geneve has room for options.
        let fields = if tunnel.kind == TunnelKind::Geneve { fields } else { &[] };
        for field in fields {
            let Field::TunMetadata(number) = field else { continue };
            let option = self.all.input.tunnel_option(to.bridge, *number)?;
            if way.state.has_option(*field) {
                options.push((option.into(), known(*field)?));
            }
        }
        Some(Encap { to, id, ecn: 0, options })
    }

    /// A card forwards between its own ports only.
    fn problem(&self, to: PortRef) -> Option<Reason> {
        let to = self.all.input.port_at(to)?;
        if let Some(reason) = port_problem(to) {
            return Some(reason);
        }
        let here = to.switch.as_ref().map(|at| &at.id) == self.class.switch.as_ref();
        (!self.class.tunnel && !here).then(|| Reason::OtherSwitch(to.name.clone()))
    }

    fn finish(&mut self, mut way: Way) {
        while way.steps.last().is_some_and(|step| !step.has_effect()) {
            way.steps.pop();
        }
        // OVS tells the sender even where the packet would be dropped afterwards.
        let ttl = way.pending.most_ttl;
        let unclear = way.pending.problem.clone().filter(|_| ttl > 0);
        let problem = way.sent.problem.take().or(unclear);
        if ttl > 0 && problem.is_none() {
            self.guard_ttl(&way, ttl);
        }
        let steps = std::mem::take(&mut way.steps);
        let does = problem.map_or(Does::Steps(steps), Does::Ovs);
        self.entry(way, does);
    }

    /// A packet whose TTL runs out is not sent; OVS tells its sender. Behind a translation the guard will stand in front of the first `ct` and
    /// ask for less there, so one does for all ways of a chain.
    fn guard_ttl(&mut self, way: &Way, by: u8) {
        let takes = if way.arrival.bound == Bound::Free {
            way.takes.clone()
        } else {
            let state = way.takes.get(Field::CtState).unwrap_or(Masked { value: 0, mask: 0 });
            if !self.all.ttl_guards.insert((way.chain, by, state)) {
                return;
            }
            Match::any().with_masked(Field::CtState, state.value, state.mask)
        };
        for mask in expired(by) {
            let asked = Match::any().with_masked(Field::NwTtl, mask.value, mask.mask);
            let Some(takes) = both(&takes, &asked) else { continue };
            let mut guard = way.clone();
            guard.takes = takes;
            self.entry(guard, Does::Ovs(Reason::TtlExpires));
        }
    }

    /// Where a rule puts a tag in front of another, nobody says whether tracking finds the IP header, and OVS, which reads the packet
    /// anew behind it, looks through one tag only.
    fn guard_second_tag(&mut self, way: &Way) {
        let tagged =
            Match::any().with_masked(Field::VlanTci, VLAN_PRESENT.into(), VLAN_PRESENT.into());
        let Some(takes) = both(&way.takes, &tagged).filter(|_| way.pending.tags_on(1) > 1) else {
            return;
        };
        self.entry(Way { takes, ..way.clone() }, Does::Ovs(BEHIND_A_TAG));
    }

    fn entry(&mut self, way: Way, does: Does) {
        self.entries += 1;
        let entry = Entry { trail: way.trail, takes: way.takes, does };
        if let Some(chain) = self.all.chains.get_mut(way.chain) {
            chain.entries.push(entry);
        }
    }
}

impl Pending {
    /// A TTL that is counted down and written cannot be told from the packet's own.
    fn mixes_ttl(&mut self, mixed: bool) {
        if mixed {
            self.problem.get_or_insert(Reason::Action("dec_ttl and another write to the TTL"));
        }
    }

    /// How many tags a packet has that came with so many.
    fn tags_on(&self, tags: usize) -> usize {
        self.tags.iter().fold(tags, |tags, step| match step {
            Step::PushVlan(_) => tags + 1,
            Step::PopVlan => tags.saturating_sub(1),
            Step::SetVid { untagged: OnUntagged::Push, .. }
            | Step::SetPcp { untagged: OnUntagged::Push, .. } => tags.max(1),
            _ => tags,
        })
    }

    /// What a copy leaves behind when it is gone: OVS tells the sender of a TTL that ran out in it.
    fn after_copy(mut self, copy: &Pending) -> Pending {
        if copy.ttl > self.ttl {
            self.most_ttl = self.most_ttl.max(copy.most_ttl);
            self.problem = self.problem.or_else(|| copy.problem.clone());
        }
        self
    }

    fn dec_ttl(&mut self) {
        self.mixes_ttl(self.headers.contains_key(&Field::NwTtl));
        self.ttl = self.ttl.saturating_add(1);
        self.most_ttl = self.most_ttl.max(self.ttl);
    }

    fn write(&mut self, field: Field, masked: Masked) {
        self.mixes_ttl(field == Field::NwTtl && self.ttl > 0);
        let old = self.headers.entry(field).or_insert(Masked { value: 0, mask: 0 });
        *old =
            Masked { value: old.value & !masked.mask | masked.value, mask: old.mask | masked.mask };
    }
}

impl Way {
    fn fail(&mut self, reason: Reason) {
        self.pending.problem.get_or_insert(reason);
        self.sent.problem = self.pending.problem.clone();
    }

    /// Makes the changes that are due before the packet leaves.
    fn commit(&mut self) {
        if self.sent.problem.is_none() {
            self.sent.problem = self.pending.problem.clone().or_else(|| self.undone());
        }
        let tags = self.pending.tags.iter().skip(self.sent.tags.len());
        self.steps.extend(tags.cloned());
        for (field, masked) in &self.pending.headers {
            if self.sent.headers.get(field) != Some(masked) {
                self.steps.push(Step::Set(*field, *masked));
            }
        }
        let ttl = self.pending.ttl.saturating_sub(self.sent.ttl);
        if ttl > 0 {
            self.steps.push(Step::DecTtl(ttl));
        }
        let problem = self.sent.problem.take();
        self.sent = Pending { problem, ..self.pending.clone() };
    }

    /// The connection is that of the packet as it is now, and not of a copy that was sent before.
    fn track(&mut self, step: CtStep) {
        let behind_a_tag = (self.pending.tags_on(0) > 1).then_some(BEHIND_A_TAG);
        if let Some(reason) = behind_a_tag.or_else(|| self.undone()) {
            return self.fail(reason);
        }
        self.steps.push(Step::Track(Box::new(step)));
    }

    /// What commits an established connection once more, where that is all that was done: the packet was translated in that zone already, so it
    /// stays as it is, and no rule behind can ask what is written into the connection. Such packets go on in a chain, as those do
    /// whose connection is left alone.
    fn recommits(&self) -> Option<Vec<CtStep>> {
        let found = self.state.told.get(Field::CtState)?;
        if self.steps.is_empty() || found.value & ESTABLISHED == 0 {
            return None;
        }
        let steps = tracked_before(self.steps.clone())?;
        let again = |step: &CtStep| step.commit && Some(step.zone) == self.translated_in;
        steps.iter().all(|step| again(step) && !step.force).then_some(steps)
    }

    /// A change that was made for an earlier copy cannot be taken back.
    fn undone(&self) -> Option<Reason> {
        let kept = |(field, masked): (&Field, &Masked)| {
            self.pending.headers.get(field).is_some_and(|now| now.mask & masked.mask == masked.mask)
        };
        let undone = !self.sent.headers.iter().all(kept)
            || !self.pending.tags.starts_with(&self.sent.tags)
            || self.pending.ttl < self.sent.ttl;
        undone.then_some(Reason::Action("sending an earlier form of the packet again"))
    }
}

fn in_port(state: &State) -> Option<OfPort> {
    as_port(state.settled(Slot::Field(Field::InPort)).value(Field::InPort.full_mask()))
}

fn as_port(value: Option<u128>) -> Option<OfPort> {
    u16::try_from(value?).ok().map(OfPort)
}

fn ct_step(asked: &CtAsked, state: &State) -> Option<CtStep> {
    let zone = match asked.zone {
        Zone::Immediate(zone) => zone,
        Zone::From(part) => u16::try_from(state.read(part).value(u128::MAX)?).ok()?,
    };
    let CtAsked { commit, force, nat, mark, label, .. } = asked;
    Some(CtStep { zone, commit: *commit, force: *force, nat: *nat, mark: *mark, label: *label })
}

/// What was tracked on the way to a chain; `None` if more was done.
fn tracked_before(steps: Vec<Step>) -> Option<Vec<CtStep>> {
    let tracked = |step| match step {
        Step::Track(ct) => Some(*ct),
        _ => None,
    };
    steps.into_iter().map(tracked).collect()
}

/// Whose return to OVS a way through tracking bars.
fn bound(before: Bound, ct: &Recirculation) -> Bound {
    match (before, ct.others_pass) {
        (Bound::Free, true) if ct.asked.translates() => Bound::Established,
        (Bound::Free, true) => Bound::Free,
        _ => Bound::All,
    }
}

/// The values of a TTL from which so many cannot be taken.
fn expired(by: u8) -> Vec<Masked> {
    let (mut masks, mut next) = (Vec::new(), 0_u16);
    while next <= u16::from(by) {
        let size = (0..8).map(|bit| 1_u16 << bit).rev();
        let fits = |size: &u16| next % size == 0 && next + size - 1 <= u16::from(by);
        let size = size.into_iter().find(fits).unwrap_or(1);
        masks.push(Masked { value: next.into(), mask: u128::from(0xff & !(size - 1)) });
        next += size;
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_of_one_cannot_be_taken_from() {
        assert_eq!(expired(1), [Masked { value: 0, mask: 0xfe }]);
        assert_eq!(expired(2), [Masked { value: 0, mask: 0xfe }, Masked { value: 2, mask: 0xff }]);
    }
}
