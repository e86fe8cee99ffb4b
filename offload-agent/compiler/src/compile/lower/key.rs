//! Keys to flower's structure.

use std::net::{Ipv4Addr, Ipv6Addr};

use tc_filter::key::{
    ArpKey, CtKey, CtState, EncKey, EthKey, FragKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch,
    VlanKey,
};
use tc_filter::{
    EtherType, FlowerMatch, GeneveOption, GeneveOptionMatch, IpProto, Mac, Masked, Pcp,
    TunnelKeyId, VlanId,
};

use crate::compile::ir::{Key, KeyField, UNTAGGED};
use crate::openflow::{self, TunnelOption};

/// What flower is asked; the outermost EtherType is the filter's `protocol`.
pub(super) fn lower(key: &Key, option: Option<TunnelOption>) -> FlowerMatch {
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
        enc: enc(key, option),
        ct: CtKey {
            state: word(key, KeyField::CtState)
                .map(|state| Masked::new(CtState(state.value()), CtState(state.mask()))),
            zone: None,
            mark: key.get(KeyField::CtMark).map(|m| Masked::new(long(m.value), long(m.mask))),
            label: key.get(KeyField::CtLabel).map(|m| Masked::new(m.value, m.mask)),
        },
        ..FlowerMatch::default()
    }
}

fn enc(key: &Key, option: Option<TunnelOption>) -> EncKey {
    EncKey {
        id: key.exact(KeyField::EncKeyId).map(|id| TunnelKeyId(long(id))),
        src: address(key, KeyField::EncIpv4Src, KeyField::EncIpv6Src),
        dst: address(key, KeyField::EncIpv4Dst, KeyField::EncIpv6Dst),
        geneve: option.and_then(|option| geneve(key, option)).into_iter().collect(),
        ..EncKey::default()
    }
}

/// The option's value, under the bits asked for.
fn geneve(key: &Key, option: TunnelOption) -> Option<GeneveOptionMatch> {
    let any = key.get(KeyField::OneOption).map(|_| openflow::Masked { value: 0, mask: 0 });
    let asked = key.get(KeyField::EncOption).or(any)?;
    let data = |bits: u128| {
        let bytes = bits.to_be_bytes();
        bytes[bytes.len().saturating_sub(usize::from(option.length))..].to_vec()
    };
    let value = GeneveOption::new(option.class, option.kind, &data(asked.value)).ok()?;
    GeneveOptionMatch::new(&value, &data(asked.mask)).ok()
}

fn long(value: u128) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
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

pub(super) fn to_mac(value: u128) -> Mac {
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
pub(super) fn low(value: u128) -> u8 {
    let [.., low] = value.to_be_bytes();
    low
}
