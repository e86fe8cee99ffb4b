//! pedit: fields as 32-bit words.
//!
//! The kernel takes words only at offsets that are multiples of four; an Ethernet source address
//! therefore lies in the upper half of the word at 4 and in the word at 8. A mask has the bits
//! that are *kept*. Where an edit leaves a whole word alone, no word is sent for it.

use std::net::{Ipv4Addr, Ipv6Addr};

use tc_filter::action::{Edit, Pedit};
use tc_filter::{Bits, Mac, Masked};

use super::{generic, number_at, pipes, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, list, need};

pub(super) const TIMES: u16 = 1;
const PAD: u16 = 3;
const PARAMETERS: u16 = 4;
const KEYS_EX: u16 = 5;
const KEY_EX: u16 = 6;
const HEADER: u16 = 1;
const COMMAND: u16 = 2;

/// `struct tc_pedit_sel` before its keys: `tc_gen`, the number of keys, flags.
const KEYS_AT: usize = 24;
/// `struct tc_pedit_key`: mask, value, offset, and three numbers we do not use.
const KEY_LEN: usize = 24;

const SET: u16 = 0;
const ADD: u16 = 1;

/// Which header an offset counts from (`TCA_PEDIT_KEY_EX_HDR_TYPE_*`).
const ETH: u16 = 1;
const IP4: u16 = 2;
const IP6: u16 = 3;
const TCP: u16 = 4;
const UDP: u16 = 5;

/// Four bytes of a header and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    header: u16,
    command: u16,
    offset: u32,
    value: [u8; 4],
    /// The bits that are written.
    mask: [u8; 4],
}

/// Where a field lies: its header, its first byte, and how many bits it is shifted to the right.
/// Only the IPv6 traffic class does not begin at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    header: u16,
    byte: usize,
    length: usize,
    shift: u32,
}

const fn place(header: u16, byte: usize, length: usize) -> Place {
    Place { header, byte, length, shift: 0 }
}

const ETH_DST: Place = place(ETH, 0, 6);
const ETH_SRC: Place = place(ETH, 6, 6);
const IP_TOS: Place = place(IP4, 1, 1);
const IP_TTL: Place = place(IP4, 8, 1);
const IP_SRC: Place = place(IP4, 12, 4);
const IP_DST: Place = place(IP4, 16, 4);
const IP6_CLASS: Place = Place { header: IP6, byte: 0, length: 2, shift: 4 };
const IP6_HOP_LIMIT: Place = place(IP6, 7, 1);
const IP6_SRC: Place = place(IP6, 8, 16);
const IP6_DST: Place = place(IP6, 24, 16);
const TCP_SRC: Place = place(TCP, 0, 2);
const TCP_DST: Place = place(TCP, 2, 2);
const UDP_SRC: Place = place(UDP, 0, 2);
const UDP_DST: Place = place(UDP, 2, 2);
const PLACES: [Place; 14] = [
    ETH_DST,
    ETH_SRC,
    IP_TOS,
    IP_TTL,
    IP_SRC,
    IP_DST,
    IP6_CLASS,
    IP6_HOP_LIMIT,
    IP6_SRC,
    IP6_DST,
    TCP_SRC,
    TCP_DST,
    UDP_SRC,
    UDP_DST,
];
/// The longest header part an edit reaches into.
const REACH: usize = 40;

pub(super) fn emit(pedit: &Pedit) -> Writer {
    let words: Vec<Word> = pedit.edits.iter().flat_map(words).collect();
    let mut parameters = generic(verdict::PIPE);
    parameters.extend([u8::try_from(words.len()).unwrap_or(u8::MAX), 0, 0, 0]);
    let mut extended = Writer::default();
    for word in &words {
        parameters.extend(key(word));
        let mut one = Writer::default();
        one.u16(HEADER, word.header);
        one.u16(COMMAND, word.command);
        extended.nest(KEY_EX, &one);
    }
    let mut out = Writer::default();
    out.bytes(PARAMETERS, parameters);
    out.nest(KEYS_EX, &extended);
    out
}

/// How many words an edit takes of the most one action has.
pub(in crate::tc::codec) fn word_count(pedit: &Pedit) -> usize {
    pedit.edits.iter().map(|edit| words(edit).len()).sum()
}

