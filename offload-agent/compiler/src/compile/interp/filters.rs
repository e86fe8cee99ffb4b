//! Filters on a packet: TC's structures as the kernel would read them.

use std::collections::BTreeMap;

use tc_filter::action::{Gact, MirredDirection, MirredMode, Vlan};
use tc_filter::key::{ArpKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch, VlanKey};
use tc_filter::{Action, Attach, Bits, EtherType, Filter, FlowerMatch, IfIndex, Mac, Masked};

use super::dissect::Tag;
use super::{Delivery, Dissected, Effects, Egress, Fate, Frame, Parser};
use crate::compile::ir::Ingress;
use crate::openflow::{BridgeName, OfPort};
use crate::plan::Plan;
use crate::ports::PortMap;

/// What the filters on a port's device do with a frame, in the order in which the kernel tries them.
pub fn plan(
    plan: &Plan,
    ports: &PortMap,
    ingress: &Ingress,
    frame: &Frame,
    parser: Parser,
) -> Fate {
    let bridge = ports.bridges.get(&ingress.bridge);
    let devices: BTreeMap<OfPort, IfIndex> = bridge
        .into_iter()
        .flat_map(|bridge| &bridge.ports)
        .filter_map(|(number, port)| Some((*number, IfIndex(port.ifindex?.0))))
        .collect();
    let Some(device) = devices.get(&ingress.port) else { return Fate::Ovs };
    let seen = Dissected::of(frame, parser);
    let here = plan.filters.values().filter(|filter| filter.attach == Attach::Ingress(*device));
    let hit = here.into_iter().find(|filter| hits(filter, &seen));
    hit.map_or(Fate::Ovs, |filter| execute(filter, frame, &ingress.bridge, &devices))
}

fn delivered(deliveries: Vec<Delivery>) -> Fate {
    Fate::Delivered(Effects { deliveries, ..Effects::default() }.sorted())
}

fn execute(
    filter: &Filter,
    frame: &Frame,
    bridge: &BridgeName,
    devices: &BTreeMap<OfPort, IfIndex>,
) -> Fate {
    let mut now = frame.clone();
    let mut out = Vec::new();
    for action in &filter.actions {
        match action {
            Action::Gact(Gact::Drop) => return delivered(out),
            Action::Gact(Gact::Pass) if now == *frame && out.is_empty() => return Fate::Ovs,
            Action::Vlan(Vlan::Pop) => now.pop(),
            Action::Vlan(Vlan::Push(tag)) => {
                now.push(tag.tpid.ethertype().0, u16::from(tag.pcp.get()) << 13 | tag.id.get());
            }
            Action::Mirred(mirred) if mirred.direction == MirredDirection::Egress => {
                let port = devices.iter().find(|(_, device)| **device == mirred.to);
                let Some((port, _)) = port else { return Fate::Spoiled };
                let to = Egress::Port(Ingress { bridge: bridge.clone(), port: *port });
                out.push(Delivery { to, frame: now.clone(), tunnel: None });
                if mirred.mode == MirredMode::Redirect {
                    return delivered(out);
                }
            }
            _ => return Fate::Spoiled,
        }
    }
    Fate::Spoiled
}

fn hits(filter: &Filter, seen: &Dissected) -> bool {
    let protocol = filter.protocol == EtherType::ALL || filter.protocol.0 == seen.protocol;
    protocol && key(&filter.key, filter.protocol, seen)
}

/// `fl_lookup`: every key that is given agrees. Keys above Ethernet count only under the right EtherType, as in
/// `fl_set_key`.
fn key(key: &FlowerMatch, protocol: EtherType, seen: &Dissected) -> bool {
    let n_proto = if protocol.is_vlan() { key.vlan.ethertype } else { Some(protocol) };
    let innermost = match n_proto {
        Some(tag) if tag.is_vlan() => key.cvlan.ethertype,
        other => other.filter(|ethertype| *ethertype != EtherType::ALL),
    };
    let tags = if protocol.is_vlan() {
        tag(&key.vlan, seen.vlan) && tag(&key.cvlan, seen.cvlan)
    } else {
        true
    };
    tags && innermost.is_none_or(|ethertype| ethertype.0 == seen.n_proto)
        && says(key.eth.dst, mac(seen.dst_mac))
        && says(key.eth.src, mac(seen.src_mac))
        && ip(&key.ip, seen)
        && layer_4(&key.l4, seen)
        && icmp(&key.icmp, seen)
        && arp(&key.arp, seen)
}

fn says<T: Bits>(asked: Option<Masked<T>>, seen: T) -> bool {
    asked.is_none_or(|asked| asked.matches(seen))
}

fn tag(asked: &VlanKey, seen: Option<Tag>) -> bool {
    let nothing = *asked == VlanKey::default();
    nothing
        || seen.is_some_and(|seen| {
            asked.id.is_none_or(|id| id.get() == seen.id)
                && asked.pcp.is_none_or(|pcp| pcp.get() == seen.pcp)
                && asked.ethertype.is_none_or(|ethertype| ethertype.0 == seen.ethertype)
        })
}

fn ip(asked: &IpKey, seen: &Dissected) -> bool {
    asked.proto.is_none_or(|proto| proto.0 == seen.ip_proto)
        && says(asked.tos, seen.ip_tos)
        && says(asked.ttl, seen.ip_ttl)
        && asked.frag.fragment.is_none_or(|fragment| fragment == seen.frag)
        && asked.frag.first.is_none_or(|first| first == seen.first_frag)
        && asked.src.is_none_or(|src| address(src, seen, |pair| pair.0, |pair| pair.0))
        && asked.dst.is_none_or(|dst| address(dst, seen, |pair| pair.1, |pair| pair.1))
}

fn address(
    asked: IpMatch,
    seen: &Dissected,
    four: fn((u32, u32)) -> u32,
    six: fn((u128, u128)) -> u128,
) -> bool {
    match asked {
        IpMatch::V4(asked) => seen.ipv4.is_some_and(|pair| asked.matches(four(pair).into())),
        IpMatch::V6(asked) => seen.ipv6.is_some_and(|pair| asked.matches(six(pair).into())),
    }
}

fn layer_4(asked: &L4Key, seen: &Dissected) -> bool {
    let port = |asked: Option<PortMatch>, seen| asked.is_none_or(|asked| asked.matches(seen));
    port(asked.src, seen.src_port)
        && port(asked.dst, seen.dst_port)
        && says(asked.tcp_flags, seen.tcp_flags)
}

fn icmp(asked: &IcmpKey, seen: &Dissected) -> bool {
    says(asked.kind, seen.icmp_type) && says(asked.code, seen.icmp_code)
}

fn arp(asked: &ArpKey, seen: &Dissected) -> bool {
    says(asked.op, seen.arp_op)
        && says(asked.sip, seen.arp_sip.into())
        && says(asked.tip, seen.arp_tip.into())
        && says(asked.sha, mac(seen.arp_sha))
        && says(asked.tha, mac(seen.arp_tha))
}

fn mac(value: u128) -> Mac {
    let [.., a, b, c, d, e, f] = value.to_be_bytes();
    Mac([a, b, c, d, e, f])
}
