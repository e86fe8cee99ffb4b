//! What a filter does to the packets it takes: TC's actions, one file each.
//!
//! Actions run in order. Those that change a packet or copy it hand it on to the next one (their
//! verdict is `pipe`); the others end the filter.

mod csum;
mod ct;
mod gact;
mod mirred;
mod pedit;
mod police;
mod tunnel_key;
mod vlan;

pub use csum::Csum;
pub use ct::{Ct, CtNat, CtTrack, NatAddresses, NatPorts, NatRange};
pub use gact::Gact;
pub use mirred::{Mirred, MirredDirection, MirredMode};
pub use pedit::{Edit, Pedit};
pub use police::{Burst, Conform, Exceed, Police, PoliceRate};
pub use tunnel_key::{TunnelAddresses, TunnelKey, TunnelSet};
pub use vlan::{Vlan, VlanTag, VlanTpid};

/// One action of a filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A verdict alone.
    Gact(Gact),
    /// Sends the packet, or a copy of it, to a device.
    Mirred(Mirred),
    /// Pushes, pops or changes a VLAN tag.
    Vlan(Vlan),
    /// Writes header fields.
    Pedit(Pedit),
    /// Computes checksums anew.
    Csum(Csum),
    /// Sets or removes the tunnel header to come.
    TunnelKey(TunnelKey),
    /// Limits the rate.
    Police(Police),
    /// Tracks the connection.
    Ct(Ct),
}

impl Action {
    /// `action pass`: ends classification; the packet goes on to whatever is behind TC.
    pub const PASS: Self = Self::Gact(Gact::Pass);
    /// `action drop`.
    pub const DROP: Self = Self::Gact(Gact::Drop);

    /// What the kernel calls it (`TCA_ACT_KIND`).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gact(_) => "gact",
            Self::Mirred(_) => "mirred",
            Self::Vlan(_) => "vlan",
            Self::Pedit(_) => "pedit",
            Self::Csum(_) => "csum",
            Self::TunnelKey(_) => "tunnel_key",
            Self::Police(_) => "police",
            Self::Ct(_) => "ct",
        }
    }

    /// The same action as the kernel would give it back.
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::Pedit(pedit) => Self::Pedit(pedit.normalized()),
            Self::Police(police) => Self::Police(police.normalized()),
            Self::Ct(ct) => Self::Ct(ct.normalized()),
            Self::TunnelKey(key) => Self::TunnelKey(key.normalized()),
            other => other,
        }
    }
}
