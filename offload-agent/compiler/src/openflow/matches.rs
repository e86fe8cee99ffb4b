//! What a rule matches: a sorted list of fields with value and mask, in one canonical form.
//!
//! OVS has several names for the same bits (`dl_vlan`, `vlan_vid`, `vlan_tci`; `xreg0`, `reg0`; `ip_dscp`, `nw_tos`). A
//! [`Match`] keeps one of each, so that two matches are equal exactly when they match the same packets. A field nobody
//! knows is kept as [`Unsupported`]: it is never left out, because that would make the match wider.

use std::collections::BTreeSet;

use super::field::{Field, low_bits};

/// The bits of a tag that say which VLAN it is, and the bit that says there is a tag.
const VLAN_VID_BITS: u128 = 0x1fff;
/// The bit of `vlan_tci` that says that the packet has a tag.
pub const VLAN_PRESENT: u16 = 0x1000;
const VLAN_PCP_SHIFT: u32 = 13;
const DSCP_SHIFT: u32 = 2;

/// A value and the bits of it that count. Bits outside the mask are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked {
    /// The value, right-justified.
    pub value: u128,
    /// The bits that count.
    pub mask: u128,
}

impl Masked {
    /// A value with the bits outside the mask cleared.
    pub const fn new(value: u128, mask: u128) -> Masked {
        Masked { value: value & mask, mask }
    }

    /// Whether there are contents that both match.
    pub const fn agrees(self, other: Masked) -> bool {
        (self.value ^ other.value) & self.mask & other.mask == 0
    }

    /// Whether a field with this content matches.
    pub const fn covers(self, content: u128) -> bool {
        content & self.mask == self.value
    }
}

/// One field of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchField {
    /// Which field.
    pub field: Field,
    /// What it must hold.
    pub masked: Masked,
}

impl MatchField {
    /// Whether every bit of the field counts.
    pub fn is_exact(&self) -> bool {
        self.masked.mask == self.field.full_mask()
    }
}

/// A piece of a match or an action that this program does not know, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsupported {
    /// From `ovs-ofctl` text.
    Text(String),
    /// From the wire, with its header.
    Bytes(Vec<u8>),
}

/// What a rule matches. An empty match takes every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    fields: Vec<MatchField>,
    unsupported: BTreeSet<Unsupported>,
}

impl Match {
    /// The match that takes every packet.
    pub fn any() -> Match {
        Match::default()
    }

    /// The fields in order, each at most once.
    ///
    /// `xreg`, `xxreg`, `vlan_vid`, `vlan_pcp`, `ip_dscp` and `in_port_oxm` never appear: their bits are in `reg`,
    /// `vlan_tci`, `nw_tos` and `in_port`.
    pub fn fields(&self) -> &[MatchField] {
        &self.fields
    }

    /// What could not be understood. A rule with any of these matches fewer packets than [`Match::fields`] says.
    pub fn unsupported(&self) -> &BTreeSet<Unsupported> {
        &self.unsupported
    }

    /// The value and mask of one field; `None` when the match does not look at it.
    pub fn get(&self, field: Field) -> Option<Masked> {
        self.position(field).ok().and_then(|at| self.fields.get(at)).map(|found| found.masked)
    }

    /// The value of a field that is matched exactly.
    pub fn exact(&self, field: Field) -> Option<u128> {
        self.get(field).filter(|masked| masked.mask == field.full_mask()).map(|masked| masked.value)
    }

    /// This match, and one field exactly.
    #[must_use]
    pub fn with(self, field: Field, value: u128) -> Match {
        self.with_masked(field, value, field.full_mask())
    }

    /// This match, and some bits of one field.
    #[must_use]
    pub fn with_masked(mut self, field: Field, value: u128, mask: u128) -> Match {
        self.insert(field, Masked::new(value, mask));
        self
    }

    /// Adds what the match must find in a field. Bits that were there before are replaced, others are kept.
    pub fn insert(&mut self, field: Field, masked: Masked) {
        match field {
            Field::XReg(n) => self.insert_words(n.saturating_mul(2), 2, masked),
            Field::XxReg(n) => self.insert_words(n.saturating_mul(4), 4, masked),
            Field::VlanVid => self.merge(Field::VlanTci, masked.value, masked.mask & VLAN_VID_BITS),
            Field::VlanPcp => self.insert_pcp(masked),
            Field::IpDscp => {
                self.merge(Field::NwTos, masked.value << DSCP_SHIFT, masked.mask << DSCP_SHIFT)
            }
            Field::InPortOxm => {
                self.merge(Field::InPort, masked.value, masked.mask & Field::InPort.full_mask())
            }
            _ => self.merge(field, masked.value, masked.mask),
        }
    }

    /// Adds something that could not be understood.
    pub fn insert_unsupported(&mut self, raw: Unsupported) {
        self.unsupported.insert(raw);
    }

    /// A priority can only be matched in a packet that has a tag.
    fn insert_pcp(&mut self, pcp: Masked) {
        let present = u128::from(VLAN_PRESENT);
        self.merge(
            Field::VlanTci,
            pcp.value << VLAN_PCP_SHIFT | present,
            pcp.mask << VLAN_PCP_SHIFT | present,
        );
    }

    /// A wide register is several narrow ones, the most significant first.
    fn insert_words(&mut self, first: u8, words: u8, masked: Masked) {
        for word in 0..words {
            let shift = u32::from(words - 1 - word) * 32;
            let mask = (masked.mask >> shift) & low_bits(32);
            if mask != 0 {
                self.merge(Field::Reg(first.saturating_add(word)), masked.value >> shift, mask);
            }
        }
    }

    fn merge(&mut self, field: Field, value: u128, mask: u128) {
        match self.position(field) {
            Ok(at) => {
                let old = &mut self.fields[at].masked;
                *old = Masked { value: old.value & !mask | value & mask, mask: old.mask | mask };
            }
            Err(at) => {
                self.fields.insert(at, MatchField { field, masked: Masked::new(value, mask) })
            }
        }
    }

    fn position(&self, field: Field) -> Result<usize, usize> {
        self.fields.binary_search_by_key(&field, |known| known.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_a_vlan_are_one_match() {
        let spelled_by_vid = Match::any().with(Field::VlanVid, 0x100a);
        let spelled_by_tci = Match::any().with_masked(Field::VlanTci, 0x100a, 0x1fff);
        assert_eq!(spelled_by_vid, spelled_by_tci);
    }

    #[test]
    fn a_vlan_priority_implies_a_tag() {
        let pcp = Match::any().with(Field::VlanPcp, 3);
        assert_eq!(pcp.get(Field::VlanTci), Some(Masked::new(0x7000, 0xf000)));
    }

    #[test]
    fn a_wide_register_is_its_narrow_ones_big_end_first() {
        let wide = Match::any().with_masked(Field::XxReg(1), 0xaabb << 64, 0xffff << 64);
        assert_eq!(wide, Match::any().with_masked(Field::Reg(5), 0xaabb, 0xffff));
    }

    #[test]
    fn an_unknown_field_makes_a_different_match() {
        let mut narrow = Match::any();
        narrow.insert_unsupported(Unsupported::Text("frobnicate=1".into()));
        assert_ne!(narrow, Match::any());
    }
}
