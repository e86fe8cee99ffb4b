//! Connection tracking.
//!
//! A filter hands the packet to conntrack and goes to a chain, which asks for the state that was found. What is not
//! established goes to OVS from there, as it came: OVS sets new connections up. Once a packet may have been translated
//! it cannot go back, so behind a second `ct` every state has an answer.
//!
//! Only TCP and UDP get here (`split` sees to it): no card tracks anything else, and without application helpers none of
//! their packets is *related*, which is the one state that nobody could tell a translated packet from. What a rule asks of a state that
//! flower does not have (`snat`, `dnat`) is not known.

use super::act::done;
use super::explore::{Explorer, Lookup, Then, Walk};
use super::graph::{Edge, End, Micro, Recirculation};
use super::needs::Needs;
use super::reads::Reads;
use super::state::{Slot, is_translated};
use super::value::Bits;
use crate::compile::ir::CtAsked;
use crate::compile::verdict::Reason;
use crate::openflow::{Ct, Field, Masked, Match, Zone};

const NEW: u128 = 0x01;
const ESTABLISHED: u128 = 0x02;
const RELATED: u128 = 0x04;
const REPLY: u128 = 0x08;
const INVALID: u128 = 0x10;
const TRACKED: u128 = 0x20;
const SNAT: u128 = 0x40;
const DNAT: u128 = 0x80;

pub(super) fn track<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>, ct: &'a Ct) -> Then {
    let asked = match asked(ct) {
        Ok(asked) => asked,
        Err(reason) => return Then::End(End::Ovs(reason)),
    };
    if let Some(reason) = problem(explorer, walk, ct) {
        return Then::End(End::Ovs(reason));
    }
    let Some(table) = ct.table else {
        walk.committed |= asked.commit;
        return done(walk, Micro::Commit(asked.into()));
    };
    let bound = walk.state.translated || walk.committed || asked.commit;
    let mut states = established(explorer, walk, &asked, table);
    if bound {
        for state in [NEW, INVALID] {
            states.push(in_state(explorer, walk, &asked, table, TRACKED | state));
        }
    }
    if let Some(doom) = explorer.take_doom(walk, table) {
        walk.rules.extend(doom.rules.iter().copied());
        return Then::End(End::Ovs(doom.reason.with_no_way_back()));
    }
    let mut needs = Needs::default();
    states.iter().for_each(|edge| needs.merge(&explorer.graph.needs(&edge.tail)));
    let end = Recirculation { asked, states, needs, others_pass: !bound };
    Then::End(End::Ct(Box::new(end)))
}

/// Why a packet cannot be tracked by TC.
fn problem(explorer: &Explorer<'_>, walk: &mut Walk<'_>, ct: &Ct) -> Option<Reason> {
    let recirculates = ct.table.is_some();
    if rewrites_the_tuple(walk) {
        return Some(Reason::Action("ct after a change of what it tracks"));
    }
    if recirculates && (walk.sent || !walk.is_last()) {
        return Some(Reason::Action("ct with more to do"));
    }
    let bound = walk.state.translated || walk.committed || ct.commit;
    (recirculates && bound && explorer.has_helpers)
        .then_some(Reason::Action("ct where application helpers expect connections"))
}

fn rewrites_the_tuple(walk: &mut Walk<'_>) -> bool {
    use Field::*;
    let fields = [IpSrc, IpDst, Ipv6Src, Ipv6Dst, TcpSrc, TcpDst, UdpSrc, UdpDst];
    debug_assert!(fields.into_iter().all(is_translated));
    let mut reads = Reads::default();
    fields.into_iter().for_each(|field| reads.field(field, field.full_mask()));
    walk.reads(reads);
    fields.into_iter().any(|field| walk.state.field(field) != Bits::link(field))
}

