//! The fields of a packet in the pipeline: what OVS calls a flow.

use std::collections::BTreeMap;

use super::super::ovs::{View, is_port, parse};
use super::super::packet::TunnelHeader;
use super::super::{Frame, frame::is_tag};
use crate::openflow::{
    BridgeRules, Field, Masked, OfPort, Prerequisite, Subfield, VLAN_PRESENT, low_bits,
};

const DOT1Q: u16 = 0x8100;

/// A VLAN tag; bit 12 of the TCI says "present", whatever the frame has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) tpid: u16,
    pub(super) tci: u16,
}

/// Every field with its content; what is not here is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    values: BTreeMap<Field, u128>,
    /// The tags OVS sees, the outer one first.
    pub(super) tags: Vec<Tag>,
}

/// Registers, and all else that stays with a packet when its bytes are parsed anew.
fn is_metadata(field: Field) -> bool {
    field.is_register() || is_tunnel(field) || matches!(field, Field::InPort | Field::PktMark)
}

fn is_tunnel(field: Field) -> bool {
    use Field::*;
    matches!(field, TunId | TunSrc | TunDst | TunIpv6Src | TunIpv6Dst | TunTos | TunTtl | TunFlags)
        || matches!(field, TunGbpId | TunGbpFlags | TunMetadata(_))
        || matches!(field, TunErspanVer | TunErspanIdx | TunErspanDir | TunErspanHwid)
}

fn is_conntrack(field: Field) -> bool {
    use Field::*;
    matches!(field, CtState | CtZone | CtMark | CtLabel | CtNwSrc | CtNwDst | CtNwProto)
        || matches!(field, CtIpv6Src | CtIpv6Dst | CtTpSrc | CtTpDst)
}

/// Whether the content of a field is known for every packet.
pub(super) fn is_known(field: Field) -> bool {
    use Field::*;
    let parsed = matches!(field, EthType | VlanTci | EthSrc | EthDst | IpSrc | IpDst)
        || matches!(field, Ipv6Src | Ipv6Dst | Ipv6Label | NwProto | NwTos | NwEcn | NwTtl)
        || matches!(field, IpFrag | TcpFlags | TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc)
        || matches!(field, SctpDst | IcmpType | IcmpCode | Icmpv6Type | Icmpv6Code)
        || matches!(field, ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha)
        || matches!(field, NdTarget | NdSll | NdTll);
    let alias = matches!(field, XReg(_) | XxReg(_) | VlanVid | VlanPcp | IpDscp | InPortOxm);
    parsed
        || alias
        || is_metadata(field)
        || is_conntrack(field)
        || matches!(field, ConjId | PacketType)
}

impl Flow {
    /// What OVS reads in a frame, looking through so many tags.
    pub(super) fn parsed(frame: &Frame, vlan_limit: u8) -> Flow {
        let mut seen: View = parse(frame, vlan_limit);
        seen.remove(&Field::VlanTci);
        seen.remove(&Field::NwEcn);
        seen.retain(|_, value| *value != 0);
        Flow { values: seen, tags: tags(frame, vlan_limit) }
    }

    /// The same packet with its bytes parsed anew; what connection tracking knew is gone.
    pub(super) fn reparsed(&self, frame: &Frame, vlan_limit: u8) -> Flow {
        let mut fresh = Flow::parsed(frame, vlan_limit);
        let kept = self.values.iter().filter(|(field, _)| is_metadata(**field));
        fresh.values.extend(kept.map(|(field, value)| (*field, *value)));
        fresh
    }

    pub(super) fn get(&self, field: Field) -> u128 {
        let outer = self.tags.first().map_or(0, |tag| u128::from(tag.tci));
        match field {
            Field::XReg(n) => self.words(n.saturating_mul(2), 2),
            Field::XxReg(n) => self.words(n.saturating_mul(4), 4),
            Field::VlanTci => outer,
            Field::VlanVid => outer & 0x1fff,
            Field::VlanPcp => outer >> 13,
            Field::NwTos => self.plain(field) & 0xfc,
            Field::IpDscp => self.plain(Field::NwTos) >> 2,
            Field::NwEcn => self.plain(Field::NwTos) & 3,
            Field::InPortOxm => u128::from(OfPort(self.port()).to_wide()),
            Field::InPort => u128::from(self.port()),
            other => self.plain(other),
        }
    }

    fn plain(&self, field: Field) -> u128 {
        self.values.get(&field).copied().unwrap_or(0)
    }

    fn words(&self, first: u8, count: u8) -> u128 {
        (0..count).fold(0, |wide, word| wide << 32 | self.plain(Field::Reg(first + word)))
    }

