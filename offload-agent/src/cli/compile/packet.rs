//! A packet from what `ofproto/trace` would take for one: `tcp,in_port=1,nw_dst=10.0.0.2,tp_dst=80`.
//!
//! What is not said is as plain as it can be: no tag, TTL 64, an acknowledgement in TCP, addresses and ports of 0.

use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::{Field, Match, VLAN_PRESENT};

const IPV4: u128 = 0x0800;
const IPV6: u128 = 0x86dd;
const ARP: u128 = 0x0806;
const DOT1Q: u16 = 0x8100;
const TTL: u128 = 64;
/// An acknowledgement, as most packets are.
const ACK: u128 = 0x10;
const ARP_REQUEST: u128 = 1;
/// Bits of `ip_frag`.
const FRAGMENT: u128 = 1;
const LATER: u128 = 2;

/// The packet that the fields describe.
pub(super) fn frame(fields: &Match) -> Frame {
    let say = Said(fields);
    let mut bytes = [say.bytes(Field::EthDst, 6), say.bytes(Field::EthSrc, 6)].concat();
    if let Some(tci) = say.tag() {
        bytes.extend([DOT1Q.to_be_bytes(), tci.to_be_bytes()].concat());
    }
    bytes.extend(say.bytes(Field::EthType, 2));
    bytes.extend(match say.or(Field::EthType, 0) {
        IPV4 => ipv4(&say),
        IPV6 => ipv6(&say),
        ARP => arp(&say),
        _ => Vec::new(),
    });
    Frame(bytes)
}

/// What is said of a packet.
struct Said<'a>(&'a Match);

impl Said<'_> {
    fn or(&self, field: Field, default: u128) -> u128 {
        self.0.get(field).map_or(default, |said| said.value)
    }

    fn bytes(&self, field: Field, count: usize) -> Vec<u8> {
        tail(self.or(field, 0), count)
    }

    fn tag(&self) -> Option<u16> {
        let vid = self.or(Field::VlanTci, 0) | self.or(Field::VlanVid, 0);
        let tci = vid | self.or(Field::VlanPcp, 0) << 13;
        let tci = u16::try_from(tci).ok().filter(|tci| tci & VLAN_PRESENT != 0)?;
        Some(tci & !VLAN_PRESENT)
    }

    /// The type of service from its parts.
    fn tos(&self) -> u128 {
        self.or(Field::NwTos, 0) | self.or(Field::IpDscp, 0) << 2 | self.or(Field::NwEcn, 0)
    }
}

/// The last bytes of a number.
fn tail(value: u128, count: usize) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes.get(bytes.len().saturating_sub(count)..).unwrap_or_default().to_vec()
}

fn ipv4(say: &Said<'_>) -> Vec<u8> {
    const HEADER: usize = 20;
    const MORE: u128 = 0x2000;
    const OFFSET: u128 = 1;
    let payload = above_ip(say, false);
    let fragment = match say.or(Field::IpFrag, 0) {
        kind if kind & LATER != 0 => OFFSET,
        kind if kind & FRAGMENT != 0 => MORE,
        _ => 0,
    };
    let length = u128::try_from(HEADER + payload.len()).unwrap_or(0);
    let mut header = [
        vec![0x45],
        tail(say.tos(), 1),
        tail(length, 2),
        vec![0, 0],
        tail(fragment, 2),
        tail(say.or(Field::NwTtl, TTL), 1),
        say.bytes(Field::NwProto, 1),
        vec![0, 0],
        say.bytes(Field::IpSrc, 4),
        say.bytes(Field::IpDst, 4),
    ]
    .concat();
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);
    [header, payload].concat()
}

/// The Internet checksum (RFC 1071) of a header of whole words.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| match pair {
        [high, low] => u32::from(*high) << 8 | u32::from(*low),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

fn ipv6(say: &Said<'_>) -> Vec<u8> {
    let payload = above_ip(say, true);
    let first = 6 << 28 | say.tos() << 20 | say.or(Field::Ipv6Label, 0);
    [
        tail(first, 4),
        tail(u128::try_from(payload.len()).unwrap_or(0), 2),
        say.bytes(Field::NwProto, 1),
        tail(say.or(Field::NwTtl, TTL), 1),
        say.bytes(Field::Ipv6Src, 16),
        say.bytes(Field::Ipv6Dst, 16),
        payload,
    ]
    .concat()
}

