//! The decisions that a pipeline comes to, as a graph: every node asks something of the packet, every tail does something
//! and ends the walk or leads to the next node.
//!
//! A tail is the actions of all rules that follow each other without a question, so a table that every packet crosses with
//! one outcome leaves no trace but its actions. Nodes are shared: two walks that come to a table with the same bits in
//! every place that something behind depends on go on as one, as in OVS two packets share a megaflow.

use std::rc::Rc;

use super::needs::Needs;
use super::reads::Reads;
use super::state::{Slot, State, is_ct};
use super::turns::Turns;
use super::value::Bits;
use crate::compile::ir::{CtAsked, OnUntagged, PortRef, RuleId, Step};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match, MeterId, OfPort, Subfield, VLAN_PRESENT, Zone};

/// A node's number in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct NodeId(pub(super) usize);

/// Everything that the walks came to.
#[derive(Clone, Debug, Default)]
pub(in crate::compile) struct Graph {
    nodes: Vec<Node>,
}

/// A question to the packet: the first edge that takes it is its way.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Node {
    /// The ways, in order. Together they take every packet.
    pub(in crate::compile) edges: Vec<Edge>,
    /// What the questions depend on, its own and those behind it.
    pub(super) reads: Reads,
    /// What the ends depend on.
    pub(in crate::compile) needs: Needs,
    /// How many ends it has, other nodes' included.
    pub(in crate::compile) size: usize,
    /// The turns that packets take behind it at most.
    turns: Turns,
    /// How many tails lead here.
    pub(in crate::compile) callers: usize,
    /// It is worth a chain of its own, however small it is.
    pub(in crate::compile) apart: bool,
    /// What was answered is taken as not known behind it, so that different answers go on as one.
    pub(in crate::compile) forgets: bool,
    /// It only leads on, and which way led here is taken as not known.
    pub(in crate::compile) joins: bool,
}

/// One way on.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Edge {
    /// Which packets, by their own fields and by the fields that differ from port to port.
    pub(in crate::compile) takes: Match,
    /// What happens to them.
    pub(in crate::compile) tail: Tail,
}

/// What happens between two questions.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Tail {
    /// The rules whose actions these are.
    pub(in crate::compile) rules: Rc<[RuleId]>,
    /// What is done, in order.
    pub(in crate::compile) ops: Rc<[Micro]>,
    /// How it ends.
    pub(in crate::compile) end: End,
}

/// How a tail ends.
#[derive(Clone, Debug)]
pub(in crate::compile) enum End {
    /// The packet has been sent where it goes, or is dropped.
    Done,
    /// The next question.
    Node(NodeId),
    /// The packet goes through connection tracking.
    Ct(Box<Recirculation>),
    /// OVS has to do it.
    Ovs(Reason),
}

/// A way through connection tracking.
#[derive(Clone, Debug)]
pub(in crate::compile) struct Recirculation {
    /// What is asked of it.
    pub(in crate::compile) asked: CtAsked,
    /// What comes after it, by the state it finds. Packets in other states are as they came.
    pub(in crate::compile) states: Vec<Edge>,
    /// What the ends behind it depend on.
    pub(in crate::compile) needs: Needs,
    /// Whether packets in other states may go to OVS.
    pub(in crate::compile) others_pass: bool,
}

/// One thing done to the state or to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) enum Micro {
    /// A question whose answer was known.
    Read(Reads),
    /// Writes a constant.
    Load(Field, Masked),
    /// Copies bits from the first to the second.
    Copy(Subfield, Subfield),
    /// Puts bits at this place of the stack.
    Push(Subfield, u8),
    /// Gets bits from this place of the stack.
    Pop(Subfield, u8),
    /// Changes the VLAN tags.
    Vlan(Step),
    /// Takes one off the TTL.
    DecTtl,
    /// Sends the packet to a device.
    Output(PortRef),
    /// Sends the packet through a tunnel, with what these fields hold and with these ECN bits.
    Encap(PortRef, Vec<Field>, u8),
    /// Tracks a connection on the way.
    Commit(Box<CtAsked>),
    /// Forgets what tracking found.
    Untrack,
    /// Limits the rate.
    Meter(u16, MeterId),
    /// Goes on in another bridge, as a packet of this port.
    Cross(OfPort),
    /// Remembers everything but what was sent.
    Save,
    /// Goes back to what was remembered last.
    Restore,
}

impl NodeId {
    pub(in crate::compile) fn number(self) -> usize {
        self.0
    }
}

impl Graph {
    pub(in crate::compile) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(in crate::compile) fn reads_of(&self, id: NodeId) -> &Reads {
        &self.nodes[id.0].reads
    }

