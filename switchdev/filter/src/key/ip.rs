//! IPv4 and IPv6 headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::said;
use crate::{IpProto, Masked};

/// IPv4 and IPv6 headers. It needs `protocol ip` or `ipv6`, or that EtherType behind a VLAN tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct IpKey {
    /// The protocol above IP; flower takes no mask here.
    pub proto: Option<IpProto>,
    /// Source address.
    pub src: Option<IpMatch>,
    /// Destination address.
    pub dst: Option<IpMatch>,
    /// Type of service or traffic class, ECN bits included.
    pub tos: Option<Masked<u8>>,
    /// Time to live or hop limit.
    pub ttl: Option<Masked<u8>>,
    /// Fragments.
    pub frag: FragKey,
}

/// An address of either family under any mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpMatch {
    /// IPv4.
    V4(Masked<Ipv4Addr>),
    /// IPv6.
    V6(Masked<Ipv6Addr>),
}

/// Whether the packet is a fragment. The two are separate bits in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FragKey {
    /// Whether it is a fragment, the first one or a later one: `frag`, `nofrag`.
    pub fragment: Option<bool>,
    /// Whether it is the first fragment: `firstfrag`, `nofirstfrag`.
    pub first: Option<bool>,
}

impl IpMatch {
    /// Whether no bit counts.
    #[must_use]
    pub fn is_any(self) -> bool {
        match self {
            Self::V4(address) => address.is_any(),
            Self::V6(address) => address.is_any(),
        }
    }
}

impl FragKey {
    /// Whole packets only: `ip_flags nofrag`.
    pub const NO_FRAGMENT: Self = Self { fragment: Some(false), first: None };
}

impl IpKey {
    pub(super) fn normalized(self) -> Self {
        Self {
            src: self.src.filter(|address| !address.is_any()),
            dst: self.dst.filter(|address| !address.is_any()),
            tos: said(self.tos),
            ttl: said(self.ttl),
            ..self
        }
    }
}
