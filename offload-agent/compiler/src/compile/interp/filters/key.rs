//! Which packets a filter takes (`fl_lookup` and `fl_set_key` in the kernel's `net/sched/cls_flower.c`).

use tc_filter::key::{
    ArpKey, CtKey, CtState, EncKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch, VlanKey,
};
use tc_filter::{Bits, EtherType, Filter, FlowerMatch, Mac, Masked};

use super::super::conntrack::State;
use super::super::dissect::Tag;
use super::super::{Dissected, TunnelHeader};
use super::Passing;

/// Whether a filter takes a packet whose bytes read like this.
pub(super) fn hits(filter: &Filter, seen: &Dissected, packet: &Passing<'_>) -> bool {
    let protocol = filter.protocol == EtherType::ALL || filter.protocol.0 == seen.protocol;
    protocol
        && key(&filter.key, filter.protocol, seen)
        && tunnel(&filter.key.enc, packet.tunnel.as_ref())
        && tracked(&filter.key.ct, packet)
}

/// Without a tunnel header no `enc_*` key matches.
fn tunnel(asked: &EncKey, header: Option<&TunnelHeader>) -> bool {
    let Some(header) = header else { return *asked == EncKey::default() };
    let end = |asked: Option<IpMatch>, seen: std::net::IpAddr| match (asked, seen) {
        (None, _) => true,
        (Some(IpMatch::V4(asked)), std::net::IpAddr::V4(seen)) => asked.matches(seen),
        (Some(IpMatch::V6(asked)), std::net::IpAddr::V6(seen)) => asked.matches(seen),
        _ => false,
    };
    asked.id.is_none_or(|id| u64::from(id.0) == header.id.unwrap_or(0))
        && end(asked.src, header.src)
        && end(asked.dst, header.dst)
        && says(asked.src_port, header.src_port)
        && says(asked.dst_port, header.dst_port)
        && says(asked.tos, header.tos)
        && says(asked.ttl, header.ttl)
        && options(asked, header)
}

/// The packet must carry this list of options and no other.
fn options(asked: &EncKey, header: &TunnelHeader) -> bool {
    asked.geneve.is_empty()
        || asked.geneve.len() == header.options.len()
            && asked.geneve.iter().zip(&header.options).all(|(asked, seen)| {
                let (data, mask) = (asked.data(), asked.mask());
                asked.class.matches(seen.class)
                    && asked.kind.matches(seen.kind)
                    && data.len() == seen.data().len()
                    && seen
                        .data()
                        .iter()
                        .zip(data.iter().zip(mask))
                        .all(|(seen, (data, mask))| seen & mask == data & mask)
            })
}

/// `skb_flow_dissect_ct`: what the last `ct` found; nothing if there was none.
fn tracked(asked: &CtKey, packet: &Passing<'_>) -> bool {
    let found = packet.tracked;
    let state = found.map_or_else(CtState::default, |(_, found)| ct_state(found.state));
    says(asked.state, state)
        && says(asked.zone, found.map_or(0, |(zone, _)| zone.0))
        && says(asked.mark, found.map_or(0, |(_, found)| found.mark))
        && says(asked.label, found.map_or(0, |(_, found)| found.label))
}

/// `fl_ct_info_to_flower_map`.
fn ct_state(state: State) -> CtState {
    CtState::TRK
        | match state {
            State::New => CtState::NEW,
            // Flower knows nothing of the connection that it was expected by.
            State::Established | State::EstablishedRelated => CtState::EST,
            State::Reply => CtState::EST | CtState::RPL,
            State::Related => CtState::REL,
            State::RelatedReply => CtState::REL | CtState::RPL,
            State::Invalid => CtState::INV,
        }
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
    tags && innermost.is_none_or(|ethertype| is_of(ethertype, seen))
        && says(key.eth.dst, mac(seen.dst_mac))
        && says(key.eth.src, mac(seen.src_mac))
        && ip(&key.ip, seen)
        && layer_4(&key.l4, seen)
        && icmp(&key.icmp, seen)
        && arp(&key.arp, seen)
}

/// For PPPoE flower looks at the header instead (`fl_set_key_pppoe`).
fn is_of(ethertype: EtherType, seen: &Dissected) -> bool {
    const PPPOE: EtherType = EtherType(0x8864);
    if ethertype == PPPOE { seen.pppoe } else { ethertype.0 == seen.n_proto }
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
