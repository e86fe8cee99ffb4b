//! How flower parses a frame (`__skb_flow_dissect` in the kernel's `net/core/flow_dissector.c`, with the protocol that
//! `eth_type_trans` and `vlan_set_encap_proto` give).

use super::Frame;
use super::frame::is_tag;
use crate::compile::ir::{KeyField, LLC, RAW_802_3, UNTAGGED};

const FIRST_ETHERTYPE: u16 = 0x600;

/// What flower knows of a frame; what it could not read is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is flower's key of that name")]
pub struct Dissected {
    /// What the `protocol` of a filter is compared with: the outermost EtherType.
    pub protocol: u16,
    pub dst_mac: u128,
    pub src_mac: u128,
    /// Outer tag: its EtherType, id, priority, and the EtherType behind it.
    pub vlan: Option<Tag>,
    /// The tag behind the outer one.
    pub cvlan: Option<Tag>,
    /// The EtherType behind all tags.
    pub n_proto: u16,
    pub ip_proto: u8,
    pub ip_tos: u8,
    pub ip_ttl: u8,
    pub frag: bool,
    pub first_frag: bool,
    pub ipv4: Option<(u32, u32)>,
    pub ipv6: Option<(u128, u128)>,
    pub src_port: u16,
    pub dst_port: u16,
    pub tcp_flags: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
    pub arp_op: u8,
    pub arp_sip: u32,
    pub arp_tip: u32,
    pub arp_sha: u128,
    pub arp_tha: u128,
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is flower's key of that name")]
pub struct Tag {
    pub tpid: u16,
    pub id: u16,
    pub pcp: u8,
    pub ethertype: u16,
}

/// Who parses. Filters have to be right for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// The kernel, which reads nothing above the IP header of a fragment.
    Kernel,
    /// A card, which may read the ports of a first fragment.
    Card,
}

impl Dissected {
    /// Parses a frame.
    pub fn of(frame: &Frame, parser: Parser) -> Dissected {
        let mut this = Dissected {
            dst_mac: frame.number::<6>(0).unwrap_or(0),
            src_mac: frame.number::<6>(6).unwrap_or(0),
            ..Dissected::default()
        };
        let at = this.tags(frame);
        match this.n_proto {
            0x0800 => this.ipv4(frame, at, parser),
            0x86dd => this.ipv6(frame, at, parser),
            0x0806 | 0x8035 => this.arp(frame, at),
            _ => None,
        };
        this
    }

    /// Walks over all tags, keeping the first two; returns where the rest begins.
    fn tags(&mut self, frame: &Frame) -> usize {
        let mut at = 12;
        let mut ethertype = protocol(frame, at);
        self.protocol = ethertype;
        let mut found = Vec::new();
        while is_tag(ethertype) {
            let Some(tci) = frame.word(at + 2) else { break };
            let behind = protocol(frame, at + 4);
            let pcp = u8::try_from(tci >> 13).unwrap_or(0);
            found.push(Tag { tpid: ethertype, id: tci & 0xfff, pcp, ethertype: behind });
            at += 4;
            ethertype = behind;
        }
        self.vlan = found.first().copied();
        self.cvlan = found.get(1).copied();
        self.n_proto = ethertype;
        at + 2
    }

    fn ipv4(&mut self, frame: &Frame, at: usize, parser: Parser) -> Option<()> {
        let header = usize::from(frame.bytes::<1>(at)?[0] & 0x0f) * 4;
        if header < 20 || frame.left(at) < 20 {
            return None;
        }
        [self.ip_tos] = frame.bytes(at + 1)?;
        [self.ip_ttl] = frame.bytes(at + 8)?;
        [self.ip_proto] = frame.bytes(at + 9)?;
        self.ipv4 = Some((
            frame.bytes(at + 12).map(u32::from_be_bytes)?,
            frame.bytes(at + 16).map(u32::from_be_bytes)?,
        ));
        let frag = frame.word(at + 6)?;
        if frag & 0x3fff != 0 {
            self.frag = true;
            self.first_frag = frag & 0x1fff == 0;
        }
        if self.frag && (parser == Parser::Kernel || !self.first_frag) {
            return None;
        }
        self.layer_4(frame, at + header)
    }

