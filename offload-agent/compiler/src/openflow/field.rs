//! Every match field of Open vSwitch: its width, whether it can be masked, what must be matched before it, and whether an
//! action may write it.
//!
//! The order of the enum is the order in which OVS prints a match, so a sorted match prints as OVS prints it.

use std::fmt;

/// A field of a packet, of its metadata, or of the pipeline's own registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is the OVS field of the same name; `Field::info` is their table"
)]
pub enum Field {
    PktMark,
    RecircId,
    DpHash,
    ConjId,
    SkbPriority,
    ActsetOutput,
    CtState,
    CtZone,
    CtMark,
    CtLabel,
    CtNwSrc,
    CtIpv6Src,
    CtNwDst,
    CtIpv6Dst,
    CtNwProto,
    CtTpSrc,
    CtTpDst,
    PacketType,
    EthType,
    Reg(u8),
    XReg(u8),
    XxReg(u8),
    TunId,
    TunSrc,
    TunDst,
    TunIpv6Src,
    TunIpv6Dst,
    TunGbpId,
    TunGbpFlags,
    TunErspanVer,
    TunErspanIdx,
    TunErspanDir,
    TunErspanHwid,
    TunGtpuFlags,
    TunGtpuMsgtype,
    TunTos,
    TunTtl,
    TunFlags,
    TunMetadata(u8),
    Metadata,
    InPort,
    InPortOxm,
    VlanTci,
    VlanVid,
    VlanPcp,
    EthSrc,
    EthDst,
    Ipv6Src,
    Ipv6Dst,
    Ipv6Label,
    ArpSpa,
    ArpTpa,
    NshFlags,
    NshTtl,
    NshMdtype,
    NshNp,
    NshSpi,
    NshSi,
    NshC(u8),
    IpSrc,
    IpDst,
    NwProto,
    ArpOp,
    ArpSha,
    ArpTha,
    NwTos,
    IpDscp,
    NwEcn,
    NwTtl,
    MplsLabel,
    MplsTc,
    MplsTtl,
    MplsBos,
    IpFrag,
    IcmpType,
    IcmpCode,
    Icmpv6Type,
    Icmpv6Code,
    NdTarget,
    NdSll,
    NdTll,
    NdReserved,
    NdOptionsType,
    TcpSrc,
    TcpDst,
    UdpSrc,
    UdpDst,
    SctpSrc,
    SctpDst,
    TcpFlags,
}

/// Which masks a match on a field may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskRule {
    /// Any bits of the field.
    Any,
    /// All of its bits or none.
    Exact,
}

/// What a match must already say before the field exists in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a protocol by its own name")]
pub enum Prerequisite {
    None,
    Ethernet,
    Vlan,
    Mpls,
    Ipv4,
    Ipv6,
    /// IPv4 or IPv6.
    Ip,
    Arp,
    Tcp,
    Udp,
    Sctp,
    Icmpv4,
    Icmpv6,
    /// A neighbour solicitation or advertisement.
    Nd,
    NdSolicit,
    NdAdvert,
    /// The packet has been through conntrack.
    Ct,
    Nsh,
}

/// How OVS writes a value of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is a notation by its usual name")]
pub enum Notation {
    Decimal,
    Hex,
    Mac,
    Ipv4,
    Ipv6,
    Port,
    CtState,
    TcpFlags,
    TunFlags,
    Frag,
    PacketType,
}

/// What is known of a field; see [`Field::info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// The name in `set_field`, without the number in `reg0`, `xreg0`, `xxreg0`, `tun_metadata0` and `nsh_c1`.
    pub name: &'static str,
    /// How many bits the field has; for `tun_metadata` the most that we keep (an option may have 124 bytes).
    pub bits: u16,
    /// Which masks a match may carry.
    pub mask: MaskRule,
    /// What a match must say before it may name this field.
    pub prerequisite: Prerequisite,
    /// Whether an action may write it.
    pub writable: bool,
    /// How its values are written.
    pub notation: Notation,
}

const fn row(
    name: &'static str,
    bits: u16,
    mask: MaskRule,
    prerequisite: Prerequisite,
    access: Access,
    notation: Notation,
) -> FieldInfo {
    FieldInfo { name, bits, mask, prerequisite, writable: matches!(access, Access::Rw), notation }
}

