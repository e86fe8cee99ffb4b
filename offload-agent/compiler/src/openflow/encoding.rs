//! The numbers and names of the fields outside this program: NXM and OXM headers, and the words of `ovs-ofctl`.
//!
//! One field may have several headers, one for each generation of OpenFlow. All are read; the first in the table is the
//! one that OVS prints in `load`, `move` and their like.

use super::field::Field;

/// The class of an NXM or OXM header; for `0xffff` together with the experimenter that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `NXM_OF`: OpenFlow 1.0's own fields.
    NxmOf,
    /// `NXM_NX`: Nicira's.
    NxmNx,
    /// `OXM_OF`: OpenFlow 1.2's and later.
    OxmOf,
    /// `OXM_OF_PKT_REG`.
    PktReg,
    /// `ERICOXM_OF`.
    Ericsson,
    /// Experimenter Nicira.
    NxoxmEt,
    /// Experimenter of the NSH fields.
    NxoxmNsh,
    /// Experimenter ONF.
    OnfoxmEt,
}

impl Class {
    const ALL: [Class; 8] = [
        Class::NxmOf,
        Class::NxmNx,
        Class::OxmOf,
        Class::PktReg,
        Class::Ericsson,
        Class::NxoxmEt,
        Class::NxoxmNsh,
        Class::OnfoxmEt,
    ];

    /// The class on the wire, and the experimenter.
    pub(crate) const fn code(self) -> (u16, Option<u32>) {
        match self {
            Class::NxmOf => (0x0000, None),
            Class::NxmNx => (0x0001, None),
            Class::OxmOf => (0x8000, None),
            Class::PktReg => (0x8001, None),
            Class::Ericsson => (0x1000, None),
            Class::NxoxmEt => (0xffff, Some(0x0000_2320)),
            Class::NxoxmNsh => (0xffff, Some(0x005a_d650)),
            Class::OnfoxmEt => (0xffff, Some(0x4f4e_4600)),
        }
    }

    /// The class of this number and experimenter.
    pub(crate) fn from_code(class: u16, experimenter: Option<u32>) -> Option<Class> {
        Self::ALL.into_iter().find(|known| known.code() == (class, experimenter))
    }

    const fn prefix(self) -> &'static str {
        match self {
            Class::NxmOf => "NXM_OF_",
            Class::NxmNx => "NXM_NX_",
            Class::OxmOf => "OXM_OF_",
            Class::PktReg => "OXM_OF_PKT_",
            Class::Ericsson => "ERICOXM_OF_",
            Class::NxoxmEt => "NXOXM_ET_",
            Class::NxoxmNsh => "NXOXM_NSH_",
            Class::OnfoxmEt => "ONFOXM_ET_",
        }
    }
}

/// One header of a field.
struct Encoding {
    class: Class,
    number: u8,
    name: &'static str,
    field: Field,
}

const fn one(class: Class, number: u8, name: &'static str, field: Field) -> Encoding {
    Encoding { class, number, name, field }
}

/// The headers of fields that come in numbers: `NXM_NX_REG0` to `NXM_NX_REG15`, say.
struct Family {
    class: Class,
    first_number: u8,
    name: &'static str,
    first_index: u8,
    count: u8,
    field: fn(u8) -> Field,
}

const FAMILIES: [Family; 7] = [
    family(Class::NxmNx, 0, "REG", (0, 16), Field::Reg),
    family(Class::NxoxmEt, 17, "REG", (16, 16), Field::Reg),
    family(Class::PktReg, 0, "REG", (0, 16), Field::XReg),
    family(Class::NxmNx, 111, "XXREG", (0, 4), Field::XxReg),
    family(Class::NxoxmEt, 33, "XXREG", (4, 4), Field::XxReg),
    family(Class::NxmNx, 40, "TUN_METADATA", (0, 64), Field::TunMetadata),
    family(Class::NxoxmNsh, 6, "C", (1, 4), Field::NshC),
];

