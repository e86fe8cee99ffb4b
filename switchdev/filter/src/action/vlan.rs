//! vlan: pushes, pops or changes the outer VLAN tag.

use crate::{EtherType, Pcp, VlanId};

/// Pushes, pops or changes the outer VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vlan {
    /// Takes the tag off. A packet without one goes on unchanged.
    Pop,
    /// Puts a tag on.
    Push(VlanTag),
    /// Writes into the tag. Without `pcp` it keeps its priority.
    Modify {
        /// The tag's own EtherType.
        tpid: VlanTpid,
        /// VLAN id.
        id: VlanId,
        /// Priority code point.
        pcp: Option<Pcp>,
    },
}

/// A VLAN tag to put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanTag {
    /// The tag's own EtherType.
    pub tpid: VlanTpid,
    /// VLAN id. The kernel refuses 4095 (`tcf_vlan_init`).
    pub id: VlanId,
    /// Priority code point.
    pub pcp: Pcp,
}

/// The EtherType of a VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum VlanTpid {
    /// A customer tag.
    #[default]
    Dot1Q,
    /// A service tag.
    Dot1Ad,
}

impl VlanTpid {
    /// As it stands in the frame.
    #[must_use]
    pub const fn ethertype(self) -> EtherType {
        match self {
            Self::Dot1Q => EtherType::VLAN,
            Self::Dot1Ad => EtherType::QINQ,
        }
    }

    /// From how it stands in the frame.
    #[must_use]
    pub fn from_ethertype(ethertype: EtherType) -> Option<Self> {
        [Self::Dot1Q, Self::Dot1Ad].into_iter().find(|tpid| tpid.ethertype() == ethertype)
    }
}