    fn port(&self) -> u16 {
        u16::try_from(self.plain(Field::InPort)).unwrap_or(OfPort::NONE.0)
    }

    /// The port that the packet counts as coming from.
    pub(super) fn in_port(&self) -> OfPort {
        OfPort(self.port())
    }

    /// Type of service with its ECN bits.
    pub(super) fn tos(&self) -> u128 {
        self.plain(Field::NwTos)
    }

    /// Writes some bits of a field.
    pub(super) fn write(&mut self, field: Field, bits: Masked) {
        let merged = |old: u128| old & !bits.mask | bits.value & bits.mask;
        match field {
            Field::XReg(n) => self.write_words(n.saturating_mul(2), 2, bits),
            Field::XxReg(n) => self.write_words(n.saturating_mul(4), 4, bits),
            Field::VlanTci => self.write_tci(bits),
            Field::VlanVid => {
                self.write_tci(Masked { mask: bits.mask & 0x1fff, ..bits });
            }
            Field::VlanPcp => {
                let present = u128::from(VLAN_PRESENT);
                self.write_tci(Masked {
                    value: bits.value << 13 | present,
                    mask: bits.mask << 13 | present,
                });
            }
            Field::NwTos => self.put(
                Field::NwTos,
                self.tos() & !(bits.mask & 0xfc) | bits.value & bits.mask & 0xfc,
            ),
            Field::IpDscp => {
                self.write(Field::NwTos, Masked { value: bits.value << 2, mask: bits.mask << 2 })
            }
            Field::NwEcn => {
                self.put(Field::NwTos, self.tos() & !(bits.mask & 3) | bits.value & bits.mask & 3)
            }
            Field::InPortOxm => {
                let wide = u32::try_from(merged(self.get(field))).unwrap_or(u32::MAX);
                let port = OfPort::from_wide(wide).unwrap_or(OfPort::NONE);
                self.put(Field::InPort, u128::from(port.0));
            }
            other => self.put(other, merged(self.plain(other))),
        }
    }

    /// Writes a whole field.
    pub(super) fn set(&mut self, field: Field, value: u128) {
        self.write(field, Masked { value, mask: field.full_mask() });
    }

    fn put(&mut self, field: Field, value: u128) {
        // An option that was written is sent, even when it is all zeros.
        let counts = value != 0 || matches!(field, Field::TunMetadata(_));
        if !counts {
            self.values.remove(&field);
        } else {
            self.values.insert(field, value);
        }
    }

    fn write_words(&mut self, first: u8, count: u8, bits: Masked) {
        for word in 0..count {
            let shift = u32::from(count - 1 - word) * 32;
            let part = Masked {
                value: bits.value >> shift & low_bits(32),
                mask: bits.mask >> shift & low_bits(32),
            };
            self.write(Field::Reg(first + word), part);
        }
    }

    /// `flow_fix_vlan_tpid`: a TCI that becomes something is a new tag, one that becomes nothing is no tag.
    fn write_tci(&mut self, bits: Masked) {
        let old = self.tags.first().copied().unwrap_or(Tag { tpid: 0, tci: 0 });
        let tci = u128::from(old.tci) & !bits.mask | bits.value & bits.mask;
        let tci = u16::try_from(tci & 0xffff).unwrap_or(0);
        let tpid = if old.tpid == 0 { DOT1Q } else { old.tpid };
        match (self.tags.first_mut(), tci) {
            (Some(_), 0) => drop(self.tags.remove(0)),
            (Some(tag), _) => *tag = Tag { tpid, tci },
            (None, 0) => {}
            (None, _) => self.tags.push(Tag { tpid, tci }),
        }
    }

    pub(super) fn read(&self, from: Subfield) -> u128 {
        self.get(from.field) >> from.offset & low_bits(from.n_bits)
    }

    pub(super) fn store(&mut self, to: Subfield, value: u128) {
        let bits = low_bits(to.n_bits);
        self.write(
            to.field,
            Masked { value: (value & bits) << to.offset, mask: bits << to.offset },
        );
    }

    /// What a table looks up, as if the packet came by this port: of a fragment, no ports.
    pub(super) fn looked_up(&self, port: Option<OfPort>) -> Flow {
        let mut seen = self.clone();
        if let Some(port) = port {
            seen.set(Field::InPort, u128::from(port.0));
        }
        if seen.is_fragment() {
            seen.values.retain(|field, _| !is_port(*field));
        }
        seen
    }

    /// Forgets what connection tracking said (`flow_clear_conntrack`).
    pub(super) fn clear_conntrack(&mut self) {
        self.values.retain(|field, _| !is_conntrack(*field));
    }

