//! One VLAN tag. The kernel takes no masks here: each part is asked for whole or not at all.

use crate::{EtherType, Pcp, VlanId};

/// One VLAN tag. The tag's own EtherType is the filter's `protocol` for the outer tag, and the
/// outer tag's `ethertype` for the inner one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VlanKey {
    /// VLAN id.
    pub id: Option<VlanId>,
    /// Priority code point.
    pub pcp: Option<Pcp>,
    /// The EtherType that follows the tag.
    pub ethertype: Option<EtherType>,
}
