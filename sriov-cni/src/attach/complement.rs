//! All that is not one of a few values, as matches: how OpenFlow says "any source but these", which it has no word for.
//!
//! Every other value leaves the paths of the wanted ones at some bit, so one match on the bits up to there takes it:
//!
//! ```text
//! not 10x (3 bits):   0xx   11x   (and 100, 101 are not matched)
//! ```
//!
//! There are as many matches as bits for one value, a few more for several, and none overlap.

/// Bits, left-aligned: the value and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    /// The bits, the first at the top.
    pub(crate) bits: u128,
    /// How many count.
    pub(crate) length: u32,
}

impl Prefix {
    /// All bits of a value of `width` bits.
    pub(crate) fn exact(value: u128, width: u32) -> Self {
        Self { bits: value << (u128::BITS - width), length: width }
    }

    /// The value and the mask, as numbers of `width` bits.
    pub(crate) fn masked(self, width: u32) -> (u128, u128) {
        let down = u128::BITS - width;
        (self.bits >> down, mask(self.length) >> down)
    }

    fn child(self, bit: bool) -> Self {
        let place = u128::BITS - 1 - self.length;
        Self { bits: self.bits | u128::from(bit) << place, length: self.length + 1 }
    }

    fn covers(self, other: Self) -> bool {
        self.length <= other.length && (self.bits ^ other.bits) & mask(self.length) == 0
    }
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(u128::BITS - length).unwrap_or(0)
}

/// The fewest prefixes that together are all values of which none is one of `wanted`, in order.
pub(crate) fn complement(wanted: &[Prefix]) -> Vec<Prefix> {
    let mut others = Vec::new();
    walk(Prefix { bits: 0, length: 0 }, wanted, &mut others);
    others
}

fn walk(at: Prefix, wanted: &[Prefix], others: &mut Vec<Prefix>) {
    if wanted.iter().any(|prefix| prefix.covers(at)) {
        return;
    }
    let below: Vec<Prefix> = wanted.iter().copied().filter(|prefix| at.covers(*prefix)).collect();
    if below.is_empty() {
        others.push(at);
        return;
    }
    for bit in [false, true] {
        walk(at.child(bit), &below, others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_mac_address_leaves_48_matches() {
        let others = complement(&[Prefix::exact(0x0200_0000_0001, 48)]);
        assert_eq!(others.len(), 48);
        let (value, mask) = others
            .iter()
            .map(|p| p.masked(48))
            .find(|(_, mask)| *mask == 0xffff_ffff_ffff)
            .unwrap();
        assert_eq!((value, mask), (0x0200_0000_0000, 0xffff_ffff_ffff));
    }

    #[test]
    fn nothing_wanted_is_one_match_for_all() {
        assert_eq!(complement(&[]), [Prefix { bits: 0, length: 0 }]);
        assert_eq!(complement(&[Prefix { bits: 0, length: 0 }]), []);
    }

    proptest! {
        #[test]
        fn a_value_is_matched_once_unless_it_is_wanted(
            wanted in prop::collection::vec((any::<u8>(), 0..=8_u32), 0..5), value: u8
        ) {
            let cut = |bits: u8, length: u32| Prefix {
                bits: u128::from(bits) << 120 & mask(length), length,
            };
            let wanted: Vec<Prefix> = wanted.into_iter().map(|(bits, length)| cut(bits, length)).collect();
            let value = Prefix::exact(value.into(), 8);
            let matched = complement(&wanted).iter().filter(|prefix| prefix.covers(value)).count();
            let is_wanted = wanted.iter().any(|prefix| prefix.covers(value));
            prop_assert_eq!(matched, usize::from(!is_wanted));
        }
    }
}
