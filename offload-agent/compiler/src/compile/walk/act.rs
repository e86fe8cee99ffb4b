//! What each action does to a packet on its way. What is not compiled ends the walk with a reason, under the action's own
//! name.

use super::explore::{Explorer, Lookup, Then, Walk, as_port};
use super::graph::{End, Micro, is_of_the_pipeline};
use super::name::name;
use super::state::Slot;
use super::{ct, group, output};
use crate::capabilities::Inexact;
use crate::compile::ir::{OnUntagged, Step, TAG_TYPES};
use crate::compile::verdict::Reason;
use crate::openflow::{
    Action, Field, Masked, Match, OfPort, Resubmit, Subfield, TableId, VLAN_PRESENT,
};

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
/// Below the service class there are the ECN bits.
const DSCP_SHIFT: u16 = 2;

impl<'a> Explorer<'a> {
    /// One action of a rule in a table.
    pub(super) fn act(&mut self, walk: &mut Walk<'a>, action: &'a Action, table: TableId) -> Then {
        match action {
            Action::Note(_) => Then::Go,
            Action::Resubmit(resubmit) => self.resubmit(walk, resubmit, table),
            Action::GotoTable(table) => {
                walk.is_last();
                self.look_up(walk, Lookup { reports: true, ..Lookup::plain(*table) })
            }
            Action::Output(port) => output::to_port(self, walk, *port),
            Action::OutputReg { source, .. } => output::to_register(self, walk, *source),
            Action::Group(id) => group::choose(self, walk, *id, table),
            Action::Clone(actions) => self.on_a_copy(walk, actions, table, "clone"),
            Action::Ct(asked) => ct::track(self, walk, asked),
            Action::CtClear => done(walk, Micro::Untrack),
            Action::Meter(id) => match self.input.capabilities.refuses(Inexact::Meter) {
                Some(reason) => Then::End(End::Ovs(reason)),
                None => done(walk, Micro::Meter(walk.bridge, *id)),
            },
            Action::Exit => {
                walk.stop();
                Then::Go
            }
            other => edit(walk, other),
        }
    }

    /// Runs another table as a subroutine. Only the look-up sees the input port that the action names.
    fn resubmit(&mut self, walk: &mut Walk<'a>, resubmit: &Resubmit, table: TableId) -> Then {
        if resubmit.ct {
            return Then::End(End::Ovs(Reason::Action("resubmit with ct")));
        }
        let last = walk.is_last();
        let table = resubmit.table.unwrap_or(table);
        if !last && walk.floods(table) {
            return Then::End(End::Ovs(Reason::Copies));
        }
        let overrides = resubmit.in_port.map(as_port).unwrap_or_default();
        self.look_up(walk, Lookup { overrides, ..Lookup::plain(table) })
    }

    /// Runs actions on a copy: afterwards everything is as before but what was sent. Where nothing comes afterwards the
    /// packet itself will do.
    pub(super) fn on_a_copy(
        &mut self,
        walk: &mut Walk<'a>,
        actions: &'a [Action],
        table: TableId,
        what: &'static str,
    ) -> Then {
        if walk.is_last() {
            walk.call(actions, table);
            return Then::Go;
        }
        if !actions.iter().all(|action| output::is_simple(self, walk, action)) {
            return Then::End(End::Ovs(Reason::Action(what)));
        }
        self.copy(walk, actions, table)
    }

    /// Actions that need no table, on a copy; what is known afterwards is what was known before.
    pub(super) fn copy(
        &mut self,
        walk: &mut Walk<'a>,
        actions: &'a [Action],
        table: TableId,
    ) -> Then {
        let (state, outer) = (walk.state.clone(), std::mem::replace(&mut walk.copies, true));
        walk.ops.push(Micro::Save);
        for action in actions {
            if let Then::End(end) = self.act(walk, action, table) {
                return Then::End(end);
            }
        }
        walk.ops.push(Micro::Restore);
        (walk.state, walk.copies) = (state, outer);
        Then::Go
    }
}

pub(super) fn done(walk: &mut Walk<'_>, op: Micro) -> Then {
    walk.perform(op);
    Then::Go
}

fn refuse(action: &Action) -> Then {
    Then::End(End::Ovs(Reason::Action(name(action))))
}

