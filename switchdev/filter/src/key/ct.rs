//! What connection tracking knows about a packet, after a `ct` action of an earlier chain.

use std::ops::BitOr;

use super::said;
use crate::{Bits, Masked};

/// What connection tracking knows about a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CtKey {
    /// State bits.
    pub state: Option<Masked<CtState>>,
    /// Zone.
    pub zone: Option<Masked<u16>>,
    /// Mark.
    pub mark: Option<Masked<u32>>,
    /// Label, 128 bits; the first byte on the wire is the highest here.
    pub label: Option<Masked<u128>>,
}

/// State bits of a tracked packet (`TCA_FLOWER_KEY_CT_FLAGS_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CtState(pub u16);

impl CtState {
    /// Begins a new connection.
    pub const NEW: Self = Self(1);
    /// Belongs to an established connection.
    pub const EST: Self = Self(2);
    /// Is related to another connection.
    pub const REL: Self = Self(4);
    /// Was tracked.
    pub const TRK: Self = Self(8);
    /// Could not be tracked.
    pub const INV: Self = Self(16);
    /// Goes in the reply direction.
    pub const RPL: Self = Self(32);
    /// All of them with the names `tc` gives them.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("trk", Self::TRK),
        ("new", Self::NEW),
        ("est", Self::EST),
        ("rel", Self::REL),
        ("inv", Self::INV),
        ("rpl", Self::RPL),
    ];
}

impl Bits for CtState {
    const NONE: Self = Self(0);
    const ALL: Self = Self(0x3f);

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for CtState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl CtKey {
    pub(super) fn normalized(self) -> Self {
        Self {
            state: said(self.state),
            zone: said(self.zone),
            mark: said(self.mark),
            label: said(self.label),
        }
    }
}
