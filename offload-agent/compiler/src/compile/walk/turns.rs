//! How many turns a packet has taken. OVS drops one that takes too many (`xlate_resubmit_resource_check`), so what lies beyond is not
//! walked, and a node that others came to is not gone on with by a walk that would get too far behind it.

/// OVS nests so many look-ups (`MAX_DEPTH` in `ofproto/ofproto-dpif-xlate.c`): one is nested in another if it is of the same table or of
/// a lower one, in another bridge, or in a group.
const MAX_NESTED: u16 = 64;
/// OVS makes so many look-ups in all (`MAX_RESUBMITS` is 4096).
const MAX_TABLES: u16 = 4000;

/// Turns that a packet has taken, or that are left to a node's farthest end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    /// Look-ups in all.
    pub(super) tables: u16,
    /// Those that the present one is nested in.
    pub(super) nested: u16,
}

impl Turns {
    /// Those of both, one after the other.
    pub(super) fn and(self, more: Turns) -> Turns {
        Turns {
            tables: self.tables.saturating_add(more.tables),
            nested: self.nested.saturating_add(more.nested),
        }
    }

    /// What is left of these behind others.
    pub(super) fn behind(self, before: Turns) -> Turns {
        Turns {
            tables: self.tables.saturating_sub(before.tables),
            nested: self.nested.saturating_sub(before.nested),
        }
    }

    /// The most of both.
    pub(super) fn most(self, other: Turns) -> Turns {
        Turns { tables: self.tables.max(other.tables), nested: self.nested.max(other.nested) }
    }

    /// Whether OVS might look up nothing more.
    pub(super) fn are_too_many(self) -> bool {
        self.nested >= MAX_NESTED || self.tables > MAX_TABLES
    }
}
