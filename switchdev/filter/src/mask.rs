//! A value of which only the bits under a mask count.
//!
//! Bits outside the mask are cleared when the value is made, so two matches that take the same
//! packets are equal.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What can be masked bit by bit.
pub trait Bits: Copy + Ord {
    /// No bit set.
    const NONE: Self;
    /// Every bit set.
    const ALL: Self;
    /// The bits set in both.
    #[must_use]
    fn and(self, other: Self) -> Self;
}

macro_rules! integer_bits {
    ($($name:ty),*) => {$(
        impl Bits for $name {
            const NONE: Self = 0;
            const ALL: Self = <$name>::MAX;

            fn and(self, other: Self) -> Self {
                self & other
            }
        }
    )*};
}

integer_bits!(u8, u16, u32, u128);

impl Bits for Ipv4Addr {
    const NONE: Self = Self::from_bits(0);
    const ALL: Self = Self::from_bits(u32::MAX);

    fn and(self, other: Self) -> Self {
        Self::from_bits(self.to_bits() & other.to_bits())
    }
}

impl Bits for Ipv6Addr {
    const NONE: Self = Self::from_bits(0);
    const ALL: Self = Self::from_bits(u128::MAX);

    fn and(self, other: Self) -> Self {
        Self::from_bits(self.to_bits() & other.to_bits())
    }
}

/// A value and the bits of it that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Masked<T> {
    value: T,
    mask: T,
}

impl<T: Bits> Masked<T> {
    /// Counts the bits of `value` that are set in `mask`.
    #[must_use]
    pub fn new(value: T, mask: T) -> Self {
        Self { value: value.and(mask), mask }
    }

    /// Counts every bit.
    #[must_use]
    pub fn exact(value: T) -> Self {
        Self { value, mask: T::ALL }
    }

    /// The value; bits outside the mask are clear.
    #[must_use]
    pub fn value(self) -> T {
        self.value
    }

    /// The bits that count.
    #[must_use]
    pub fn mask(self) -> T {
        self.mask
    }

    /// Whether every bit counts.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.mask == T::ALL
    }

    /// Whether no bit counts, so that everything matches.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.mask == T::NONE
    }

    /// Whether `value` agrees in every bit that counts.
    #[must_use]
    pub fn matches(self, value: T) -> bool {
        value.and(self.mask) == self.value
    }

    /// Whether some value matches both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.value.and(other.mask) == other.value.and(self.mask)
    }

    /// Whether everything that matches `other` matches this too.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.mask.and(other.mask) == self.mask && self.matches(other.value)
    }

    /// `None` where every value would match: a key that says nothing is left out.
    #[must_use]
    pub fn unless_any(self) -> Option<Self> {
        (!self.is_any()).then_some(self)
    }
}

impl<T: Bits> From<T> for Masked<T> {
    fn from(value: T) -> Self {
        Self::exact(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_outside_the_mask_do_not_make_a_difference() {
        assert_eq!(Masked::new(0x1fffu16, 0xff00), Masked::new(0x1f00, 0xff00));
    }

    #[test]
    fn a_narrower_mask_contains_a_wider_one() {
        let network = Masked::new(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0));
        let host = Masked::exact(Ipv4Addr::new(10, 1, 2, 3));
        assert!(network.contains(host));
        assert!(!host.contains(network));
        assert!(network.overlaps(host));
        assert!(!network.contains(Masked::exact(Ipv4Addr::new(11, 1, 2, 3))));
    }

    #[test]
    fn masks_without_a_common_bit_always_overlap() {
        assert!(Masked::new(0x10u8, 0xf0).overlaps(Masked::new(0x02, 0x0f)));
    }
}
