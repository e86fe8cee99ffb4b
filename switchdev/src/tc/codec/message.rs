//! A whole filter as a message, and the message of a dump as a filter.

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::tc::{
    TcAttribute, TcFilterFlowerOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use tc_filter::action::Pedit;
use tc_filter::{
    Action, Attach, BlockId, ChainId, Cookie, EtherType, Filter, FilterId, Handle, HwPolicy,
    IfIndex, InHw, Prio,
};

use super::action::{self, Seen};
use super::attrs::Writer;
use super::stats::ActionStats;
use super::{Unreadable, flower};
use crate::tc::{Observed, Undecoded};

const KIND: &str = "flower";
/// `struct tcmsg`.
const HEADER_LEN: usize = 20;
/// What a filter usually takes.
const USUAL_LEN: usize = 480;
/// `TCA_KIND`, `TCA_OPTIONS`, `TCA_CHAIN`, and `TCA_FLOWER_ACT` within the options.
const CLASSIFIER: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;
const ACTIONS: u16 = 3;
/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// `TCM_IFINDEX_MAGIC_BLOCK`: the parent is a block's number then.
const ON_BLOCK: i32 = -1;

/// `TCA_CLS_FLAGS_*`.
const SKIP_HW: u32 = 1;
const SKIP_SW: u32 = 2;
const IN_HW: u32 = 4;
/// Without it a driver's words are thrown away unless the filter is `skip_sw`.
const VERBOSE: u32 = 16;

/// The message that adds or replaces a filter, without the netlink header.
///
/// # Errors
/// [`Unreadable`] names what no message can say.
pub(crate) fn filter_message(filter: &Filter) -> Result<Vec<u8>, Unreadable> {
    check(filter)?;
    let mut header_bytes = [0; HEADER_LEN];
    header(&filter.id(), filter.protocol).emit(&mut header_bytes);
    let mut out = Writer::after(&header_bytes, USUAL_LEN);
    out.u32(CHAIN, filter.chain.get());
    out.string(CLASSIFIER, KIND);
    out.plain_nest(OPTIONS, &options(filter));
    Ok(out.into_bytes())
}

/// The message that names a filter, to delete it. The kind spares the kernel its global lock
/// (`tcf_proto_is_unlocked`).
pub(crate) fn id_message(id: &FilterId) -> Vec<u8> {
    let mut message = TcMessage::default();
    message.header = header(id, EtherType(0));
    message.attributes =
        vec![TcAttribute::Chain(id.chain.get()), TcAttribute::Kind(KIND.to_owned())];
    bytes(&message)
}

/// The message that asks for everything on an attach point, or on one chain of it.
pub(crate) fn dump_message(attach: Attach, chain: Option<ChainId>) -> Vec<u8> {
    let (index, parent) = place(attach);
    let mut message = TcMessage::default();
    message.header.index = index;
    message.header.parent = TcHandle::from(parent);
    message.attributes.extend(chain.map(|chain| TcAttribute::Chain(chain.get())));
    bytes(&message)
}

fn bytes(message: &TcMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// What the kernel would misread or silently widen.
fn check(filter: &Filter) -> Result<(), Unreadable> {
    let key = &filter.key;
    if filter.actions.len() > Filter::MAX_ACTIONS {
        let count = filter.actions.len();
        return Err(Unreadable::new(format!("{count} actions; a filter has at most 32")));
    }
    let ported = key.ip.proto.is_some_and(tc_filter::IpProto::has_ports);
    if (key.l4.src.is_some() || key.l4.dst.is_some()) && !ported {
        return Err(Unreadable::new("ports without an ip_proto of tcp, udp or sctp"));
    }
    filter.actions.iter().try_for_each(check_action)
}

fn check_action(action: &Action) -> Result<(), Unreadable> {
    match action {
        Action::Pedit(pedit) if action::pedit_words(pedit) > Pedit::MAX_WORDS => {
            Err(Unreadable::new("a pedit of more than 32 words; split it"))
        }
        Action::Pedit(pedit) if pedit.edits.is_empty() => {
            Err(Unreadable::new("a pedit that writes nothing"))
        }
        _ => Ok(()),
    }
}

fn header(id: &FilterId, protocol: EtherType) -> TcHeader {
    let (index, parent) = place(id.attach);
    TcHeader {
        family: AddressFamily::Unspec,
        index,
        handle: TcHandle::from(id.handle.get()),
        parent: TcHandle::from(parent),
        info: u32::from(id.prio.get()) << 16 | u32::from(protocol.0.to_be()),
    }
}

/// The device and the parent of an attach point.
fn place(attach: Attach) -> (i32, u32) {
    match attach {
        Attach::Ingress(device) => (device.0.cast_signed(), INGRESS),
        Attach::Egress(device) => (device.0.cast_signed(), EGRESS),
        Attach::Block(block) => (ON_BLOCK, block.0),
    }
}

fn options(filter: &Filter) -> Writer {
    let mut out = Writer::after(&[], USUAL_LEN);
    flower::emit(filter.protocol, &filter.key).iter().for_each(|key| out.nla(key));
    if !filter.actions.is_empty() {
        out.plain_nest(ACTIONS, &action::emit_all(&filter.actions, filter.cookie.as_ref()));
    }
    out.nla(&TcFilterFlowerOption::Flags(VERBOSE | hw_flags(filter.hw)));
    flower::emit_frag(filter.key.ip.frag).iter().for_each(|key| out.nla(key));
    if filter.protocol != EtherType::ALL {
        out.nla(&TcFilterFlowerOption::EthType(filter.protocol.0));
    }
    out
}

fn hw_flags(hw: HwPolicy) -> u32 {
    match hw {
        HwPolicy::Both => 0,
        HwPolicy::SkipSw => SKIP_SW,
        HwPolicy::SkipHw => SKIP_HW,
    }
}

/// What one message of a dump says: a filter, something else, or nothing: the kernel also lists
/// each prio itself, without a handle.
pub(crate) fn decode(bytes: &[u8]) -> Option<Result<Observed, Undecoded>> {
    let message = match TcMessage::parse(bytes) {
        Ok(message) => message,
        Err(error) => return Some(Err(undecoded(None, "", &error))),
    };
    let kind = kind_of(&message).to_owned();
    if u32::from(message.header.handle) == 0 {
        return None;
    }
    let id = id_of(&message);
    let observed = match &id {
        Ok(id) if kind == KIND => observe(&message, *id),
        Ok(_) => Err(Unreadable::new(format!("a filter of kind {kind}"))),
        Err(error) => Err(error.clone()),
    };
    Some(observed.map_err(|error| undecoded(id.ok(), &kind, &error)))
}

fn undecoded(id: Option<FilterId>, kind: &str, why: &dyn std::fmt::Display) -> Undecoded {
    Undecoded { id, kind: kind.to_owned(), why: why.to_string() }
}

fn kind_of(message: &TcMessage) -> &str {
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    kind.unwrap_or_default()
}

fn id_of(message: &TcMessage) -> Result<FilterId, Unreadable> {
    let chain = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Chain(chain) => Some(*chain),
        _ => None,
    });
    let prio = u16::try_from(message.header.info >> 16).map_err(Unreadable::new)?;
    Ok(FilterId {
        attach: attach_of(&message.header),
        chain: ChainId::new(chain.unwrap_or(0)).map_err(Unreadable::new)?,
        prio: Prio::new(prio).map_err(Unreadable::new)?,
        handle: Handle::new(u32::from(message.header.handle)).map_err(Unreadable::new)?,
    })
}

