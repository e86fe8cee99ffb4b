//! mirred: sends the packet, or a copy of it, to a device.

use crate::IfIndex;

/// Sends the packet, or a copy of it, to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mirred {
    /// The packet itself, or a copy.
    pub mode: MirredMode,
    /// Which side of the device.
    pub direction: MirredDirection,
    /// The device.
    pub to: IfIndex,
}

/// The packet itself, or a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MirredMode {
    /// The packet itself: the filter ends here (`TC_ACT_STOLEN`).
    Redirect,
    /// A copy, as the packet is by now; the next action has the packet.
    Mirror,
}

/// Which side of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MirredDirection {
    /// As if the device sent it. On a representor: the VF receives it.
    Egress,
    /// As if the device had received it.
    Ingress,
}

impl Mirred {
    /// `mirred egress redirect dev …`.
    #[must_use]
    pub const fn redirect(to: IfIndex) -> Self {
        Self { mode: MirredMode::Redirect, direction: MirredDirection::Egress, to }
    }

    /// `mirred egress mirror dev …`.
    #[must_use]
    pub const fn mirror(to: IfIndex) -> Self {
        Self { mode: MirredMode::Mirror, direction: MirredDirection::Egress, to }
    }
}
