//! tunnel_key: the header a tunnel device will put around the packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{GeneveOption, TunnelKeyId};

/// Sets or forgets the tunnel header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelKey {
    /// Forgets the header the packet came with. Afterwards no `enc_*` key matches.
    Unset,
    /// Sets the header that the tunnel device of the next `mirred` puts around the packet.
    Set(TunnelSet),
}

/// A tunnel header to come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelSet {
    /// VNI or GRE key.
    pub id: Option<TunnelKeyId>,
    /// Outer addresses; the kernel wants both.
    pub addresses: TunnelAddresses,
    /// Outer UDP destination port.
    pub dst_port: Option<u16>,
    /// Outer type of service. The kernel takes 0 for "not given".
    pub tos: Option<u8>,
    /// Outer time to live. The kernel takes 0 for "not given".
    pub ttl: Option<u8>,
    /// Geneve options, in this order.
    pub geneve: Vec<GeneveOption>,
    /// Whether the outer UDP checksum is computed.
    pub csum: bool,
    /// Whether the outer header forbids fragments. It is known to kernels since 6.0.
    pub no_frag: bool,
}

/// Both outer addresses, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelAddresses {
    /// IPv4.
    V4 {
        /// Outer source.
        src: Ipv4Addr,
        /// Outer destination.
        dst: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Outer source.
        src: Ipv6Addr,
        /// Outer destination.
        dst: Ipv6Addr,
    },
}

impl TunnelSet {
    /// A header with a key and addresses, with the outer checksum, as `tc` does.
    #[must_use]
    pub fn new(id: TunnelKeyId, addresses: TunnelAddresses) -> Self {
        Self {
            id: Some(id),
            addresses,
            dst_port: None,
            tos: None,
            ttl: None,
            geneve: Vec::new(),
            csum: true,
            no_frag: false,
        }
    }
}

impl TunnelKey {
    pub(super) fn normalized(self) -> Self {
        match self {
            Self::Unset => Self::Unset,
            Self::Set(set) => Self::Set(TunnelSet {
                dst_port: set.dst_port.filter(|port| *port != 0),
                tos: set.tos.filter(|tos| *tos != 0),
                ttl: set.ttl.filter(|ttl| *ttl != 0),
                ..set
            }),
        }
    }
}