/// A filter on an `ingress` qdisc names another parent than one on clsact; both are ingress.
fn attach_of(header: &TcHeader) -> Attach {
    let parent = u32::from(header.parent);
    let device = IfIndex(header.index.cast_unsigned());
    match (header.index, parent) {
        (ON_BLOCK, block) => Attach::Block(BlockId(block)),
        (_, EGRESS) => Attach::Egress(device),
        _ => Attach::Ingress(device),
    }
}

fn observe(message: &TcMessage, id: FilterId) -> Result<Observed, Unreadable> {
    let options = flower_options(message);
    let actions = actions_of(&options)?;
    let flags = flower::pick!(options, Flags).unwrap_or(0);
    let stats = actions.first().map_or_else(ActionStats::default, |first| first.stats);
    let protocol = u16::from_be((message.header.info & 0xffff).try_into().unwrap_or(0));
    let filter = Filter {
        attach: id.attach,
        chain: id.chain,
        prio: id.prio,
        handle: id.handle,
        protocol: EtherType(protocol),
        key: flower::parse(&options)?.into(),
        cookie: cookie_of(&actions)?,
        actions: actions.into_iter().map(|seen| seen.action).collect(),
        hw: hw_policy(flags),
    };
    Ok(Observed {
        filter: filter.normalized(),
        in_hw: if flags & IN_HW != 0 { InHw::Yes } else { InHw::No },
        in_hw_count: flower::pick!(options, InHwCount).unwrap_or(0),
        software: stats.software(),
        hardware: stats.hardware,
        last_used: stats.last_used(),
    })
}