    pub(super) fn add(&mut self, mut edges: Vec<Edge>, reads: Reads) -> NodeId {
        // Of a large table most ways may have been taken out.
        edges.shrink_to_fit();
        let (needs, turns) = (Needs::default(), Turns::default());
        let (size, callers, apart, forgets, joins) = (0, 0, false, false, false);
        let mut node = Node { edges, reads, needs, size, turns, callers, apart, forgets, joins };
        for edge in &node.edges {
            node.reads.merge(&self.reads_in_front(edge));
            node.needs.merge(&self.needs(&edge.tail));
        }
        // A shared node counts once for each way to it, so this may grow beyond all numbers.
        let sizes = node.edges.iter().map(|edge| self.size(&edge.tail));
        node.size = sizes.fold(0, usize::saturating_add);
        let next: Vec<NodeId> = node.edges.iter().flat_map(|edge| leads_to(&edge.tail)).collect();
        for id in next {
            if let Some(node) = self.nodes.get_mut(id.0) {
                node.callers += 1;
            }
        }
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    pub(super) fn set_turns_behind(&mut self, id: NodeId, turns: Turns) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.turns = turns;
        }
    }

    /// The turns that packets take behind a node at most.
    pub(super) fn turns_behind(&self, id: NodeId) -> Turns {
        self.node(id).map_or_else(Turns::default, |node| node.turns)
    }

    /// Has a node's answers forgotten. All that is asked behind it has to be among what it depends on.
    pub(super) fn set_forgets(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.forgets = true;
        }
    }

    /// Has the answers that lead to a node forgotten there.
    pub(super) fn set_joins(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.joins = true;
        }
    }

    /// Whether what an edge takes is taken as not known behind it.
    pub(in crate::compile) fn forgets(&self, edge: &Edge) -> bool {
        matches!(edge.tail.end, End::Node(id) if self.node(id).is_some_and(|node| node.joins))
    }

    /// Has a node written out once, for all who lead there.
    pub(super) fn set_apart(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.apart = true;
        }
    }

    fn size(&self, tail: &Tail) -> usize {
        match &tail.end {
            End::Node(id) => self.nodes.get(id.0).map_or(1, |node| node.size),
            End::Done | End::Ct(_) | End::Ovs(_) => 1,
        }
    }

    /// What the questions of a way and behind it depend on, in front of it.
    pub(super) fn reads_in_front(&self, way: &Edge) -> Reads {
        let mut reads = self.reads(&way.tail);
        reads.before_match(&way.takes);
        reads
    }

    /// What the questions of a tail and behind it depend on, at its start.
    pub(super) fn reads(&self, tail: &Tail) -> Reads {
        let mut reads = Reads::default();
        match &tail.end {
            End::Done | End::Ovs(_) => {}
            End::Node(id) => reads.merge(&self.nodes[id.0].reads),
            End::Ct(ct) => {
                for edge in &ct.states {
                    let mut behind = self.reads(&edge.tail);
                    behind.before_match(&edge.takes);
                    reads.merge(&behind);
                }
                let asks_zone = reads.needs(Slot::Field(Field::CtZone), u128::MAX);
                reads.before_tracking(ct.asked.translates());
                if let (true, Zone::From(part)) = (asks_zone, ct.asked.zone) {
                    reads.part(part);
                }
            }
        }
        before(&tail.ops, reads, |op, reads| {
            if let Micro::Read(asked) = op {
                reads.merge(asked);
            }
        })
    }

    /// What the ends of a tail and behind it depend on, at its start.
    pub(super) fn needs(&self, tail: &Tail) -> Needs {
        let mut needs = Needs::default();
        match &tail.end {
            End::Done | End::Ovs(_) => {}
            End::Node(id) => needs.merge(&self.nodes[id.0].needs),
            End::Ct(ct) => {
                ct.states.iter().for_each(|edge| needs.merge(&self.needs(&edge.tail)));
                needs.before_tracking(&ct.asked);
            }
        }
        needs.before(&tail.ops)
    }
}

fn leads_to(tail: &Tail) -> Vec<NodeId> {
    match &tail.end {
        End::Done | End::Ovs(_) => Vec::new(),
        End::Node(id) => vec![*id],
        End::Ct(ct) => ct.states.iter().flat_map(|edge| leads_to(&edge.tail)).collect(),
    }
}

const TCI: Slot = Slot::Field(Field::VlanTci);
/// The only tunnel option that filters match.
const OPTION: Slot = Slot::Field(Field::TunMetadata(0));