const fn family(
    class: Class,
    first_number: u8,
    name: &'static str,
    (first_index, count): (u8, u8),
    field: fn(u8) -> Field,
) -> Family {
    Family { class, first_number, name, first_index, count, field }
}

const ENCODINGS: [Encoding; 113] = [
    one(Class::NxmNx, 35, "DP_HASH", Field::DpHash),
    one(Class::NxoxmEt, 0, "DP_HASH", Field::DpHash),
    one(Class::NxmNx, 36, "RECIRC_ID", Field::RecircId),
    one(Class::OxmOf, 44, "PACKET_TYPE", Field::PacketType),
    one(Class::NxmNx, 37, "CONJ_ID", Field::ConjId),
    one(Class::NxmNx, 16, "TUN_ID", Field::TunId),
    one(Class::OxmOf, 38, "TUNNEL_ID", Field::TunId),
    one(Class::NxmNx, 31, "TUN_IPV4_SRC", Field::TunSrc),
    one(Class::NxmNx, 32, "TUN_IPV4_DST", Field::TunDst),
    one(Class::NxmNx, 109, "TUN_IPV6_SRC", Field::TunIpv6Src),
    one(Class::NxmNx, 110, "TUN_IPV6_DST", Field::TunIpv6Dst),
    one(Class::NxmNx, 104, "TUN_FLAGS", Field::TunFlags),
    one(Class::NxmNx, 38, "TUN_GBP_ID", Field::TunGbpId),
    one(Class::NxmNx, 39, "TUN_GBP_FLAGS", Field::TunGbpFlags),
    one(Class::NxoxmEt, 11, "ERSPAN_IDX", Field::TunErspanIdx),
    one(Class::NxoxmEt, 12, "ERSPAN_VER", Field::TunErspanVer),
    one(Class::NxoxmEt, 13, "ERSPAN_DIR", Field::TunErspanDir),
    one(Class::NxoxmEt, 14, "ERSPAN_HWID", Field::TunErspanHwid),
    one(Class::NxoxmEt, 15, "GTPU_FLAGS", Field::TunGtpuFlags),
    one(Class::NxoxmEt, 16, "GTPU_MSGTYPE", Field::TunGtpuMsgtype),
    one(Class::OxmOf, 2, "METADATA", Field::Metadata),
    one(Class::NxmOf, 0, "IN_PORT", Field::InPort),
    one(Class::OxmOf, 0, "IN_PORT", Field::InPortOxm),
    one(Class::OnfoxmEt, 43, "ACTSET_OUTPUT", Field::ActsetOutput),
    one(Class::OxmOf, 43, "ACTSET_OUTPUT", Field::ActsetOutput),
    one(Class::NxmNx, 33, "PKT_MARK", Field::PktMark),
    one(Class::NxmNx, 105, "CT_STATE", Field::CtState),
    one(Class::NxmNx, 106, "CT_ZONE", Field::CtZone),
    one(Class::NxmNx, 107, "CT_MARK", Field::CtMark),
    one(Class::NxmNx, 108, "CT_LABEL", Field::CtLabel),
    one(Class::NxmNx, 119, "CT_NW_PROTO", Field::CtNwProto),
    one(Class::NxmNx, 120, "CT_NW_SRC", Field::CtNwSrc),
    one(Class::NxmNx, 121, "CT_NW_DST", Field::CtNwDst),
    one(Class::NxmNx, 122, "CT_IPV6_SRC", Field::CtIpv6Src),
    one(Class::NxmNx, 123, "CT_IPV6_DST", Field::CtIpv6Dst),
    one(Class::NxmNx, 124, "CT_TP_SRC", Field::CtTpSrc),
    one(Class::NxmNx, 125, "CT_TP_DST", Field::CtTpDst),
    one(Class::NxmOf, 2, "ETH_SRC", Field::EthSrc),
    one(Class::OxmOf, 4, "ETH_SRC", Field::EthSrc),
    one(Class::NxmOf, 1, "ETH_DST", Field::EthDst),
    one(Class::OxmOf, 3, "ETH_DST", Field::EthDst),
    one(Class::NxmOf, 3, "ETH_TYPE", Field::EthType),
    one(Class::OxmOf, 5, "ETH_TYPE", Field::EthType),
    one(Class::NxmOf, 4, "VLAN_TCI", Field::VlanTci),
    one(Class::OxmOf, 6, "VLAN_VID", Field::VlanVid),
    one(Class::OxmOf, 7, "VLAN_PCP", Field::VlanPcp),
    one(Class::OxmOf, 34, "MPLS_LABEL", Field::MplsLabel),
    one(Class::OxmOf, 35, "MPLS_TC", Field::MplsTc),
    one(Class::OxmOf, 36, "MPLS_BOS", Field::MplsBos),
    one(Class::NxmNx, 30, "MPLS_TTL", Field::MplsTtl),
    one(Class::NxmOf, 7, "IP_SRC", Field::IpSrc),
    one(Class::OxmOf, 11, "IPV4_SRC", Field::IpSrc),
    one(Class::NxmOf, 8, "IP_DST", Field::IpDst),
    one(Class::OxmOf, 12, "IPV4_DST", Field::IpDst),
    one(Class::NxmNx, 19, "IPV6_SRC", Field::Ipv6Src),
    one(Class::OxmOf, 26, "IPV6_SRC", Field::Ipv6Src),
    one(Class::NxmNx, 20, "IPV6_DST", Field::Ipv6Dst),
    one(Class::OxmOf, 27, "IPV6_DST", Field::Ipv6Dst),
    one(Class::NxmNx, 27, "IPV6_LABEL", Field::Ipv6Label),
    one(Class::OxmOf, 28, "IPV6_FLABEL", Field::Ipv6Label),
    one(Class::NxmOf, 6, "IP_PROTO", Field::NwProto),
    one(Class::OxmOf, 10, "IP_PROTO", Field::NwProto),
    one(Class::NxmOf, 5, "IP_TOS", Field::NwTos),
    one(Class::OxmOf, 8, "IP_DSCP", Field::IpDscp),
    one(Class::NxmNx, 28, "IP_ECN", Field::NwEcn),
    one(Class::OxmOf, 9, "IP_ECN", Field::NwEcn),
    one(Class::NxmNx, 29, "IP_TTL", Field::NwTtl),
    one(Class::NxmNx, 26, "IP_FRAG", Field::IpFrag),
    one(Class::NxmOf, 15, "ARP_OP", Field::ArpOp),
    one(Class::OxmOf, 21, "ARP_OP", Field::ArpOp),
    one(Class::NxmOf, 16, "ARP_SPA", Field::ArpSpa),
    one(Class::OxmOf, 22, "ARP_SPA", Field::ArpSpa),
    one(Class::NxmOf, 17, "ARP_TPA", Field::ArpTpa),
    one(Class::OxmOf, 23, "ARP_TPA", Field::ArpTpa),
    one(Class::NxmNx, 17, "ARP_SHA", Field::ArpSha),
    one(Class::OxmOf, 24, "ARP_SHA", Field::ArpSha),
    one(Class::NxmNx, 18, "ARP_THA", Field::ArpTha),
    one(Class::OxmOf, 25, "ARP_THA", Field::ArpTha),
    one(Class::NxmOf, 9, "TCP_SRC", Field::TcpSrc),
    one(Class::OxmOf, 13, "TCP_SRC", Field::TcpSrc),
    one(Class::NxmOf, 10, "TCP_DST", Field::TcpDst),
    one(Class::OxmOf, 14, "TCP_DST", Field::TcpDst),
    one(Class::NxmNx, 34, "TCP_FLAGS", Field::TcpFlags),
    one(Class::OnfoxmEt, 42, "TCP_FLAGS", Field::TcpFlags),
    one(Class::OxmOf, 42, "TCP_FLAGS", Field::TcpFlags),
    one(Class::NxmOf, 11, "UDP_SRC", Field::UdpSrc),
    one(Class::OxmOf, 15, "UDP_SRC", Field::UdpSrc),
    one(Class::NxmOf, 12, "UDP_DST", Field::UdpDst),
    one(Class::OxmOf, 16, "UDP_DST", Field::UdpDst),
    one(Class::OxmOf, 17, "SCTP_SRC", Field::SctpSrc),
    one(Class::OxmOf, 18, "SCTP_DST", Field::SctpDst),
    one(Class::NxmOf, 13, "ICMP_TYPE", Field::IcmpType),
    one(Class::OxmOf, 19, "ICMPV4_TYPE", Field::IcmpType),
    one(Class::NxmOf, 14, "ICMP_CODE", Field::IcmpCode),
    one(Class::OxmOf, 20, "ICMPV4_CODE", Field::IcmpCode),
    one(Class::NxmNx, 21, "ICMPV6_TYPE", Field::Icmpv6Type),
    one(Class::OxmOf, 29, "ICMPV6_TYPE", Field::Icmpv6Type),
    one(Class::NxmNx, 22, "ICMPV6_CODE", Field::Icmpv6Code),
    one(Class::OxmOf, 30, "ICMPV6_CODE", Field::Icmpv6Code),
    one(Class::NxmNx, 23, "ND_TARGET", Field::NdTarget),
    one(Class::OxmOf, 31, "IPV6_ND_TARGET", Field::NdTarget),
    one(Class::NxmNx, 24, "ND_SLL", Field::NdSll),
    one(Class::OxmOf, 32, "IPV6_ND_SLL", Field::NdSll),
    one(Class::NxmNx, 25, "ND_TLL", Field::NdTll),
    one(Class::OxmOf, 33, "IPV6_ND_TLL", Field::NdTll),
    one(Class::Ericsson, 1, "ICMPV6_ND_RESERVED", Field::NdReserved),
    one(Class::Ericsson, 2, "ICMPV6_ND_OPTIONS_TYPE", Field::NdOptionsType),
    one(Class::NxoxmNsh, 1, "FLAGS", Field::NshFlags),
    one(Class::NxoxmNsh, 2, "MDTYPE", Field::NshMdtype),
    one(Class::NxoxmNsh, 3, "NP", Field::NshNp),
    one(Class::NxoxmNsh, 4, "SPI", Field::NshSpi),
    one(Class::NxoxmNsh, 5, "SI", Field::NshSi),
    one(Class::NxoxmNsh, 10, "TTL", Field::NshTtl),
];

