//! Flags by their names: `+trk-new` for some bits, `est|trk` for all of them.

use std::fmt;

use super::error::Problem;
use super::value::Hex;
use crate::openflow::{Masked, Notation};

/// The names of the bits of a field.
pub(super) struct FlagSet {
    names: &'static [&'static str],
    example: &'static str,
}

const CT_STATE: FlagSet =
    FlagSet { names: &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"], example: "trk" };
const TCP_FLAGS: FlagSet = FlagSet {
    names: &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"],
    example: "syn",
};
const TUN_FLAGS: FlagSet = FlagSet { names: &["oam"], example: "oam" };

impl FlagSet {
    /// The flags of a notation; those of conntrack unless it says otherwise.
    pub(super) fn of(notation: Notation) -> &'static FlagSet {
        match notation {
            Notation::TcpFlags => &TCP_FLAGS,
            Notation::TunFlags => &TUN_FLAGS,
            _ => &CT_STATE,
        }
    }

    /// What to say when text is not flags.
    pub(super) fn problem(&self) -> Problem {
        Problem::NotFlags { example: self.example, known: self.names.join(", ") }
    }

    /// Reads flags; those with a sign have a mask of their own, those without have `full`.
    pub(super) fn parse(&self, text: &str, full: u128) -> Option<Masked> {
        match text.starts_with(['+', '-']) {
            true => self.parse_signed(text).filter(|masked| masked.mask & !full == 0),
            false => text
                .split('|')
                .try_fold(0, |bits, name| Some(bits | self.bit(name)?))
                .filter(|bits| bits & !full == 0)
                .map(|value| Masked { value, mask: full }),
        }
    }

    fn parse_signed(&self, text: &str) -> Option<Masked> {
        let mut rest = text;
        let mut masked = Masked { value: 0, mask: 0 };
        while let Some(sign) = rest.chars().next() {
            let name = rest.get(1..)?;
            let end = name.find(['+', '-']).unwrap_or(name.len());
            let bit = self.bit(name.get(..end)?)?;
            let twice = masked.mask & bit != 0;
            if twice {
                return None;
            }
            masked.mask |= bit;
            masked.value |= if sign == '+' { bit } else { 0 };
            rest = name.get(end..)?;
        }
        Some(masked)
    }

    /// A flag's bit; a bit without a name is written `[800]`, in hexadecimal.
    fn bit(&self, name: &str) -> Option<u128> {
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            return Some(1 << at);
        }
        let bits = name.strip_prefix('[')?.strip_suffix(']')?;
        u128::from_str_radix(bits, 16).ok().filter(|bits| *bits != 0)
    }

    /// Writes flags: with signs where some do not count, else all that are set.
    pub(super) fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        masked: Masked,
        exact: bool,
    ) -> fmt::Result {
        match exact {
            true if masked.value == 0 => f.write_str("0"),
            true => self.write_set(f, masked.value),
            false => self.write_signed(f, masked),
        }
    }

    /// Writes flags with a sign each.
    pub(super) fn write_signed(&self, f: &mut fmt::Formatter<'_>, masked: Masked) -> fmt::Result {
        if masked.mask == 0 {
            return write!(f, "{}/0", Hex(masked.value));
        }
        bits_of(masked.mask).try_for_each(|at| {
            f.write_str(if masked.value >> at & 1 == 1 { "+" } else { "-" })?;
            self.write_name(f, at)
        })
    }

    fn write_set(&self, f: &mut fmt::Formatter<'_>, value: u128) -> fmt::Result {
        bits_of(value).enumerate().try_for_each(|(n, at)| {
            f.write_str(if n == 0 { "" } else { "|" })?;
            self.write_name(f, at)
        })
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>, at: usize) -> fmt::Result {
        match self.names.get(at) {
            Some(name) => f.write_str(name),
            None => write!(f, "[{:x}]", 1u128 << at),
        }
    }
}

fn bits_of(value: u128) -> impl Iterator<Item = usize> {
    (0..128).filter(move |at| value >> at & 1 == 1)
}
