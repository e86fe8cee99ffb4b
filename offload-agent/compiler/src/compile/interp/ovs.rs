//! How OVS parses a frame (`miniflow_extract` in `lib/flow.c`, `key_extract` in the kernel's `net/openvswitch/flow.c`).

use std::collections::BTreeMap;

use super::Frame;
use super::frame::is_tag;
use crate::openflow::{Field, VLAN_PRESENT};

const FIRST_ETHERTYPE: u16 = 0x600;
/// OVS's EtherType of frames that have none (`FLOW_DL_TYPE_NONE`).
const NO_ETHERTYPE: u16 = 0x05ff;
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

/// The fields that OVS sees; what is not here is 0.
pub type View = BTreeMap<Field, u128>;

/// The ports of every protocol, and what stands in their place for ICMP (`tp_src` and `tp_dst` in `struct flow`).
const PORTS: [Field; 10] = [
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::SctpSrc,
    Field::SctpDst,
    Field::IcmpType,
    Field::IcmpCode,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
];

/// What a table sees of a frame, looking through so many tags.
pub fn view(frame: &Frame, vlan_limit: u8) -> View {
    let mut seen = parse(frame, vlan_limit);
    if seen.get(&Field::IpFrag).is_some_and(|frag| *frag != 0) {
        seen.retain(|field, _| !is_port(*field));
    }
    seen
}

/// Whether the default mode hides a field of a fragment from the tables (`rule_dpif_lookup_from_table`).
pub(super) fn is_port(field: Field) -> bool {
    PORTS.contains(&field)
}

/// Parses a frame, looking through so many tags. A first fragment has its ports, for actions read and write them.
pub(super) fn parse(frame: &Frame, vlan_limit: u8) -> View {
    let mut parser = Parser { frame, at: 12, view: View::new() };
    parser.set(Field::EthDst, frame.number::<6>(0));
    parser.set(Field::EthSrc, frame.number::<6>(6));
    for outer in (0..vlan_limit).map(|depth| depth == 0) {
        parser.tag(outer);
    }
    let ethertype = parser.ethertype();
    parser.view.insert(Field::EthType, u128::from(ethertype));
    match ethertype {
        0x0800 => parser.ipv4(),
        0x86dd => parser.ipv6(),
        0x0806 | 0x8035 => parser.arp(),
        _ => None,
    };
    parser.view
}

struct Parser<'a> {
    frame: &'a Frame,
    at: usize,
    view: View,
}

