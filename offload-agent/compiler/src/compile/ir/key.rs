//! What a flower filter can ask of a packet, as a map from field to value and mask.
//!
//! The passes compare, widen and narrow matches all the time; over a sorted list these are four small functions. `lower` turns a
//! [`Key`] into TC's own structures.

use std::fmt::{self, Display};

use crate::openflow::Masked;

/// A field as flower's dissector sees it. The names are those of `tc flower`.
///
/// It sees other things than OVS does where [`KeyField::EthType`] (SNAP, QinQ), fragments, IPv6 extension headers and
/// ARP are concerned; the `split` pass is where the two views meet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KeyField {
    /// The EtherType of the outer VLAN tag; [`UNTAGGED`] when there is no tag.
    Tpid,
    /// The id of the outer VLAN tag.
    VlanId,
    /// The priority of the outer VLAN tag.
    VlanPrio,
    /// What follows the addresses or the outer tag: an EtherType, [`LLC`] or [`RAW_802_3`].
    EthType,
    /// Destination address.
    DstMac,
    /// Source address.
    SrcMac,
    /// The protocol above IP.
    IpProto,
    /// Type of service or traffic class, with the ECN bits.
    IpTos,
    /// Time to live or hop limit.
    IpTtl,
    /// 1 for every fragment.
    Frag,
    /// 1 for the first fragment.
    FirstFrag,
    /// IPv4 source.
    Ipv4Src,
    /// IPv4 destination.
    Ipv4Dst,
    /// IPv6 source.
    Ipv6Src,
    /// IPv6 destination.
    Ipv6Dst,
    /// Source port of TCP, UDP or SCTP.
    SrcPort,
    /// Destination port of TCP, UDP or SCTP.
    DstPort,
    /// The twelve flag bits of TCP.
    TcpFlags,
    /// Type of ICMP or ICMPv6.
    IcmpType,
    /// Code of ICMP or ICMPv6.
    IcmpCode,
    /// ARP operation.
    ArpOp,
    /// ARP sender's address.
    ArpSip,
    /// ARP target's address.
    ArpTip,
    /// ARP sender's Ethernet address.
    ArpSha,
    /// ARP target's Ethernet address.
    ArpTha,
    /// What connection tracking found, as `TCA_FLOWER_KEY_CT_FLAGS_*`.
    CtState,
    /// The connection's mark.
    CtMark,
    /// The connection's label.
    CtLabel,
    /// The key of the tunnel the packet came by.
    EncKeyId,
    /// Outer IPv4 source.
    EncIpv4Src,
    /// Outer IPv4 destination.
    EncIpv4Dst,
    /// Outer IPv6 source.
    EncIpv6Src,
    /// Outer IPv6 destination.
    EncIpv6Dst,
    /// The value of the bridge's first Geneve option, the only one a packet may carry.
    EncOption,
    /// 1 where a packet carries the bridge's first Geneve option alone, whatever its value. A card that can match the value can match that.
    OneOption,
}

/// [`KeyField::Tpid`] of a packet without a VLAN tag.
pub const UNTAGGED: u128 = 0;
/// The EtherTypes of tags that both OVS and flower know: 802.1Q and 802.1ad. Neither field nor action of OpenFlow tells
/// them apart, so a match on a tag is a match on either.
pub const TAG_TYPES: [u128; 2] = [0x8100, 0x88a8];
/// [`KeyField::EthType`] of a frame with a length and an LLC header (`ETH_P_802_2`), SNAP included.
pub const LLC: u128 = 0x0004;
/// [`KeyField::EthType`] of a frame with a length and no LLC header (`ETH_P_802_3`).
pub const RAW_802_3: u128 = 0x0001;

