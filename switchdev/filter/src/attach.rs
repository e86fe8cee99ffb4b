//! Where a filter hangs.

use std::fmt;

use crate::{BlockId, IfIndex};

/// Where a filter hangs: on a device's clsact qdisc or on a block that devices share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attach {
    /// Packets that a device receives. On a representor: packets its VF sent.
    Ingress(IfIndex),
    /// Packets that a device is about to send.
    Egress(IfIndex),
    /// Packets of every device bound to the block.
    Block(BlockId),
}

impl Attach {
    /// The device, where there is one.
    #[must_use]
    pub fn device(self) -> Option<IfIndex> {
        match self {
            Self::Ingress(device) | Self::Egress(device) => Some(device),
            Self::Block(_) => None,
        }
    }
}

/// As `tc` takes it, with devices by number: `dev if7 ingress`, `block 22`.
impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ingress(device) => write!(f, "dev if{device} ingress"),
            Self::Egress(device) => write!(f, "dev if{device} egress"),
            Self::Block(block) => write!(f, "block {block}"),
        }
    }
}
