//! IPv4 and IPv6 headers.

use tc_filter::IpProto;
use tc_filter::key::{FragKey, IpKey, IpMatch};

use super::{Key, joined, masked, pick};

/// `TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT`.
const FRAGMENT: u32 = 1;
/// `TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST`.
const FIRST: u32 = 2;

pub(super) fn emit(key: &IpKey, out: &mut Vec<Key>) {
    out.extend(key.proto.map(|proto| Key::IpProto(proto.0)));
    emit_dst(key.dst, out);
    emit_src(key.src, out);
    masked(out, key.tos, Key::IpTos, Key::IpTosMask);
    masked(out, key.ttl, Key::IpTtl, Key::IpTtlMask);
}

fn emit_dst(address: Option<IpMatch>, out: &mut Vec<Key>) {
    match address {
        None => {}
        Some(IpMatch::V4(key)) => masked(out, Some(key), Key::Ipv4Dst, Key::Ipv4DstMask),
        Some(IpMatch::V6(key)) => masked(out, Some(key), Key::Ipv6Dst, Key::Ipv6DstMask),
    }
}

fn emit_src(address: Option<IpMatch>, out: &mut Vec<Key>) {
    match address {
        None => {}
        Some(IpMatch::V4(key)) => masked(out, Some(key), Key::Ipv4Src, Key::Ipv4SrcMask),
        Some(IpMatch::V6(key)) => masked(out, Some(key), Key::Ipv6Src, Key::Ipv6SrcMask),
    }
}

/// Written behind everything else, as `tc` does.
pub(in crate::tc::codec) fn emit_frag(key: FragKey) -> Vec<Key> {
    let bits = |flag: Option<bool>, bit| flag.map_or((0, 0), |on| (if on { bit } else { 0 }, bit));
    let (fragment, first) = (bits(key.fragment, FRAGMENT), bits(key.first, FIRST));
    let mask = fragment.1 | first.1;
    if mask == 0 {
        return Vec::new();
    }
    vec![Key::KeyFlags(fragment.0 | first.0), Key::KeyFlagsMask(mask)]
}

pub(super) fn parse(options: &[Key]) -> IpKey {
    let dst4 = joined(pick!(options, Ipv4Dst), pick!(options, Ipv4DstMask));
    let src4 = joined(pick!(options, Ipv4Src), pick!(options, Ipv4SrcMask));
    let dst6 = joined(pick!(options, Ipv6Dst), pick!(options, Ipv6DstMask));
    let src6 = joined(pick!(options, Ipv6Src), pick!(options, Ipv6SrcMask));
    IpKey {
        proto: pick!(options, IpProto).map(IpProto),
        src: src4.map(IpMatch::V4).or_else(|| src6.map(IpMatch::V6)),
        dst: dst4.map(IpMatch::V4).or_else(|| dst6.map(IpMatch::V6)),
        tos: joined(pick!(options, IpTos), pick!(options, IpTosMask)),
        ttl: joined(pick!(options, IpTtl), pick!(options, IpTtlMask)),
        frag: parse_frag(options),
    }
}

fn parse_frag(options: &[Key]) -> FragKey {
    let value = pick!(options, KeyFlags).unwrap_or(0);
    let mask = pick!(options, KeyFlagsMask).unwrap_or(0);
    let flag = |bit| (mask & bit != 0).then_some(value & bit != 0);
    FragKey { fragment: flag(FRAGMENT), first: flag(FIRST) }
}