impl KeyField {
    /// Every field, in the order of the enum.
    pub const ALL: [KeyField; 34] = [
        KeyField::Tpid,
        KeyField::VlanId,
        KeyField::VlanPrio,
        KeyField::EthType,
        KeyField::DstMac,
        KeyField::SrcMac,
        KeyField::IpProto,
        KeyField::IpTos,
        KeyField::IpTtl,
        KeyField::Frag,
        KeyField::FirstFrag,
        KeyField::Ipv4Src,
        KeyField::Ipv4Dst,
        KeyField::Ipv6Src,
        KeyField::Ipv6Dst,
        KeyField::SrcPort,
        KeyField::DstPort,
        KeyField::TcpFlags,
        KeyField::IcmpType,
        KeyField::IcmpCode,
        KeyField::ArpOp,
        KeyField::ArpSip,
        KeyField::ArpTip,
        KeyField::ArpSha,
        KeyField::ArpTha,
        KeyField::CtState,
        KeyField::CtMark,
        KeyField::CtLabel,
        KeyField::EncKeyId,
        KeyField::EncIpv4Src,
        KeyField::EncIpv4Dst,
        KeyField::EncIpv6Src,
        KeyField::EncIpv6Dst,
        KeyField::EncOption,
    ];

    /// The field's name in `tc flower`, which is also its name in a capabilities file.
    pub const fn name(self) -> &'static str {
        match self {
            KeyField::Tpid => "tpid",
            KeyField::VlanId => "vlan_id",
            KeyField::VlanPrio => "vlan_prio",
            KeyField::EthType => "eth_type",
            KeyField::DstMac => "dst_mac",
            KeyField::SrcMac => "src_mac",
            KeyField::IpProto => "ip_proto",
            KeyField::IpTos => "ip_tos",
            KeyField::IpTtl => "ip_ttl",
            KeyField::Frag => "frag",
            KeyField::FirstFrag => "first_frag",
            KeyField::Ipv4Src => "ipv4_src",
            KeyField::Ipv4Dst => "ipv4_dst",
            KeyField::Ipv6Src => "ipv6_src",
            KeyField::Ipv6Dst => "ipv6_dst",
            KeyField::SrcPort => "src_port",
            KeyField::DstPort => "dst_port",
            KeyField::TcpFlags => "tcp_flags",
            KeyField::IcmpType => "icmp_type",
            KeyField::IcmpCode => "icmp_code",
            KeyField::ArpOp => "arp_op",
            KeyField::ArpSip => "arp_sip",
            KeyField::ArpTip => "arp_tip",
            KeyField::ArpSha => "arp_sha",
            KeyField::ArpTha => "arp_tha",
            KeyField::CtState => "ct_state",
            KeyField::CtMark => "ct_mark",
            KeyField::CtLabel => "ct_label",
            KeyField::EncKeyId => "enc_key_id",
            KeyField::EncIpv4Src => "enc_ipv4_src",
            KeyField::EncIpv4Dst => "enc_ipv4_dst",
            KeyField::EncIpv6Src => "enc_ipv6_src",
            KeyField::EncIpv6Dst => "enc_ipv6_dst",
            KeyField::EncOption => "enc_option",
            KeyField::OneOption => "one_option",
        }
    }

    /// The mask that covers the whole field.
    pub const fn full_mask(self) -> u128 {
        use crate::openflow::low_bits;
        match self {
            KeyField::Frag | KeyField::FirstFrag => 1,
            KeyField::VlanPrio => 7,
            KeyField::VlanId | KeyField::TcpFlags => 0xfff,
            KeyField::IpProto
            | KeyField::IpTos
            | KeyField::IpTtl
            | KeyField::IcmpType
            | KeyField::IcmpCode
            | KeyField::ArpOp => 0xff,
            KeyField::Tpid | KeyField::EthType | KeyField::SrcPort | KeyField::DstPort => 0xffff,
            KeyField::CtState => 0x3f,
            KeyField::Ipv4Src
            | KeyField::Ipv4Dst
            | KeyField::ArpSip
            | KeyField::ArpTip
            | KeyField::CtMark
            | KeyField::EncKeyId
            | KeyField::EncIpv4Src
            | KeyField::EncIpv4Dst => low_bits(32),
            KeyField::CtLabel
            | KeyField::EncIpv6Src
            | KeyField::EncIpv6Dst
            | KeyField::EncOption => u128::MAX,
            KeyField::OneOption => 1,
            KeyField::DstMac | KeyField::SrcMac | KeyField::ArpSha | KeyField::ArpTha => {
                low_bits(48)
            }
            KeyField::Ipv6Src | KeyField::Ipv6Dst => u128::MAX,
        }
    }
}

