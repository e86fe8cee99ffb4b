//! pedit: `pedit ex munge ip ttl add 0xff pipe`.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::value::{number_u8, number_u16};
use super::words::{TextError, Words, wrong};
use crate::action::{Edit, Pedit};
use crate::{Bits, Mac, Masked};

pub(super) fn print(f: &mut Formatter<'_>, pedit: &Pedit) -> fmt::Result {
    f.write_str("pedit ex")?;
    for edit in &pedit.edits {
        f.write_str(" munge ")?;
        print_edit(f, edit)?;
    }
    f.write_str(" pipe")
}

fn print_edit(f: &mut Formatter<'_>, edit: &Edit) -> fmt::Result {
    let field = field(edit);
    match edit {
        Edit::EthDst(to) | Edit::EthSrc(to) => set(f, field, to),
        Edit::IpSrc(to) | Edit::IpDst(to) => set(f, field, to),
        Edit::Ip6Src(to) | Edit::Ip6Dst(to) => set(f, field, to),
        Edit::IpTos(to) | Edit::IpTtl(to) | Edit::Ip6TrafficClass(to) | Edit::Ip6HopLimit(to) => {
            set_number(f, field, u32::from(to.value()), u32::from(to.mask()), to.is_exact())
        }
        Edit::TcpSrc(to) | Edit::TcpDst(to) | Edit::UdpSrc(to) | Edit::UdpDst(to) => {
            set_number(f, field, u32::from(to.value()), u32::from(to.mask()), to.is_exact())
        }
        Edit::IpTtlAdd(by) | Edit::Ip6HopLimitAdd(by) => write!(f, "{field} add {by:#x}"),
    }
}

/// What `tc` calls the header and the field.
fn field(edit: &Edit) -> &'static str {
    match edit {
        Edit::EthDst(_) => "eth dst",
        Edit::EthSrc(_) => "eth src",
        Edit::IpSrc(_) => "ip src",
        Edit::IpDst(_) => "ip dst",
        Edit::IpTos(_) => "ip tos",
        Edit::IpTtl(_) | Edit::IpTtlAdd(_) => "ip ttl",
        Edit::Ip6Src(_) => "ip6 src",
        Edit::Ip6Dst(_) => "ip6 dst",
        Edit::Ip6TrafficClass(_) => "ip6 traffic_class",
        Edit::Ip6HopLimit(_) | Edit::Ip6HopLimitAdd(_) => "ip6 hoplimit",
        Edit::TcpSrc(_) => "tcp sport",
        Edit::TcpDst(_) => "tcp dport",
        Edit::UdpSrc(_) => "udp sport",
        Edit::UdpDst(_) => "udp dport",
    }
}

/// `retain` names the bits that are written. `tc` knows it for numbers; for addresses it is ours.
fn set<T: Bits + Display>(f: &mut Formatter<'_>, field: &str, to: &Masked<T>) -> fmt::Result {
    write!(f, "{field} set {}", to.value())?;
    if to.is_exact() { Ok(()) } else { write!(f, " retain {}", to.mask()) }
}

fn set_number(
    f: &mut Formatter<'_>,
    field: &str,
    value: u32,
    mask: u32,
    exact: bool,
) -> fmt::Result {
    write!(f, "{field} set {value:#x}")?;
    if exact { Ok(()) } else { write!(f, " retain {mask:#x}") }
}

pub(super) fn parse(words: &mut Words<'_>) -> Result<Pedit, TextError> {
    words.expect("ex")?;
    let mut edits = Vec::new();
    while !words.take("pipe") {
        words.expect("munge")?;
        edits.push(parse_edit(words)?);
    }
    Ok(Pedit { edits })
}

fn parse_edit(words: &mut Words<'_>) -> Result<Edit, TextError> {
    let header = words.next("a header")?;
    let field = words.next("a field")?;
    match (header, field) {
        ("eth", "dst") => to(words, mac).map(Edit::EthDst),
        ("eth", "src") => to(words, mac).map(Edit::EthSrc),
        ("ip", "src") => to(words, v4).map(Edit::IpSrc),
        ("ip", "dst") => to(words, v4).map(Edit::IpDst),
        ("ip", "tos") => to(words, number_u8).map(Edit::IpTos),
        ("ip", "ttl") => to_or_add(words, Edit::IpTtl, Edit::IpTtlAdd),
        ("ip6", "src") => to(words, v6).map(Edit::Ip6Src),
        ("ip6", "dst") => to(words, v6).map(Edit::Ip6Dst),
        ("ip6", "traffic_class") => to(words, number_u8).map(Edit::Ip6TrafficClass),
        ("ip6", "hoplimit") => to_or_add(words, Edit::Ip6HopLimit, Edit::Ip6HopLimitAdd),
        ("tcp", "sport") => to(words, number_u16).map(Edit::TcpSrc),
        ("tcp", "dport") => to(words, number_u16).map(Edit::TcpDst),
        ("udp", "sport") => to(words, number_u16).map(Edit::UdpSrc),
        ("udp", "dport") => to(words, number_u16).map(Edit::UdpDst),
        _ => Err(wrong(field, "a field of this header")),
    }
}

fn to<T: Bits>(words: &mut Words<'_>, read: fn(&str) -> Option<T>) -> Result<Masked<T>, TextError> {
    words.expect("set")?;
    let value = words.read("a value for the field", read)?;
    if words.take("retain") {
        let mask = words.read("a mask for the field", read)?;
        return Ok(Masked::new(value, mask));
    }
    Ok(Masked::exact(value))
}

fn to_or_add(
    words: &mut Words<'_>,
    set: fn(Masked<u8>) -> Edit,
    add: fn(u8) -> Edit,
) -> Result<Edit, TextError> {
    if words.take("add") {
        return words.read("a number to add", number_u8).map(add);
    }
    to(words, number_u8).map(set)
}

fn mac(word: &str) -> Option<Mac> {
    word.parse().ok()
}

fn v4(word: &str) -> Option<std::net::Ipv4Addr> {
    match word.parse().ok()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(word: &str) -> Option<std::net::Ipv6Addr> {
    match word.parse().ok()? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}
