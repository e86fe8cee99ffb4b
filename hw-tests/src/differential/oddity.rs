//! What usual packets have not, and parsers read in different ways, put on a packet that is right otherwise.

use flow_compiler::compile::interp::Frame;

use super::bytes;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV4_LENGTH: usize = 2;
const IPV6_LENGTH: usize = 4;
const IPV6_NEXT: usize = 6;
const IPV6_HEADER: usize = 40;
const AUTHENTICATION: u8 = 51;
const UDP: u8 = 17;
/// What the headers of one extension are long here: those of AH have a value to check behind their fixed part.
const EXTENSION: usize = 8;
const AUTHENTICATION_HEADER: usize = 16;

/// One thing of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// Extension headers of IPv6 with these numbers, the first first.
    Extensions(Vec<u8>),
    /// UDP says that it has no checksum, which over IPv6 it must not.
    NoChecksum,
    /// What is above the EtherType, or above IP.
    Body(Vec<u8>),
}

impl Oddity {
    /// Changes a packet that can have it.
    pub(crate) fn put_on(&self, frame: &mut Frame) {
        let Some(ip) = bytes::network(frame) else { return };
        match (self, frame.word(ip - 2)) {
            (Oddity::Extensions(numbers), Some(IPV6)) => extend(frame, ip, numbers),
            (Oddity::NoChecksum, _) => {
                if let Some((udp, UDP)) = bytes::transport(frame) {
                    bytes::put(frame, udp + 6, 0);
                }
            }
            (Oddity::Body(body), _) => {
                let start = bytes::transport(frame).map_or(ip, |(above, _)| above);
                frame.0.truncate(start);
                frame.0.extend(body);
                fix_length(frame, ip);
            }
            _ => {}
        }
    }
}

fn extend(frame: &mut Frame, ip: usize, numbers: &[u8]) {
    let mut headers = Vec::new();
    let mut next = frame.0[ip + IPV6_NEXT];
    for number in numbers.iter().rev() {
        let (length, counted) = match *number {
            // In words of four bytes, less two; the others in words of eight, less one.
            AUTHENTICATION => (AUTHENTICATION_HEADER, 2),
            _ => (EXTENSION, 0),
        };
        let mut header = vec![0; length];
        (header[0], header[1]) = (next, counted);
        headers.splice(0..0, header);
        next = *number;
    }
    frame.0[ip + IPV6_NEXT] = next;
    frame.0.splice(ip + IPV6_HEADER..ip + IPV6_HEADER, headers);
    fix_length(frame, ip);
}

/// The header says how long the packet is by now.
fn fix_length(frame: &mut Frame, ip: usize) {
    let length = frame.left(ip);
    let (at, length) = match frame.word(ip - 2) {
        Some(IPV4) => (ip + IPV4_LENGTH, length),
        Some(IPV6) => (ip + IPV6_LENGTH, length - IPV6_HEADER.min(length)),
        _ => return,
    };
    bytes::put(frame, at, u16::try_from(length).unwrap_or(u16::MAX));
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Fragment, Ip, Network, Spec};
    use super::*;

    fn spec(network: Network, oddity: Oddity) -> Spec {
        Spec {
            dst: 1,
            src: 2,
            tags: Vec::new(),
            network,
            tunnel: None,
            payload: 4,
            marker: None,
            oddity: Some(oddity),
        }
    }

    fn ip(protocol: u8) -> Ip {
        Ip { protocol, tos: 0, ttl: 64, fragment: Fragment::No, src: 1000, dst: 80, flags: 2 }
    }

    #[test]
    fn extensions_stand_in_their_order_and_count() {
        let network = Network::Ip6 { src: 1, dst: 2, ip: ip(17) };
        let frame = spec(network, Oddity::Extensions(vec![0, 51])).frame();
        assert_eq!(frame.0[14 + 6], 0, "hop by hop comes first");
        assert_eq!(frame.0[14 + 40..][..2], [51, 0]);
        assert_eq!(frame.0[14 + 48..][..2], [17, 2]);
        assert_eq!(frame.word(14 + 4), Some(8 + 16 + 8 + 4));
        assert_eq!(frame.word(14 + 64), Some(1000), "the ports are behind them");
    }

    #[test]
    fn no_checksum_stays_none() {
        let network = Network::Ip6 { src: 1, dst: 2, ip: ip(17) };
        assert_eq!(spec(network, Oddity::NoChecksum).frame().word(14 + 40 + 6), Some(0));
    }

    #[test]
    fn another_body_stands_above_the_ethertype() {
        let frame = spec(Network::Other { ethertype: 0x4305 }, Oddity::Body(vec![7, 8])).frame();
        assert_eq!(frame.0[12..], [0x43, 0x05, 7, 8]);
    }
}
