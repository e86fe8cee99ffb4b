//! Whether two filters may take the same packet.
//!
//! Where it is hard to say, the answer is yes: it costs a guard too many, never a stolen packet.

use tc_filter::key::{ArpKey, EthKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch, VlanKey};
use tc_filter::{Bits, EtherType, Filter, Masked};

/// Whether some packet may match both.
pub(super) fn may_overlap(a: &Filter, b: &Filter) -> bool {
    protocols(a.protocol, b.protocol)
        && ethernet(&a.key.eth, &b.key.eth)
        && vlan(&a.key.vlan, &b.key.vlan)
        && vlan(&a.key.cvlan, &b.key.cvlan)
        && arp(&a.key.arp, &b.key.arp)
        && ip(&a.key.ip, &b.key.ip)
        && l4(&a.key.l4, &b.key.l4)
        && icmp(&a.key.icmp, &b.key.icmp)
}

fn protocols(a: EtherType, b: EtherType) -> bool {
    a == b || a == EtherType::ALL || b == EtherType::ALL
}

fn ethernet(a: &EthKey, b: &EthKey) -> bool {
    masked(a.dst, b.dst) && masked(a.src, b.src)
}

fn vlan(a: &VlanKey, b: &VlanKey) -> bool {
    exact(a.id, b.id) && exact(a.pcp, b.pcp) && exact(a.ethertype, b.ethertype)
}

fn arp(a: &ArpKey, b: &ArpKey) -> bool {
    masked(a.op, b.op)
        && masked(a.sip, b.sip)
        && masked(a.tip, b.tip)
        && masked(a.sha, b.sha)
        && masked(a.tha, b.tha)
}

fn ip(a: &IpKey, b: &IpKey) -> bool {
    exact(a.proto, b.proto)
        && address(a.src, b.src)
        && address(a.dst, b.dst)
        && masked(a.tos, b.tos)
        && masked(a.ttl, b.ttl)
        && exact(a.frag.fragment, b.frag.fragment)
        && exact(a.frag.first, b.frag.first)
}

fn l4(a: &L4Key, b: &L4Key) -> bool {
    port(a.src, b.src) && port(a.dst, b.dst) && masked(a.tcp_flags, b.tcp_flags)
}

fn icmp(a: &IcmpKey, b: &IcmpKey) -> bool {
    masked(a.kind, b.kind) && masked(a.code, b.code)
}

fn masked<T: Bits>(a: Option<Masked<T>>, b: Option<Masked<T>>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a.overlaps(b))
}

fn exact<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

fn address(a: Option<IpMatch>, b: Option<IpMatch>) -> bool {
    match (a, b) {
        (Some(IpMatch::V4(a)), Some(IpMatch::V4(b))) => a.overlaps(b),
        (Some(IpMatch::V6(a)), Some(IpMatch::V6(b))) => a.overlaps(b),
        (Some(_), Some(_)) => false,
        (None, _) | (_, None) => true,
    }
}

fn port(a: Option<PortMatch>, b: Option<PortMatch>) -> bool {
    match (a, b) {
        (Some(PortMatch::Masked(a)), Some(PortMatch::Masked(b))) => a.overlaps(b),
        (Some(PortMatch::Range(a)), Some(PortMatch::Range(b))) => {
            a.first() <= b.last() && b.first() <= a.last()
        }
        // A mask may pick ports from anywhere in a range.
        _ => true,
    }
}
