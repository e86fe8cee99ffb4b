//! VLAN edits on one kind of packet: which tags it has, which it shall have, and the pops and pushes between.
//!
//! OVS does not touch a tag at once: before each output it compares the tags the packet has with those it shall have,
//! keeps what is equal from the inside out, pops the rest and pushes (`commit_vlan_action`). A pushed tag has its drop
//! eligible bit clear, a kept one keeps it. Doing the same gives the same bytes; TC's `vlan modify` would keep that bit.
//!
//! Writes to headers go before the tags. A write to the IP header wants an exact protocol (the driver has to know which
//! checksums follow), so the piece becomes one for each protocol, and what is left stays in OVS. Where a checksum covers
//! addresses or ports, only whole packets are changed, and none of UDP over IPv6: TC computes a checksum where there was none.
//!
//! A push writes the whole tag. Where an edit keeps the packet's own priority, the piece becomes eight, one a priority.

use tc_filter::EtherType;
use tc_filter::action::VlanTpid;

use super::{Here, Turn};
use crate::compile::ir::{Effect, Key, KeyField, OnUntagged, Op, Step, TAG_TYPES, UNTAGGED};
use crate::compile::verdict::Reason;
use crate::openflow::Field;

const IPV6: u128 = 0x86dd;
const UDP: u128 = 17;
/// OVS keeps track of so many tags (`FLOW_MAX_VLAN_HEADERS`).
const MAX_TAGS: usize = 2;
/// Behind more tags pedit takes a tag for the IP header.
const TAGS_BEFORE_IP: usize = 1;
/// Not a VLAN id for TC (`tcf_vlan_init`).
const RESERVED_ID: u16 = 4095;
const PRIORITIES: std::ops::RangeInclusive<u8> = 0..=7;

/// What is known of a packet's tags: those that OVS sees, the outer one last.
#[derive(Clone, Debug)]
pub(super) struct Tags {
    seen: Vec<Tag>,
    /// OVS may see another tag behind these.
    more: bool,
    /// Values that the packet's own tag is known not to have.
    not_id: Option<u16>,
    not_pcp: Option<u8>,
}

/// A tag. `None` is the packet's own value, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    tpid: VlanTpid,
    id: Option<u16>,
    pcp: Option<u8>,
}

/// One kind of packets of a piece, and what to do with it.
pub(super) struct Case {
    pub(super) turn: Turn,
    pub(super) key: Key,
    pub(super) ops: Result<Vec<Op>, Reason>,
}

/// Why the pops and pushes are not decided yet.
enum Open {
    /// Never, for this reason.
    Never(Reason),
    /// They depend on whether there is a second tag.
    SecondTag,
    /// They depend on whether the packet's VLAN id is this one.
    Id(u16),
    /// They depend on whether the packet's priority is this one.
    IsPcp(u8),
    /// The packet's priority has to be written again.
    Pcp,
}

impl Tags {
    /// What a key says about them.
    pub(super) fn of(key: &Key, vlan_limit: Option<u8>) -> Tags {
        let seen: Vec<Tag> = own_tag(key).into_iter().collect();
        let behind = key.exact(KeyField::EthType);
        let maybe = behind.is_none_or(|ethertype| TAG_TYPES.contains(&ethertype));
        let more = !seen.is_empty() && maybe && vlan_limit != Some(1);
        Tags { seen, more, not_id: None, not_pcp: None }
    }
}

fn own_tag(key: &Key) -> Option<Tag> {
    let tpid = key.exact(KeyField::Tpid).filter(|tpid| *tpid != UNTAGGED)?;
    let tpid = VlanTpid::from_ethertype(EtherType(u16::try_from(tpid).ok()?))?;
    let id = key.exact(KeyField::VlanId).and_then(|id| u16::try_from(id).ok());
    let pcp = key.exact(KeyField::VlanPrio).and_then(|pcp| u8::try_from(pcp).ok());
    Some(Tag { tpid, id, pcp })
}

