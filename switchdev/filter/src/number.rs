//! The numbers of TC, each with its own type, so that a chain is never taken for a prio.
//!
//! Numbers with a range are checked once, where they are made. Numbers that may hold any value
//! have a public field.

use std::fmt;

/// A number outside the range its kind allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is out of range: it must be {from} to {to}")]
pub struct OutOfRange {
    /// What the number was to be.
    pub what: &'static str,
    /// The number that was given.
    pub value: u64,
    /// The lowest that is right.
    pub from: u64,
    /// The highest that is right.
    pub to: u64,
}

/// A wrapper whose every value is right.
macro_rules! any_number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A wrapper with a range, checked by `new`.
macro_rules! ranged_number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $what:literal, $from:literal..=$to:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// The lowest value.
            pub const MIN: Self = Self($from);
            /// The highest value.
            pub const MAX: Self = Self($to);

            /// Checks the range.
            ///
            /// # Errors
            /// [`OutOfRange`] names the number and what would be right.
            #[allow(clippy::absurd_extreme_comparisons, unused_comparisons,
                reason = "the lower bound of some ranges is 0")]
            pub const fn new(value: $inner) -> Result<Self, OutOfRange> {
                if value >= $from && value <= $to {
                    return Ok(Self(value));
                }
                Err(OutOfRange { what: $what, value: value as u64, from: $from, to: $to })
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = OutOfRange;

            fn try_from(value: $inner) -> Result<Self, OutOfRange> {
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

any_number! {
    /// A network device by its index in one network namespace.
    IfIndex(u32)
}

any_number! {
    /// A filter block shared by several devices.
    BlockId(u32)
}

any_number! {
    /// The key of a tunnel: a VXLAN or Geneve VNI, a GRE key. Flower knows 32 bits and no mask.
    TunnelKeyId(u32)
}

any_number! {
    /// A connection tracking zone; 0 is the kernel's own.
    CtZone(u16)
}

any_number! {
    /// The protocol above IP.
    IpProto(u8)
}

any_number! {
    /// The protocol above Ethernet, as it stands in the frame.
    EtherType(u16)
}

ranged_number! {
    /// A chain of filters. Packets start in chain 0; `goto chain` leads to the others. The upper
    /// four bits are taken by the verdict's opcode (`TC_ACT_EXT_VAL_MASK`).
    ChainId(u32), "chain", 0..=0x0fff_ffff
}

ranged_number! {
    /// The `prio` of a filter: a *lower* number is tried *first*. 0 would ask the kernel to choose.
    Prio(u16), "prio", 1..=0xffff
}

ranged_number! {
    /// The handle of a filter within its prio. 0 would ask the kernel to choose.
    Handle(u32), "handle", 1..=0xffff_ffff
}

ranged_number! {
    /// A VLAN id. 0 is a tag that carries a priority only.
    VlanId(u16), "VLAN id", 0..=0xfff
}

ranged_number! {
    /// The priority code point of a VLAN tag.
    Pcp(u8), "VLAN priority", 0..=7
}

impl ChainId {
    /// The chain every packet starts in.
    pub const ZERO: Self = Self::MIN;
}

impl EtherType {
    /// Every packet, whatever its protocol: `protocol all`.
    pub const ALL: Self = Self(0x0003);
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// A customer VLAN tag, 802.1Q.
    pub const VLAN: Self = Self(0x8100);
    /// A service VLAN tag, 802.1ad.
    pub const QINQ: Self = Self(0x88a8);

    /// Whether a VLAN tag follows.
    #[must_use]
    pub fn is_vlan(self) -> bool {
        self == Self::VLAN || self == Self::QINQ
    }
}

impl IpProto {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// IGMP.
    pub const IGMP: Self = Self(2);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// GRE.
    pub const GRE: Self = Self(47);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(136);

    /// Whether flower can match its ports.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_kernels_choice_and_not_a_prio() {
        assert!(Prio::new(0).is_err());
        assert_eq!(Prio::new(1), Ok(Prio::MIN));
    }

    #[test]
    fn a_chain_leaves_room_for_the_verdicts_opcode() {
        let error = ChainId::new(0x1000_0000).unwrap_err();
        assert_eq!(error.to_string(), "chain 268435456 is out of range: it must be 0 to 268435455");
    }

    #[test]
    fn a_vlan_id_has_twelve_bits() {
        assert!(VlanId::new(4095).is_ok());
        assert!(VlanId::new(4096).is_err());
    }
}