#[derive(Clone, Copy)]
enum Access {
    Ro,
    Rw,
}

impl Field {
    /// The table of fields: one row each.
    pub const fn info(self) -> FieldInfo {
        use Access::{Ro, Rw};
        use MaskRule::{Any, Exact};
        use Notation as N;
        use Prerequisite as P;
        match self {
            Field::PktMark => row("pkt_mark", 32, Any, P::None, Rw, N::Hex),
            Field::RecircId => row("recirc_id", 32, Exact, P::None, Ro, N::Hex),
            Field::DpHash => row("dp_hash", 32, Any, P::None, Ro, N::Hex),
            Field::ConjId => row("conj_id", 32, Exact, P::None, Ro, N::Decimal),
            Field::SkbPriority => row("skb_priority", 32, Exact, P::None, Ro, N::Hex),
            Field::ActsetOutput => row("actset_output", 16, Exact, P::None, Ro, N::Port),
            Field::CtState => row("ct_state", 32, Any, P::None, Ro, N::CtState),
            Field::CtZone => row("ct_zone", 16, Exact, P::None, Ro, N::Hex),
            Field::CtMark => row("ct_mark", 32, Any, P::None, Rw, N::Hex),
            Field::CtLabel => row("ct_label", 128, Any, P::None, Rw, N::Hex),
            Field::CtNwSrc => row("ct_nw_src", 32, Any, P::Ct, Ro, N::Ipv4),
            Field::CtIpv6Src => row("ct_ipv6_src", 128, Any, P::Ct, Ro, N::Ipv6),
            Field::CtNwDst => row("ct_nw_dst", 32, Any, P::Ct, Ro, N::Ipv4),
            Field::CtIpv6Dst => row("ct_ipv6_dst", 128, Any, P::Ct, Ro, N::Ipv6),
            Field::CtNwProto => row("ct_nw_proto", 8, Exact, P::Ct, Ro, N::Decimal),
            Field::CtTpSrc => row("ct_tp_src", 16, Any, P::Ct, Ro, N::Decimal),
            Field::CtTpDst => row("ct_tp_dst", 16, Any, P::Ct, Ro, N::Decimal),
            Field::PacketType => row("packet_type", 32, Exact, P::None, Ro, N::PacketType),
            Field::EthType => row("eth_type", 16, Exact, P::Ethernet, Ro, N::Hex),
            Field::Reg(_) => row("reg", 32, Any, P::None, Rw, N::Hex),
            Field::XReg(_) => row("xreg", 64, Any, P::None, Rw, N::Hex),
            Field::XxReg(_) => row("xxreg", 128, Any, P::None, Rw, N::Hex),
            Field::TunId => row("tun_id", 64, Any, P::None, Rw, N::Hex),
            Field::TunSrc => row("tun_src", 32, Any, P::None, Rw, N::Ipv4),
            Field::TunDst => row("tun_dst", 32, Any, P::None, Rw, N::Ipv4),
            Field::TunIpv6Src => row("tun_ipv6_src", 128, Any, P::None, Rw, N::Ipv6),
            Field::TunIpv6Dst => row("tun_ipv6_dst", 128, Any, P::None, Rw, N::Ipv6),
            Field::TunGbpId => row("tun_gbp_id", 16, Any, P::None, Rw, N::Decimal),
            Field::TunGbpFlags => row("tun_gbp_flags", 8, Any, P::None, Rw, N::Hex),
            Field::TunErspanVer => row("tun_erspan_ver", 4, Any, P::None, Rw, N::Decimal),
            Field::TunErspanIdx => row("tun_erspan_idx", 20, Any, P::None, Rw, N::Hex),
            Field::TunErspanDir => row("tun_erspan_dir", 1, Any, P::None, Rw, N::Decimal),
            Field::TunErspanHwid => row("tun_erspan_hwid", 6, Any, P::None, Rw, N::Hex),
            Field::TunGtpuFlags => row("tun_gtpu_flags", 8, Any, P::None, Ro, N::Hex),
            Field::TunGtpuMsgtype => row("tun_gtpu_msgtype", 8, Any, P::None, Ro, N::Decimal),
            Field::TunTos => row("tun_tos", 8, Exact, P::None, Ro, N::Hex),
            Field::TunTtl => row("tun_ttl", 8, Exact, P::None, Ro, N::Decimal),
            Field::TunFlags => row("tun_flags", 1, Any, P::None, Rw, N::TunFlags),
            Field::TunMetadata(_) => row("tun_metadata", 128, Any, P::None, Rw, N::Hex),
            Field::Metadata => row("metadata", 64, Any, P::None, Rw, N::Hex),
            Field::InPort => row("in_port", 16, Exact, P::None, Rw, N::Port),
            Field::InPortOxm => row("in_port_oxm", 32, Exact, P::None, Rw, N::Port),
            Field::VlanTci => row("vlan_tci", 16, Any, P::Ethernet, Rw, N::Hex),
            Field::VlanVid => row("vlan_vid", 12, Any, P::Ethernet, Rw, N::Decimal),
            Field::VlanPcp => row("vlan_pcp", 3, Exact, P::Vlan, Rw, N::Decimal),
            Field::EthSrc => row("eth_src", 48, Any, P::Ethernet, Rw, N::Mac),
            Field::EthDst => row("eth_dst", 48, Any, P::Ethernet, Rw, N::Mac),
            Field::Ipv6Src => row("ipv6_src", 128, Any, P::Ipv6, Rw, N::Ipv6),
            Field::Ipv6Dst => row("ipv6_dst", 128, Any, P::Ipv6, Rw, N::Ipv6),
            Field::Ipv6Label => row("ipv6_label", 20, Any, P::Ipv6, Rw, N::Hex),
            Field::ArpSpa => row("arp_spa", 32, Any, P::Arp, Rw, N::Ipv4),
            Field::ArpTpa => row("arp_tpa", 32, Any, P::Arp, Rw, N::Ipv4),
            Field::NshFlags => row("nsh_flags", 8, Any, P::Nsh, Rw, N::Decimal),
            Field::NshTtl => row("nsh_ttl", 8, Exact, P::Nsh, Rw, N::Decimal),
            Field::NshMdtype => row("nsh_mdtype", 8, Exact, P::Nsh, Ro, N::Decimal),
            Field::NshNp => row("nsh_np", 8, Exact, P::Nsh, Ro, N::Decimal),
            Field::NshSpi => row("nsh_spi", 24, Exact, P::Nsh, Rw, N::Hex),
            Field::NshSi => row("nsh_si", 8, Exact, P::Nsh, Rw, N::Decimal),
            Field::NshC(_) => row("nsh_c", 32, Any, P::Nsh, Rw, N::Hex),
            Field::IpSrc => row("ip_src", 32, Any, P::Ipv4, Rw, N::Ipv4),
            Field::IpDst => row("ip_dst", 32, Any, P::Ipv4, Rw, N::Ipv4),
            Field::NwProto => row("nw_proto", 8, Exact, P::Ip, Ro, N::Decimal),
            Field::ArpOp => row("arp_op", 16, Exact, P::Arp, Rw, N::Decimal),
            Field::ArpSha => row("arp_sha", 48, Any, P::Arp, Rw, N::Mac),
            Field::ArpTha => row("arp_tha", 48, Any, P::Arp, Rw, N::Mac),
            Field::NwTos => row("nw_tos", 8, Exact, P::Ip, Rw, N::Decimal),
            Field::IpDscp => row("ip_dscp", 6, Exact, P::Ip, Rw, N::Decimal),
            Field::NwEcn => row("nw_ecn", 2, Exact, P::Ip, Rw, N::Decimal),
            Field::NwTtl => row("nw_ttl", 8, Exact, P::Ip, Rw, N::Decimal),
            Field::MplsLabel => row("mpls_label", 20, Exact, P::Mpls, Rw, N::Decimal),
            Field::MplsTc => row("mpls_tc", 3, Exact, P::Mpls, Rw, N::Decimal),
            Field::MplsTtl => row("mpls_ttl", 8, Exact, P::Mpls, Rw, N::Decimal),
            Field::MplsBos => row("mpls_bos", 1, Exact, P::Mpls, Ro, N::Decimal),
            Field::IpFrag => row("ip_frag", 2, Any, P::Ip, Ro, N::Frag),
            Field::IcmpType => row("icmp_type", 8, Exact, P::Icmpv4, Rw, N::Decimal),
            Field::IcmpCode => row("icmp_code", 8, Exact, P::Icmpv4, Rw, N::Decimal),
            Field::Icmpv6Type => row("icmpv6_type", 8, Exact, P::Icmpv6, Rw, N::Decimal),
            Field::Icmpv6Code => row("icmpv6_code", 8, Exact, P::Icmpv6, Rw, N::Decimal),
            Field::NdTarget => row("nd_target", 128, Any, P::Nd, Rw, N::Ipv6),
            Field::NdSll => row("nd_sll", 48, Any, P::NdSolicit, Rw, N::Mac),
            Field::NdTll => row("nd_tll", 48, Any, P::NdAdvert, Rw, N::Mac),
            Field::NdReserved => row("nd_reserved", 32, Exact, P::Nd, Rw, N::Decimal),
            Field::NdOptionsType => row("nd_options_type", 8, Exact, P::Nd, Rw, N::Decimal),
            Field::TcpSrc => row("tcp_src", 16, Any, P::Tcp, Rw, N::Decimal),
            Field::TcpDst => row("tcp_dst", 16, Any, P::Tcp, Rw, N::Decimal),
            Field::UdpSrc => row("udp_src", 16, Any, P::Udp, Rw, N::Decimal),
            Field::UdpDst => row("udp_dst", 16, Any, P::Udp, Rw, N::Decimal),
            Field::SctpSrc => row("sctp_src", 16, Any, P::Sctp, Rw, N::Decimal),
            Field::SctpDst => row("sctp_dst", 16, Any, P::Sctp, Rw, N::Decimal),
            Field::TcpFlags => row("tcp_flags", 12, Any, P::Tcp, Ro, N::TcpFlags),
        }
    }

