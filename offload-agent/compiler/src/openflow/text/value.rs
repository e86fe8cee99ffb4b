//! The value of a field in its own notation: an address as an address, flags by their names, a mask after a slash.

use std::fmt::{self, Display as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, Problem};
use super::flags::FlagSet;
use super::names::Names;
use super::token::Token;
use crate::openflow::{Field, MaskRule, Masked, Notation, OfPort};

const MAC_BITS: usize = 48;
const IPV4_BITS: u32 = 32;
const IPV6_BITS: u32 = 128;
const PACKET_TYPE_BITS: u32 = 16;
const FRAGMENTS: [(&str, u128, u128); 5] =
    [("no", 0, 3), ("first", 1, 3), ("later", 3, 3), ("yes", 1, 1), ("not_later", 0, 2)];

/// Reads a value of `field`, with its mask when it has one.
pub(super) fn parse(field: Field, token: Token<'_>, names: &Names) -> Result<Masked, ParseError> {
    let masked = parse_any(field, token, names)?;
    let whole = masked.mask == field.full_mask() || masked.mask == 0;
    if field.info().mask == MaskRule::Exact && !whole {
        return Err(token.error(Problem::MaskNotAllowed { field }));
    }
    Ok(masked)
}

fn parse_any(field: Field, token: Token<'_>, names: &Names) -> Result<Masked, ParseError> {
    match field.info().notation {
        Notation::Decimal | Notation::Hex => parse_integer(field, token),
        Notation::Mac => masked_by(token, |part| mac(part).map(u128::from), field.full_mask()),
        Notation::Ipv4 => parse_ipv4(token),
        Notation::Ipv6 => parse_ipv6(token),
        Notation::Port => Ok(Masked::new(u128::from(names.port(token)?.0), field.full_mask())),
        Notation::CtState | Notation::TcpFlags | Notation::TunFlags => parse_flags(field, token),
        Notation::Frag => parse_fragment(token),
        Notation::PacketType => parse_packet_type(token),
    }
}

