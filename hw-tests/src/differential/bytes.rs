//! Header fields in a frame, written by their datapath names, with all checksums computed anew.

use std::net::IpAddr;

use flow_compiler::compile::interp::{Endpoint, Frame};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Where a field lies: its first byte and how many there are.
pub(crate) fn place(frame: &Frame, header: &str, field: &str) -> Option<(usize, usize)> {
    let ip = network(frame)?;
    Some(match (header, field) {
        ("eth", "dst") => (0, 6),
        ("eth", "src") => (6, 6),
        ("ipv4", "src") => (ip + 12, 4),
        ("ipv4", "dst") => (ip + 16, 4),
        ("ipv4", "tos") => (ip + 1, 1),
        ("ipv4", "ttl") => (ip + 8, 1),
        ("ipv6", "src") => (ip + 8, 16),
        ("ipv6", "dst") => (ip + 24, 16),
        ("ipv6", "hlimit") => (ip + 7, 1),
        ("ipv6", "tclass") => (ip, 1),
        ("tcp" | "udp", "src") => (transport(frame)?.0, 2),
        ("tcp" | "udp", "dst") => (transport(frame)?.0 + 2, 2),
        ("arp", "op") => (ip + 6, 2),
        ("arp", "sha") => (ip + 8, 6),
        ("arp", "sip") => (ip + 14, 4),
        ("arp", "tha") => (ip + 18, 6),
        ("arp", "tip") => (ip + 24, 4),
        _ => return None,
    })
}

/// The first byte behind all tags and the EtherType.
pub(super) fn network(frame: &Frame) -> Option<usize> {
    let mut at = 12;
    while matches!(frame.word(at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    Some(at + 2)
}

/// The first byte above IP and the protocol there, of a packet that is whole.
pub(super) fn transport(frame: &Frame) -> Option<(usize, u8)> {
    let ip = network(frame)?;
    match frame.word(ip - 2)? {
        0x0800 => {
            let [first] = frame.bytes(ip)?;
            let [protocol] = frame.bytes(ip + 9)?;
            let whole = frame.word(ip + 6)? & 0x3fff == 0;
            whole.then_some((ip + usize::from(first & 0x0f) * 4, protocol))
        }
        0x86dd => {
            let (at, protocol) = behind_extensions(frame, ip)?;
            (protocol != 44).then_some((at, protocol))
        }
        _ => None,
    }
}

/// The first header of an IPv6 packet that is no extension, or that of a fragment.
fn behind_extensions(frame: &Frame, ip: usize) -> Option<(usize, u8)> {
    let [mut protocol] = frame.bytes(ip + 6)?;
    let mut at = ip + 40;
    while matches!(protocol, 0 | 43 | 51 | 60) {
        let [next, length] = frame.bytes(at)?;
        let words = if protocol == 51 {
            (usize::from(length) + 2) * 4
        } else {
            (usize::from(length) + 1) * 8
        };
        at += words;
        protocol = next;
    }
    Some((at, protocol))
}

/// Writes the bits under the mask. A traffic class lies across two bytes.
pub(crate) fn write(
    frame: &mut Frame,
    at: usize,
    length: usize,
    value: u128,
    mask: u128,
    shifted: bool,
) {
    let (length, value, mask) =
        if shifted { (2, value << 4, mask << 4) } else { (length, value, mask) };
    let Some(place) = frame.0.get_mut(at..at + length) else { return };
    let old = place.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
    let new = old & !mask | value & mask;
    place.copy_from_slice(&new.to_be_bytes()[16 - length..]);
}

/// Writes both ends of a packet.
pub(crate) fn write_ends(frame: &mut Frame, ends: [Endpoint; 2]) {
    for (end, names) in ends.into_iter().zip([("src", "src"), ("dst", "dst")]) {
        let (header, value) = match end.address {
            IpAddr::V4(address) => ("ipv4", u128::from(address.to_bits())),
            IpAddr::V6(address) => ("ipv6", address.to_bits()),
        };
        if let Some((at, length)) = place(frame, header, names.0) {
            write(frame, at, length, value, u128::MAX, false);
        }
        let port = place(frame, "tcp", names.1).zip(end.port);
        if let Some(((at, length), port)) = port {
            write(frame, at, length, port.into(), u128::MAX, false);
        }
    }
    fix_checksums(frame);
}

/// Computes every checksum that OVS keeps right; those of fragments cannot be computed.
pub(crate) fn fix_checksums(frame: &mut Frame) {
    let Some(ip) = network(frame) else { return };
    if frame.word(ip - 2) == Some(0x0800) {
        let header = frame.bytes::<1>(ip).map_or(20, |[first]| usize::from(first & 0x0f) * 4);
        put(frame, ip + 10, 0);
        let sum = !fold(frame.0.get(ip..ip + header).unwrap_or_default(), 0);
        put(frame, ip + 10, sum);
    }
    let Some((at, protocol)) = transport(frame) else { return };
    let place = match protocol {
        TCP if frame.left(at) >= 20 => at + 16,
        UDP if frame.left(at) >= 8 => at + 6,
        ICMP if frame.left(at) >= 4 => at + 2,
        ICMPV6 if frame.left(at) >= 4 => at + 2,
        _ => return,
    };
    if protocol == UDP && frame.word(place) == Some(0) {
        return;
    }
    put(frame, place, 0);
    let end = end(frame, ip);
    let payload = frame.0.get(at..end).unwrap_or_default();
    let sum = !fold(
        payload,
        if protocol == ICMP { 0 } else { pseudo(frame, ip, protocol, payload.len()) },
    );
    put(frame, place, if protocol == UDP && sum == 0 { u16::MAX } else { sum });
}

/// Where the IP packet ends; a frame may be padded.
fn end(frame: &Frame, ip: usize) -> usize {
    let length = match frame.word(ip - 2) {
        Some(0x0800) => frame.word(ip + 2).map(usize::from),
        _ => frame.word(ip + 4).map(|payload| usize::from(payload) + 40),
    };
    frame.0.len().min(ip + length.unwrap_or(0))
}

/// Writes zeros over the checksum of a first fragment: one side carries it along, the other cannot compute it.
pub(crate) fn forget_fragment_checksum(frame: &mut Frame) {
    let Some(ip) = network(frame) else { return };
    let fragment = behind_extensions(frame, ip).filter(|(_, protocol)| *protocol == 44);
    let (at, protocol) = match (frame.word(ip - 2), fragment) {
        (Some(0x0800), _) if frame.word(ip + 6).is_some_and(|frag| frag & 0x3fff == 0x2000) => {
            (ip + 20, frame.bytes::<1>(ip + 9))
        }
        (Some(0x86dd), Some((header, _))) => (header + 8, frame.bytes::<1>(header)),
        _ => return,
    };
    match protocol {
        Some([TCP]) => put(frame, at + 16, 0),
        Some([UDP]) => put(frame, at + 6, 0),
        Some([ICMPV6]) => put(frame, at + 2, 0),
        _ => {}
    }
}

fn pseudo(frame: &Frame, ip: usize, protocol: u8, length: usize) -> u32 {
    let addresses = match frame.word(ip - 2) {
        Some(0x0800) => ip + 12..ip + 20,
        _ => ip + 8..ip + 40,
    };
    let sum = u32::from(fold(frame.0.get(addresses).unwrap_or_default(), 0));
    sum + u32::from(protocol) + u32::try_from(length).unwrap_or(0)
}

fn fold(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0)
}

pub(super) fn put(frame: &mut Frame, at: usize, value: u16) {
    if let Some(place) = frame.0.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