/// The words of `ovs-ofctl` that are neither the field's own name nor one of its headers'.
const ALIASES: [(&str, Field); 20] = [
    ("dl_src", Field::EthSrc),
    ("dl_dst", Field::EthDst),
    ("dl_type", Field::EthType),
    ("nw_src", Field::IpSrc),
    ("nw_dst", Field::IpDst),
    ("ip_proto", Field::NwProto),
    ("nw_frag", Field::IpFrag),
    ("ip_ecn", Field::NwEcn),
    ("ip_ttl", Field::NwTtl),
    ("tunnel_id", Field::TunId),
    ("icmpv4_type", Field::IcmpType),
    ("icmpv4_code", Field::IcmpCode),
    ("icmp6_type", Field::Icmpv6Type),
    ("icmp6_code", Field::Icmpv6Code),
    ("ipv4_src", Field::IpSrc),
    ("ipv4_dst", Field::IpDst),
    ("ipv6_flabel", Field::Ipv6Label),
    ("gtpu_flags", Field::TunGtpuFlags),
    ("gtpu_msgtype", Field::TunGtpuMsgtype),
    ("dl_vlan_pcp", Field::VlanPcp),
];

/// The fields whose own name carries no number.
pub(crate) const PLAIN_FIELDS: [Field; 85] = [
    Field::PktMark,
    Field::RecircId,
    Field::DpHash,
    Field::ConjId,
    Field::SkbPriority,
    Field::ActsetOutput,
    Field::CtState,
    Field::CtZone,
    Field::CtMark,
    Field::CtLabel,
    Field::CtNwSrc,
    Field::CtIpv6Src,
    Field::CtNwDst,
    Field::CtIpv6Dst,
    Field::CtNwProto,
    Field::CtTpSrc,
    Field::CtTpDst,
    Field::PacketType,
    Field::EthType,
    Field::TunId,
    Field::TunSrc,
    Field::TunDst,
    Field::TunIpv6Src,
    Field::TunIpv6Dst,
    Field::TunGbpId,
    Field::TunGbpFlags,
    Field::TunErspanVer,
    Field::TunErspanIdx,
    Field::TunErspanDir,
    Field::TunErspanHwid,
    Field::TunGtpuFlags,
    Field::TunGtpuMsgtype,
    Field::TunTos,
    Field::TunTtl,
    Field::TunFlags,
    Field::Metadata,
    Field::InPort,
    Field::InPortOxm,
    Field::VlanTci,
    Field::VlanVid,
    Field::VlanPcp,
    Field::EthSrc,
    Field::EthDst,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Label,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::NshFlags,
    Field::NshTtl,
    Field::NshMdtype,
    Field::NshNp,
    Field::NshSpi,
    Field::NshSi,
    Field::IpSrc,
    Field::IpDst,
    Field::NwProto,
    Field::ArpOp,
    Field::ArpSha,
    Field::ArpTha,
    Field::NwTos,
    Field::IpDscp,
    Field::NwEcn,
    Field::NwTtl,
    Field::MplsLabel,
    Field::MplsTc,
    Field::MplsTtl,
    Field::MplsBos,
    Field::IpFrag,
    Field::IcmpType,
    Field::IcmpCode,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
    Field::NdTarget,
    Field::NdSll,
    Field::NdTll,
    Field::NdReserved,
    Field::NdOptionsType,
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::SctpSrc,
    Field::SctpDst,
    Field::TcpFlags,
];