fn flower_options(message: &TcMessage) -> Vec<TcFilterFlowerOption> {
    let nests = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let options = nests.flatten().filter_map(|option| match option {
        TcOption::Flower(option) => Some(option.clone()),
        _ => None,
    });
    options.collect()
}

fn actions_of(options: &[TcFilterFlowerOption]) -> Result<Vec<Seen>, Unreadable> {
    let lists = options.iter().filter_map(|option| match option {
        TcFilterFlowerOption::Actions(actions) => Some(actions),
        _ => None,
    });
    lists.flatten().map(action::parse).collect()
}

/// All actions of a filter of ours carry one cookie.
fn cookie_of(actions: &[Seen]) -> Result<Option<Cookie>, Unreadable> {
    let Some(first) = actions.first() else { return Ok(None) };
    if actions.iter().any(|seen| seen.cookie != first.cookie) {
        return Err(Unreadable::new("actions with different cookies"));
    }
    let cookie = first.cookie.as_deref().map(Cookie::new).transpose();
    cookie.map_err(Unreadable::new)
}

fn hw_policy(flags: u32) -> HwPolicy {
    match flags & (SKIP_HW | SKIP_SW) {
        SKIP_SW => HwPolicy::SkipSw,
        SKIP_HW => HwPolicy::SkipHw,
        _ => HwPolicy::Both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tc_filter::any;

    fn decoded(bytes: &[u8]) -> Filter {
        decode(bytes).unwrap().unwrap().filter
    }

    #[test]
    fn ports_without_their_protocol_are_refused_before_the_kernel_ignores_them() {
        let line = "dev if7 ingress prio 1 handle 0x1 protocol ip flower dst_port 80 action drop";
        let error = filter_message(&line.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "ports without an ip_proto of tcp, udp or sctp");
    }

    #[test]
    fn too_many_actions_are_refused() {
        let head = "dev if7 ingress prio 1 handle 0x1 protocol ip flower";
        let line = format!("{head}{}", " action pass".repeat(33));
        let error = filter_message(&line.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "33 actions; a filter has at most 32");
    }

    #[test]
    fn a_key_nobody_reads_is_reported_and_not_dropped() {
        let line = "dev if7 ingress prio 1 handle 0x1 protocol all flower action drop";
        let mut message =
            TcMessage::parse(&filter_message(&line.parse().unwrap()).unwrap()).unwrap();
        for attribute in &mut message.attributes {
            if let TcAttribute::Options(options) = attribute {
                options.push(TcOption::Flower(TcFilterFlowerOption::InDev("eth0".to_owned())));
            }
        }
        let why = decode(&bytes(&message)).unwrap().unwrap_err().why;
        assert_eq!(why, "unknown flower attribute 2");
    }

    #[test]
    fn another_classifier_is_reported_by_its_name() {
        let line = "dev if7 ingress prio 1 handle 0x1 protocol all flower action drop";
        let mut message =
            TcMessage::parse(&filter_message(&line.parse().unwrap()).unwrap()).unwrap();
        message.attributes = vec![TcAttribute::Kind("matchall".to_owned())];
        let undecoded = decode(&bytes(&message)).unwrap().unwrap_err();
        assert_eq!(undecoded.kind, "matchall");
        assert!(undecoded.id.is_some());
    }

    proptest! {
        #[test]
        fn every_filter_comes_back_as_it_was_sent(filter in any::filter()) {
            let bytes = filter_message(&filter).unwrap();
            prop_assert_eq!(decoded(&bytes), filter);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_damaged_message_does_not_make_the_decoder_panic(
            filter in any::filter(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = filter_message(&filter).unwrap();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = decode(&bytes);
        }
    }
}