    /// How many bits the field has.
    pub const fn bits(self) -> u16 {
        self.info().bits
    }

    /// The mask that covers every bit of the field: an exact match.
    pub const fn full_mask(self) -> u128 {
        match self {
            // OVS stores the whole TOS byte and `nw_tos` names its upper six bits; `nw_ecn` is the rest.
            Field::NwTos => 0xfc,
            // The wire has 32 bits for the connection's state, of which eight exist.
            Field::CtState => 0xff,
            // The bit above the 12 of the VLAN says that there is a tag.
            Field::VlanVid => 0x1fff,
            _ => low_bits(self.bits()),
        }
    }

    /// The number in `reg3`, `xreg3`, `xxreg3`, `tun_metadata3` or `nsh_c3`.
    pub const fn index(self) -> Option<u8> {
        match self {
            Field::Reg(n)
            | Field::XReg(n)
            | Field::XxReg(n)
            | Field::TunMetadata(n)
            | Field::NshC(n) => Some(n),
            _ => None,
        }
    }

    /// Whether the field lives in the pipeline only: no packet ever carries it.
    pub const fn is_register(self) -> bool {
        matches!(self, Field::Reg(_) | Field::XReg(_) | Field::XxReg(_) | Field::Metadata)
    }
}

/// The `n` lowest bits set, for `n` up to 128.
pub const fn low_bits(n: u16) -> u128 {
    if n >= 128 { u128::MAX } else { (1 << n) - 1 }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)?;
        match self.index() {
            Some(n) => n.fmt(f),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_field_carries_its_number_in_its_name() {
        assert_eq!(Field::Reg(13).to_string(), "reg13");
        assert_eq!(Field::EthSrc.to_string(), "eth_src");
    }

    #[test]
    fn the_full_mask_is_as_wide_as_the_field() {
        assert_eq!(Field::EthSrc.full_mask(), 0xffff_ffff_ffff);
        assert_eq!(Field::CtLabel.full_mask(), u128::MAX);
        assert_eq!(Field::NwTos.full_mask(), 0xfc, "the ECN bits belong to nw_ecn");
    }
}
