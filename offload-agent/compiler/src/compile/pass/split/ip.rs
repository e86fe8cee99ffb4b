//! IPv4 and IPv6, with what stands above them.
//!
//! In OVS's default mode every fragment has ports 0 and ICMP type and code 0, the first one too. Flower would read the
//! first fragment's, so a filter with any of these takes whole packets only (`ip_flags nofrag`), and the fragments are a
//! piece of their own, if 0 satisfies the match.

use super::unread::EXTENSION_HEADERS;
use super::{Piece, carry};
use crate::compile::ir::{Key, KeyField};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match};

const ECN_BITS: u128 = 0x03;

/// Fields that are 0 in every fragment, and their keys.
const LAYER_4: [(Field, KeyField); 10] = [
    (Field::TcpSrc, KeyField::SrcPort),
    (Field::TcpDst, KeyField::DstPort),
    (Field::UdpSrc, KeyField::SrcPort),
    (Field::UdpDst, KeyField::DstPort),
    (Field::SctpSrc, KeyField::SrcPort),
    (Field::SctpDst, KeyField::DstPort),
    (Field::IcmpType, KeyField::IcmpType),
    (Field::IcmpCode, KeyField::IcmpCode),
    (Field::Icmpv6Type, KeyField::IcmpType),
    (Field::Icmpv6Code, KeyField::IcmpCode),
];

pub(super) fn v4(takes: &Match, key: Key) -> Vec<Piece> {
    let key = carry(takes, Field::IpSrc, KeyField::Ipv4Src, header(takes, key));
    let key = carry(takes, Field::IpDst, KeyField::Ipv4Dst, key);
    let key = carry(takes, Field::NwProto, KeyField::IpProto, key);
    let frags = Fragments::of(takes);
    if !asks_layer_4(takes) {
        return frags.keys(&key).into_iter().map(Piece::exact).collect();
    }
    let mut pieces = Vec::new();
    if frags.whole {
        pieces.push(Piece::exact(layer_4(takes, key.clone().with(KeyField::Frag, 0))));
    }
    if zero_is_right(takes) {
        // OVS reads the TCP flags of a first fragment.
        let inexact = takes.get(Field::TcpFlags).map(|_| Reason::FragmentFlags);
        let fragments = Fragments { whole: false, ..frags };
        let keys = fragments.keys(&key).into_iter();
        pieces.extend(keys.map(|key| Piece { key, inexact: inexact.clone() }));
    }
    pieces
}

pub(super) fn v6(takes: &Match, key: Key) -> Vec<Piece> {
    let key = carry(takes, Field::Ipv6Src, KeyField::Ipv6Src, header(takes, key));
    let key = carry(takes, Field::Ipv6Dst, KeyField::Ipv6Dst, key);
    let proto = takes.exact(Field::NwProto);
    if proto.is_none() && takes.get(Field::IpFrag).is_none() {
        return vec![Piece::exact(key)];
    }
    // OVS gives no packet such a protocol, but 44 to later fragments. A filter would do no harm behind the guards of
    // `unread`; but nothing is to be said to be in hardware that flower cannot know.
    if proto.is_some_and(|proto| EXTENSION_HEADERS.contains(&proto)) {
        return vec![Piece::inexact(key, Reason::NoFlowerKey(Field::NwProto))];
    }
    let mut pieces = Vec::new();
    if Fragments::of(takes).whole {
        let whole = carry(takes, Field::NwProto, KeyField::IpProto, key.clone());
        pieces.push(Piece::exact(layer_4(takes, whole.with(KeyField::Frag, 0))));
    }
    // OVS gives a later fragment protocol 44, and its two parsers differ on a fragment that is the whole packet.
    pieces.push(Piece::inexact(key.with(KeyField::Frag, 1), Reason::Ipv6Fragment));
    pieces
}

/// What IPv4 and IPv6 have in common.
fn header(takes: &Match, key: Key) -> Key {
    let none = Masked { value: 0, mask: 0 };
    let dscp = takes.get(Field::NwTos).unwrap_or(none);
    let ecn = takes.get(Field::NwEcn).unwrap_or(none);
    let tos = Masked::new(
        dscp.value & !ECN_BITS | ecn.value,
        dscp.mask & !ECN_BITS | ecn.mask & ECN_BITS,
    );
    carry(takes, Field::NwTtl, KeyField::IpTtl, key.with_masked(KeyField::IpTos, tos))
}

fn asks_layer_4(takes: &Match) -> bool {
    takes.get(Field::TcpFlags).is_some()
        || LAYER_4.iter().any(|(field, _)| takes.get(*field).is_some())
}

fn layer_4(takes: &Match, key: Key) -> Key {
    let key = carry(takes, Field::TcpFlags, KeyField::TcpFlags, key);
    LAYER_4.iter().fold(key, |key, (field, name)| carry(takes, *field, *name, key))
}

/// Whether a fragment, with its ports of 0, satisfies the match.
fn zero_is_right(takes: &Match) -> bool {
    LAYER_4.iter().filter_map(|(field, _)| takes.get(*field)).all(|masked| masked.covers(0))
}

/// Which kinds of packets a match takes by `ip_frag`.
#[derive(Clone, Copy)]
struct Fragments {
    whole: bool,
    first: bool,
    later: bool,
}

impl Fragments {
    /// `ip_frag` has bit 0 for any fragment and bit 1 for a later one.
    fn of(takes: &Match) -> Fragments {
        let frag = takes.get(Field::IpFrag).unwrap_or(Masked { value: 0, mask: 0 });
        Fragments { whole: frag.covers(0), first: frag.covers(1), later: frag.covers(3) }
    }

    /// The key with flower's two bits for it: more than one key where flower needs two filters.
    fn keys(self, key: &Key) -> Vec<Key> {
        let whole = || key.clone().with(KeyField::Frag, 0);
        let fragment = || key.clone().with(KeyField::Frag, 1);
        match (self.whole, self.first, self.later) {
            (true, true, true) => vec![key.clone()],
            (true, true, false) => vec![whole(), fragment().with(KeyField::FirstFrag, 1)],
            (true, false, true) => vec![whole(), fragment().with(KeyField::FirstFrag, 0)],
            (true, false, false) => vec![whole()],
            (false, true, true) => vec![fragment()],
            (false, true, false) => vec![fragment().with(KeyField::FirstFrag, 1)],
            (false, false, true) => vec![fragment().with(KeyField::FirstFrag, 0)],
            (false, false, false) => Vec::new(),
        }
    }
}