fn key(word: &Word) -> Vec<u8> {
    let kept = word.mask.map(|byte| !byte);
    [kept, word.value, word.offset.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat()
}

fn words(edit: &Edit) -> Vec<Word> {
    match edit {
        Edit::EthDst(to) => set(ETH_DST, &to.value().0, &to.mask().0),
        Edit::EthSrc(to) => set(ETH_SRC, &to.value().0, &to.mask().0),
        Edit::IpSrc(to) => set(IP_SRC, &to.value().octets(), &to.mask().octets()),
        Edit::IpDst(to) => set(IP_DST, &to.value().octets(), &to.mask().octets()),
        Edit::IpTos(to) => set(IP_TOS, &[to.value()], &[to.mask()]),
        Edit::IpTtl(to) => set(IP_TTL, &[to.value()], &[to.mask()]),
        Edit::IpTtlAdd(by) => add(IP_TTL, *by),
        Edit::Ip6Src(to) => set(IP6_SRC, &to.value().octets(), &to.mask().octets()),
        Edit::Ip6Dst(to) => set(IP6_DST, &to.value().octets(), &to.mask().octets()),
        Edit::Ip6TrafficClass(to) => set(IP6_CLASS, &shifted(to.value()), &shifted(to.mask())),
        Edit::Ip6HopLimit(to) => set(IP6_HOP_LIMIT, &[to.value()], &[to.mask()]),
        Edit::Ip6HopLimitAdd(by) => add(IP6_HOP_LIMIT, *by),
        Edit::TcpSrc(to) => set_port(TCP_SRC, *to),
        Edit::TcpDst(to) => set_port(TCP_DST, *to),
        Edit::UdpSrc(to) => set_port(UDP_SRC, *to),
        Edit::UdpDst(to) => set_port(UDP_DST, *to),
    }
}

fn shifted(byte: u8) -> [u8; 2] {
    (u16::from(byte) << IP6_CLASS.shift).to_be_bytes()
}

fn set_port(place: Place, to: Masked<u16>) -> Vec<Word> {
    set(place, &to.value().to_be_bytes(), &to.mask().to_be_bytes())
}

fn set(place: Place, value: &[u8], mask: &[u8]) -> Vec<Word> {
    let (mut values, mut masks) = ([0; REACH], [0; REACH]);
    let at = place.byte..place.byte + place.length;
    values[at.clone()].copy_from_slice(value);
    masks[at].copy_from_slice(mask);
    let starts = (0..REACH).step_by(4);
    let words = starts.map(|start| word(place.header, SET, start, &values, &masks));
    words.filter(|word| word.mask != [0; 4]).collect()
}

fn add(place: Place, by: u8) -> Vec<Word> {
    let (mut values, mut masks) = ([0; REACH], [0; REACH]);
    values[place.byte] = by;
    masks[place.byte] = u8::MAX;
    vec![word(place.header, ADD, place.byte / 4 * 4, &values, &masks)]
}

fn word(header: u16, command: u16, at: usize, values: &[u8], masks: &[u8]) -> Word {
    let four = |bytes: &[u8]| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let offset = u32::try_from(at).unwrap_or(u32::MAX);
    Word { header, command, offset, value: four(values), mask: four(masks) }
}

pub(super) fn parse(options: &Attrs) -> Result<Pedit, Unreadable> {
    options.only(&[TIMES, PAD, PARAMETERS, KEYS_EX])?;
    let parameters = need(options.bytes(PARAMETERS), "pedit parameters")?;
    pipes(parameters)?;
    let extended = list(need(options.bytes(KEYS_EX), "pedit's extended keys")?)?;
    let keys = parameters.get(KEYS_AT..).unwrap_or_default().chunks_exact(KEY_LEN);
    if keys.len() != extended.len() {
        return Err(Unreadable::new("pedit without a header for each key"));
    }
    let words = keys.zip(&extended).map(|(key, (_, extended))| parse_word(key, extended));
    edits(&words.collect::<Result<Vec<_>, _>>()?)
}

fn parse_word(key: &[u8], extended: &[u8]) -> Result<Word, Unreadable> {
    let four = |at| need(number_at(key, at), "a pedit key").map(u32::to_ne_bytes);
    let (mut header, mut command) = (None, None);
    for (kind, value) in list(extended)? {
        let number = value.as_slice().try_into().ok().map(u16::from_ne_bytes);
        match kind {
            HEADER => header = number,
            COMMAND => command = number,
            other => return Err(Unreadable::new(format!("pedit key attribute {other}"))),
        }
    }
    Ok(Word {
        header: need(header, "a pedit header")?,
        command: need(command, "a pedit command")?,
        offset: u32::from_ne_bytes(four(8)?),
        value: four(4)?,
        mask: four(0)?.map(|byte| !byte),
    })
}

/// Words of one field that follow each other are one edit.
fn edits(words: &[Word]) -> Result<Pedit, Unreadable> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut rest = words;
    while let Some(first) = rest.first() {
        let place = place_of(first)?;
        let same = |word: &&Word| place_of(word).is_ok_and(|other| other == place);
        let mut count = rest.iter().take_while(same).count();
        if first.command == ADD {
            count = 1;
        }
        let (field, after) = rest.split_at(count);
        edits.push(edit(place, field)?);
        rest = after;
    }
    Ok(Pedit { edits })
}

