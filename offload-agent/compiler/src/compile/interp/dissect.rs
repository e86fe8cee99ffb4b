//! How flower parses a frame (`__skb_flow_dissect` in the kernel's `net/core/flow_dissector.c`, with the protocol that
//! `eth_type_trans` and `vlan_set_encap_proto` give).

use super::Frame;
use super::frame::is_tag;
use crate::compile::ir::{KeyField, LLC, RAW_802_3, UNTAGGED};

const FIRST_ETHERTYPE: u16 = 0x600;
/// `MAX_FLOW_DISSECT_HDRS`: so many headers may follow one that was read; tags count, and extension headers of IPv6.
const MAX_HEADERS: usize = 15;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const HSR: u16 = 0x892f;
const PRP: u16 = 0x88fb;
const BATMAN: u16 = 0x4305;
const PPPOE: u16 = 0x8864;
const MPLS_IN_IP: u8 = 137;

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
    /// The EtherType behind all tags, or that of what the kernel went on to read inside.
    pub n_proto: u16,
    /// Whether it is a session's PPPoE frame that the kernel understands.
    pub pppoe: bool,
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
    /// The kernel, which reads nothing above the IP header of a fragment, and takes some packets for what they carry.
    Kernel,
    /// A card, which may read the ports of a first fragment, and takes a packet for what its EtherType says.
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
        let (at, headers) = this.tags(frame);
        match this.n_proto {
            IPV4 => this.ipv4(frame, at, parser),
            IPV6 => this.ipv6(frame, at, headers, parser),
            0x0806 | 0x8035 => this.arp(frame, at),
            _ => None,
        };
        this.pppoe = this.n_proto == PPPOE && (parser == Parser::Card || is_session(frame, at));
        if parser == Parser::Kernel {
            this.n_proto = this.inner(frame, at, headers);
        }
        this
    }

    /// The EtherType of the last header that the kernel came to. Keys that are read on the way there matter to no filter,
    /// since all of them name the EtherType of the frame, too.
    fn inner(&self, frame: &Frame, at: usize, headers: usize) -> u16 {
        let (mut at, mut ethertype) = (at, self.n_proto);
        for _ in headers..=MAX_HEADERS {
            let Some((next, length)) = carried(frame, at, ethertype) else { break };
            (at, ethertype) = (at + length, next);
        }
        ethertype
    }

    /// Walks over all tags, keeping the first two; returns where the rest begins, and how many there were.
    fn tags(&mut self, frame: &Frame) -> (usize, usize) {
        let mut at = 12;
        let mut ethertype = protocol(frame, at);
        self.protocol = ethertype;
        let mut found = Vec::new();
        while is_tag(ethertype) && found.len() <= MAX_HEADERS {
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
        (at + 2, found.len())
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
        self.layer_4(frame, at + header, parser)
    }

    /// Behind so many headers nothing more is read but the ports, and of those the kernel has read one more protocol.
    fn ipv6(&mut self, frame: &Frame, at: usize, headers: usize, parser: Parser) -> Option<()> {
        let first = frame.word(at)?;
        self.ipv6 = Some((frame.number::<16>(at + 8)?, frame.number::<16>(at + 24)?));
        self.ip_tos = u8::try_from(first >> 4 & 0xff).unwrap_or(0);
        [self.ip_ttl] = frame.bytes(at + 7)?;
        [self.ip_proto] = frame.bytes(at + 6)?;
        let (mut at, mut headers) = (at + 40, headers);
        loop {
            if headers > MAX_HEADERS {
                return self.ports(frame, at);
            }
            match self.ip_proto {
                0 | 43 | 60 => {
                    headers += 1;
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
                _ => return self.layer_4(frame, at, parser),
            }
        }
    }

    fn layer_4(&mut self, frame: &Frame, at: usize, parser: Parser) -> Option<()> {
        match self.ip_proto {
            MPLS_IN_IP if parser == Parser::Kernel => self.n_proto = MPLS,
            6 => self.tcp_flags = tcp_flags(frame, at).unwrap_or(0),
            1 | 58 => [self.icmp_type, self.icmp_code] = frame.bytes(at)?,
            _ => {}
        }
        self.ports(frame, at)
    }

    /// Four bytes are enough (`__skb_flow_get_ports`).
    fn ports(&mut self, frame: &Frame, at: usize) -> Option<()> {
        if matches!(self.ip_proto, 6 | 17 | 132) {
            let (src, dst) = (frame.word(at)?, frame.word(at + 2)?);
            (self.src_port, self.dst_port) = (src, dst);
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
            KeyField::EncKeyId | KeyField::EncOption | KeyField::OneOption => 0,
            KeyField::EncIpv4Src | KeyField::EncIpv4Dst => 0,
            KeyField::EncIpv6Src | KeyField::EncIpv6Dst => 0,
        }
    }
}

/// The flags of a TCP header that is whole, and says so (`__skb_flow_dissect_tcp`).
fn tcp_flags(frame: &Frame, at: usize) -> Option<u16> {
    const WORDS: u16 = 5;
    let word = frame.word(at + 12).filter(|word| frame.left(at) >= 20 && word >> 12 >= WORDS)?;
    Some(word & 0x0fff)
}

/// The EtherType inside a frame that wraps another, and how long the wrapping is.
fn carried(frame: &Frame, at: usize, ethertype: u16) -> Option<(u16, usize)> {
    /// Version 15, a unicast packet, and the Ethernet header in it.
    const BATMAN_UNICAST: [u8; 2] = [0x40, 15];
    match ethertype {
        HSR | PRP => Some((frame.word(at + 4)?, 6)),
        BATMAN if frame.bytes(at)? == BATMAN_UNICAST => Some((frame.word(at + 22)?, 24)),
        PPPOE if is_session(frame, at) => match frame.word(at + 6)? {
            0x0021 => Some((IPV4, 8)),
            0x0057 => Some((IPV6, 8)),
            0x0281 => Some((MPLS, 8)),
            _ => None,
        },
        _ => None,
    }
}

/// What the kernel takes for a session's PPPoE frame (`is_pppoe_ses_hdr_valid`, `ppp_proto_is_valid`).
fn is_session(frame: &Frame, at: usize) -> bool {
    let known = frame.bytes::<2>(at) == Some([0x11, 0]);
    known && frame.word(at + 6).is_some_and(|protocol| protocol & 0x0101 == 1)
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
