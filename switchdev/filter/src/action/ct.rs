//! ct: hands the packet to connection tracking.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{CtZone, Masked};

/// Hands the packet to connection tracking, or forgets what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ct {
    /// Forgets what tracking found: the packet is untracked again.
    Clear,
    /// Tracks the packet.
    Track(CtTrack),
}

/// How a packet is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CtTrack {
    /// The zone to look in.
    pub zone: CtZone,
    /// Whether a new connection is remembered.
    pub commit: bool,
    /// Whether a connection found in the other direction is thrown away first.
    pub force: bool,
    /// Bits of the mark to write, on commit.
    pub mark: Option<Masked<u32>>,
    /// Bits of the label to write, on commit.
    pub label: Option<Masked<u128>>,
    /// Address translation.
    pub nat: Option<CtNat>,
}

/// Address translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtNat {
    /// `nat`: as it was committed, whichever way the packet goes.
    Committed,
    /// `nat src`: a new source for new connections.
    Src(NatRange),
    /// `nat dst`: a new destination for new connections.
    Dst(NatRange),
}

/// What a new address and port are chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NatRange {
    /// Addresses to choose from; `None` keeps the address.
    pub addresses: Option<NatAddresses>,
    /// Ports to choose from; `None` lets the kernel choose where it must.
    pub ports: Option<NatPorts>,
}

/// Addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatAddresses {
    /// IPv4.
    V4 {
        /// Lowest address.
        min: Ipv4Addr,
        /// Highest address.
        max: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Lowest address.
        min: Ipv6Addr,
        /// Highest address.
        max: Ipv6Addr,
    },
}

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatPorts {
    /// Lowest port.
    pub min: u16,
    /// Highest port.
    pub max: u16,
}

impl Ct {
    pub(super) fn normalized(self) -> Self {
        match self {
            Self::Clear => Self::Clear,
            Self::Track(track) => Self::Track(CtTrack {
                mark: track.mark.and_then(Masked::unless_any),
                label: track.label.and_then(Masked::unless_any),
                ..track
            }),
        }
    }
}
