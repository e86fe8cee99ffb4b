//! Where the headers of a frame lie, and the ends of the connection they name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Frame;
use super::frame::is_tag;

/// TCP.
pub(super) const TCP: u8 = 6;
/// UDP.
pub(super) const UDP: u8 = 17;
/// SCTP.
pub(super) const SCTP: u8 = 132;
/// ICMP for IPv4.
pub(super) const ICMP: u8 = 1;
/// ICMP for IPv6.
pub(super) const ICMPV6: u8 = 58;

/// Both ends of a packet and the protocol between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    /// Where it comes from.
    pub src: Endpoint,
    /// Where it goes.
    pub dst: Endpoint,
    /// The protocol above IP.
    pub protocol: u8,
}

/// One end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port, where the protocol has ports.
    pub port: Option<u16>,
}

impl Tuple {
    /// Both ends of a frame; `None` for what is not IP.
    pub fn of(frame: &Frame) -> Option<Tuple> {
        layers(frame)?.tuple(frame)
    }
}

/// Where the IP header lies and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layers {
    /// How many tags there are before.
    pub(super) tags: usize,
    /// The first byte of the IP header.
    pub(super) ip: usize,
    /// Whether it is IPv6.
    pub(super) v6: bool,
    /// The first byte behind the IP header and its extensions.
    pub(super) l4: usize,
    /// The protocol there.
    pub(super) protocol: u8,
    /// Whether the packet is a fragment, and whether it is a later one.
    pub(super) fragment: bool,
    /// Whether it is a fragment that has no header above IP.
    pub(super) later: bool,
}

/// The IP layers behind all tags; `None` for what is not IP, or is cut off.
pub(super) fn layers(frame: &Frame) -> Option<Layers> {
    let mut at = 12;
    while is_tag(frame.word(at)?) {
        at += 4;
    }
    let layers = match frame.word(at)? {
        0x0800 => ipv4(frame, at + 2),
        0x86dd => ipv6(frame, at + 2),
        _ => None,
    };
    layers.map(|layers| Layers { tags: (at - 12) / 4, ..layers })
}

fn ipv4(frame: &Frame, ip: usize) -> Option<Layers> {
    let header = usize::from(frame.bytes::<1>(ip)?[0] & 0x0f) * 4;
    let frag = frame.word(ip + 6)?;
    let [protocol] = frame.bytes(ip + 9)?;
    frame.bytes::<20>(ip).filter(|_| header >= 20 && header <= frame.left(ip))?;
    let (fragment, later) = (frag & 0x3fff != 0, frag & 0x1fff != 0);
    Some(Layers { tags: 0, ip, v6: false, l4: ip + header, protocol, fragment, later })
}

fn ipv6(frame: &Frame, ip: usize) -> Option<Layers> {
    let [mut protocol] = frame.bytes(ip + 6)?;
    frame.bytes::<40>(ip)?;
    let (mut l4, mut fragment, mut later) = (ip + 40, false, false);
    while !later && matches!(protocol, 0 | 43 | 44 | 51 | 60) {
        let [next, length] = frame.bytes(l4)?;
        l4 += match protocol {
            44 => {
                fragment = true;
                later = frame.word(l4 + 2)? & 0xfff8 != 0;
                8
            }
            51 => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        protocol = next;
    }
    Some(Layers { tags: 0, ip, v6: true, l4, protocol, fragment, later })
}

impl Layers {
    /// The type of service or the traffic class.
    pub(super) fn tos(&self, frame: &Frame) -> u8 {
        let [_, low] = frame.word(self.ip).unwrap_or(0).to_be_bytes();
        if !self.v6 {
            return low;
        }
        let [_, class] = (frame.word(self.ip).unwrap_or(0) >> 4).to_be_bytes();
        class
    }

    /// Where the source address lies, and how long an address is.
    pub(super) fn addresses(&self) -> (usize, usize) {
        if self.v6 { (self.ip + 8, 16) } else { (self.ip + 12, 4) }
    }

    /// Where the source port lies, if the packet shows its ports.
    pub(super) fn ports(&self, frame: &Frame) -> Option<usize> {
        let has = matches!(self.protocol, TCP | UDP | SCTP) && !self.later;
        (has && frame.left(self.l4) >= 4).then_some(self.l4)
    }

    /// Where the checksum above IP lies, if it covers the IP addresses.
    pub(super) fn checksum(&self, frame: &Frame) -> Option<usize> {
        let (offset, least) = match self.protocol {
            TCP => (16, 20),
            UDP => (6, 8),
            ICMPV6 if self.v6 => (2, 4),
            _ => return None,
        };
        (!self.later && frame.left(self.l4) >= least).then_some(self.l4 + offset)
    }

    /// Both ends.
    pub(super) fn tuple(&self, frame: &Frame) -> Option<Tuple> {
        let (at, length) = self.addresses();
        let port = |place: usize| self.ports(frame).and_then(|ports| frame.word(ports + place));
        Some(Tuple {
            src: Endpoint { address: address(frame, at, self.v6)?, port: port(0) },
            dst: Endpoint { address: address(frame, at + length, self.v6)?, port: port(2) },
            protocol: self.protocol,
        })
    }
}

fn address(frame: &Frame, at: usize, v6: bool) -> Option<IpAddr> {
    if v6 {
        frame.bytes::<16>(at).map(|bytes| Ipv6Addr::from(bytes).into())
    } else {
        frame.bytes::<4>(at).map(|bytes| Ipv4Addr::from(bytes).into())
    }
}