impl fmt::Display for KeyField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which packets a filter takes: those that agree in every field named.
///
/// Keys are compared far more often than they are changed, so the fields are a sorted list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<(KeyField, Masked)>);

impl Key {
    /// Every packet.
    pub fn any() -> Key {
        Key::default()
    }

    /// This key, and one field exactly.
    #[must_use]
    pub fn with(self, field: KeyField, value: u128) -> Key {
        self.with_masked(field, Masked::new(value, field.full_mask()))
    }

    /// This key, and some bits of one field. A mask without a bit leaves the key as it is.
    #[must_use]
    pub fn with_masked(mut self, field: KeyField, masked: Masked) -> Key {
        match self.position(field) {
            _ if masked.mask == 0 => {}
            Ok(at) => self.0[at].1 = masked,
            Err(at) => self.0.insert(at, (field, masked)),
        }
        self
    }

    /// This key without one field: it takes more packets, or the same.
    #[must_use]
    pub fn without(mut self, field: KeyField) -> Key {
        if let Ok(at) = self.position(field) {
            self.0.remove(at);
        }
        self
    }

    /// What the key asks of one field.
    pub fn get(&self, field: KeyField) -> Option<Masked> {
        self.position(field).ok().map(|at| self.0[at].1)
    }

    fn position(&self, field: KeyField) -> Result<usize, usize> {
        self.0.binary_search_by_key(&field, |(known, _)| *known)
    }

    /// What one field must be, where every bit of it counts.
    pub fn exact(&self, field: KeyField) -> Option<u128> {
        self.get(field).filter(|masked| masked.mask == field.full_mask()).map(|masked| masked.value)
    }

    /// The fields the key names, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (KeyField, Masked)> {
        self.0.iter().copied()
    }

    /// What matches both; `None` if nothing can.
    pub fn and(&self, other: &Key) -> Option<Key> {
        if !self.overlaps(other) {
            return None;
        }
        let mut both = Vec::with_capacity(self.0.len() + other.0.len());
        let mut theirs = other.0.iter().copied().peekable();
        for (field, masked) in self.fields() {
            both.extend(std::iter::from_fn(|| theirs.next_if(|(other, _)| *other < field)));
            let same = theirs.next_if(|(other, _)| *other == field);
            let other = same.map_or(masked, |(_, other)| other);
            let value = masked.value | other.value;
            both.push((field, Masked { value, mask: masked.mask | other.mask }));
        }
        both.extend(theirs);
        Some(Key(both))
    }

    /// This key with only some of its fields.
    #[must_use]
    pub fn only(&self, keep: impl Fn(KeyField) -> bool) -> Key {
        Key(self.fields().filter(|(field, _)| keep(*field)).collect())
    }

    /// Whether some packet could match both. Never wrongly false.
    pub fn overlaps(&self, other: &Key) -> bool {
        let mut theirs = other.0.iter().peekable();
        self.0.iter().all(|(field, ours)| {
            while theirs.next_if(|(other, _)| other < field).is_some() {}
            let same = theirs.next_if(|(other, _)| other == field);
            same.is_none_or(|(_, theirs)| {
                (ours.value ^ theirs.value) & ours.mask & theirs.mask == 0
            })
        })
    }

    /// Whether every packet of `other` matches this too. Never wrongly true.
    pub fn covers(&self, other: &Key) -> bool {
        let mut theirs = other.0.iter().peekable();
        self.0.iter().all(|(field, ours)| {
            while theirs.next_if(|(other, _)| other < field).is_some() {}
            let same = theirs.next_if(|(other, _)| other == field);
            same.is_some_and(|(_, theirs)| {
                theirs.mask & ours.mask == ours.mask && ours.covers(theirs.value)
            })
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any");
        }
        for (at, (field, masked)) in self.fields().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{field}={}", FieldText(field, masked))?;
        }
        Ok(())
    }
}