/// Both directions of an established connection; one answer if the direction makes no difference.
fn established<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    asked: &CtAsked,
    table: crate::openflow::TableId,
) -> Vec<Edge> {
    let (mut one_way, reads) = explored(explorer, walk, asked, table, TRACKED | ESTABLISHED);
    if !reads.needs(Slot::Field(Field::CtState), REPLY) {
        let value = TRACKED | ESTABLISHED;
        one_way.takes = Match::any().with_masked(Field::CtState, value, value);
        return vec![one_way];
    }
    let back = in_state(explorer, walk, asked, table, TRACKED | ESTABLISHED | REPLY);
    vec![one_way, back]
}

fn in_state<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    asked: &CtAsked,
    table: crate::openflow::TableId,
    state: u128,
) -> Edge {
    explored(explorer, walk, asked, table, state).0
}

/// What comes after tracking found a state, and what that depends on.
fn explored<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    asked: &CtAsked,
    table: crate::openflow::TableId,
    state: u128,
) -> (Edge, Reads) {
    let mut next = walk.fork();
    let zone = match asked.zone {
        Zone::Immediate(zone) => Bits::constant(zone.into()),
        Zone::From(part) => next.state.read(part),
    };
    let bound = next.state.translated || next.committed || asked.commit;
    let known = !not_told(state, explorer.has_helpers);
    next.state.tracked(&zone, Bits::constant(state).masked(known), asked.translates());
    next.state.translated = bound || asked.nat.is_some() && state & ESTABLISHED != 0;
    next.exposed |= next.state.translated && !walk.state.translated;
    // Fragments stay in OVS, see `split`.
    next.state.learn(&Match::any().with_masked(Field::IpFrag, 0, 3));
    // OVS starts anew there.
    next.turns.nested = 0;
    let (before, farthest) = (next.fork(), explorer.farthest);
    let tail = explorer.start(next, Lookup::plain(table));
    explorer.farthest = farthest;
    let reads = explorer.graph.reads(&tail);
    let decides =
        NEW | ESTABLISHED | INVALID | TRACKED | if state & ESTABLISHED != 0 { REPLY } else { 0 };
    let takes = Match::any().with_masked(Field::CtState, state, decides);
    let edge = Edge { takes, tail };
    explorer.is_doomed(&before, std::slice::from_ref(&edge), 0);
    (edge, reads)
}

/// What OVS knows of a connection and flower does not: whether it is translated (`ovs_ct_update_key`), and whether a helper expected it, which
/// flower says of its first packets only (`fl_ct_info_to_flower_map`).
fn not_told(state: u128, has_helpers: bool) -> u128 {
    match (state & INVALID, has_helpers) {
        (0, true) => SNAT | DNAT | RELATED,
        (0, false) => SNAT | DNAT,
        _ => 0,
    }
}

/// What TC is asked for; `Err` for what it cannot do.
fn asked(ct: &Ct) -> Result<CtAsked, Reason> {
    if ct.alg.is_some() {
        return Err(Reason::Action("ct with an application helper"));
    }
    if ct.nats().nth(1).is_some() {
        return Err(Reason::Action("ct with several translations"));
    }
    if ct.nat().is_some_and(|nat| nat.persistent || nat.hash || nat.random) {
        return Err(Reason::Action("nat with a way to choose"));
    }
    let mut asked = CtAsked {
        zone: ct.zone,
        commit: ct.commit,
        force: ct.force,
        nat: ct.nat().copied(),
        mark: None,
        label: None,
    };
    for action in ct.exec() {
        let set = action.assignment().filter(|_| ct.commit);
        let place = match set.map(|set| set.field) {
            Some(Field::CtMark) => &mut asked.mark,
            Some(Field::CtLabel) => &mut asked.label,
            _ => return Err(Reason::Action("ct that copies into the connection")),
        };
        if let Some(set) = set {
            *place = Some(merged(*place, set.masked));
        }
    }
    Ok(asked)
}

fn merged(before: Option<Masked>, now: Masked) -> Masked {
    let before = before.unwrap_or(Masked { value: 0, mask: 0 });
    Masked { value: before.value & !now.mask | now.value, mask: before.mask | now.mask }
}
