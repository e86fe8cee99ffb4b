//! What is known of a field's bits: constants, bits of the packet, or nothing.
//!
//! `load:5->reg0` makes `reg0` a constant; `move:nw_dst->reg0` makes it an alias of the destination address. A match on a
//! constant is decided while compiling, a match on an alias becomes a match on what it stands for.

use std::hash::{Hash, Hasher};

use smallvec::{SmallVec, smallvec};

use crate::compile::ir::{HeaderBits, OpenBits};
use crate::openflow::{Field, Masked, low_bits};

/// Some bits that are those of a field as the packet carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    /// The lowest bit here.
    at: u16,
    /// How many.
    n_bits: u16,
    /// Whose bits they are.
    field: Field,
    /// The lowest bit there.
    from: u16,
}

impl Link {
    fn mask(self) -> u128 {
        low_bits(self.n_bits) << self.at
    }

    /// The part of the link that lies in a window of bits; `None` if there is none.
    fn cut(self, at: u16, n_bits: u16) -> Option<Link> {
        let first = self.at.max(at);
        let end = (self.at + self.n_bits).min(at + n_bits);
        (first < end).then(|| Link {
            at: first,
            n_bits: end - first,
            from: self.from + (first - self.at),
            ..self
        })
    }
}

/// The bits of a field. What is neither known nor linked is not known to anybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Bits {
    known: Masked,
    links: Links,
}

/// Most fields are those of the packet as it came, which is one link.
type Links = SmallVec<[Link; 1]>;

/// Bits of fields, with what they must hold; mostly one.
pub(super) type Parts = SmallVec<[(Field, Masked); 1]>;

/// What a match on some bits comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// It never holds.
    Never,
    /// It holds if all of these hold; always, if there are none.
    If(Parts),
    /// Nobody can tell.
    Unknown,
}

impl Test {
    /// It holds without a question.
    pub(super) fn always() -> Test {
        Test::If(Parts::new())
    }
}

impl Bits {
    /// A constant.
    pub(in crate::compile) fn constant(value: u128) -> Bits {
        Bits { known: Masked { value, mask: u128::MAX }, links: Links::new() }
    }

    /// The field as the packet carries it.
    pub(in crate::compile) fn link(field: Field) -> Bits {
        let link = Link { at: 0, n_bits: field.bits(), field, from: 0 };
        let above = !low_bits(field.bits());
        let mut bits = Bits { known: Masked { value: 0, mask: above }, links: smallvec![link] };
        // What no packet has there, actions find to be 0.
        bits.load(Masked { value: 0, mask: !field.full_mask() });
        bits
    }

    /// Nothing is known.
    pub(super) fn unknown() -> Bits {
        Bits { known: Masked { value: 0, mask: 0 }, links: Links::new() }
    }

    /// Some bits, right-justified, with zeros above.
    pub(super) fn slice(&self, at: u16, n_bits: u16) -> Bits {
        let window = low_bits(n_bits);
        let known = Masked {
            value: self.known.value >> at & window,
            mask: self.known.mask >> at | !window,
        };
        let links = self.links.iter().filter_map(|link| link.cut(at, n_bits));
        Bits { known, links: links.map(|link| Link { at: link.at - at, ..link }).collect() }
    }

    /// Writes bits over these.
    pub(super) fn put(&mut self, at: u16, n_bits: u16, bits: &Bits) {
        let window = low_bits(n_bits) << at;
        self.known.value = self.known.value & !window | (bits.known.value << at) & window;
        self.known.mask = self.known.mask & !window | (bits.known.mask << at) & window;
        let above = at + n_bits;
        let mut links = Links::new();
        for link in &self.links {
            links.extend(link.cut(0, at));
            links.extend(link.cut(above, 128_u16.saturating_sub(above)));
        }
        let fresh = bits.links.iter().filter_map(|link| link.cut(0, n_bits));
        links.extend(fresh.map(|link| Link { at: link.at + at, ..link }));
        links.sort_unstable();
        self.links = links;
    }

    /// Writes a constant into the bits of a mask.
    pub(super) fn load(&mut self, masked: Masked) {
        self.known.value = self.known.value & !masked.mask | masked.value;
        self.known.mask |= masked.mask;
        if self.links.iter().any(|link| link.mask() & masked.mask != 0) {
            self.links = self.links.iter().flat_map(|link| outside(*link, masked.mask)).collect();
        }
    }

    /// Only the bits of a mask; the others are not known.
    pub(super) fn masked(&self, mask: u128) -> Bits {
        let known = Masked::new(self.known.value, self.known.mask & mask);
        let links = self.links.iter().flat_map(|link| outside(*link, !mask)).collect();
        Bits { known, links }
    }

    /// Tells [`Bits::masked`] apart, mostly, without making it.
    pub(super) fn hash_masked(&self, mask: u128, to: &mut impl Hasher) {
        Masked::new(self.known.value, self.known.mask & mask).hash(to);
        for link in &self.links {
            let window = link.mask() & mask;
            if window != 0 {
                (link.field, window, link.from.wrapping_sub(link.at)).hash(to);
            }
        }
    }

