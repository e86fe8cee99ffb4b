//! Bits of a field: `NXM_NX_REG0[0..15]`, `reg0[3]`, `NXM_OF_ETH_SRC[]`.

use std::fmt;

use super::Token;
use crate::openflow::text::error::{ParseError, Problem};
use crate::openflow::{Field, Subfield};

/// Reads bits of a field; without brackets it is the whole field.
pub(super) fn parse(token: Token<'_>) -> Result<Subfield, ParseError> {
    let (name, bits) = match token.split_once("[") {
        Some((name, bits)) => {
            (name, Some(bits.strip_suffix("]").ok_or_else(|| token.error(Problem::Unbalanced))?))
        }
        None => (token, None),
    };
    let field = Field::from_name(name.text()).ok_or_else(|| token.error(Problem::UnknownField))?;
    match bits.filter(|bits| !bits.text().is_empty()) {
        Some(bits) => parse_bits(field, bits),
        None => Ok(Subfield::whole(field)),
    }
}

fn parse_bits(field: Field, bits: Token<'_>) -> Result<Subfield, ParseError> {
    let (first, last) = bits.split_once("..").unwrap_or((bits, bits));
    let (offset, last): (u16, u16) = (first.trim().uint()?, last.trim().uint()?);
    let fits = offset <= last && last < field.bits();
    let bad = || bits.error(Problem::BadBits { field, last: field.bits() - 1 });
    fits.then(|| Subfield { field, offset, n_bits: last - offset + 1 }).ok_or_else(bad)
}

impl fmt::Display for Subfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.header_name();
        let last = u32::from(self.offset) + u32::from(self.n_bits).saturating_sub(1);
        match self.n_bits {
            _ if self.is_whole() => write!(f, "{name}[]"),
            1 => write!(f, "{name}[{}]", self.offset),
            _ => write!(f, "{name}[{}..{last}]", self.offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, printed: &str) {
        assert_eq!(parse(Token::line(text)).unwrap().to_string(), printed);
    }

    #[test]
    fn bits_print_by_the_name_of_the_oldest_header() {
        check("reg0", "NXM_NX_REG0[]");
        check("OXM_OF_ETH_SRC[]", "NXM_OF_ETH_SRC[]");
        check("xxreg0[96..127]", "NXM_NX_XXREG0[96..127]");
        check("NXM_NX_REG10[7]", "NXM_NX_REG10[7]");
    }

    #[test]
    fn bits_that_the_field_does_not_have_are_refused() {
        let error = parse(Token::line("reg0[16..32]")).unwrap_err();
        assert_eq!(error.problem, Problem::BadBits { field: Field::Reg(0), last: 31 });
    }
}
