//! ICMP and ICMPv6: the kernel has a set of keys for each.

use tc_filter::EtherType;
use tc_filter::key::IcmpKey;

use super::{Key, joined, masked, pick};

pub(super) fn emit(key: &IcmpKey, protocol: EtherType, out: &mut Vec<Key>) {
    if protocol == EtherType::IPV6 {
        masked(out, key.kind, Key::Icmpv6Type, Key::Icmpv6TypeMask);
        masked(out, key.code, Key::Icmpv6Code, Key::Icmpv6CodeMask);
    } else {
        masked(out, key.kind, Key::Icmpv4Type, Key::Icmpv4TypeMask);
        masked(out, key.code, Key::Icmpv4Code, Key::Icmpv4CodeMask);
    }
}

pub(super) fn parse(options: &[Key]) -> IcmpKey {
    let kind4 = joined(pick!(options, Icmpv4Type), pick!(options, Icmpv4TypeMask));
    let code4 = joined(pick!(options, Icmpv4Code), pick!(options, Icmpv4CodeMask));
    let kind6 = joined(pick!(options, Icmpv6Type), pick!(options, Icmpv6TypeMask));
    let code6 = joined(pick!(options, Icmpv6Code), pick!(options, Icmpv6CodeMask));
    IcmpKey { kind: kind4.or(kind6), code: code4.or(code6) }
}