/// Actions that write: fields, tags, the stack.
fn edit(walk: &mut Walk<'_>, action: &Action) -> Then {
    match action {
        Action::PopVlan | Action::StripVlan => tag(walk, Step::PopVlan),
        Action::PushVlan(tpid) if TAG_TYPES.contains(&u128::from(*tpid)) => {
            tag(walk, Step::PushVlan(*tpid))
        }
        Action::PushVlan(tpid) => Then::End(End::Ovs(Reason::TagType(*tpid))),
        Action::ModVlanVid(id) => tag(walk, Step::SetVid { id: *id, untagged: OnUntagged::Push }),
        Action::SetVlanVid(id) => tag(walk, Step::SetVid { id: *id, untagged: OnUntagged::Leave }),
        Action::ModVlanPcp(pcp) => {
            tag(walk, Step::SetPcp { pcp: *pcp, untagged: OnUntagged::Push })
        }
        Action::SetVlanPcp(pcp) => {
            tag(walk, Step::SetPcp { pcp: *pcp, untagged: OnUntagged::Leave })
        }
        Action::Move { src, dst } => copy(walk, *src, *dst, action),
        // What the packet may not have is pushed as 0.
        Action::Push(from) if !is_there(walk, from.field) => {
            Then::End(End::Ovs(Reason::NotThere(from.field)))
        }
        Action::Push(from) => {
            let depth = walk.state.stack;
            walk.state.stack = depth.saturating_add(1);
            done(walk, Micro::Push(*from, depth))
        }
        Action::Pop(to) => pop(walk, *to, action),
        Action::DecTtl { .. } => dec_ttl(walk),
        Action::ModTpSrc(port) => transport(walk, [Field::TcpSrc, Field::UdpSrc], *port, action),
        Action::ModTpDst(port) => transport(walk, [Field::TcpDst, Field::UdpDst], *port, action),
        other => match other.assignment() {
            Some(set) => load(walk, set.field, set.masked, action),
            None => refuse(other),
        },
    }
}

/// An edit of the tag. Whether there is one decides what the tables behind see.
fn tag(walk: &mut Walk<'_>, step: Step) -> Then {
    let mut reads = super::reads::Reads::default();
    reads.test(&walk.state, Field::VlanTci, VLAN_PRESENT.into());
    walk.reads(reads);
    done(walk, Micro::Vlan(step))
}

fn load(walk: &mut Walk<'_>, field: Field, masked: Masked, action: &Action) -> Then {
    if matches!(field, Field::VlanTci | Field::VlanVid | Field::VlanPcp) {
        return match set_tag(field, masked) {
            Some(step) => tag(walk, step),
            None => refuse(action),
        };
    }
    if is_of_the_header(field) {
        return Then::End(End::Ovs(Reason::CannotWrite(field)));
    }
    if field == Field::InPortOxm && !is_port_in_16_bits(masked) {
        return refuse(action);
    }
    let mut written = Match::any();
    written.insert(field, Masked::new(masked.value, masked.mask & field.full_mask()));
    for part in written.fields().iter().filter(|part| part.masked.mask != 0) {
        if !is_there(walk, part.field) {
            return Then::End(End::Ovs(Reason::NotThere(part.field)));
        }
        walk.perform(Micro::Load(part.field, part.masked));
    }
    Then::Go
}

/// Whether a whole port in 32 bits is written that has a number in 16 bits, too.
fn is_port_in_16_bits(masked: Masked) -> bool {
    let wide = u32::try_from(masked.value).ok();
    masked.mask == Field::InPortOxm.full_mask() && wide.and_then(OfPort::from_wide).is_some()
}

/// A write to the whole VLAN id with its presence bit, or to the whole priority.
fn set_tag(field: Field, masked: Masked) -> Option<Step> {
    if masked.mask != field.full_mask() {
        return None;
    }
    let value = u16::try_from(masked.value).ok()?;
    match field {
        Field::VlanVid if value & VLAN_PRESENT != 0 => {
            Some(Step::SetVid { id: value & !VLAN_PRESENT, untagged: OnUntagged::Forbidden })
        }
        Field::VlanPcp => {
            Some(Step::SetPcp { pcp: u8::try_from(value).ok()?, untagged: OnUntagged::Leave })
        }
        _ => None,
    }
}

fn copy(walk: &mut Walk<'_>, from: Subfield, to: Subfield, action: &Action) -> Then {
    if !takes_copies(to.field) {
        return refuse(action);
    }
    if is_of_the_header(to.field) {
        return Then::End(End::Ovs(Reason::CannotWrite(to.field)));
    }
    let Some((from, to)) = written(from, to) else { return Then::Go };
    // A field that the packet may not have reads as 0, and a write to it is not done.
    for field in [from.field, to.field] {
        if !is_there(walk, field) {
            return Then::End(End::Ovs(Reason::NotThere(field)));
        }
    }
    done(walk, Micro::Copy(from, to));
    comes_by_a_known_port(walk, to.field)
}

/// Fields that bits are copied into. The tag, and what goes by several names or by several widths, are not among them.
fn takes_copies(field: Field) -> bool {
    use Field::*;
    !matches!(field, VlanTci | VlanVid | VlanPcp | InPortOxm)
}

