//! csum: checksums computed anew over the packet as it is (`net/sched/act_csum.c`). Of a first fragment it takes what
//! is there, which is wrong; of a later one nothing.

use tc_filter::action::Csum;

use super::super::Frame;
use super::super::checksum::{add, sum};
use super::super::l4::{ICMP, ICMPV6, Layers, TCP, UDP, layers};
use super::super::rewrite::plain;

/// Computes what is asked for and there; `None` for what is not IP, and for a header that is cut off, which the kernel drops.
pub(super) fn compute(frame: &mut Frame, which: Csum) -> Option<()> {
    let layers = layers(frame)?;
    let kind = match layers.protocol {
        TCP => Csum::TCP,
        UDP => Csum::UDP,
        ICMP if !layers.v6 => Csum::ICMP,
        ICMPV6 if layers.v6 => Csum::ICMP,
        _ => Csum::default(),
    };
    if kind != Csum::default() && which.contains(kind) && !layers.later {
        above_ip(frame, &layers)?;
    }
    if which.contains(Csum::IP4H) && !layers.v6 {
        ip(frame, &layers);
    }
    Some(())
}

fn ip(frame: &mut Frame, layers: &Layers) {
    let [first] = frame.bytes(layers.ip).unwrap_or_default();
    let header = usize::from(first & 0x0f) * 4;
    plain(frame, layers.ip + 10, &[0, 0]);
    let sum = sum(frame.0.get(layers.ip..layers.ip + header).unwrap_or_default());
    plain(frame, layers.ip + 10, &(!sum).to_be_bytes());
}

fn above_ip(frame: &mut Frame, layers: &Layers) -> Option<()> {
    let (at, header) = match layers.protocol {
        TCP => (layers.l4 + 16, 20),
        UDP => (layers.l4 + 6, 8),
        _ => (layers.l4 + 2, 8),
    };
    let payload = frame.0.get(layers.l4..end(frame, layers)?)?;
    let length = payload.len();
    if length < header {
        return None;
    }
    // A UDP checksum of 0 is none, but over IPv6 there has to be one.
    if layers.protocol == UDP && !layers.v6 && frame.word(at) == Some(0) {
        return Some(());
    }
    plain(frame, at, &[0, 0]);
    // What speaks of another length than IP is left without (`ignore_obscure_skb`).
    let told = frame.word(layers.l4 + 4).map(usize::from);
    if layers.protocol == UDP && told != Some(length) {
        return Some(());
    }
    let payload = frame.0.get(layers.l4..layers.l4 + length)?;
    let mut total = sum(payload);
    if layers.protocol != ICMP {
        total = add(total, pseudo(frame, layers, payload.len()));
    }
    let checksum = match !total {
        0 if layers.protocol == UDP => u16::MAX,
        checksum => checksum,
    };
    plain(frame, at, &checksum.to_be_bytes());
    Some(())
}

/// Where the IP packet ends, if all of it is there; what follows is padding.
fn end(frame: &Frame, layers: &Layers) -> Option<usize> {
    let length = if layers.v6 {
        frame.word(layers.ip + 4).map(|payload| usize::from(payload) + 40)
    } else {
        frame.word(layers.ip + 2).map(usize::from)
    };
    Some(layers.ip + length?).filter(|end| *end <= frame.0.len())
}

fn pseudo(frame: &Frame, layers: &Layers, length: usize) -> u16 {
    let (at, size) = layers.addresses();
    let addresses = sum(frame.0.get(at..at + 2 * size).unwrap_or_default());
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    add(add(addresses, u16::from(layers.protocol)), length)
}