/// Goes backwards over operations, from what is depended on behind them to what is before them.
pub(super) fn before(ops: &[Micro], mut now: Reads, own: impl Fn(&Micro, &mut Reads)) -> Reads {
    let mut restored: Vec<Reads> = Vec::new();
    for op in ops.iter().rev() {
        match op {
            Micro::Load(field, masked) => now.before_load(*field, masked.mask),
            Micro::Copy(from, to) => now.before_move(*from, *to),
            Micro::Push(from, depth) => now.before_push(*from, *depth),
            Micro::Pop(to, depth) => now.before_pop(*to, *depth),
            Micro::Vlan(Step::PushVlan(_)) => now.before_tag(Slot::InnerTag, TCI),
            Micro::Vlan(Step::PopVlan) => now.before_tag(TCI, Slot::InnerTag),
            Micro::Untrack | Micro::Commit(_) => {
                [Field::CtState, Field::CtZone, Field::CtMark, Field::CtLabel]
                    .into_iter()
                    .for_each(|field| now.before_load(field, u128::MAX))
            }
            Micro::Cross(_) => {
                let asks_options = now.needs(OPTION, u128::MAX);
                now.before_crossing(|field| !is_of_the_pipeline(field));
                // Whether they are gone now or never were, another field of a tunnel tells.
                if asks_options {
                    now.field(Field::TunSrc, u128::MAX);
                }
            }
            Micro::Restore => restored.push(std::mem::take(&mut now)),
            Micro::Save => now.merge(&restored.pop().unwrap_or_default()),
            _ => {}
        }
        own(op, &mut now);
    }
    now
}

/// Fields that no packet carries: a write to them is of no use to anybody but the tables behind.
pub(in crate::compile) fn is_of_the_pipeline(field: Field) -> bool {
    use Field::*;
    field.is_register()
        || is_ct(field)
        || matches!(field, InPort | ActsetOutput | ConjId | RecircId | PacketType)
        || matches!(field, TunId | TunSrc | TunDst | TunIpv6Src | TunIpv6Dst | TunMetadata(_))
        || matches!(field, TunGbpId | TunGbpFlags | TunErspanVer | TunErspanIdx | TunErspanDir)
        || matches!(
            field,
            TunErspanHwid | TunGtpuFlags | TunGtpuMsgtype | TunTos | TunTtl | TunFlags
        )
}

/// What states do with each operation. `Save` and `Restore` are the caller's.
pub(in crate::compile) fn apply(op: &Micro, state: &mut State) {
    match op {
        Micro::Load(field, masked) => state.load(*field, *masked),
        Micro::Copy(from, to) => {
            let bits = state.read(*from);
            state.write(*to, &bits);
        }
        Micro::Push(from, depth) => {
            let bits = state.read(*from);
            state.set(Slot::Stack(*depth), bits);
        }
        Micro::Pop(to, depth) => {
            let bits = state.get(Slot::Stack(*depth));
            state.write(*to, &bits);
        }
        Micro::Vlan(step) => vlan(step, state),
        Micro::DecTtl => state.set(Slot::Field(Field::NwTtl), Bits::unknown()),
        // What connection tracking found is known only where a packet comes back from it (`compose_conntrack_action`).
        Micro::Untrack | Micro::Commit(_) => state.untracked(),
        Micro::Cross(port) => state.crosses(*port),
        Micro::Read(_)
        | Micro::Output(_)
        | Micro::Encap(..)
        | Micro::Meter(..)
        | Micro::Save
        | Micro::Restore => {}
    }
}

/// What the tables behind see of a packet's tags.
fn vlan(step: &Step, state: &mut State) {
    match step {
        Step::PopVlan => {
            let inner = state.get(Slot::InnerTag);
            state.set(TCI, inner);
            state.set(Slot::InnerTag, Bits::constant(0));
        }
        Step::PushVlan(_) => {
            let outer = state.get(TCI);
            state.set(Slot::InnerTag, outer);
            state.set(TCI, Bits::constant(PRESENT));
        }
        Step::SetVid { id, untagged } => {
            write_tag(Masked::new(u128::from(*id) | PRESENT, 0x1fff), *untagged, state);
        }
        Step::SetPcp { pcp, untagged } => {
            write_tag(Masked::new(u128::from(*pcp) << 13 | PRESENT, 0xf000), *untagged, state);
        }
        _ => {}
    }
}

const PRESENT: u128 = VLAN_PRESENT as u128;

fn write_tag(masked: Masked, untagged: OnUntagged, state: &mut State) {
    let present = state.settled(TCI).value(PRESENT);
    match (present, untagged) {
        (Some(0), OnUntagged::Leave | OnUntagged::Forbidden) => {}
        (Some(0), OnUntagged::Push) => state.set(TCI, Bits::constant(masked.value)),
        (Some(_), _) => state.load(Field::VlanTci, masked),
        (None, _) => state.set(TCI, Bits::unknown()),
    }
}