/// The operations for every kind of packet that the key takes, in the order in which they are to be tried.
pub(super) fn cases(tags: Tags, key: Key, steps: &[Step]) -> Vec<Case> {
    match operations(&tags, steps) {
        Ok(ops) => vec![Case { turn: turn(&tags), key, ops: Ok(ops) }],
        Err(Open::Never(reason)) => vec![Case { turn: turn(&tags), key, ops: Err(reason) }],
        Err(Open::SecondTag) => without_second_tag(tags, key, steps),
        Err(Open::Id(id)) => {
            let same = key.clone().with(KeyField::VlanId, u128::from(id));
            let others = Tags { not_id: Some(id), ..tags.clone() };
            [narrow(&tags, same, steps), cases(others, key, steps)].into_iter().flatten().collect()
        }
        Err(Open::IsPcp(pcp)) => {
            let same = key.clone().with(KeyField::VlanPrio, u128::from(pcp));
            let others = Tags { not_pcp: Some(pcp), ..tags.clone() };
            [narrow(&tags, same, steps), cases(others, key, steps)].into_iter().flatten().collect()
        }
        Err(Open::Pcp) => PRIORITIES
            .filter(|pcp| tags.not_pcp != Some(*pcp))
            .flat_map(|pcp| {
                let same = key.clone().with(KeyField::VlanPrio, u128::from(pcp));
                let known = Tags { seen: own_tag(&same).into_iter().collect(), ..tags.clone() };
                cases(known, same, steps)
            })
            .collect(),
    }
}

/// Pieces that exclude a value stand behind the one that has it.
fn turn(tags: &Tags) -> Turn {
    match (tags.not_id, tags.not_pcp) {
        (None, None) => Turn::Narrow,
        _ => Turn::Exact,
    }
}

/// The packets of a key that says more of the tag.
fn narrow(tags: &Tags, key: Key, steps: &[Step]) -> Vec<Case> {
    let seen = own_tag(&key).into_iter().collect();
    cases(Tags { seen, ..tags.clone() }, key, steps)
}

/// Packets with a second tag go to OVS first; then there is none.
fn without_second_tag(tags: Tags, key: Key, steps: &[Step]) -> Vec<Case> {
    if key.exact(KeyField::EthType).is_some() {
        return vec![Case { turn: Turn::Rest, key, ops: Err(Reason::SecondTag) }];
    }
    let guards = TAG_TYPES.map(|tpid| Case {
        turn: Turn::Before,
        key: key.clone().with(KeyField::EthType, tpid),
        ops: Err(Reason::SecondTag),
    });
    guards.into_iter().chain(cases(Tags { more: false, ..tags }, key, steps)).collect()
}

/// The keys, one a protocol, on which steps that write an IP header can be done, and the guards for all other packets.
pub(super) fn protocols(
    key: Key,
    steps: &[Step],
    here: Here<'_>,
) -> (Vec<Key>, Vec<(Turn, Key, Effect)>) {
    let mut guards = Vec::new();
    let writes = |what: fn(Field) -> bool| {
        steps.iter().any(|step| matches!(step, Step::Set(field, _) if what(*field)))
    };
    let ttl = steps.iter().any(|step| matches!(step, Step::DecTtl(_)));
    if !ttl && !writes(|field| is_ip(field) || is_summed(field)) {
        return (vec![key], guards);
    }
    let mut key = key;
    if writes(is_summed) && !here.tracked && key.get(KeyField::Frag).is_none() {
        let fragments = key.clone().with(KeyField::Frag, 1);
        guards.push((Turn::Before, fragments, Effect::Pass(Reason::FragmentEdit)));
        key = key.with(KeyField::Frag, 0);
    }
    if key.exact(KeyField::Frag) == Some(1) && writes(is_summed) {
        guards.push((Turn::Rest, key, Effect::Pass(Reason::FragmentEdit)));
        return (Vec::new(), guards);
    }
    let may_have_no_sum = writes(is_summed) && key.exact(KeyField::EthType) == Some(IPV6);
    if may_have_no_sum && let Some(key) = key.and(&Key::any().with(KeyField::IpProto, UDP)) {
        guards.push((Turn::Before, key, Effect::Pass(Reason::NoChecksum)));
    }
    let no_sum = |protocol: &u128| may_have_no_sum && *protocol == UDP;
    let known: Vec<u128> =
        known_protocols(&key, here).iter().copied().filter(|protocol| !no_sum(protocol)).collect();
    if key.exact(KeyField::IpProto).is_some_and(|proto| known.contains(&proto)) {
        return (vec![key], guards);
    }
    if !here.tracked {
        guards.push((Turn::Rest, key.clone(), Effect::Pass(Reason::ProtocolEdit)));
    }
    if key.get(KeyField::IpProto).is_some() {
        return (Vec::new(), guards);
    }
    let each = known.into_iter();
    (each.map(|proto| key.clone().with(KeyField::IpProto, proto)).collect(), guards)
}

