//! Headers of tunnels that name the port a packet came by. All ports share the chain that has such a header, and each fills it in with what
//! its own registers hold.
//!
//! ```text
//! port 1  any -> goto 5 (reg14=1)        chain 5  eth_dst=B -> encap:9(id=0x1,0x102:0x80=0x2+reg14[0..14]<<16)
//! port 2  any -> goto 5 (reg14=2)
//! ```

use std::fmt;
use std::rc::Rc;

use crate::openflow::{Field, Masked, low_bits};

/// What registers hold, by register.
pub type Filling = Rc<[(Field, Masked)]>;

/// A value of which some bits may be those of a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderBits {
    /// What is known; 0 where bits are open.
    pub value: u128,
    /// The others.
    pub open: Vec<OpenBits>,
}

/// Bits that are those of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenBits {
    /// The lowest bit here.
    pub at: u16,
    /// How many.
    pub n_bits: u16,
    /// The register.
    pub field: Field,
    /// The lowest bit there.
    pub from: u16,
}

impl HeaderBits {
    /// A value that is known.
    pub fn known(value: u128) -> HeaderBits {
        HeaderBits { value, open: Vec::new() }
    }

    /// The value on a port whose registers hold this.
    pub fn filled(&self, filling: &[(Field, Masked)]) -> Option<u128> {
        self.open.iter().try_fold(self.value, |value, open| {
            let (_, held) = filling.iter().find(|(field, _)| *field == open.field)?;
            let window = low_bits(open.n_bits) << open.from;
            let bits = (held.value & window) >> open.from;
            (held.mask & window == window).then_some(value | bits << open.at)
        })
    }
}

impl fmt::Display for HeaderBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        self.open.iter().try_for_each(|open| {
            let OpenBits { at, n_bits, field, from } = open;
            write!(f, "+{field}[{from}..{}]<<{at}", from + n_bits - 1)
        })
    }
}

/// What a way fills headers in with, behind the chain it leads to; nothing where there is nothing to fill in.
pub(super) struct FillingText<'a>(pub(super) Option<&'a Filling>);

impl fmt::Display for FillingText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(filling) = self.0.filter(|filling| !filling.is_empty()) else { return Ok(()) };
        let texts = filling.iter().map(|(field, masked)| format!("{field}={:#x}", masked.value));
        write!(f, " ({})", texts.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_bits_are_those_of_the_port() {
        let open = OpenBits { at: 16, n_bits: 15, field: Field::Reg(14), from: 0 };
        let bits = HeaderBits { value: 0x2a, open: vec![open] };
        let port = [(Field::Reg(14), Masked::new(7, 0x7fff))];
        assert_eq!(bits.filled(&port), Some(0x7002a));
        assert_eq!(bits.filled(&[]), None);
        assert_eq!(bits.filled(&[(Field::Reg(14), Masked::new(7, 0xff))]), None);
        assert_eq!(HeaderBits::known(5).filled(&[]), Some(5));
    }
}