/// The one field in which all bits of a word lie.
fn place_of(word: &Word) -> Result<Place, Unreadable> {
    let start = usize::try_from(word.offset).map_err(Unreadable::new)?;
    let within = |place: &&Place| {
        let inside = |byte: usize| (place.byte..place.byte + place.length).contains(&byte);
        let written = (0..4).filter(|at| word.mask[*at] != 0);
        place.header == word.header
            && start.is_multiple_of(4)
            && word.mask != [0; 4]
            && written.map(|at| start.saturating_add(at)).all(inside)
    };
    need(PLACES.iter().find(within).copied(), "a field for a pedit key")
}

fn edit(place: Place, words: &[Word]) -> Result<Edit, Unreadable> {
    let (mut values, mut masks) = ([0; REACH], [0; REACH]);
    for word in words {
        let start = usize::try_from(word.offset).map_err(Unreadable::new)?;
        let at = need(values.get_mut(start..start + 4), "a pedit key within a header")?;
        at.copy_from_slice(&word.value);
        masks[start..start + 4].copy_from_slice(&word.mask);
    }
    let at = place.byte..place.byte + place.length;
    let (value, mask) = (&values[at.clone()], &masks[at]);
    match words {
        [word] if word.command == ADD => edit_add(place, value, mask),
        _ if words.iter().all(|word| word.command == SET) => edit_set(place, value, mask),
        _ => Err(Unreadable::new("a pedit command that is not understood")),
    }
}

fn edit_add(place: Place, value: &[u8], mask: &[u8]) -> Result<Edit, Unreadable> {
    match (place, value, mask) {
        (IP_TTL, [by], [u8::MAX]) => Ok(Edit::IpTtlAdd(*by)),
        (IP6_HOP_LIMIT, [by], [u8::MAX]) => Ok(Edit::Ip6HopLimitAdd(*by)),
        _ => Err(Unreadable::new("pedit adds to a field that is not understood")),
    }
}

fn edit_set(place: Place, value: &[u8], mask: &[u8]) -> Result<Edit, Unreadable> {
    let edit = match place {
        ETH_DST => masked(value, mask, |b: [u8; 6]| Mac(b)).map(Edit::EthDst),
        ETH_SRC => masked(value, mask, |b: [u8; 6]| Mac(b)).map(Edit::EthSrc),
        IP_SRC => masked(value, mask, |b: [u8; 4]| Ipv4Addr::from(b)).map(Edit::IpSrc),
        IP_DST => masked(value, mask, |b: [u8; 4]| Ipv4Addr::from(b)).map(Edit::IpDst),
        IP_TOS => masked(value, mask, u8::from_ne_bytes).map(Edit::IpTos),
        IP_TTL => masked(value, mask, u8::from_ne_bytes).map(Edit::IpTtl),
        IP6_SRC => masked(value, mask, |b: [u8; 16]| Ipv6Addr::from(b)).map(Edit::Ip6Src),
        IP6_DST => masked(value, mask, |b: [u8; 16]| Ipv6Addr::from(b)).map(Edit::Ip6Dst),
        IP6_CLASS => traffic_class(value, mask).map(Edit::Ip6TrafficClass),
        IP6_HOP_LIMIT => masked(value, mask, u8::from_ne_bytes).map(Edit::Ip6HopLimit),
        TCP_SRC => masked(value, mask, u16::from_be_bytes).map(Edit::TcpSrc),
        TCP_DST => masked(value, mask, u16::from_be_bytes).map(Edit::TcpDst),
        UDP_SRC => masked(value, mask, u16::from_be_bytes).map(Edit::UdpSrc),
        UDP_DST => masked(value, mask, u16::from_be_bytes).map(Edit::UdpDst),
        _ => None,
    };
    need(edit, "a field for a pedit key")
}

fn masked<const N: usize, T: Bits>(
    value: &[u8],
    mask: &[u8],
    read: impl Fn([u8; N]) -> T,
) -> Option<Masked<T>> {
    Some(Masked::new(read(value.try_into().ok()?), read(mask.try_into().ok()?)))
}

/// `None` where bits beside the traffic class are written.
fn traffic_class(value: &[u8], mask: &[u8]) -> Option<Masked<u8>> {
    let byte = |bytes: &[u8]| {
        let number = u16::from_be_bytes(bytes.try_into().ok()?);
        let beside = number & !(0xff << IP6_CLASS.shift);
        if beside == 0 { u8::try_from(number >> IP6_CLASS.shift).ok() } else { None }
    };
    Some(Masked::new(byte(value)?, byte(mask)?))
}