/// The protocols whose checksums TC computes and drivers know.
fn known_protocols(key: &Key, here: Here<'_>) -> &'static [u128] {
    match (here.tracked, key.exact(KeyField::EthType)) {
        (true, _) => &[6, 17],
        (false, Some(IPV6)) => &[6, 17, 58],
        (false, _) => &[6, 17, 1],
    }
}

fn is_ip(field: Field) -> bool {
    matches!(field, Field::NwTos | Field::NwEcn | Field::NwTtl)
}

/// What the checksum of TCP and UDP covers.
fn is_summed(field: Field) -> bool {
    use Field::*;
    matches!(field, IpSrc | IpDst | Ipv6Src | Ipv6Dst | TcpSrc | TcpDst | UdpSrc | UdpDst)
}

/// Why TC cannot write a field.
fn write_problem(field: Field) -> Option<Reason> {
    let known = is_ip(field) || is_summed(field) || matches!(field, Field::EthSrc | Field::EthDst);
    (!known).then_some(Reason::CannotWrite(field))
}

fn operations(tags: &Tags, steps: &[Step]) -> Result<Vec<Op>, Open> {
    let mut has = tags.seen.clone();
    let mut shall_have = tags.seen.clone();
    let mut ops = Vec::new();
    let mut unsummed = false;
    for step in steps {
        if let Some(op) = done_as_is(step)? {
            if has.len() > TAGS_BEFORE_IP && writes_ip(&op) {
                return Err(Open::Never(Reason::EditBehindTags));
            }
            unsummed |= !matches!(
                op,
                Op::Set(Field::EthSrc | Field::EthDst, _) | Op::Meter(..) | Op::Track(_)
            );
            ops.push(op);
        } else if let Some(op) = sends(step) {
            if std::mem::take(&mut unsummed) {
                ops.push(Op::Checksum);
            }
            commit(tags, &has, &shall_have, &mut ops)?;
            has.clone_from(&shall_have);
            ops.push(op);
        } else {
            edit(tags, &mut shall_have, step)?;
        }
    }
    Ok(ops)
}

fn writes_ip(op: &Op) -> bool {
    match op {
        Op::Set(field, _) => is_ip(*field) || is_summed(*field),
        Op::DecTtl(_) => true,
        _ => false,
    }
}

/// Steps that TC has an operation for, whatever the packet's tags are.
fn done_as_is(step: &Step) -> Result<Option<Op>, Open> {
    Ok(Some(match step {
        Step::Set(field, masked) => match write_problem(*field) {
            Some(reason) => return Err(Open::Never(reason)),
            None => Op::Set(*field, *masked),
        },
        Step::DecTtl(by) => Op::DecTtl(*by),
        Step::Track(ct) => Op::Track(ct.clone()),
        Step::Meter(bridge, meter) => Op::Meter(*bridge, *meter),
        _ => return Ok(None),
    }))
}

fn sends(step: &Step) -> Option<Op> {
    match step {
        Step::Output(port) => Some(Op::Output(*port)),
        Step::Encap(encap) => Some(Op::Encap(encap.clone())),
        _ => None,
    }
}

/// One step on the tags a packet shall have.
fn edit(tags: &Tags, shall_have: &mut Vec<Tag>, step: &Step) -> Result<(), Open> {
    // What is below the known tags matters once they are gone, or when there would be too many.
    let bottom = shall_have.is_empty() && !tags.seen.is_empty();
    match step {
        Step::PushVlan(_) if tags.more => return Err(Open::SecondTag),
        Step::PushVlan(tpid) => push(shall_have, *tpid)?,
        _ if bottom && tags.more => return Err(Open::SecondTag),
        Step::PopVlan => {
            shall_have.pop();
        }
        Step::SetVid { id, untagged } => {
            if let Some(tag) = outer(shall_have, *untagged)? {
                tag.id = Some(*id);
            }
        }
        Step::SetPcp { pcp, untagged } => {
            if let Some(tag) = outer(shall_have, *untagged)? {
                tag.pcp = Some(*pcp);
            }
        }
        _ => {}
    }
    Ok(())
}

fn push(tags: &mut Vec<Tag>, tpid: u16) -> Result<(), Open> {
    let Some(kind) = VlanTpid::from_ethertype(EtherType(tpid)) else {
        return Err(Open::Never(Reason::TagType(tpid)));
    };
    if tags.len() == MAX_TAGS {
        return Err(Open::Never(Reason::ThirdTag));
    }
    tags.push(Tag { tpid: kind, id: Some(0), pcp: Some(0) });
    Ok(())
}

/// The outer tag, for a write into it.
fn outer(tags: &mut Vec<Tag>, untagged: OnUntagged) -> Result<Option<&mut Tag>, Open> {
    if tags.is_empty() {
        match untagged {
            OnUntagged::Push => {
                tags.push(Tag { tpid: VlanTpid::Dot1Q, id: Some(0), pcp: Some(0) });
            }
            OnUntagged::Leave => return Ok(None),
            OnUntagged::Forbidden => return Err(Open::Never(Reason::NoTagToSet)),
        }
    }
    Ok(tags.last_mut())
}

/// The pops and pushes that turn the tags a packet has into those it shall have.
fn commit(tags: &Tags, has: &[Tag], shall_have: &[Tag], ops: &mut Vec<Op>) -> Result<(), Open> {
    let mut kept = 0;
    for (old, new) in has.iter().zip(shall_have) {
        if !same(tags, old, new)? {
            break;
        }
        kept += 1;
    }
    ops.extend(has.iter().skip(kept).map(|_| Op::PopVlan));
    for tag in &shall_have[kept..] {
        ops.push(written(tag)?);
    }
    Ok(())
}

/// Whether two tags are equal, as far as that is known.
fn same(tags: &Tags, old: &Tag, new: &Tag) -> Result<bool, Open> {
    let different =
        |old: Option<u16>, new: Option<u16>| matches!((old, new), (Some(a), Some(b)) if a != b);
    if old.tpid != new.tpid
        || different(old.id, new.id)
        || different(old.pcp.map(u16::from), new.pcp.map(u16::from))
        || (old.id.is_none() && new.id.is_some() && new.id == tags.not_id)
        || (old.pcp.is_none() && new.pcp.is_some() && new.pcp == tags.not_pcp)
    {
        return Ok(false);
    }
    match (old.id, new.id, old.pcp, new.pcp) {
        (None, Some(id), _, _) => Err(Open::Id(id)),
        (_, _, None, Some(pcp)) => Err(Open::IsPcp(pcp)),
        _ => Ok(true),
    }
}

fn written(tag: &Tag) -> Result<Op, Open> {
    let id = tag.id.ok_or(Open::Never(Reason::VlanIdUnknown))?;
    if id == RESERVED_ID {
        return Err(Open::Never(Reason::ReservedVlanId));
    }
    let pcp = tag.pcp.ok_or(Open::Pcp)?;
    Ok(Op::PushVlan { tpid: tag.tpid, id, pcp })
}
