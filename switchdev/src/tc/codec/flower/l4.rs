//! Ports of TCP, UDP and SCTP: the kernel has a set of keys for each, and ranges beside them.

use tc_filter::key::{L4Key, PortMatch, PortRange};
use tc_filter::{IpProto, Masked};

use super::{Key, Unreadable, joined, masked, pick};

pub(super) fn emit(key: &L4Key, proto: Option<IpProto>, out: &mut Vec<Key>) {
    match key.dst {
        None => {}
        Some(PortMatch::Masked(port)) => emit_dst(port, proto, out),
        Some(PortMatch::Range(range)) => {
            out.push(Key::PortDstMin(range.first()));
            out.push(Key::PortDstMax(range.last()));
        }
    }
    match key.src {
        None => {}
        Some(PortMatch::Masked(port)) => emit_src(port, proto, out),
        Some(PortMatch::Range(range)) => {
            out.push(Key::PortSrcMin(range.first()));
            out.push(Key::PortSrcMax(range.last()));
        }
    }
    masked(out, key.tcp_flags, Key::TcpFlags, Key::TcpFlagsMask);
}

/// `tc` leaves the mask out where every bit counts, and so do we.
fn port(out: &mut Vec<Key>, port: Masked<u16>, value: fn(u16) -> Key, mask: fn(u16) -> Key) {
    out.push(value(port.value()));
    if !port.is_exact() {
        out.push(mask(port.mask()));
    }
}

/// Which protocols have ports, `message::check` has seen to.
fn emit_dst(key: Masked<u16>, proto: Option<IpProto>, out: &mut Vec<Key>) {
    match proto {
        Some(IpProto::UDP) => port(out, key, Key::UdpDst, Key::UdpDstMask),
        Some(IpProto::SCTP) => port(out, key, Key::SctpDst, Key::SctpDstMask),
        _ => port(out, key, Key::TcpDst, Key::TcpDstMask),
    }
}

fn emit_src(key: Masked<u16>, proto: Option<IpProto>, out: &mut Vec<Key>) {
    match proto {
        Some(IpProto::UDP) => port(out, key, Key::UdpSrc, Key::UdpSrcMask),
        Some(IpProto::SCTP) => port(out, key, Key::SctpSrc, Key::SctpSrcMask),
        _ => port(out, key, Key::TcpSrc, Key::TcpSrcMask),
    }
}

pub(super) fn parse(options: &[Key], proto: Option<IpProto>) -> Result<L4Key, Unreadable> {
    let (dst, src) = match proto {
        Some(IpProto::TCP) => (
            joined(pick!(options, TcpDst), pick!(options, TcpDstMask)),
            joined(pick!(options, TcpSrc), pick!(options, TcpSrcMask)),
        ),
        Some(IpProto::UDP) => (
            joined(pick!(options, UdpDst), pick!(options, UdpDstMask)),
            joined(pick!(options, UdpSrc), pick!(options, UdpSrcMask)),
        ),
        Some(IpProto::SCTP) => (
            joined(pick!(options, SctpDst), pick!(options, SctpDstMask)),
            joined(pick!(options, SctpSrc), pick!(options, SctpSrcMask)),
        ),
        _ => (None, None),
    };
    let dst_range = range(pick!(options, PortDstMin), pick!(options, PortDstMax))?;
    let src_range = range(pick!(options, PortSrcMin), pick!(options, PortSrcMax))?;
    Ok(L4Key {
        src: src_range.or_else(|| src.map(PortMatch::Masked)),
        dst: dst_range.or_else(|| dst.map(PortMatch::Masked)),
        tcp_flags: joined(pick!(options, TcpFlags), pick!(options, TcpFlagsMask)),
    })
}

fn range(min: Option<u16>, max: Option<u16>) -> Result<Option<PortMatch>, Unreadable> {
    match (min, max) {
        (None, None) => Ok(None),
        (Some(min), Some(max)) => {
            let range = PortRange::new(min, max).map_err(Unreadable::new)?;
            Ok(Some(PortMatch::Range(range)))
        }
        _ => Err(Unreadable::new("a port range with one end")),
    }
}
