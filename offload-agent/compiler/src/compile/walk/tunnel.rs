//! Outputs through a tunnel.
//!
//! The outer header has the ECN bits of an IP packet, "congested" as "capable" (`tnl_port_send` in `ofproto/tunnel.c`). The
//! kernel sees to that itself. A card may write one header for a filter, so where nothing is known of these bits the packet is
//! asked.
//!
//! ```text
//! output:20 (a tunnel)      ip,nw_ecn=0     -> encap:20
//!                           ip,nw_ecn=1     -> encap:20(ecn=1)
//!                           ip,nw_ecn=2/2   -> encap:20(ecn=2)
//!                           any (not IP)    -> encap:20
//! ```

use std::net::IpAddr;

use super::act::exact;
use super::explore::{Explorer, Then, Walk};
use super::graph::{Edge, End, Micro};
use super::output::done_sending;
use super::question::ask;
use super::reads::Reads;
use crate::compile::ir::PortRef;
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match};
use crate::ports::{OuterByte, Port, Tunnel, TunnelConfig, TunnelEnd, TunnelKind};

const OWN_ADDRESS: Reason = Reason::Action("output through a tunnel to where the packet came to");
const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
/// The bits of a packet, and what the outer header says for them.
const ECN: [(Masked, u8); 3] = [
    (Masked { value: 0, mask: 3 }, 0),
    (Masked { value: 1, mask: 3 }, 1),
    (Masked { value: 2, mask: 2 }, 2),
];

pub(super) fn encapsulate<'a>(
    explorer: &mut Explorer<'a>,
    walk: &mut Walk<'a>,
    to: PortRef,
) -> Then {
    let mut reads = Reads::default();
    let Some(takes) = to_the_own_address(explorer, walk, to, &mut reads) else {
        walk.reads(reads);
        return sent(explorer, walk, to);
    };
    let end = End::Ovs(OWN_ADDRESS);
    if walk.copies || takes == Match::any() {
        walk.reads(reads);
        return Then::End(end);
    }
    let back = Edge { takes, tail: walk.fork().end(end) };
    let mut others = walk.fork();
    let tail = match sent(explorer, &mut others, to) {
        Then::Go => explorer.run(others),
        Then::End(end) => others.end(end),
    };
    let edges = vec![back, Edge { takes: Match::any(), tail }];
    Then::End(End::Node(explorer.graph.add(edges, reads)))
}

/// The packets that came by a tunnel to the address that this one leads to: OVS does not send them (`compose_output_action__`). `None` if
/// there are none.
fn to_the_own_address(
    explorer: &Explorer<'_>,
    walk: &Walk<'_>,
    to: PortRef,
    reads: &mut Reads,
) -> Option<Match> {
    let TunnelEnd::Addr(remote) = explorer.input.tunnel(to)?.remote else { return None };
    let (src, dst, remote) = match remote {
        IpAddr::V4(ip) => (Field::TunSrc, Field::TunDst, ip.to_bits().into()),
        IpAddr::V6(ip) => (Field::TunIpv6Src, Field::TunIpv6Dst, ip.to_bits()),
    };
    // Of each packet of a tunnel it is known where it came from. One bit tells that, which is the same for most tunnels.
    reads.told(src, 1 << (src.bits() - 1));
    reads.told(dst, dst.full_mask());
    walk.state.told.get(src)?;
    match walk.state.told.get(dst) {
        Some(known) => known.covers(remote).then(Match::any),
        None => Some(Match::any().with(dst, remote)),
    }
}

fn sent<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>, to: PortRef) -> Then {
    let fields = fields(explorer, walk);
    if explorer.input.capabilities.copies_ecn() {
        return done_sending(walk, Micro::Encap(to, fields, 0));
    }
    let families: &[u128] = match exact(walk, Field::EthType) {
        Some(IPV4 | IPV6) => &[],
        Some(_) => return done_sending(walk, Micro::Encap(to, fields, 0)),
        None => &[IPV4, IPV6],
    };
    if let (Some(ecn), true) = (exact(walk, Field::NwEcn), families.is_empty()) {
        let outer =
            ECN.into_iter().find(|(bits, _)| bits.covers(ecn)).map_or(0, |(_, outer)| outer);
        return done_sending(walk, Micro::Encap(to, fields, outer));
    }
    if walk.copies {
        return Then::End(End::Ovs(Reason::Action("a copy into a tunnel")));
    }
    Then::End(by_ecn(explorer, walk, to, &fields, families))
}

/// One way on for each outer header; what is in no family is not IP.
fn by_ecn<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    to: PortRef,
    fields: &[Field],
    families: &[u128],
) -> End {
    let (mut edges, mut reads) = (Vec::new(), Reads::default());
    let ip = |family: &u128| Some((Field::EthType, Masked::new(*family, u16::MAX.into())));
    let each: Vec<_> =
        if families.is_empty() { vec![None] } else { families.iter().map(ip).collect() };
    for family in each {
        for (bits, outer) in ECN {
            let asked: Vec<_> = family.into_iter().chain([(Field::NwEcn, bits)]).collect();
            let Some(takes) = ask(walk, &asked, &mut reads) else { continue };
            edges.push(way(explorer, walk, takes, Micro::Encap(to, fields.to_vec(), outer)));
        }
    }
    if edges.is_empty() {
        return End::Ovs(Reason::NotKnown(Field::NwEcn));
    }
    if !families.is_empty() {
        edges.push(way(explorer, walk, Match::any(), Micro::Encap(to, fields.to_vec(), 0)));
    }
    End::Node(explorer.graph.add(edges, reads))
}

fn way<'a>(explorer: &mut Explorer<'a>, walk: &Walk<'a>, takes: Match, sends: Micro) -> Edge {
    let mut walk = walk.fork();
    walk.state.learn(&takes);
    walk.perform(sends);
    walk.sent = true;
    Edge { takes, tail: explorer.run(walk) }
}

/// What a packet into a tunnel takes from its fields.
fn fields(explorer: &Explorer<'_>, walk: &Walk<'_>) -> Vec<Field> {
    let options = explorer.input.tunnel_options(walk.bridge);
    let options = options.keys().map(|number| Field::TunMetadata(*number));
    [Field::TunId, Field::TunSrc, Field::TunDst].into_iter().chain(options).collect()
}

/// Why TC cannot build the header of a tunnel.
pub(super) fn problem(port: &Port, tunnel: &Tunnel) -> Option<Reason> {
    let known = matches!(tunnel.kind, TunnelKind::Vxlan | TunnelKind::Geneve | TunnelKind::Gre);
    let config = tunnel.config().ok();
    let inherits = |config: &TunnelConfig| [config.ttl, config.tos].contains(&OuterByte::Inherit);
    let kind = match &config {
        _ if !known => "a tunnel of a kind that is not compiled",
        _ if port.ifindex.is_none() => "a tunnel without a device",
        None => "a tunnel with an option that cannot be read",
        Some(config) if !config.unknown.is_empty() || !config.extensions.is_empty() => {
            "a tunnel with options that are not compiled"
        }
        Some(config) if inherits(config) => "a tunnel that takes its TTL or TOS from the packet",
        Some(TunnelConfig { remote: TunnelEnd::Addr(_), local, .. })
            if *local != TunnelEnd::Flow =>
        {
            return None;
        }
        Some(_) => "a tunnel whose ends the flow decides",
    };
    Some(Reason::PortKind { port: port.name.clone(), kind })
}