/// A kind of field that comes in numbers: the first number, and how many there are.
type Numbered = (fn(u8) -> Field, u8, u8);

const NUMBERED: [Numbered; 5] = [
    (Field::Reg, 0, 32),
    (Field::XReg, 0, 16),
    (Field::XxReg, 0, 8),
    (Field::TunMetadata, 0, 64),
    (Field::NshC, 1, 4),
];

impl Field {
    /// The field with this name: its own, an alias of `ovs-ofctl`, or that of one of its headers.
    pub fn from_name(name: &str) -> Option<Field> {
        plain_name(name).or_else(|| numbered_name(name)).or_else(|| header_name(name))
    }

    /// The field with this header.
    pub(crate) fn from_header(class: Class, number: u8) -> Option<Field> {
        from_family(class, number).or_else(|| {
            ENCODINGS
                .iter()
                .find(|known| known.class == class && known.number == number)
                .map(|known| known.field)
        })
    }

    /// The name that OVS prints in `load`, `move`, `push` and their like: that of the oldest header.
    pub(crate) fn header_name(self) -> String {
        if let Some(known) = ENCODINGS.iter().find(|known| known.field == self) {
            return format!("{}{}", known.class.prefix(), known.name);
        }
        let Some(index) = self.index() else { return self.to_string() };
        match FAMILIES.iter().find(|family| family.has(self, index)) {
            Some(family) => format!("{}{}{index}", family.class.prefix(), family.name),
            None => self.to_string(),
        }
    }

