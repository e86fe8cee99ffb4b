//! Packets by their fields, and as bytes that are right: lengths and checksums fit.

use std::net::{Ipv4Addr, Ipv6Addr};

use flow_compiler::compile::interp::{Frame, TunnelHeader};

use super::bytes;
use super::oddity::Oddity;

/// A packet by its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) dst: u64,
    pub(crate) src: u64,
    /// EtherType and TCI, the outer tag first.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) network: Network,
    pub(crate) tunnel: Option<TunnelHeader>,
    /// Bytes at the end.
    pub(crate) payload: usize,
    /// The last bytes, by which the packet is known again among others.
    pub(crate) marker: Option<[u8; 8]>,
    /// What usual packets have not.
    pub(crate) oddity: Option<Oddity>,
}

/// What is above Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Ip4 { src: u32, dst: u32, ip: Ip },
    Ip6 { src: u128, dst: u128, ip: Ip },
    Arp { op: u16, sha: u64, spa: u32, tha: u64, tpa: u32 },
    Other { ethertype: u16 },
}

/// What IPv4 and IPv6 have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) protocol: u8,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) fragment: Fragment,
    /// Ports, or ICMP type and code.
    pub(crate) src: u16,
    pub(crate) dst: u16,
    pub(crate) flags: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    No,
    First,
    Later,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const FRAGMENT: u8 = 44;

impl Spec {
    /// The bytes.
    pub(crate) fn frame(&self) -> Frame {
        let mut all = [mac(self.dst), mac(self.src)].concat();
        for (tpid, tci) in &self.tags {
            all.extend(tpid.to_be_bytes());
            all.extend(tci.to_be_bytes());
        }
        match &self.network {
            Network::Ip4 { src, dst, ip } => all.extend(ipv4(*src, *dst, *ip, self.payload)),
            Network::Ip6 { src, dst, ip } => all.extend(ipv6(*src, *dst, *ip, self.payload)),
            Network::Arp { op, sha, spa, tha, tpa } => {
                all.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4]);
                all.extend(op.to_be_bytes());
                all.extend(mac(*sha));
                all.extend(spa.to_be_bytes());
                all.extend(mac(*tha));
                all.extend(tpa.to_be_bytes());
                all.extend(vec![0; self.payload]);
            }
            Network::Other { ethertype } => {
                all.extend(ethertype.to_be_bytes());
                all.extend(vec![0; self.payload]);
            }
        }
        if let Some(marker) = self.marker {
            let end = all.len();
            let start = end - marker.len().min(self.payload).min(end);
            all.truncate(start);
            all.extend(marker);
        }
        let mut frame = Frame(all);
        if let Some(oddity) = &self.oddity {
            oddity.put_on(&mut frame);
        }
        bytes::fix_checksums(&mut frame);
        frame
    }

    /// What IPv4 and IPv6 have in common, if it is one of them.
    pub(crate) fn ip(&mut self) -> Option<&mut Ip> {
        match &mut self.network {
            Network::Ip4 { ip, .. } | Network::Ip6 { ip, .. } => Some(ip),
            _ => None,
        }
    }
}

fn mac(mac: u64) -> Vec<u8> {
    mac.to_be_bytes()[2..].to_vec()
}

fn ipv4(src: u32, dst: u32, ip: Ip, payload: usize) -> Vec<u8> {
    let above = transport(ip, payload);
    let length = u16::try_from(above.len() + 20).unwrap_or(u16::MAX);
    let fragment: u16 = match ip.fragment {
        Fragment::No => 0x4000,
        Fragment::First => 0x2000,
        Fragment::Later => 0x0010,
    };
    let mut all = vec![0x08, 0x00, 0x45, ip.tos];
    all.extend(length.to_be_bytes());
    all.extend([0x12, 0x34]);
    all.extend(fragment.to_be_bytes());
    all.extend([ip.ttl, ip.protocol, 0, 0]);
    all.extend(Ipv4Addr::from_bits(src).octets());
    all.extend(Ipv4Addr::from_bits(dst).octets());
    all.extend(above);
    all
}

fn ipv6(src: u128, dst: u128, ip: Ip, payload: usize) -> Vec<u8> {
    let mut above = transport(ip, payload);
    let mut next = ip.protocol;
    let offset: Option<u16> = match ip.fragment {
        Fragment::No => None,
        Fragment::First => Some(1),
        Fragment::Later => Some(0x11),
    };
    if let Some(offset) = offset {
        let [high, low] = offset.to_be_bytes();
        above.splice(0..0, [next, 0, high, low, 0, 0, 0, 9]);
        next = FRAGMENT;
    }
    let length = u16::try_from(above.len()).unwrap_or(u16::MAX);
    let mut all = vec![0x86, 0xdd, 0x60 | ip.tos >> 4, ip.tos << 4, 0, 0];
    all.extend(length.to_be_bytes());
    all.extend([next, ip.ttl]);
    all.extend(Ipv6Addr::from_bits(src).octets());
    all.extend(Ipv6Addr::from_bits(dst).octets());
    all.extend(above);
    all
}

fn transport(ip: Ip, payload: usize) -> Vec<u8> {
    let (src, dst) = (ip.src.to_be_bytes(), ip.dst.to_be_bytes());
    let mut all = match ip.protocol {
        TCP => {
            let flags = (0x5000 | ip.flags & 0x0fff).to_be_bytes();
            [&src[..], &dst, &[0, 0, 0, 1, 0, 0, 0, 0], &flags, &[0xff, 0xff, 0, 0, 0, 0]].concat()
        }
        UDP => {
            let length = u16::try_from(payload + 8).unwrap_or(u16::MAX).to_be_bytes();
            [&src[..], &dst, &length, &[0xff, 0xff]].concat()
        }
        SCTP => [&src[..], &dst, &[0; 8]].concat(),
        1 | 58 => vec![src[1], dst[1], 0, 0, 0, 0, 0, 7],
        _ => vec![0; 8],
    };
    all.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap_or(0)));
    all
}