    /// What a packet has behind a patch port: no registers, no tunnel, no connection.
    pub(super) fn enter_bridge(&mut self, port: OfPort) {
        self.values
            .retain(|field, _| !field.is_register() && !is_tunnel(*field) && !is_conntrack(*field));
        self.set(Field::InPort, u128::from(port.0));
    }

    /// Takes a field out.
    pub(super) fn delete(&mut self, field: Field) {
        self.values.remove(&field);
    }

    /// Whether there is a tunnel option.
    pub(super) fn has_option(&self, number: u8) -> bool {
        self.values.contains_key(&Field::TunMetadata(number))
    }

    /// The tunnel options there are, by their field.
    pub(super) fn options(&self) -> impl Iterator<Item = (u8, u128)> {
        self.values.iter().filter_map(|(field, value)| match field {
            Field::TunMetadata(number) => Some((*number, *value)),
            _ => None,
        })
    }

    /// Takes in the tunnel header that a packet came with; options are the bridge's to name.
    pub(super) fn enter_tunnel(&mut self, header: &TunnelHeader, rules: Option<&BridgeRules>) {
        use std::net::IpAddr;
        let mut set = |field, value| self.set(field, value);
        set(Field::TunId, header.id.map_or(0, u128::from));
        match (header.src, header.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                set(Field::TunSrc, src.to_bits().into());
                set(Field::TunDst, dst.to_bits().into());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                set(Field::TunIpv6Src, src.to_bits());
                set(Field::TunIpv6Dst, dst.to_bits());
            }
            _ => {}
        }
        set(Field::TunTos, header.tos.into());
        set(Field::TunTtl, header.ttl.into());
        for (number, known) in rules.into_iter().flat_map(|rules| &rules.tunnel_options) {
            let carried = header.options.iter().find(|option| {
                option.class == known.class
                    && option.kind == known.kind
                    && option.data().len() == usize::from(known.length)
            });
            if let Some(option) = carried {
                let value = option.data().iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
                set(Field::TunMetadata(*number), value);
            }
        }
    }

    pub(super) fn ethertype(&self) -> u128 {
        self.plain(Field::EthType)
    }

    pub(super) fn is_ip(&self) -> bool {
        matches!(self.ethertype(), 0x0800 | 0x86dd)
    }

    pub(super) fn protocol(&self) -> u8 {
        u8::try_from(self.plain(Field::NwProto)).unwrap_or(0)
    }

    pub(super) fn is_later_fragment(&self) -> bool {
        self.plain(Field::IpFrag) & 2 != 0
    }

    pub(super) fn is_fragment(&self) -> bool {
        self.plain(Field::IpFrag) != 0
    }

    /// `mf_are_prereqs_ok`: whether the packet has the field at all.
    pub(super) fn has(&self, field: Field) -> bool {
        use Prerequisite as P;
        let protocol =
            |number| self.is_ip() && self.protocol() == number && !self.is_later_fragment();
        let icmp6 = self.ethertype() == 0x86dd && protocol(58);
        let kind = self.plain(Field::Icmpv6Type);
        match field.info().prerequisite {
            P::None | P::Ethernet => true,
            P::Vlan => !self.tags.is_empty(),
            P::Mpls => matches!(self.ethertype(), 0x8847 | 0x8848),
            P::Ipv4 => self.ethertype() == 0x0800,
            P::Ipv6 => self.ethertype() == 0x86dd,
            P::Ip => self.is_ip(),
            P::Arp => matches!(self.ethertype(), 0x0806 | 0x8035),
            P::Tcp => protocol(6),
            P::Udp => protocol(17),
            P::Sctp => protocol(132),
            P::Icmpv4 => self.ethertype() == 0x0800 && protocol(1),
            P::Icmpv6 => icmp6,
            P::Nd => icmp6 && matches!(kind, 135 | 136),
            P::NdSolicit => icmp6 && kind == 135,
            P::NdAdvert => icmp6 && kind == 136,
            P::Ct => self.plain(Field::CtNwProto) != 0,
            P::Nsh => false,
        }
    }
}

/// The tags OVS sees, the outer one first, with their EtherTypes.
fn tags(frame: &Frame, vlan_limit: u8) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 12;
    while tags.len() < usize::from(vlan_limit) {
        let Some((tpid, tci)) = frame.word(at).zip(frame.word(at + 2)) else { break };
        if !is_tag(tpid) || frame.left(at) < 6 {
            break;
        }
        tags.push(Tag { tpid, tci: tci | VLAN_PRESENT });
        at += 4;
    }
    tags
}
