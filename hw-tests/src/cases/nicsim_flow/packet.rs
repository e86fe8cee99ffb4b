//! Frames of every kind that flower can tell apart, built inside out: `ether(IP4, &ip4().tcp(…))`.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) type Mac = [u8; 6];

/// The sender's and the receiver's address, unless a frame says otherwise.
pub(super) const SRC_MAC: Mac = [0x02, 0xaa, 0, 0, 0, 1];
pub(super) const DST_MAC: Mac = [0x02, 0xbb, 0, 0, 0, 2];
pub(super) const SRC: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub(super) const DST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
pub(super) const SRC6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub(super) const DST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

pub(super) const IP4: u16 = 0x0800;
pub(super) const IP6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
pub(super) const VLAN: u16 = 0x8100;
pub(super) const QINQ: u16 = 0x88a8;
/// `ETH_P_TEB`: an Ethernet frame, in GRE and Geneve.
const ETHERNET: u16 = 0x6558;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMP6: u8 = 58;
const GRE: u8 = 47;
const SCTP: u8 = 132;

/// What follows the Ethernet header.
pub(super) type Payload = (u16, Vec<u8>);

/// A frame between the usual addresses.
pub(super) fn ether(payload: Payload) -> Vec<u8> {
    ether_between(SRC_MAC, DST_MAC, payload)
}

/// A frame between other addresses.
pub(super) fn ether_between(src: Mac, dst: Mac, (kind, bytes): Payload) -> Vec<u8> {
    let mut frame = [dst, src].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(bytes);
    frame
}

/// A tag of this type, id and priority before a payload.
pub(super) fn tagged(tpid: u16, id: u16, priority: u16, (kind, bytes): Payload) -> Payload {
    let mut tag = (priority << 13 | id).to_be_bytes().to_vec();
    tag.extend(kind.to_be_bytes());
    tag.extend(bytes);
    (tpid, tag)
}

/// An ARP packet.
pub(super) struct Arp {
    pub(super) op: u16,
    pub(super) sha: Mac,
    pub(super) sip: Ipv4Addr,
    pub(super) tha: Mac,
    pub(super) tip: Ipv4Addr,
}

impl Arp {
    pub(super) fn request() -> Self {
        Self { op: 1, sha: SRC_MAC, sip: SRC, tha: [0; 6], tip: DST }
    }

    pub(super) fn build(&self) -> Payload {
        let mut bytes = vec![0, 1, 8, 0, 6, 4];
        bytes.extend(self.op.to_be_bytes());
        bytes.extend(self.sha);
        bytes.extend(self.sip.octets());
        bytes.extend(self.tha);
        bytes.extend(self.tip.octets());
        (ARP, bytes)
    }
}

/// An IPv4 header; the methods that finish it add what it carries.
#[derive(Clone, Copy)]
pub(super) struct Ip4 {
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    /// Flags and offset.
    pub(super) fragment: u16,
}

/// The header of most frames here.
pub(super) const fn ip4() -> Ip4 {
    Ip4 { src: SRC, dst: DST, tos: 0, ttl: 64, fragment: 0 }
}

/// More fragments follow: the first of some.
pub(super) const FIRST_FRAGMENT: u16 = 0x2000;
/// The last of some.
pub(super) const LATER_FRAGMENT: u16 = 185;

impl Ip4 {
    pub(super) fn udp(self, src: u16, dst: u16) -> Payload {
        self.udp_with(src, dst, b"payload of a datagram")
    }

    pub(super) fn udp_with(self, src: u16, dst: u16, data: &[u8]) -> Payload {
        let mut bytes = udp_header(src, dst, data);
        set_checksum(&mut bytes, 6, self.pseudo(UDP));
        self.carry(UDP, bytes)
    }

    pub(super) fn tcp(self, src: u16, dst: u16, flags: u8) -> Payload {
        self.tcp_at(src, dst, flags, (1, 1))
    }

    /// With a sequence and an acknowledgement number.
    pub(super) fn tcp_at(self, src: u16, dst: u16, flags: u8, at: (u32, u32)) -> Payload {
        let mut bytes = tcp_header(src, dst, flags, at);
        set_checksum(&mut bytes, 16, self.pseudo(TCP));
        self.carry(TCP, bytes)
    }

    pub(super) fn sctp(self, src: u16, dst: u16) -> Payload {
        self.carry(SCTP, sctp_header(src, dst))
    }

    pub(super) fn icmp(self, kind: u8, code: u8) -> Payload {
        let mut bytes = vec![kind, code, 0, 0, 0, 7, 0, 1];
        set_checksum(&mut bytes, 2, Vec::new());
        self.carry(ICMP, bytes)
    }

    pub(super) fn gre(self, key: u32, frame: &[u8]) -> Payload {
        let mut bytes = vec![0x20, 0];
        bytes.extend(ETHERNET.to_be_bytes());
        bytes.extend(key.to_be_bytes());
        bytes.extend(frame);
        self.carry(GRE, bytes)
    }

    fn pseudo(&self, protocol: u8) -> Vec<u8> {
        let mut bytes = [self.src.octets(), self.dst.octets()].concat();
        bytes.extend([0, protocol]);
        bytes
    }

    fn carry(self, protocol: u8, data: Vec<u8>) -> Payload {
        let mut bytes = vec![0x45, self.tos];
        bytes.extend(length(20 + data.len()));
        bytes.extend([0, 1]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, protocol, 0, 0]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        let sum = checksum(&bytes).to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
        bytes.extend(data);
        (IP4, bytes)
    }
}