/// What a copy writes of a type of service: the upper six bits (`mf_set_flow_value`).
fn written(from: Subfield, to: Subfield) -> Option<(Subfield, Subfield)> {
    let to = match to.field {
        Field::IpDscp => Subfield { field: Field::NwTos, offset: to.offset + DSCP_SHIFT, ..to },
        _ => to,
    };
    let lost = match to.field {
        Field::NwTos => DSCP_SHIFT.saturating_sub(to.offset),
        _ => 0,
    };
    let upper = |part: Subfield| Subfield {
        offset: part.offset + lost,
        n_bits: part.n_bits.saturating_sub(lost),
        ..part
    };
    (to.n_bits > lost).then(|| (upper(from), upper(to)))
}

/// A packet is not sent back where it came from, so that has to be known.
fn comes_by_a_known_port(walk: &mut Walk<'_>, written: Field) -> Then {
    if written == Field::InPort && exact(walk, Field::InPort).is_none() {
        return Then::End(End::Ovs(Reason::NotKnown(Field::InPort)));
    }
    Then::Go
}

fn pop(walk: &mut Walk<'_>, to: Subfield, action: &Action) -> Then {
    let Some(depth) = walk.state.stack.checked_sub(1) else { return refuse(action) };
    if !is_of_the_pipeline(to.field) {
        return refuse(action);
    }
    if is_of_the_header(to.field) {
        return Then::End(End::Ovs(Reason::CannotWrite(to.field)));
    }
    walk.state.stack = depth;
    done(walk, Micro::Pop(to, depth));
    comes_by_a_known_port(walk, to.field)
}

fn dec_ttl(walk: &mut Walk<'_>) -> Then {
    match exact(walk, Field::EthType) {
        Some(IPV4 | IPV6) => done(walk, Micro::DecTtl),
        Some(_) => Then::Go,
        None => Then::End(End::Ovs(Reason::NotThere(Field::NwTtl))),
    }
}

/// The port of whichever protocol the packet is.
fn transport(walk: &mut Walk<'_>, fields: [Field; 2], port: u16, action: &Action) -> Then {
    let [tcp, udp] = fields;
    let field = match exact(walk, Field::NwProto) {
        Some(6) => tcp,
        Some(17) => udp,
        _ => return refuse(action),
    };
    load(walk, field, Masked::new(port.into(), 0xffff), action)
}

/// What OVS reads again when it sends a packet through a tunnel, and filters do not: the flags, and the end of a tunnel that a packet came to.
fn is_of_the_header(field: Field) -> bool {
    matches!(field, Field::TunFlags | Field::TunDst | Field::TunIpv6Dst)
}

/// Whether the packet certainly has a field.
fn is_there(walk: &mut Walk<'_>, field: Field) -> bool {
    use Field::*;
    let is = |walk: &mut Walk<'_>, field, values: &[u128]| {
        exact(walk, field).is_some_and(|value| values.contains(&value))
    };
    match field {
        IpSrc | IpDst => is(walk, EthType, &[IPV4]),
        Ipv6Src | Ipv6Dst | Ipv6Label => is(walk, EthType, &[IPV6]),
        VlanPcp => has_tag(walk),
        NwTos | IpDscp | NwEcn | NwTtl | NwProto | IpFrag => is(walk, EthType, &[IPV4, IPV6]),
        ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha => is(walk, EthType, &[0x0806, 0x8035]),
        TcpSrc | TcpDst | TcpFlags => is(walk, NwProto, &[6]),
        UdpSrc | UdpDst => is(walk, NwProto, &[17]),
        SctpSrc | SctpDst => is(walk, NwProto, &[132]),
        IcmpType | IcmpCode => is(walk, NwProto, &[1]),
        Icmpv6Type | Icmpv6Code => is(walk, NwProto, &[58]),
        NdTarget | NdSll | NdTll | NdReserved | NdOptionsType => false,
        other => !matches!(other, MplsLabel | MplsTc | MplsTtl | MplsBos | NshFlags | NshTtl),
    }
}

fn has_tag(walk: &mut Walk<'_>) -> bool {
    let mut reads = super::reads::Reads::default();
    reads.test(&walk.state, Field::VlanTci, VLAN_PRESENT.into());
    walk.reads(reads);
    let present = walk.state.settled(Slot::Field(Field::VlanTci)).value(VLAN_PRESENT.into());
    present == Some(VLAN_PRESENT.into())
}

/// The value of a field of the packet, where it is known.
pub(super) fn exact(walk: &mut Walk<'_>, field: Field) -> Option<u128> {
    let mut reads = super::reads::Reads::default();
    reads.test(&walk.state, field, field.full_mask());
    walk.reads(reads);
    walk.state.settled(Slot::Field(field)).value(field.full_mask())
}
