//! Tunnel headers, as OVS builds them from a tunnel port's options (`tnl_port_send` in `ofproto/tunnel.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tc_filter::action::{TunnelAddresses, TunnelKey, TunnelSet};
use tc_filter::{GeneveOption, TunnelKeyId};

use crate::compile::Input;
use crate::compile::ir::Encap;
use crate::openflow::{Field, Masked};
use crate::ports::{OuterByte, TunnelConfig, TunnelEnd};

/// The header on a port that fills it in with this.
pub(super) fn set(
    encap: &Encap,
    filling: &[(Field, Masked)],
    input: &Input<'_>,
) -> Option<TunnelKey> {
    let config = input.tunnel(encap.to)?;
    let geneve = encap.options.iter().map(|(option, value)| {
        let bytes = value.filled(filling)?.to_be_bytes();
        let length = usize::from(option.length).min(bytes.len());
        GeneveOption::new(option.class, option.kind, &bytes[bytes.len() - length..]).ok()
    });
    let id = match &encap.id {
        Some(id) => Some(TunnelKeyId(u32::try_from(id.filled(filling)?).ok()?)),
        None => None,
    };
    let addresses = addresses(config)?;
    let over_ipv6 = matches!(addresses, TunnelAddresses::V6 { .. });
    Some(TunnelKey::Set(TunnelSet {
        id,
        addresses,
        dst_port: config.dst_port,
        tos: tos(config, encap.ecn)?,
        ttl: byte(config.ttl)?,
        geneve: geneve.collect::<Option<_>>()?,
        csum: config.csum.unwrap_or(over_ipv6),
        no_frag: config.dont_fragment,
    }))
}

/// The TOS that the tunnel gives every packet, and the packet's own ECN bits.
fn tos(config: &TunnelConfig, ecn: u8) -> Option<Option<u8>> {
    let OuterByte::Fixed(tos) = config.tos else { return None };
    byte(OuterByte::Fixed(tos | ecn))
}

/// A byte that is always the same; the kernel takes 0 for "not given".
fn byte(byte: OuterByte) -> Option<Option<u8>> {
    match byte {
        OuterByte::Fixed(byte) => Some(Some(byte).filter(|byte| *byte != 0)),
        OuterByte::Inherit => None,
    }
}

/// Without a local address the kernel's routes choose one.
fn addresses(config: &TunnelConfig) -> Option<TunnelAddresses> {
    let TunnelEnd::Addr(remote) = config.remote else { return None };
    let local = match config.local {
        TunnelEnd::Addr(local) => Some(local),
        TunnelEnd::Any => None,
        TunnelEnd::Flow => return None,
    };
    match (local, remote) {
        (Some(IpAddr::V4(src)), IpAddr::V4(dst)) => Some(TunnelAddresses::V4 { src, dst }),
        (None, IpAddr::V4(dst)) => Some(TunnelAddresses::V4 { src: Ipv4Addr::UNSPECIFIED, dst }),
        (Some(IpAddr::V6(src)), IpAddr::V6(dst)) => Some(TunnelAddresses::V6 { src, dst }),
        (None, IpAddr::V6(dst)) => Some(TunnelAddresses::V6 { src: Ipv6Addr::UNSPECIFIED, dst }),
        _ => None,
    }
}
