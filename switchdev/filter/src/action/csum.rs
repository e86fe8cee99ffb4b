//! csum: computes checksums anew, after a pedit.

use std::ops::BitOr;

/// The checksums to compute anew (`TCA_CSUM_UPDATE_FLAG_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Csum(pub u32);

impl Csum {
    /// The IPv4 header.
    pub const IP4H: Self = Self(1);
    /// ICMP and ICMPv6.
    pub const ICMP: Self = Self(2);
    /// IGMP.
    pub const IGMP: Self = Self(4);
    /// TCP.
    pub const TCP: Self = Self(8);
    /// UDP.
    pub const UDP: Self = Self(16);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(32);
    /// SCTP.
    pub const SCTP: Self = Self(64);
    /// All of them with the names `tc` gives them.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("ip4h", Self::IP4H),
        ("icmp", Self::ICMP),
        ("igmp", Self::IGMP),
        ("tcp", Self::TCP),
        ("udp", Self::UDP),
        ("udplite", Self::UDPLITE),
        ("sctp", Self::SCTP),
    ];

    /// Whether all of `other` are among these.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Csum {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