    /// How many bytes a value has on the wire; `None` where each option has its own length.
    pub(crate) const fn wire_len(self) -> Option<usize> {
        match self {
            Field::TunMetadata(_) => None,
            Field::TunFlags => Some(2),
            Field::ActsetOutput => Some(4),
            _ => Some(match self.bits() {
                0..=8 => 1,
                9..=16 => 2,
                17..=32 => 4,
                33..=48 => 6,
                49..=64 => 8,
                _ => 16,
            }),
        }
    }
}

impl Family {
    fn has(&self, field: Field, index: u8) -> bool {
        (self.field)(index) == field && self.covers(index)
    }

    fn covers(&self, index: u8) -> bool {
        (self.first_index..self.first_index + self.count).contains(&index)
    }
}

fn plain_name(name: &str) -> Option<Field> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, field)| *field);
    alias.or_else(|| PLAIN_FIELDS.into_iter().find(|field| field.info().name == name))
}

fn numbered_name(name: &str) -> Option<Field> {
    let (stem, number) = split_number(name)?;
    let (field, first, count) =
        NUMBERED.into_iter().find(|(field, first, _)| field(*first).info().name == stem)?;
    (first..first + count).contains(&number).then(|| field(number))
}

fn header_name(name: &str) -> Option<Field> {
    let name = name.strip_suffix("_W").unwrap_or(name);
    let class = Class::ALL.into_iter().filter(|class| name.starts_with(class.prefix()));
    class.filter_map(|class| header_of_class(class, name.strip_prefix(class.prefix())?)).next()
}

