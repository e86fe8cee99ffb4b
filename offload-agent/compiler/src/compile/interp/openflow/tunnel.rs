//! Tunnel ports: which one a packet arrives by, and the header it leaves with (`ofproto/tunnel.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tc_filter::GeneveOption;

use super::World;
use super::effects::Doubt;
use super::flow::Flow;
use super::walk::{State, Walk};
use crate::compile::interp::{Delivery, Egress, TunnelHeader};
use crate::compile::ir::Ingress;
use crate::openflow::{BridgeRules, Field};
use crate::ports::{OuterByte, PortKind, Tunnel, TunnelConfig, TunnelEnd, TunnelKey, TunnelKind};

const ECN: u8 = 3;
const CONGESTED: u8 = 3;
const CAPABLE: u8 = 2;

/// The port of a tunnel device that takes a packet with this header (`tnl_find`): the one that says most about it.
pub fn tunnel_port(world: &World<'_>, device: &str, header: &TunnelHeader) -> Option<Ingress> {
    let mut best: Option<(u8, Ingress)> = None;
    for (bridge, ports) in &world.ports.bridges {
        for (number, port) in &ports.ports {
            let PortKind::Tunnel(tunnel) = &port.kind else { continue };
            let rank = tunnel
                .config()
                .ok()
                .filter(|_| tunnel.device().as_deref() == Some(device))
                .and_then(|config| rank(&config, header));
            let better = rank.filter(|rank| best.as_ref().is_none_or(|(found, _)| rank < found));
            if let Some(rank) = better {
                best = Some((rank, Ingress { bridge: bridge.clone(), port: *number }));
            }
        }
    }
    best.map(|(_, port)| port)
}

/// How early OVS tries a port for a header; `None` if it does not take it.
fn rank(config: &TunnelConfig, header: &TunnelHeader) -> Option<u8> {
    let key = match config.in_key {
        TunnelKey::Fixed(key) => (header.id.unwrap_or(0) == key).then_some(0),
        TunnelKey::Absent => (header.id.unwrap_or(0) == 0).then_some(0),
        TunnelKey::Flow => Some(1),
    }?;
    let remote = match config.remote {
        TunnelEnd::Addr(address) => (address == header.src).then_some(0),
        TunnelEnd::Flow | TunnelEnd::Any => Some(1),
    }?;
    let local = match config.local {
        TunnelEnd::Addr(address) => (address == header.dst).then_some(0),
        TunnelEnd::Any => Some(1),
        TunnelEnd::Flow => Some(2),
    }?;
    Some(key * 6 + remote * 3 + local)
}

impl<'w> Walk<'w> {
    pub(super) fn encapsulate(&mut self, state: &mut State<'w>, tunnel: &Tunnel) {
        let (Ok(config), Some(device)) = (tunnel.config(), tunnel.device()) else {
            return self.lost(Doubt::NotUnderstood("the options of a tunnel".to_owned()));
        };
        if !config.unknown.is_empty() || !config.extensions.is_empty() {
            return self.lost(Doubt::NotUnderstood("an option of a tunnel".to_owned()));
        }
        if state.flow.get(Field::PktMark) != 0 {
            self.doubts.insert(Doubt::Unspecified("how the mark routes what is in the tunnel"));
        }
        // Only Geneve has room for options.
        let options = match tunnel.kind {
            TunnelKind::Geneve => options(&state.flow, self.world.rules(state.bridge)),
            _ => Ok(Vec::new()),
        };
        let options = match options {
            Ok(options) => options,
            Err(doubt) => return self.lost(doubt),
        };
        if state.flow.get(Field::TunFlags) != 0 {
            return self.lost(Doubt::NotUnderstood("the flags of a tunnel".to_owned()));
        }
        let Some(header) = header(&state.flow, &config, options) else { return };
        // "Not tunneling to our own address" (`compose_output_action__`).
        if state.tunnel_dst == Some(header.dst) {
            return;
        }
        self.commit(state);
        let to = Egress::Tunnel(device);
        self.effects.deliveries.push(Delivery {
            to,
            frame: state.frame.clone(),
            tunnel: Some(header),
        });
    }
}

/// `tnl_port_send`; `None` for a packet that has no destination.
fn header(flow: &Flow, config: &TunnelConfig, options: Vec<GeneveOption>) -> Option<TunnelHeader> {
    let dst = match config.remote {
        TunnelEnd::Addr(address) => address,
        TunnelEnd::Flow | TunnelEnd::Any => written(flow, Field::TunDst, Field::TunIpv6Dst)?,
    };
    let nowhere: IpAddr =
        if dst.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let src = match config.local {
        TunnelEnd::Addr(address) => address,
        TunnelEnd::Flow => written(flow, Field::TunSrc, Field::TunIpv6Src).unwrap_or(nowhere),
        TunnelEnd::Any => nowhere,
    };
    let id = match config.out_key {
        TunnelKey::Absent => None,
        TunnelKey::Fixed(key) => Some(key),
        TunnelKey::Flow => u64::try_from(flow.get(Field::TunId)).ok(),
    };
    Some(TunnelHeader {
        id,
        src,
        dst,
        tos: tos(flow, config),
        ttl: ttl(flow, config),
        src_port: 0,
        dst_port: config.dst_port.unwrap_or(0),
        csum: config.csum.unwrap_or_else(|| dst.is_ipv6()),
        no_frag: config.dont_fragment,
        options,
    })
}

pub(super) fn written(flow: &Flow, v4: Field, v6: Field) -> Option<IpAddr> {
    let four = u32::try_from(flow.get(v4)).ok().filter(|address| *address != 0);
    let six = Some(flow.get(v6)).filter(|address| *address != 0);
    four.map(|address| Ipv4Addr::from_bits(address).into())
        .or_else(|| six.map(|address| Ipv6Addr::from_bits(address).into()))
}

/// The ECN bits are always the packet's, but "congested" goes out as "capable".
fn tos(flow: &Flow, config: &TunnelConfig) -> u8 {
    let inner = u8::try_from(flow.tos()).unwrap_or(0);
    let outer = match config.tos {
        OuterByte::Inherit if flow.is_ip() => inner & !ECN,
        OuterByte::Inherit => 0,
        OuterByte::Fixed(tos) => tos,
    };
    match inner & ECN {
        CONGESTED => outer | CAPABLE,
        ecn if flow.is_ip() => outer | ecn,
        _ => outer,
    }
}

fn ttl(flow: &Flow, config: &TunnelConfig) -> u8 {
    const DEFAULT_TTL: u8 = 64;
    match config.ttl {
        OuterByte::Inherit if flow.is_ip() => u8::try_from(flow.get(Field::NwTtl)).unwrap_or(0),
        OuterByte::Inherit => DEFAULT_TTL,
        OuterByte::Fixed(ttl) => ttl,
    }
}

/// The options that were written or came along, in the order of their fields.
fn options(flow: &Flow, rules: Option<&BridgeRules>) -> Result<Vec<GeneveOption>, Doubt> {
    let unknown = |number| Doubt::NotUnderstood(format!("tun_metadata{number}"));
    flow.options()
        .map(|(number, value)| {
            let option = rules.and_then(|rules| rules.tunnel_options.get(&number));
            let option =
                option.filter(|option| option.length <= 16).ok_or_else(|| unknown(number))?;
            let data = &value.to_be_bytes()[16 - usize::from(option.length)..];
            GeneveOption::new(option.class, option.kind, data).map_err(|_| unknown(number))
        })
        .collect()
}
