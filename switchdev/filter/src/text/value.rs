//! The values of keys and actions as words: numbers, addresses, and their masks.

use std::fmt::{self, Display, LowerHex, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::key::{FragKey, IpMatch, PortMatch, PortRange};
use crate::{Bits, EtherType, IpProto, Mac, Masked};

/// A plain or hexadecimal number.
pub(super) fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

pub(super) fn number_u8(word: &str) -> Option<u8> {
    number(word)?.try_into().ok()
}

pub(super) fn number_u16(word: &str) -> Option<u16> {
    number(word)?.try_into().ok()
}

pub(super) fn number_u32(word: &str) -> Option<u32> {
    number(word)?.try_into().ok()
}

/// A hexadecimal number, with or without `0x`: `tc` reads TOS, TTL and odd protocols so.
pub(super) fn hex_u8(word: &str) -> Option<u8> {
    u8::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
}

/// `VALUE` or `VALUE/MASK`, both read by `read`.
pub(super) fn masked<T: Bits>(word: &str, read: fn(&str) -> Option<T>) -> Option<Masked<T>> {
    match word.split_once('/') {
        Some((value, mask)) => Some(Masked::new(read(value)?, read(mask)?)),
        None => read(word).map(Masked::exact),
    }
}

/// `VALUE` where every bit counts, else `VALUE/MASK`.
pub(super) struct Plain<T>(pub(super) Masked<T>);

impl<T: Bits + Display + LowerHex> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.value())?;
        if self.0.is_exact() { Ok(()) } else { write!(f, "/{:#x}", self.0.mask()) }
    }
}

/// The same with the mask in decimal, where `tc` reads no other.
pub(super) struct Decimal<T>(pub(super) Masked<T>);

impl<T: Bits + Display> Display for Decimal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.value())?;
        if self.0.is_exact() { Ok(()) } else { write!(f, "/{}", self.0.mask()) }
    }
}

/// The same in hexadecimal.
pub(super) struct Hex<T>(pub(super) Masked<T>);

impl<T: Bits + LowerHex> Display for Hex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0.value())?;
        if self.0.is_exact() { Ok(()) } else { write!(f, "/{:#x}", self.0.mask()) }
    }
}

/// An Ethernet address, with a mask where bits do not count.
pub(super) struct MacWord(pub(super) Masked<Mac>);

impl Display for MacWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.value())?;
        if self.0.is_exact() { Ok(()) } else { write!(f, "/{}", self.0.mask()) }
    }
}

pub(super) fn mac(word: &str) -> Option<Mac> {
    word.parse().ok()
}

/// An address, `ADDRESS/LENGTH`, or `ADDRESS/MASK` where the mask has holes, which `tc` cannot
/// say.
impl Display for IpMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(key) => {
                let mask = key.mask().to_bits();
                let length = prefix(mask.leading_ones(), mask.count_ones());
                address(f, key.value(), key.mask(), length, u32::BITS)
            }
            Self::V6(key) => {
                let mask = key.mask().to_bits();
                let length = prefix(mask.leading_ones(), mask.count_ones());
                address(f, key.value(), key.mask(), length, u128::BITS)
            }
        }
    }
}

fn prefix(leading: u32, all: u32) -> Option<u32> {
    (leading == all).then_some(all)
}

fn address(
    f: &mut fmt::Formatter<'_>,
    value: impl Display,
    mask: impl Display,
    length: Option<u32>,
    full: u32,
) -> fmt::Result {
    match length {
        Some(length) if length == full => write!(f, "{value}"),
        Some(length) => write!(f, "{value}/{length}"),
        None => write!(f, "{value}/{mask}"),
    }
}

pub(super) fn ip(word: &str) -> Option<IpMatch> {
    ipv4(word).map(IpMatch::V4).or_else(|| ipv6(word).map(IpMatch::V6))
}

pub(super) fn ipv4(word: &str) -> Option<Masked<Ipv4Addr>> {
    let Some((value, mask)) = word.split_once('/') else {
        return word.parse().ok().map(Masked::exact);
    };
    let ones = |length: u32| length.checked_sub(1).map_or(0, |one| u32::MAX << (31 - one));
    let mask = match mask.parse::<u32>() {
        Ok(length) if length <= u32::BITS => Ipv4Addr::from_bits(ones(length)),
        Ok(_) => return None,
        Err(_) => mask.parse().ok()?,
    };
    Some(Masked::new(value.parse().ok()?, mask))
}