impl Parser<'_> {
    fn set(&mut self, field: Field, value: Option<u128>) {
        if let Some(value) = value {
            self.view.insert(field, value);
        }
    }

    /// A tag counts only if an EtherType can follow.
    fn tag(&mut self, outer: bool) {
        let tpid = self.frame.word(self.at).unwrap_or(0);
        if !is_tag(tpid) || self.frame.left(self.at) < 6 {
            return;
        }
        if outer {
            let tci = self.frame.word(self.at + 2).map(|tci| u128::from(tci | VLAN_PRESENT));
            self.set(Field::VlanTci, tci);
        }
        self.at += 4;
    }

    fn ethertype(&mut self) -> u16 {
        let value = self.frame.word(self.at).unwrap_or(0);
        self.at += 2;
        if value >= FIRST_ETHERTYPE {
            return value;
        }
        let behind =
            self.frame.word(self.at + SNAP.len()).filter(|value| *value >= FIRST_ETHERTYPE);
        match (self.frame.bytes(self.at), behind) {
            (Some(SNAP), Some(behind)) => {
                self.at += SNAP.len() + 2;
                behind
            }
            _ => NO_ETHERTYPE,
        }
    }

    fn ipv4(&mut self) -> Option<()> {
        let header = usize::from(self.frame.bytes::<1>(self.at)?[0] & 0x0f) * 4;
        let total = usize::from(self.frame.word(self.at + 2)?);
        let left = self.frame.left(self.at);
        if header < 20 || header > left || total < header || total > left {
            return None;
        }
        let frag = self.frame.word(self.at + 6)?;
        let (later, more) = (frag & 0x1fff != 0, frag & 0x2000 != 0);
        self.set(Field::IpSrc, self.frame.number::<4>(self.at + 12));
        self.set(Field::IpDst, self.frame.number::<4>(self.at + 16));
        let tos = self.frame.number::<1>(self.at + 1)?;
        let ttl = self.frame.number::<1>(self.at + 8);
        let proto = self.frame.number::<1>(self.at + 9)?;
        self.above_ethernet(tos, ttl, proto, later, more);
        self.at += header;
        self.layer_4(proto, later)
    }

    fn ipv6(&mut self) -> Option<()> {
        let first = self.frame.word(self.at)?;
        let payload = usize::from(self.frame.word(self.at + 4)?);
        if self.frame.left(self.at) < 40 || payload > self.frame.left(self.at + 40) {
            return None;
        }
        self.set(Field::Ipv6Src, self.frame.number::<16>(self.at + 8));
        self.set(Field::Ipv6Dst, self.frame.number::<16>(self.at + 24));
        let tos = u128::from(first >> 4 & 0xff);
        let ttl = self.frame.number::<1>(self.at + 7);
        let mut proto = self.frame.number::<1>(self.at + 6)?;
        self.at += 40;
        let (mut later, mut fragment) = (false, false);
        while let (Some(next), Some(length)) =
            (self.frame.number::<1>(self.at), self.frame.bytes::<1>(self.at + 1))
        {
            let length = usize::from(length[0]);
            self.at += match proto {
                0 | 43 | 60 => (length + 1) * 8,
                51 => (length + 2) * 4,
                44 => {
                    fragment = true;
                    later = self.frame.word(self.at + 2)? & 0xfff8 != 0;
                    8
                }
                _ => break,
            };
            if later {
                break;
            }
            proto = next;
        }
        self.above_ethernet(tos, ttl, proto, later, fragment);
        self.layer_4(proto, later)
    }

    fn above_ethernet(
        &mut self,
        tos: u128,
        ttl: Option<u128>,
        proto: u128,
        later: bool,
        more: bool,
    ) {
        let frag = if later { 3 } else { u128::from(more) };
        self.set(Field::NwTos, Some(tos));
        self.set(Field::NwEcn, Some(tos & 3));
        self.set(Field::NwTtl, ttl);
        self.set(Field::NwProto, Some(proto));
        self.set(Field::IpFrag, Some(frag));
    }

    fn layer_4(&mut self, proto: u128, later: bool) -> Option<()> {
        if later {
            return None;
        }
        let (source, destination, header) = match proto {
            6 => (Field::TcpSrc, Field::TcpDst, 20),
            17 => (Field::UdpSrc, Field::UdpDst, 8),
            132 => (Field::SctpSrc, Field::SctpDst, 12),
            1 => return self.icmp(Field::IcmpType, Field::IcmpCode),
            58 => return self.icmp(Field::Icmpv6Type, Field::Icmpv6Code),
            _ => return None,
        };
        if self.frame.left(self.at) < header {
            return None;
        }
        if proto == 6 {
            let flags = self.frame.word(self.at + 12).map(|word| u128::from(word & 0x0fff));
            self.set(Field::TcpFlags, flags);
        }
        self.set(source, self.frame.number::<2>(self.at));
        self.set(destination, self.frame.number::<2>(self.at + 2));
        Some(())
    }

    fn icmp(&mut self, kind: Field, code: Field) -> Option<()> {
        if self.frame.left(self.at) < 8 {
            return None;
        }
        self.set(kind, self.frame.number::<1>(self.at));
        self.set(code, self.frame.number::<1>(self.at + 1));
        Some(())
    }

    fn arp(&mut self) -> Option<()> {
        const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
        if self.frame.bytes(self.at)? != ETHERNET_AND_IPV4 || self.frame.left(self.at) < 28 {
            return None;
        }
        let operation = self.frame.number::<2>(self.at + 6).filter(|operation| *operation <= 0xff);
        self.set(Field::ArpOp, operation);
        self.set(Field::ArpSha, self.frame.number::<6>(self.at + 8));
        self.set(Field::ArpSpa, self.frame.number::<4>(self.at + 14));
        self.set(Field::ArpTha, self.frame.number::<6>(self.at + 18));
        self.set(Field::ArpTpa, self.frame.number::<4>(self.at + 24));
        Some(())
    }
}
