//! pedit: bytes written where a header should be. It looks at no protocol and keeps no checksum right.

use tc_filter::action::{Edit, Pedit};
use tc_filter::{Mac, Masked};

use super::super::Frame;
use super::super::l4::{Layers, TCP, UDP, layers};
use super::super::rewrite::plain;

/// Writes all fields; `None` if the packet does not have one of them, so that something else would be overwritten.
pub(super) fn write(frame: &mut Frame, pedit: &Pedit) -> Option<()> {
    pedit.edits.iter().try_for_each(|edit| one(frame, *edit))
}

fn one(frame: &mut Frame, edit: Edit) -> Option<()> {
    match edit {
        Edit::EthDst(to) => mac(frame, 0, to),
        Edit::EthSrc(to) => mac(frame, 6, to),
        Edit::IpTos(to) => byte(frame, ip(frame, false)? + 1, to),
        Edit::IpTtl(to) => byte(frame, ip(frame, false)? + 8, to),
        Edit::IpTtlAdd(by) => add(frame, ip(frame, false)? + 8, by),
        Edit::IpSrc(to) => {
            bits(frame, ip(frame, false)? + 12, &to.value().octets(), &to.mask().octets())
        }
        Edit::IpDst(to) => {
            bits(frame, ip(frame, false)? + 16, &to.value().octets(), &to.mask().octets())
        }
        Edit::Ip6Src(to) => {
            bits(frame, ip(frame, true)? + 8, &to.value().octets(), &to.mask().octets())
        }
        Edit::Ip6Dst(to) => {
            bits(frame, ip(frame, true)? + 24, &to.value().octets(), &to.mask().octets())
        }
        Edit::Ip6TrafficClass(to) => {
            let at = ip(frame, true)?;
            let wide = |byte: u8| (u16::from(byte) << 4).to_be_bytes();
            bits(frame, at, &wide(to.value()), &wide(to.mask()))
        }
        Edit::Ip6HopLimit(to) => byte(frame, ip(frame, true)? + 7, to),
        Edit::Ip6HopLimitAdd(by) => add(frame, ip(frame, true)? + 7, by),
        Edit::TcpSrc(to) => port(frame, TCP, 0, to),
        Edit::TcpDst(to) => port(frame, TCP, 2, to),
        Edit::UdpSrc(to) => port(frame, UDP, 0, to),
        Edit::UdpDst(to) => port(frame, UDP, 2, to),
    }
}

/// The IP header of this version, of a packet that has at most one tag: behind two, the kernel takes the inner tag for
/// the IP header.
fn header(frame: &Frame, v6: bool) -> Option<Layers> {
    const ETHERNET_AND_TAG: usize = 18;
    layers(frame).filter(|layers| layers.v6 == v6 && layers.ip <= ETHERNET_AND_TAG)
}

fn ip(frame: &Frame, v6: bool) -> Option<usize> {
    header(frame, v6).map(|layers| layers.ip)
}

fn mac(frame: &mut Frame, at: usize, to: Masked<Mac>) -> Option<()> {
    bits(frame, at, &to.value().0, &to.mask().0)
}

fn byte(frame: &mut Frame, at: usize, to: Masked<u8>) -> Option<()> {
    bits(frame, at, &[to.value()], &[to.mask()])
}

fn add(frame: &mut Frame, at: usize, by: u8) -> Option<()> {
    let [old] = frame.bytes(at)?;
    plain(frame, at, &[old.wrapping_add(by)]);
    Some(())
}

/// The kernel finds ports behind the IP header as it is written, so extension headers are in the way.
fn port(frame: &mut Frame, protocol: u8, at: usize, to: Masked<u16>) -> Option<()> {
    let layers = header(frame, false).or_else(|| header(frame, true))?;
    let plain_header = !layers.v6 || layers.l4 == layers.ip + 40;
    if layers.protocol != protocol || layers.later || !plain_header {
        return None;
    }
    bits(frame, layers.l4 + at, &to.value().to_be_bytes(), &to.mask().to_be_bytes())
}

fn bits(frame: &mut Frame, at: usize, value: &[u8], mask: &[u8]) -> Option<()> {
    let place = frame.0.get_mut(at..at + value.len())?;
    for (byte, (value, mask)) in place.iter_mut().zip(value.iter().zip(mask)) {
        *byte = *byte & !mask | value & mask;
    }
    Some(())
}