/// An IPv6 header.
#[derive(Clone, Copy)]
pub(super) struct Ip6 {
    pub(super) src: Ipv6Addr,
    pub(super) dst: Ipv6Addr,
    pub(super) class: u8,
    pub(super) hops: u8,
    pub(super) fragmented: bool,
}

/// The header of most frames here.
pub(super) const fn ip6() -> Ip6 {
    Ip6 { src: SRC6, dst: DST6, class: 0, hops: 64, fragmented: false }
}

impl Ip6 {
    pub(super) fn udp(self, src: u16, dst: u16) -> Payload {
        let mut bytes = udp_header(src, dst, b"payload of a datagram");
        set_checksum(&mut bytes, 6, self.pseudo(UDP));
        self.carry(UDP, bytes)
    }

    pub(super) fn icmp(self, kind: u8, code: u8) -> Payload {
        let mut bytes = vec![kind, code, 0, 0, 0, 7, 0, 1];
        set_checksum(&mut bytes, 2, self.pseudo(ICMP6));
        self.carry(ICMP6, bytes)
    }

    pub(super) fn tcp(self, src: u16, dst: u16, flags: u8) -> Payload {
        let mut bytes = tcp_header(src, dst, flags, (1, 1));
        set_checksum(&mut bytes, 16, self.pseudo(TCP));
        self.carry(TCP, bytes)
    }

    fn pseudo(&self, protocol: u8) -> Vec<u8> {
        let mut bytes = [self.src.octets(), self.dst.octets()].concat();
        bytes.extend([0, protocol]);
        bytes
    }

    fn carry(self, protocol: u8, data: Vec<u8>) -> Payload {
        let (next, data) = if self.fragmented {
            (FRAGMENT, [vec![protocol, 0, 0, 1, 0, 0, 0, 9], data].concat())
        } else {
            (protocol, data)
        };
        let mut bytes = (6 << 28 | u32::from(self.class) << 20).to_be_bytes().to_vec();
        bytes.extend(length(data.len()));
        bytes.extend([next, self.hops]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(data);
        (IP6, bytes)
    }
}

/// What VXLAN puts before a frame.
pub(super) fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, 0, 0, 0];
    bytes.extend((vni << 8).to_be_bytes());
    bytes.extend(frame);
    bytes
}

/// An option of Geneve.
#[derive(Clone, Copy)]
pub(super) struct GeneveOption {
    pub(super) class: u16,
    pub(super) kind: u8,
    pub(super) data: u32,
}

/// What Geneve puts before a frame.
pub(super) fn geneve(vni: u32, option: Option<GeneveOption>, frame: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    if let Some(option) = option {
        options.extend(option.class.to_be_bytes());
        options.extend([option.kind, 1]);
        options.extend(option.data.to_be_bytes());
    }
    let mut bytes = vec![u8::from(!options.is_empty()) * 2, 0];
    bytes.extend(ETHERNET.to_be_bytes());
    bytes.extend((vni << 8).to_be_bytes());
    bytes.extend(options);
    bytes.extend(frame);
    bytes
}

fn udp_header(src: u16, dst: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    bytes.extend(length(8 + data.len()));
    bytes.extend([0, 0]);
    bytes.extend(data);
    bytes
}

fn tcp_header(src: u16, dst: u16, flags: u8, at: (u32, u32)) -> Vec<u8> {
    let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    bytes.extend(at.0.to_be_bytes());
    bytes.extend(at.1.to_be_bytes());
    bytes.extend([0x50, flags, 0x10, 0, 0, 0, 0, 0]);
    bytes
}

fn sctp_header(src: u16, dst: u16) -> Vec<u8> {
    let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 10, 0, 0, 4]);
    bytes
}

/// A length as headers have it; frames here are short.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

fn set_checksum(segment: &mut [u8], offset: usize, mut pseudo: Vec<u8>) {
    if !pseudo.is_empty() {
        pseudo.extend(length(segment.len()));
    }
    pseudo.extend_from_slice(segment);
    let sum = checksum(&pseudo).to_be_bytes();
    segment[offset..offset + 2].copy_from_slice(&sum);
}

/// The Internet checksum (RFC 1071) of bytes in which its place is zero, or whether it is right: then it is zero.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum & 0xffff).unwrap_or_default()
}

/// Whether the checksums of an IPv4 frame's header and of its UDP or TCP are right.
pub(super) fn checksums_are_right(frame: &[u8]) -> bool {
    let packet = &frame[14..];
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let (header, segment) = packet[..total].split_at(20);
    let mut pseudo = header[12..20].to_vec();
    pseudo.extend([0, header[9]]);
    pseudo.extend(length(segment.len()));
    pseudo.extend(segment);
    checksum(header) == 0 && checksum(&pseudo) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_filled_in() {
        assert!(checksums_are_right(&ether(ip4().udp(1000, 2000))));
        assert!(checksums_are_right(&ether(ip4().tcp(1000, 2000, 2))));
    }

    #[test]
    fn a_changed_byte_makes_the_checksum_wrong() {
        let mut frame = ether(ip4().udp(1000, 2000));
        frame[50] ^= 1;
        assert!(!checksums_are_right(&frame));
    }

    #[test]
    fn a_tag_stands_between_the_addresses_and_the_protocol() {
        let frame = ether(tagged(VLAN, 100, 5, ip4().udp(1, 2)));
        assert_eq!(frame[12..18], [0x81, 0, 0xa0, 100, 8, 0]);
    }
}
