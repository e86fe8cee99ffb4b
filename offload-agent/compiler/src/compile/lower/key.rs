//! Keys to flower's structure.

use std::net::{Ipv4Addr, Ipv6Addr};

use tc_filter::key::{ArpKey, EthKey, FragKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch, VlanKey};
use tc_filter::{EtherType, FlowerMatch, IpProto, Mac, Masked, Pcp, VlanId};

use crate::compile::ir::{Key, KeyField, UNTAGGED};

/// What flower is asked; the outermost EtherType is the filter's `protocol`.
pub(super) fn lower(key: &Key) -> FlowerMatch {
    FlowerMatch {
        eth: EthKey { dst: mac(key, KeyField::DstMac), src: mac(key, KeyField::SrcMac) },
        vlan: vlan(key),
        arp: arp(key),
        ip: ip(key),
        l4: L4Key {
            src: word(key, KeyField::SrcPort).map(PortMatch::Masked),
            dst: word(key, KeyField::DstPort).map(PortMatch::Masked),
            tcp_flags: word(key, KeyField::TcpFlags),
        },
        icmp: IcmpKey { kind: byte(key, KeyField::IcmpType), code: byte(key, KeyField::IcmpCode) },
        ..FlowerMatch::default()
    }
}

fn vlan(key: &Key) -> VlanKey {
    match key.exact(KeyField::Tpid) {
        None | Some(UNTAGGED) => VlanKey::default(),
        Some(_) => VlanKey {
            id: small(key, KeyField::VlanId).and_then(|id| VlanId::new(id).ok()),
            pcp: small(key, KeyField::VlanPrio).and_then(|pcp| Pcp::new(low(u128::from(pcp))).ok()),
            ethertype: small(key, KeyField::EthType).map(EtherType),
        },
    }
}

fn arp(key: &Key) -> ArpKey {
    ArpKey {
        op: byte(key, KeyField::ArpOp),
        sip: v4(key, KeyField::ArpSip),
        tip: v4(key, KeyField::ArpTip),
        sha: mac(key, KeyField::ArpSha),
        tha: mac(key, KeyField::ArpTha),
    }
}

fn ip(key: &Key) -> IpKey {
    let bit = |field| key.exact(field).map(|value| value == 1);
    IpKey {
        proto: key.exact(KeyField::IpProto).map(|value| IpProto(low(value))),
        src: address(key, KeyField::Ipv4Src, KeyField::Ipv6Src),
        dst: address(key, KeyField::Ipv4Dst, KeyField::Ipv6Dst),
        tos: byte(key, KeyField::IpTos),
        ttl: byte(key, KeyField::IpTtl),
        frag: FragKey { fragment: bit(KeyField::Frag), first: bit(KeyField::FirstFrag) },
    }
}

fn address(key: &Key, four: KeyField, six: KeyField) -> Option<IpMatch> {
    let wide = key.get(six);
    let wide = wide.map(|wide| Masked::new(Ipv6Addr::from(wide.value), Ipv6Addr::from(wide.mask)));
    v4(key, four).map(IpMatch::V4).or_else(|| wide.map(IpMatch::V6))
}

fn v4(key: &Key, field: KeyField) -> Option<Masked<Ipv4Addr>> {
    let word = |value: u128| Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX));
    key.get(field).map(|masked| Masked::new(word(masked.value), word(masked.mask)))
}

fn mac(key: &Key, field: KeyField) -> Option<Masked<Mac>> {
    key.get(field).map(|masked| Masked::new(to_mac(masked.value), to_mac(masked.mask)))
}

fn to_mac(value: u128) -> Mac {
    let [.., a, b, c, d, e, f] = value.to_be_bytes();
    Mac([a, b, c, d, e, f])
}

fn small(key: &Key, field: KeyField) -> Option<u16> {
    key.exact(field).and_then(|value| u16::try_from(value).ok())
}

fn word(key: &Key, field: KeyField) -> Option<Masked<u16>> {
    let word = |value: u128| u16::try_from(value).unwrap_or(u16::MAX);
    key.get(field).map(|masked| Masked::new(word(masked.value), word(masked.mask)))
}

fn byte(key: &Key, field: KeyField) -> Option<Masked<u8>> {
    key.get(field).map(|masked| Masked::new(low(masked.value), low(masked.mask)))
}

/// The lowest byte.
fn low(value: u128) -> u8 {
    let [.., low] = value.to_be_bytes();
    low
}