fn header_of_class(class: Class, rest: &str) -> Option<Field> {
    let known = ENCODINGS.iter().find(|known| known.class == class && known.name == rest);
    if let Some(known) = known {
        return Some(known.field);
    }
    let (stem, number) = split_number(rest)?;
    let family = FAMILIES.iter().find(|family| family.class == class && family.name == stem)?;
    family.covers(number).then(|| (family.field)(number))
}

fn from_family(class: Class, number: u8) -> Option<Field> {
    let family = FAMILIES.iter().find(|family| {
        family.class == class
            && (family.first_number..family.first_number + family.count).contains(&number)
    })?;
    Some((family.field)(number - family.first_number + family.first_index))
}

/// `reg13` is `reg` and 13. A number with leading zeros is none of ours.
fn split_number(name: &str) -> Option<(&str, u8)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.strip_prefix(stem)?;
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((stem, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_is_read_back_from_its_name_and_number() {
        for known in &ENCODINGS {
            let name = format!("{}{}", known.class.prefix(), known.name);
            assert_eq!(Field::from_name(&name), Some(known.field), "{name}");
            assert_eq!(Field::from_header(known.class, known.number), Some(known.field), "{name}");
        }
    }

    #[test]
    fn every_field_is_found_by_its_own_name() {
        let numbered = NUMBERED
            .into_iter()
            .flat_map(|(field, first, count)| (first..first + count).map(field));
        for field in PLAIN_FIELDS.into_iter().chain(numbered) {
            assert_eq!(Field::from_name(&field.to_string()), Some(field));
        }
    }

    #[test]
    fn actions_name_a_field_by_its_oldest_header() {
        let name = |field: Field| field.header_name();
        assert_eq!(name(Field::TunId), "NXM_NX_TUN_ID");
        assert_eq!(name(Field::Metadata), "OXM_OF_METADATA");
        assert_eq!(name(Field::Reg(20)), "NXOXM_ET_REG20");
        assert_eq!(name(Field::XxReg(1)), "NXM_NX_XXREG1");
    }

    #[test]
    fn a_register_that_does_not_exist_has_no_field() {
        assert_eq!(Field::from_name("reg32"), None);
        assert_eq!(Field::from_name("reg01"), None);
        assert_eq!(Field::from_name("NXM_NX_REG16"), None);
    }
}