pub(super) fn ipv6(word: &str) -> Option<Masked<Ipv6Addr>> {
    let Some((value, mask)) = word.split_once('/') else {
        return word.parse().ok().map(Masked::exact);
    };
    let ones = |length: u32| length.checked_sub(1).map_or(0, |one| u128::MAX << (127 - one));
    let mask = match mask.parse::<u32>() {
        Ok(length) if length <= u128::BITS => Ipv6Addr::from_bits(ones(length)),
        Ok(_) => return None,
        Err(_) => mask.parse().ok()?,
    };
    Some(Masked::new(value.parse().ok()?, mask))
}

/// `80`, `80/0xfff0`, `80-90`.
impl Display for PortMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked(key) => Plain(*key).fmt(f),
            Self::Range(range) => write!(f, "{}-{}", range.first(), range.last()),
        }
    }
}

pub(super) fn port(word: &str) -> Option<PortMatch> {
    match word.split_once('-') {
        Some((min, max)) => {
            let range = PortRange::new(min.parse().ok()?, max.parse().ok()?).ok()?;
            Some(PortMatch::Range(range))
        }
        None => masked(word, number_u16).map(PortMatch::Masked),
    }
}

const ETHERTYPES: [(&str, EtherType); 6] = [
    ("all", EtherType::ALL),
    ("ip", EtherType::IPV4),
    ("ipv6", EtherType::IPV6),
    ("arp", EtherType::ARP),
    ("802.1Q", EtherType::VLAN),
    ("802.1ad", EtherType::QINQ),
];

/// The name `tc` gives a protocol, or its number.
pub(super) struct EtherTypeWord(pub(super) EtherType);

impl Display for EtherTypeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ETHERTYPES.iter().find(|(_, ethertype)| *ethertype == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0.0),
        }
    }
}

pub(super) fn ethertype(word: &str) -> Option<EtherType> {
    let named = ETHERTYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    named.map(|(_, ethertype)| *ethertype).or_else(|| number_u16(word).map(EtherType))
}

const IP_PROTOS: [(&str, IpProto); 5] = [
    ("tcp", IpProto::TCP),
    ("udp", IpProto::UDP),
    ("sctp", IpProto::SCTP),
    ("icmp", IpProto::ICMP),
    ("icmpv6", IpProto::ICMPV6),
];

/// The name flower gives a protocol above IP, or its number, which `tc` reads as hexadecimal.
pub(super) struct IpProtoWord(pub(super) IpProto);

impl Display for IpProtoWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IP_PROTOS.iter().find(|(_, proto)| *proto == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0.0),
        }
    }
}

pub(super) fn ip_proto(word: &str) -> Option<IpProto> {
    let named = IP_PROTOS.iter().find(|(name, _)| *name == word);
    named.map(|(_, proto)| *proto).or_else(|| hex_u8(word).map(IpProto))
}

/// `frag/nofirstfrag`.
pub(super) fn frag(key: FragKey) -> Option<String> {
    let word = |name: &str, wanted: bool| format!("{}{name}", if wanted { "" } else { "no" });
    let flags =
        [key.fragment.map(|on| word("frag", on)), key.first.map(|on| word("firstfrag", on))];
    let words: Vec<String> = flags.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("/"))
}

pub(super) fn parse_frag(word: &str) -> Option<FragKey> {
    let mut key = FragKey::default();
    for flag in word.split('/') {
        match flag {
            "frag" => key.fragment = Some(true),
            "nofrag" => key.fragment = Some(false),
            "firstfrag" => key.first = Some(true),
            "nofirstfrag" => key.first = Some(false),
            _ => return None,
        }
    }
    Some(key)
}

/// Bytes as hexadecimal digits, two each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn parse_hex(word: &str) -> Option<Vec<u8>> {
    let pairs = word.as_bytes().chunks(2);
    let digits = word.len().is_multiple_of(2) && word.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits { pairs.map(byte).collect() } else { None }
}

/// A label: 32 hexadecimal digits, the mask behind a slash.
pub(super) struct Label(pub(super) Masked<u128>);

impl Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.value())?;
        if self.0.is_exact() { Ok(()) } else { write!(f, "/{:032x}", self.0.mask()) }
    }
}

/// Fewer than 32 digits are taken from the left, as `tc` does.
pub(super) fn label(word: &str) -> Option<u128> {
    let bytes = parse_hex(word)?;
    let mut all = [0; 16];
    all.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(u128::from_be_bytes(all))
}