    fn ipv6(&mut self, frame: &Frame, at: usize, parser: Parser) -> Option<()> {
        let first = frame.word(at)?;
        self.ipv6 = Some((frame.number::<16>(at + 8)?, frame.number::<16>(at + 24)?));
        self.ip_tos = u8::try_from(first >> 4 & 0xff).unwrap_or(0);
        [self.ip_ttl] = frame.bytes(at + 7)?;
        [self.ip_proto] = frame.bytes(at + 6)?;
        let mut at = at + 40;
        loop {
            match self.ip_proto {
                0 | 43 | 60 => {
                    let [next, length] = frame.bytes(at)?;
                    self.ip_proto = next;
                    at += (usize::from(length) + 1) * 8;
                }
                44 => {
                    self.frag = true;
                    self.first_frag = frame.word(at + 2)? & 0xfff8 == 0;
                    [self.ip_proto] = frame.bytes(at)?;
                    if parser == Parser::Kernel || !self.first_frag {
                        return None;
                    }
                    at += 8;
                }
                _ => return self.layer_4(frame, at),
            }
        }
    }

    fn layer_4(&mut self, frame: &Frame, at: usize) -> Option<()> {
        match self.ip_proto {
            6 | 17 | 132 => {
                self.src_port = frame.word(at)?;
                self.dst_port = frame.word(at + 2)?;
                if self.ip_proto == 6 && frame.left(at) >= 20 {
                    self.tcp_flags = frame.word(at + 12)? & 0x0fff;
                }
            }
            1 | 58 => [self.icmp_type, self.icmp_code] = frame.bytes(at)?,
            _ => {}
        }
        Some(())
    }

    /// Only requests and answers for IPv4 over Ethernet are read.
    fn arp(&mut self, frame: &Frame, at: usize) -> Option<()> {
        let known = matches!(frame.bytes(at)?, [0, 1, 8, 0, 6, 4, 0, 1 | 2]);
        if !known || frame.left(at) < 28 {
            return None;
        }
        [self.arp_op] = frame.bytes(at + 7)?;
        self.arp_sha = frame.number::<6>(at + 8)?;
        self.arp_sip = frame.bytes(at + 14).map(u32::from_be_bytes)?;
        self.arp_tha = frame.number::<6>(at + 18)?;
        self.arp_tip = frame.bytes(at + 24).map(u32::from_be_bytes)?;
        Some(())
    }

    /// What a field of a [`crate::compile::ir::Key`] is compared with.
    pub fn get(&self, field: KeyField) -> u128 {
        let tag = self.vlan.unwrap_or_default();
        match field {
            KeyField::Tpid => self.vlan.map_or(UNTAGGED, |tag| tag.tpid.into()),
            KeyField::VlanId => tag.id.into(),
            KeyField::VlanPrio => tag.pcp.into(),
            KeyField::EthType => self.vlan.map_or(self.protocol, |tag| tag.ethertype).into(),
            KeyField::DstMac => self.dst_mac,
            KeyField::SrcMac => self.src_mac,
            KeyField::IpProto => self.ip_proto.into(),
            KeyField::IpTos => self.ip_tos.into(),
            KeyField::IpTtl => self.ip_ttl.into(),
            KeyField::Frag => self.frag.into(),
            KeyField::FirstFrag => self.first_frag.into(),
            KeyField::Ipv4Src => self.ipv4.map_or(0, |(src, _)| src.into()),
            KeyField::Ipv4Dst => self.ipv4.map_or(0, |(_, dst)| dst.into()),
            KeyField::Ipv6Src => self.ipv6.map_or(0, |(src, _)| src),
            KeyField::Ipv6Dst => self.ipv6.map_or(0, |(_, dst)| dst),
            KeyField::SrcPort => self.src_port.into(),
            KeyField::DstPort => self.dst_port.into(),
            KeyField::TcpFlags => self.tcp_flags.into(),
            KeyField::IcmpType => self.icmp_type.into(),
            KeyField::IcmpCode => self.icmp_code.into(),
            KeyField::ArpOp => self.arp_op.into(),
            KeyField::ArpSip => self.arp_sip.into(),
            KeyField::ArpTip => self.arp_tip.into(),
            KeyField::ArpSha => self.arp_sha,
            KeyField::ArpTha => self.arp_tha,
            // What no frame carries.
            KeyField::CtState | KeyField::CtMark | KeyField::CtLabel => 0,
            KeyField::EncKeyId | KeyField::EncOption => 0,
            KeyField::EncIpv4Src | KeyField::EncIpv4Dst => 0,
            KeyField::EncIpv6Src | KeyField::EncIpv6Dst => 0,
        }
    }
}

/// An EtherType, or the kernel's own number for a frame with a length.
fn protocol(frame: &Frame, at: usize) -> u16 {
    let value = frame.word(at).unwrap_or(0);
    let number = match frame.word(at + 2) {
        _ if value >= FIRST_ETHERTYPE => return value,
        Some(0xffff) => RAW_802_3,
        _ => LLC,
    };
    u16::try_from(number).unwrap_or(0)
}
