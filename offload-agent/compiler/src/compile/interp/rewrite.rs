//! Header writes as OVS's datapath does them (`net/openvswitch/actions.c`): the bytes change, and the checksums that
//! cover them are carried along.

use std::net::IpAddr;

use super::Frame;
use super::checksum::carried;
use super::conntrack::Translation;
use super::l4::{Layers, UDP, layers};

/// Writes bytes that no checksum covers.
pub(super) fn plain(frame: &mut Frame, at: usize, bytes: &[u8]) {
    if let Some(place) = frame.0.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Writes an address of the IP header, the source (0) or the destination (1).
pub(super) fn address(frame: &mut Frame, end: usize, to: IpAddr) {
    let Some(layers) = layers(frame) else { return };
    let bytes = match to {
        IpAddr::V4(address) if !layers.v6 => address.octets().to_vec(),
        IpAddr::V6(address) if layers.v6 => address.octets().to_vec(),
        _ => return,
    };
    let (first, length) = layers.addresses();
    let at = first + end * length;
    if let Some(checksum) = layers.checksum(frame) {
        above_ip(frame, &layers, checksum, at, &bytes);
    }
    ip_header(frame, &layers, at, &bytes);
}

/// Writes a port, the source (0) or the destination (1).
pub(super) fn port(frame: &mut Frame, end: usize, to: u16) {
    let Some(layers) = layers(frame) else { return };
    let Some(ports) = layers.ports(frame) else { return };
    let (at, bytes) = (ports + end * 2, to.to_be_bytes());
    if let Some(checksum) = layers.checksum(frame) {
        above_ip(frame, &layers, checksum, at, &bytes);
    }
    plain(frame, at, &bytes);
}

/// Writes bytes of the IP header; IPv4's has a checksum.
pub(super) fn ip_header(frame: &mut Frame, layers: &Layers, at: usize, bytes: &[u8]) {
    if !layers.v6 {
        // At an odd place the words would be shifted: the aligned words around it are what changes.
        let start = at - (at - layers.ip) % 2;
        let end = start + (at + bytes.len() - start).next_multiple_of(2);
        let old = frame.0.get(start..end).map(<[u8]>::to_vec).unwrap_or_default();
        plain(frame, at, bytes);
        let new = frame.0.get(start..end).map(<[u8]>::to_vec).unwrap_or_default();
        let checksum = frame.word(layers.ip + 10).unwrap_or(0);
        plain(frame, layers.ip + 10, &carried(checksum, &old, &new).to_be_bytes());
    } else {
        plain(frame, at, bytes);
    }
}

/// Carries the checksum above IP along a change of the aligned bytes at `at`. A UDP checksum of 0 is none, and one that
/// comes out as 0 is written as all ones.
fn above_ip(frame: &mut Frame, layers: &Layers, checksum: usize, at: usize, new: &[u8]) {
    let old = frame.0.get(at..at + new.len()).map(<[u8]>::to_vec).unwrap_or_default();
    let before = frame.word(checksum).unwrap_or(0);
    if layers.protocol == UDP && before == 0 {
        return;
    }
    let after = match carried(before, &old, new) {
        0 if layers.protocol == UDP => u16::MAX,
        after => after,
    };
    plain(frame, checksum, &after.to_be_bytes());
}

/// Writes what connection tracking translates.
pub(super) fn translate(frame: &mut Frame, to: Translation) {
    for (end, rewrite) in [to.src, to.dst].into_iter().enumerate() {
        if let Some(wanted) = rewrite.address {
            address(frame, end, wanted);
        }
        if let Some(wanted) = rewrite.port {
            port(frame, end, wanted);
        }
    }
}