fn masked_by(
    token: Token<'_>,
    parse: impl Fn(Token<'_>) -> Result<u128, ParseError>,
    full: u128,
) -> Result<Masked, ParseError> {
    match token.split_once("/") {
        Some((value, mask)) => Ok(Masked::new(parse(value)?, parse(mask)?)),
        None => Ok(Masked { value: parse(token)?, mask: full }),
    }
}

fn parse_integer(field: Field, token: Token<'_>) -> Result<Masked, ParseError> {
    let widest = match field {
        // The whole byte is written, of which only the upper six bits count.
        Field::NwTos => u128::from(u8::MAX),
        _ => field.full_mask(),
    };
    let masked = masked_by(token, |part| part.number(widest), field.full_mask())?;
    Ok(Masked::new(masked.value, masked.mask))
}

/// A MAC address as a number.
pub(super) fn mac(token: Token<'_>) -> Result<u64, ParseError> {
    let bytes: Vec<&str> = token.text().split(':').collect();
    let hexadecimal =
        |byte: &&str| (1..=2).contains(&byte.len()) && byte.chars().all(|c| c.is_ascii_hexdigit());
    if bytes.len() != MAC_BITS / 8 || !bytes.iter().all(hexadecimal) {
        return Err(token.error(Problem::NotAMac));
    }
    let number = |bytes: &[&str]| {
        bytes.iter().try_fold(0, |number, byte| {
            u64::from_str_radix(byte, 16).ok().map(|byte| number << 8 | byte)
        })
    };
    number(&bytes).ok_or_else(|| token.error(Problem::NotAMac))
}

/// An IPv4 address as a number.
pub(super) fn ipv4(token: Token<'_>) -> Result<u32, ParseError> {
    token.parsed::<Ipv4Addr>(Problem::NotAnIpv4).map(u32::from)
}

fn ipv6(token: Token<'_>) -> Result<u128, ParseError> {
    token.parsed::<Ipv6Addr>(Problem::NotAnIpv6).map(u128::from)
}

fn parse_ipv4(token: Token<'_>) -> Result<Masked, ParseError> {
    let Some((value, mask)) = token.split_once("/") else {
        return Ok(Masked::new(u128::from(ipv4(token)?), Field::IpSrc.full_mask()));
    };
    let mask = prefix(mask, IPV4_BITS).map_or_else(|| ipv4(mask).map(u128::from), Ok)?;
    Ok(Masked::new(u128::from(ipv4(value)?), mask))
}

fn parse_ipv6(token: Token<'_>) -> Result<Masked, ParseError> {
    let Some((value, mask)) = token.split_once("/") else {
        return Ok(Masked::new(ipv6(token)?, u128::MAX));
    };
    let mask = prefix(mask, IPV6_BITS).map_or_else(|| ipv6(mask), Ok)?;
    Ok(Masked::new(ipv6(value)?, mask))
}

/// The mask of a prefix length.
fn prefix(token: Token<'_>, bits: u32) -> Option<u128> {
    let length = token.text().parse::<u32>().ok().filter(|length| *length <= bits)?;
    let ones = u128::MAX.checked_shl(bits - length).unwrap_or(0);
    Some(if bits == IPV6_BITS { ones } else { ones & u128::from(u32::MAX) })
}

fn parse_flags(field: Field, token: Token<'_>) -> Result<Masked, ParseError> {
    match token.text().chars().next() {
        Some(c) if c.is_ascii_digit() => parse_integer(field, token),
        _ => {
            let set = FlagSet::of(field.info().notation);
            set.parse(token.text(), field.full_mask()).ok_or_else(|| token.error(set.problem()))
        }
    }
}

fn parse_fragment(token: Token<'_>) -> Result<Masked, ParseError> {
    match FRAGMENTS.iter().find(|(name, ..)| *name == token.text()) {
        Some((_, value, mask)) => Ok(Masked { value: *value, mask: *mask }),
        None => Err(token.error(Problem::NotAFragment)),
    }
}

fn parse_packet_type(token: Token<'_>) -> Result<Masked, ParseError> {
    let problem = || token.error(Problem::NotAPacketType);
    let (space, kind) =
        token.bracketed("(").and_then(|pair| pair.split_once(",")).ok_or_else(problem)?;
    let (space, kind): (u16, u16) = (space.trim().uint()?, kind.trim().uint()?);
    Ok(Masked::new(
        u128::from(space) << PACKET_TYPE_BITS | u128::from(kind),
        Field::PacketType.full_mask(),
    ))
}

/// A value in its field's notation, with its mask when some bits do not count.
pub(super) struct Value {
    pub(super) field: Field,
    pub(super) masked: Masked,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Masked { value, mask } = self.masked;
        let exact = mask == self.field.full_mask();
        match self.field.info().notation {
            Notation::Decimal if exact => write!(f, "{value}"),
            Notation::Decimal => write!(f, "{value}/{}", Hex(mask)),
            Notation::Hex => write_hex(f, value, mask, exact),
            Notation::Mac => write_mac(f, value, mask, exact),
            Notation::Ipv4 => write_ipv4(f, value, mask, exact),
            Notation::Ipv6 => write_ipv6(f, value, mask, exact),
            Notation::Port => OfPort(low_u16(value)).fmt(f),
            notation @ (Notation::CtState | Notation::TcpFlags | Notation::TunFlags) => {
                FlagSet::of(notation).write(f, self.masked, exact)
            }
            Notation::Frag => write_fragment(f, self.masked),
            Notation::PacketType => {
                write!(f, "({},{})", value >> PACKET_TYPE_BITS, Hex(value & 0xffff))
            }
        }
    }
}

/// A number as C's `%#x` writes it: 0 has no `0x`.
pub(super) struct Hex(pub(super) u128);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// A MAC address.
pub(super) struct Mac(pub(super) u128);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let byte = |shift: u32| self.0 >> shift & 0xff;
        write!(f, "{:02x}:{:02x}:{:02x}:", byte(40), byte(32), byte(24))?;
        write!(f, "{:02x}:{:02x}:{:02x}", byte(16), byte(8), byte(0))
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, value: u128, mask: u128, exact: bool) -> fmt::Result {
    if exact { Hex(value).fmt(f) } else { write!(f, "{}/{}", Hex(value), Hex(mask)) }
}

fn write_mac(f: &mut fmt::Formatter<'_>, value: u128, mask: u128, exact: bool) -> fmt::Result {
    if exact { Mac(value).fmt(f) } else { write!(f, "{}/{}", Mac(value), Mac(mask)) }
}