/// A field's value as people write it.
struct FieldText(KeyField, Masked);

impl fmt::Display for FieldText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldText(field, masked) = self;
        match (field, masked.value) {
            (KeyField::Tpid, UNTAGGED) => return f.write_str("none"),
            (KeyField::EthType, LLC) => return f.write_str("802_2"),
            (KeyField::EthType, RAW_802_3) => return f.write_str("802_3"),
            _ => number(*field, masked.value, f)?,
        }
        if masked.mask == field.full_mask() {
            return Ok(());
        }
        f.write_str("/")?;
        number(*field, masked.mask, f)
    }
}

fn number(field: KeyField, value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match field {
        KeyField::DstMac | KeyField::SrcMac | KeyField::ArpSha | KeyField::ArpTha => mac(value, f),
        KeyField::Ipv4Src
        | KeyField::Ipv4Dst
        | KeyField::ArpSip
        | KeyField::ArpTip
        | KeyField::EncIpv4Src
        | KeyField::EncIpv4Dst => {
            std::net::Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).fmt(f)
        }
        KeyField::Ipv6Src | KeyField::Ipv6Dst | KeyField::EncIpv6Src | KeyField::EncIpv6Dst => {
            std::net::Ipv6Addr::from(value).fmt(f)
        }
        KeyField::CtState => ct_state(value, f),
        KeyField::Tpid
        | KeyField::EthType
        | KeyField::IpTos
        | KeyField::TcpFlags
        | KeyField::CtMark
        | KeyField::CtLabel
        | KeyField::EncKeyId
        | KeyField::EncOption
        | KeyField::OneOption => {
            write!(f, "{value:#x}")
        }
        KeyField::VlanId
        | KeyField::VlanPrio
        | KeyField::IpProto
        | KeyField::IpTtl
        | KeyField::Frag
        | KeyField::FirstFrag
        | KeyField::SrcPort
        | KeyField::DstPort
        | KeyField::IcmpType
        | KeyField::IcmpCode
        | KeyField::ArpOp => value.fmt(f),
    }
}

/// The names of the state's bits.
fn ct_state(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const NAMES: [(u128, &str); 6] =
        [(8, "trk"), (1, "new"), (2, "est"), (4, "rel"), (16, "inv"), (32, "rpl")];
    let names = NAMES.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name);
    f.write_str(&names.collect::<Vec<_>>().join("+"))
}

fn mac(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [.., a, b, c, d, e, g] = value.to_be_bytes();
    write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(value: u128, bits: u32) -> Key {
        let mask = u128::from(u32::MAX << (32 - bits));
        Key::any().with_masked(KeyField::Ipv4Dst, Masked::new(value, mask))
    }

    #[test]
    fn a_network_covers_its_hosts_and_overlaps_its_parent() {
        let (wide, narrow) = (net(0x0a00_0000, 8), net(0x0a01_0000, 16));
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
        assert!(!narrow.overlaps(&net(0x0a02_0000, 16)));
    }

    #[test]
    fn keys_over_different_fields_overlap_and_neither_covers() {
        let vlan = Key::any().with(KeyField::VlanId, 7);
        let mac = Key::any().with(KeyField::DstMac, 1);
        assert!(vlan.overlaps(&mac));
        assert!(!vlan.covers(&mac) && !mac.covers(&vlan));
    }

    #[test]
    fn it_reads_like_the_field() {
        let key = net(0x0a00_0000, 8).with(KeyField::Tpid, UNTAGGED).with(KeyField::EthType, LLC);
        assert_eq!(key.to_string(), "tpid=none,eth_type=802_2,ipv4_dst=10.0.0.0/255.0.0.0");
    }
}
