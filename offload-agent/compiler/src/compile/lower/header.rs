//! Writes to headers, as `act_pedit` and `act_csum` take them. Each field is an action of its own, so that their order is that
//! of the rules; one `csum` after the last of them covers them all.

use std::net::{Ipv4Addr, Ipv6Addr};

use tc_filter::action::{Csum, Edit, Pedit};
use tc_filter::{Action, Masked};

use super::key::{low, to_mac};
use crate::compile::ir::{Key, KeyField};
use crate::openflow::{self, Field};

const IPV6: u128 = 0x86dd;
/// The lowest two bits of TOS are the ECN bits, the others are what OpenFlow calls `nw_tos`.
const ECN_BITS: u128 = 0x03;

pub(super) fn set(field: Field, masked: openflow::Masked, key: &Key) -> Option<Action> {
    let six = key.exact(KeyField::EthType) == Some(IPV6);
    let mac = Masked::new(to_mac(masked.value), to_mac(masked.mask));
    let four = Masked::new(ipv4(masked.value), ipv4(masked.mask));
    let wide = Masked::new(Ipv6Addr::from(masked.value), Ipv6Addr::from(masked.mask));
    let byte = Masked::new(low(masked.value), low(masked.mask));
    let port = Masked::new(word(masked.value), word(masked.mask));
    let edit = match field {
        Field::EthSrc => Edit::EthSrc(mac),
        Field::EthDst => Edit::EthDst(mac),
        Field::IpSrc => Edit::IpSrc(four),
        Field::IpDst => Edit::IpDst(four),
        Field::Ipv6Src => Edit::Ip6Src(wide),
        Field::Ipv6Dst => Edit::Ip6Dst(wide),
        Field::NwTos => {
            tos(Masked::new(low(masked.value & !ECN_BITS), low(masked.mask & !ECN_BITS)), six)
        }
        Field::NwEcn => {
            tos(Masked::new(low(masked.value & ECN_BITS), low(masked.mask & ECN_BITS)), six)
        }
        Field::NwTtl if six => Edit::Ip6HopLimit(byte),
        Field::NwTtl => Edit::IpTtl(byte),
        Field::TcpSrc => Edit::TcpSrc(port),
        Field::TcpDst => Edit::TcpDst(port),
        Field::UdpSrc => Edit::UdpSrc(port),
        Field::UdpDst => Edit::UdpDst(port),
        _ => return None,
    };
    Some(Action::Pedit(Pedit::one(edit)))
}

fn tos(masked: Masked<u8>, six: bool) -> Edit {
    if six { Edit::Ip6TrafficClass(masked) } else { Edit::IpTos(masked) }
}

/// Taking off is adding what wraps around.
pub(super) fn dec_ttl(by: u8, key: &Key) -> Option<Action> {
    let add = 0_u8.wrapping_sub(by);
    let edit = match key.exact(KeyField::EthType)? {
        IPV6 => Edit::Ip6HopLimitAdd(add),
        _ => Edit::IpTtlAdd(add),
    };
    Some(Action::Pedit(Pedit::one(edit)))
}

/// The checksums that cover what was written. IPv6 has none of its own.
pub(super) fn checksum(written: &[Field], key: &Key) -> Option<Action> {
    let ip = written.iter().any(|field| {
        !matches!(
            field,
            Field::EthSrc
                | Field::EthDst
                | Field::TcpSrc
                | Field::TcpDst
                | Field::UdpSrc
                | Field::UdpDst
        )
    });
    let four = key.exact(KeyField::EthType) != Some(IPV6);
    let transport = written.iter().any(|field| is_under_the_transport(*field));
    let mut csum = Csum::default();
    if ip && four {
        csum = csum | Csum::IP4H;
    }
    if transport {
        csum = csum
            | match key.exact(KeyField::IpProto)? {
                6 => Csum::TCP,
                17 => Csum::UDP,
                58 => Csum::ICMP,
                _ => Csum::default(),
            };
    }
    (csum != Csum::default()).then_some(Action::Csum(csum))
}

fn is_under_the_transport(field: Field) -> bool {
    use Field::*;
    matches!(field, IpSrc | IpDst | Ipv6Src | Ipv6Dst | TcpSrc | TcpDst | UdpSrc | UdpDst)
}

fn ipv4(value: u128) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn word(value: u128) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
