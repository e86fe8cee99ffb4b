//! `ct(...)`: a question to connection tracking, and a second start for the packet (`compose_conntrack_action`).

use tc_filter::CtZone;

use super::effects::Doubt;
use super::flow::Flow;
use super::tunnel::written;
use super::walk::{State, Walk};
use crate::compile::interp::conntrack::{
    Commit, Connection, NatAsked, Oracle, State as Relation, Tracking, Translation,
};
use crate::compile::interp::l4::{Tuple, layers};
use crate::compile::interp::rewrite;
use crate::openflow::{Action, Ct, Field, Zone};

/// A packet that recirculates more often than this goes round in circles.
const MAX_WAITING: usize = 64;

/// Value and mask of what is written into a connection.
type Written = Option<(u128, u128)>;

const SNAT: u128 = 0x40;
const DNAT: u128 = 0x80;

impl<'w> Walk<'w> {
    pub(super) fn track(&mut self, state: &mut State<'w>, ct: &'w Ct) {
        self.commit(state);
        let layers = layers(&state.frame);
        if layers.is_none_or(|layers| layers.fragment) || !state.flow.is_ip() {
            self.doubts.insert(Doubt::NotTrackable);
        }
        if ct.alg.is_some() {
            self.doubts.insert(Doubt::Unspecified("what an application helper does"));
        }
        let tags = usize::from(self.world.vlan_limit);
        let again = ct.table.is_some() && self.world.conntrack.oracle == Oracle::Trace;
        if again && state.flow.tags.len() > tags {
            // The datapath reads the packet anew and sees fewer tags than before; the trace goes on with those it knows.
            self.doubts.insert(Doubt::Unspecified("a new start with more tags than OVS reads"));
        }
        if ct.table.is_some() && state.translated {
            // The trace starts with the fields as the rules had them, the datapath with the bytes as they are.
            self.untraceable.insert("a new start behind an earlier translation");
        }
        let tuple = layers.and_then(|layers| layers.tuple(&state.frame));
        let before = carried(&state.flow);
        let asked = self.question(state, ct, tuple);
        let found = self.world.conntrack.ask(&asked, before);
        rewrite::translate(&mut state.frame, found.translation);
        self.translations += usize::from(found.translation != Translation::default());
        if let Some(table) = ct.table {
            let mut again = State { translated: false, ..state.clone() };
            again.table = table;
            again.depth = 0;
            again.tunnel_dst = written(&again.flow, Field::TunDst, Field::TunIpv6Dst);
            self.answer(&mut again, &asked, found);
            self.answers.push(found.state);
            self.recirculate(again);
        }
        self.effects.tracked.push(asked);
        state.translated |= found.translation != Translation::default();
        state.flow.clear_conntrack();
    }

    fn recirculate(&mut self, again: State<'w>) {
        if self.effects.tracked.len() > MAX_WAITING {
            return self.lost(Doubt::TooDeep);
        }
        self.waiting.push_back(again);
    }

    fn question(&mut self, state: &mut State<'w>, ct: &Ct, tuple: Option<Tuple>) -> Tracking {
        let zone = match ct.zone {
            Zone::Immediate(zone) => zone,
            Zone::From(from) => u16::try_from(state.flow.read(from)).unwrap_or(0),
        };
        let (mark, label) = self.written(&mut state.flow, ct);
        let narrow = |value| u32::try_from(value).unwrap_or(0);
        let commit = ct.commit.then(|| Commit {
            force: ct.force,
            mark: mark.map(|(value, mask)| (narrow(value), narrow(mask))),
            label,
        });
        Tracking { zone: CtZone(zone), tuple, nat: NatAsked::of(ct.nat()), commit }
    }

    /// What `exec(...)` writes into mark and label: the value where the mask says.
    fn written(&mut self, flow: &mut Flow, ct: &Ct) -> (Written, Written) {
        let (mut mark, mut label) = (0, 0);
        for action in ct.exec() {
            let (field, mask) = match action {
                Action::Move { src, dst } => {
                    let value = flow.read(*src);
                    flow.store(*dst, value);
                    (dst.field, dst.mask())
                }
                other => match other.assignment() {
                    Some(set) => {
                        flow.write(set.field, set.masked);
                        (set.field, set.masked.mask)
                    }
                    None => {
                        self.lost(Doubt::NotUnderstood(other.to_string()));
                        continue;
                    }
                },
            };
            match field {
                Field::CtMark => mark |= mask,
                Field::CtLabel => label |= mask,
                _ => self.lost(Doubt::NotUnderstood(action.to_string())),
            }
        }
        let of = |field, mask| (mask != 0).then_some((flow.get(field) & mask, mask));
        (of(Field::CtMark, mark), of(Field::CtLabel, label))
    }

    /// The packet as it starts again: its bytes parsed anew, with what connection tracking says.
    fn answer(&self, state: &mut State<'w>, asked: &Tracking, found: Connection) {
        let mut flow = state.flow.reparsed(&state.frame, self.world.vlan_limit);
        flow.set(Field::CtZone, u128::from(asked.zone.0));
        flow.set(Field::CtState, found.state.openflow());
        flow.set(Field::CtMark, found.mark.into());
        flow.set(Field::CtLabel, found.label);
        match self.world.conntrack.oracle {
            Oracle::Kernel => {
                flow.set(Field::CtState, found.state.openflow() | translated(found));
                original(&mut flow, asked, found);
            }
            // OVS takes no more than "invalid" with it (`validate_ct_state`).
            Oracle::Trace if found.state == Relation::Invalid => {}
            Oracle::Trace => {
                flow.set(Field::CtState, found.state.openflow() | self.world.conntrack.told);
            }
        }
        state.base = flow.clone();
        state.flow = flow;
    }
}

/// Mark and label that a packet has already.
fn carried(flow: &Flow) -> (u32, u128) {
    (u32::try_from(flow.get(Field::CtMark)).unwrap_or(0), flow.get(Field::CtLabel))
}

fn translated(found: Connection) -> u128 {
    let is = |rewrite: crate::compile::interp::conntrack::Rewrite| {
        rewrite.address.is_some() || rewrite.port.is_some()
    };
    let snat = if is(found.translation.src) { SNAT } else { 0 };
    snat | if is(found.translation.dst) { DNAT } else { 0 }
}

/// The ends that the connection began with.
fn original(flow: &mut Flow, asked: &Tracking, found: Connection) {
    let Some(tuple) = asked.tuple.filter(|_| found.state != Relation::Invalid) else { return };
    let replies = matches!(found.state, Relation::Reply | Relation::RelatedReply);
    let then = found.translation.of(tuple);
    let (src, dst) = if replies { (then.dst, then.src) } else { (tuple.src, tuple.dst) };
    flow.set(Field::CtNwProto, tuple.protocol.into());
    for (end, v4, v6, port) in [
        (src, Field::CtNwSrc, Field::CtIpv6Src, Field::CtTpSrc),
        (dst, Field::CtNwDst, Field::CtIpv6Dst, Field::CtTpDst),
    ] {
        match end.address {
            std::net::IpAddr::V4(address) => flow.set(v4, address.to_bits().into()),
            std::net::IpAddr::V6(address) => flow.set(v6, address.to_bits()),
        }
        flow.set(port, end.port.unwrap_or(0).into());
    }
}