    /// Bits of a field that has changed under its aliases are not known any more.
    pub(super) fn forget(&mut self, field: impl Fn(Field) -> bool) {
        self.links.retain(|link| !field(link.field));
    }

    /// Tells the bits of the packet that those of a mask stand for.
    pub(super) fn sources(&self, mask: u128, mut tell: impl FnMut(Field, u128)) {
        for link in &self.links {
            tell(link.field, (link.mask() & mask) >> link.at << link.from);
        }
    }

    /// Bits of a mask become those of a register, whatever it holds.
    pub(in crate::compile) fn leave_open(&mut self, register: Field, mask: u128) {
        let link = Bits::link(register);
        let mut left = mask;
        while left != 0 {
            let at = u16::try_from(left.trailing_zeros()).unwrap_or(0);
            let n_bits = u16::try_from((left >> at).trailing_ones()).unwrap_or(0);
            self.put(at, n_bits, &link.slice(at, n_bits));
            left &= !(low_bits(n_bits) << at);
        }
    }

    /// Whether some of these bits are a register's.
    pub(in crate::compile) fn is_open(&self) -> bool {
        self.links.iter().any(|link| link.field.is_register())
    }

    /// The same for a header that is written; `None` if it depends on the packet.
    pub(in crate::compile) fn header_bits(&self) -> Option<HeaderBits> {
        let mut missing = !self.known.mask;
        let mut open = Vec::new();
        for link in &self.links {
            if link.mask() & missing == 0 {
                continue;
            }
            if !link.field.is_register() {
                return None;
            }
            missing &= !link.mask();
            let Link { at, n_bits, field, from } = *link;
            open.push(OpenBits { at, n_bits, field, from });
        }
        let value = self.known.value & self.known.mask;
        (missing == 0).then_some(HeaderBits { value, open })
    }

    /// The value, where all bits of a mask are known.
    pub(in crate::compile) fn value(&self, mask: u128) -> Option<u128> {
        (self.known.mask & mask == mask).then_some(self.known.value & mask)
    }

    /// What a match comes to.
    pub(super) fn test(&self, asked: Masked) -> Test {
        if (self.known.value ^ asked.value) & self.known.mask & asked.mask != 0 {
            return Test::Never;
        }
        let mut open = asked.mask & !self.known.mask;
        let mut parts = Parts::new();
        for link in &self.links {
            let window = link.mask() & open;
            if window == 0 {
                continue;
            }
            let there = |bits: u128| (bits & window) >> link.at << link.from;
            parts.push((link.field, Masked { value: there(asked.value), mask: there(window) }));
            open &= !window;
        }
        if open == 0 { Test::If(parts) } else { Test::Unknown }
    }

    /// The same with the bits of the packet that a condition tells put in.
    pub(super) fn settled(&self, told: impl Fn(Field) -> Option<Masked>) -> Bits {
        let mut settled = self.clone();
        for link in &self.links {
            let Some(masked) = told(link.field) else { continue };
            let here = |bits: u128| (bits >> link.from & low_bits(link.n_bits)) << link.at;
            settled.load(Masked { value: here(masked.value), mask: here(masked.mask) });
        }
        settled
    }
}

/// The pieces of a link that lie outside a mask.
fn outside(link: Link, mask: u128) -> Links {
    let free = link.mask() & !mask;
    if free == link.mask() {
        return smallvec![link];
    }
    let mut pieces = Links::new();
    let bits = (link.at..link.at + link.n_bits).filter(|bit| free >> bit & 1 == 1);
    for bit in bits {
        match pieces.last_mut().filter(|last| last.at + last.n_bits == bit) {
            Some(last) => last.n_bits += 1,
            None => pieces.extend(link.cut(bit, 1)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_on_an_alias_is_one_on_the_field_it_stands_for() {
        let mut register = Bits::constant(0);
        register.put(8, 16, &Bits::link(Field::TunId).slice(0, 16));
        let asked = Masked::new(0x1234 << 8, 0xffff << 8);
        assert_eq!(
            register.test(asked),
            Test::If(smallvec![(Field::TunId, Masked::new(0x1234, 0xffff))])
        );
        assert_eq!(register.test(Masked::new(1, 0xff)), Test::Never);
    }

    #[test]
    fn a_constant_over_an_alias_leaves_the_bits_around_it() {
        let mut register = Bits::link(Field::IpDst);
        register.load(Masked::new(0x0a00_0000, 0xff00_0000));
        assert_eq!(
            register.test(Masked::new(0x0a00_0001, 0xffff_ffff)),
            Test::If(smallvec![(Field::IpDst, Masked::new(1, 0x00ff_ffff))])
        );
    }

    #[test]
    fn what_nobody_knows_stays_unknown() {
        let mut bits = Bits::link(Field::IpSrc);
        bits.forget(|field| field == Field::IpSrc);
        assert_eq!(bits.test(Masked::new(1, 1)), Test::Unknown);
        assert_eq!(bits.test(Masked::new(0, 0)), Test::If(smallvec![]));
    }
}