fn write_ipv4(f: &mut fmt::Formatter<'_>, value: u128, mask: u128, exact: bool) -> fmt::Result {
    let address = |number: u128| Ipv4Addr::from(low_u32(number));
    address(value).fmt(f)?;
    match prefix_length(mask, IPV4_BITS) {
        _ if exact => Ok(()),
        Some(length) => write!(f, "/{length}"),
        None => write!(f, "/{}", address(mask)),
    }
}

fn write_ipv6(f: &mut fmt::Formatter<'_>, value: u128, mask: u128, exact: bool) -> fmt::Result {
    Ipv6(value).fmt(f)?;
    match prefix_length(mask, IPV6_BITS) {
        _ if exact => Ok(()),
        Some(length) => write!(f, "/{length}"),
        None => write!(f, "/{}", Ipv6(mask)),
    }
}

/// An IPv6 address as the C library writes it: `::1.2.3.4` where Rust writes `::102:304`.
pub(super) struct Ipv6(pub(super) u128);

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compatible = self.0 >> 32 == 0 && self.0 > u128::from(u16::MAX);
        if compatible {
            write!(f, "::{}", Ipv4Addr::from(low_u32(self.0)))
        } else {
            Ipv6Addr::from(self.0).fmt(f)
        }
    }
}

/// The prefix length of a mask, if it is one.
fn prefix_length(mask: u128, bits: u32) -> Option<u32> {
    let left_aligned = mask.checked_shl(IPV6_BITS - bits).unwrap_or(mask);
    let length = left_aligned.leading_ones();
    (left_aligned.count_ones() == length).then_some(length)
}

fn write_fragment(f: &mut fmt::Formatter<'_>, masked: Masked) -> fmt::Result {
    match FRAGMENTS.iter().find(|(_, value, mask)| (*value, *mask) == (masked.value, masked.mask)) {
        Some((name, ..)) => f.write_str(name),
        None => write!(f, "{}/{}", Hex(masked.value), Hex(masked.mask)),
    }
}

/// The lowest 16 bits.
pub(super) fn low_u16(value: u128) -> u16 {
    u16::try_from(value & u128::from(u16::MAX)).unwrap_or_default()
}

/// The lowest 32 bits.
pub(super) fn low_u32(value: u128) -> u32 {
    u32::try_from(value & u128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: Field, text: &str, value: u128, mask: u128) {
        let masked = parse(field, Token::line(text), &Names::default()).unwrap();
        assert_eq!(masked, Masked { value, mask }, "{text}");
        assert_eq!(Value { field, masked }.to_string(), text);
    }

    fn refuse(field: Field, text: &str, problem: Problem) {
        let error = parse(field, Token::line(text), &Names::default()).unwrap_err();
        assert_eq!(error.problem, problem, "{text}");
    }

    #[test]
    fn a_prefix_and_a_mask_that_is_none() {
        check(Field::IpSrc, "10.0.0.0/8", 10 << 24, 0xff00_0000);
        check(Field::IpSrc, "0.0.0.0/0.4.0.0", 0, 0x0004_0000);
        check(Field::Ipv6Src, "fe80::/10", 0xfe80 << 112, 0xffc0 << 112);
        check(Field::Ipv6Src, "::1.2.3.4", 0x0102_0304, u128::MAX);
    }

    #[test]
    fn a_mask_of_a_mac_address_is_one_too() {
        check(Field::EthDst, "01:00:00:00:00:00/01:00:00:00:00:00", 1 << 40, 1 << 40);
    }

    #[test]
    fn flags_with_signs_have_a_mask_and_flags_without_are_all() {
        check(Field::CtState, "-new+est+trk", 0x22, 0x23);
        check(Field::CtState, "est|trk", 0x22, 0xff);
        check(Field::TcpFlags, "+[800]", 0x800, 0x800);
    }

    #[test]
    fn zero_has_no_prefix() {
        check(Field::Reg(1), "0/0x1", 0, 1);
        check(Field::CtLabel, "0", 0, u128::MAX);
    }

    #[test]
    fn a_value_that_is_too_wide_or_masked_where_it_may_not_be_is_refused() {
        refuse(Field::NwTtl, "256", Problem::NotANumber { max: 255 });
        refuse(Field::NwTtl, "64/0xf0", Problem::MaskNotAllowed { field: Field::NwTtl });
        refuse(Field::IpDst, "10.0.0.0/33", Problem::NotAnIpv4);
        refuse(Field::EthSrc, "00:00:00:00:00", Problem::NotAMac);
    }
}
