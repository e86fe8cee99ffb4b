//! pedit: writes header fields.
//!
//! An [`Edit`] names the field. The kernel knows only 32-bit words at offsets that are multiples
//! of four, each with a mask; how a field lies in its words is the codec's matter.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Bits, Mac, Masked};

/// Writes header fields, in this order. A field may be written once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pedit {
    /// What is written.
    pub edits: Vec<Edit>,
}

/// One field and what is written into it: the bits under the mask are set, the others kept.
/// Adding is for fields of one byte and wraps: `IpTtlAdd(0xff)` takes one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edit {
    /// Ethernet destination.
    EthDst(Masked<Mac>),
    /// Ethernet source.
    EthSrc(Masked<Mac>),
    /// IPv4 source.
    IpSrc(Masked<Ipv4Addr>),
    /// IPv4 destination.
    IpDst(Masked<Ipv4Addr>),
    /// IPv4 type of service, ECN bits included.
    IpTos(Masked<u8>),
    /// IPv4 time to live.
    IpTtl(Masked<u8>),
    /// Adds to the IPv4 time to live.
    IpTtlAdd(u8),
    /// IPv6 source.
    Ip6Src(Masked<Ipv6Addr>),
    /// IPv6 destination.
    Ip6Dst(Masked<Ipv6Addr>),
    /// IPv6 traffic class, ECN bits included.
    Ip6TrafficClass(Masked<u8>),
    /// IPv6 hop limit.
    Ip6HopLimit(Masked<u8>),
    /// Adds to the IPv6 hop limit.
    Ip6HopLimitAdd(u8),
    /// TCP source port.
    TcpSrc(Masked<u16>),
    /// TCP destination port.
    TcpDst(Masked<u16>),
    /// UDP source port.
    UdpSrc(Masked<u16>),
    /// UDP destination port.
    UdpDst(Masked<u16>),
}

impl Pedit {
    /// The most words one action writes; drivers and OVS share this bound.
    pub const MAX_WORDS: usize = 32;

    /// Writes one field.
    #[must_use]
    pub fn one(edit: Edit) -> Self {
        Self { edits: vec![edit] }
    }

    /// Edits that write no bit are left out.
    pub(super) fn normalized(mut self) -> Self {
        self.edits.retain(|edit| !edit.writes_nothing());
        self
    }
}

impl Edit {
    fn writes_nothing(&self) -> bool {
        match self {
            Self::EthDst(to) | Self::EthSrc(to) => nothing(*to),
            Self::IpSrc(to) | Self::IpDst(to) => nothing(*to),
            Self::Ip6Src(to) | Self::Ip6Dst(to) => nothing(*to),
            Self::IpTos(to)
            | Self::IpTtl(to)
            | Self::Ip6TrafficClass(to)
            | Self::Ip6HopLimit(to) => nothing(*to),
            Self::TcpSrc(to) | Self::TcpDst(to) | Self::UdpSrc(to) | Self::UdpDst(to) => {
                nothing(*to)
            }
            Self::IpTtlAdd(_) | Self::Ip6HopLimitAdd(_) => false,
        }
    }
}

fn nothing<T: Bits>(to: Masked<T>) -> bool {
    to.is_any()
}