fn arp(say: &Said<'_>) -> Vec<u8> {
    [
        vec![0, 1, 8, 0, 6, 4],
        tail(say.or(Field::ArpOp, ARP_REQUEST), 2),
        say.bytes(Field::ArpSha, 6),
        say.bytes(Field::ArpSpa, 4),
        say.bytes(Field::ArpTha, 6),
        say.bytes(Field::ArpTpa, 4),
    ]
    .concat()
}

/// The header above IP; its checksum is left out.
fn above_ip(say: &Said<'_>, v6: bool) -> Vec<u8> {
    match (say.or(Field::NwProto, 0), v6) {
        (6, _) => tcp(say),
        (17, _) => {
            [say.bytes(Field::UdpSrc, 2), say.bytes(Field::UdpDst, 2), vec![0, 8, 0, 0]].concat()
        }
        (132, _) => {
            [say.bytes(Field::SctpSrc, 2), say.bytes(Field::SctpDst, 2), vec![0; 8]].concat()
        }
        (1, false) => {
            [say.bytes(Field::IcmpType, 1), say.bytes(Field::IcmpCode, 1), vec![0; 6]].concat()
        }
        (58, true) => [
            say.bytes(Field::Icmpv6Type, 1),
            say.bytes(Field::Icmpv6Code, 1),
            vec![0; 6],
            say.bytes(Field::NdTarget, 16),
        ]
        .concat(),
        _ => vec![0; 8],
    }
}

fn tcp(say: &Said<'_>) -> Vec<u8> {
    const DATA_OFFSET: u128 = 5 << 12;
    let flags = DATA_OFFSET | say.or(Field::TcpFlags, ACK);
    let ports = [say.bytes(Field::TcpSrc, 2), say.bytes(Field::TcpDst, 2)].concat();
    [ports, vec![0; 8], tail(flags, 2), vec![0xff, 0xff, 0, 0, 0, 0]].concat()
}

#[cfg(test)]
mod tests {
    use flow_compiler::compile::interp::ovs_view;
    use flow_compiler::openflow::Rule;

    use super::*;

    /// What OVS reads in the packet that the text describes.
    fn seen(text: &str, field: Field) -> u128 {
        let rule: Rule = format!("{text} actions=drop").parse().unwrap();
        ovs_view(&frame(&rule.match_), 2).get(&field).copied().unwrap_or(0)
    }

    #[test]
    fn ovs_reads_in_the_packet_what_was_said_of_it() {
        let tcp = "tcp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5,tp_dst=80,nw_tos=8";
        assert_eq!(seen(tcp, Field::EthDst), 0x0200_0000_0002);
        assert_eq!((seen(tcp, Field::IpSrc), seen(tcp, Field::IpDst)), (0x0a00_0001, 0x0a00_0002));
        assert_eq!((seen(tcp, Field::TcpSrc), seen(tcp, Field::TcpDst)), (5, 80));
        assert_eq!((seen(tcp, Field::NwTtl), seen(tcp, Field::TcpFlags)), (64, 0x10));
        assert_eq!(seen("udp6,ipv6_dst=fd00::1,udp_dst=53,nw_ttl=3", Field::UdpDst), 53);
        assert_eq!(seen("udp6,ipv6_dst=fd00::1,udp_dst=53,nw_ttl=3", Field::NwTtl), 3);
        assert_eq!(seen("icmp,icmp_type=8", Field::IcmpType), 8);
        assert_eq!(seen("arp,arp_tpa=10.0.0.9", Field::ArpTpa), 0x0a00_0009);
    }

    #[test]
    fn a_tag_and_a_fragment_are_there_when_they_are_asked_for() {
        let vlan = "ip,dl_vlan=100,dl_vlan_pcp=3";
        assert_eq!(seen(vlan, Field::VlanTci), 0x7064);
        assert_eq!(seen("ip", Field::VlanTci), 0);
        assert_eq!(seen("ip,ip_frag=later", Field::IpFrag), 3);
        assert_eq!(seen("ip,ip_frag=first", Field::IpFrag), 1);
    }
}
