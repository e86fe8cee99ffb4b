//! ct: hands the packet to connection tracking.

use tc_filter::action::{Ct, CtNat, CtTrack, NatAddresses, NatPorts, NatRange};
use tc_filter::{CtZone, Masked};

use super::{generic, pipes, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

const PARAMETERS: u16 = 1;
pub(super) const TIMES: u16 = 2;
const FLAGS: u16 = 3;
const ZONE: u16 = 4;
const MARK: u16 = 5;
const MARK_MASK: u16 = 6;
const LABEL: u16 = 7;
const LABEL_MASK: u16 = 8;
const NAT_IPV4_MIN: u16 = 9;
const NAT_IPV4_MAX: u16 = 10;
const NAT_IPV6_MIN: u16 = 11;
const NAT_IPV6_MAX: u16 = 12;
const NAT_PORT_MIN: u16 = 13;
const NAT_PORT_MAX: u16 = 14;
const PAD: u16 = 15;

const COMMIT: u16 = 1;
const FORCE: u16 = 2;
const CLEAR: u16 = 4;
const NAT: u16 = 8;
const NAT_SRC: u16 = 16;
const NAT_DST: u16 = 32;

pub(super) fn emit(ct: &Ct) -> Writer {
    let mut out = Writer::default();
    match ct {
        Ct::Clear => out.u16(FLAGS, CLEAR),
        Ct::Track(track) => emit_track(&mut out, track),
    }
    out.bytes(PARAMETERS, generic(verdict::PIPE));
    out
}

fn emit_track(out: &mut Writer, track: &CtTrack) {
    out.u16(ZONE, track.zone.0);
    if let Some(mark) = track.mark {
        out.u32(MARK, mark.value());
        out.u32(MARK_MASK, mark.mask());
    }
    if let Some(label) = track.label {
        out.bytes(LABEL, label.value().to_be_bytes());
        out.bytes(LABEL_MASK, label.mask().to_be_bytes());
    }
    if let Some(CtNat::Src(range) | CtNat::Dst(range)) = &track.nat {
        emit_range(out, range);
    }
    out.u16(FLAGS, flags(track));
}

fn flags(track: &CtTrack) -> u16 {
    let nat = match track.nat {
        None => 0,
        Some(CtNat::Committed) => NAT,
        Some(CtNat::Src(_)) => NAT | NAT_SRC,
        Some(CtNat::Dst(_)) => NAT | NAT_DST,
    };
    let commit = if track.commit { COMMIT } else { 0 };
    let force = if track.force { FORCE } else { 0 };
    nat | commit | force
}

fn emit_range(out: &mut Writer, range: &NatRange) {
    match range.addresses {
        None => {}
        Some(NatAddresses::V4 { min, max }) => {
            out.bytes(NAT_IPV4_MIN, min.octets());
            out.bytes(NAT_IPV4_MAX, max.octets());
        }
        Some(NatAddresses::V6 { min, max }) => {
            out.bytes(NAT_IPV6_MIN, min.octets());
            out.bytes(NAT_IPV6_MAX, max.octets());
        }
    }
    if let Some(NatPorts { min, max }) = range.ports {
        out.be16(NAT_PORT_MIN, min);
        out.be16(NAT_PORT_MAX, max);
    }
}

const KNOWN: [u16; 15] = [
    PARAMETERS,
    TIMES,
    FLAGS,
    ZONE,
    MARK,
    MARK_MASK,
    LABEL,
    LABEL_MASK,
    NAT_IPV4_MIN,
    NAT_IPV4_MAX,
    NAT_IPV6_MIN,
    NAT_IPV6_MAX,
    NAT_PORT_MIN,
    NAT_PORT_MAX,
    PAD,
];

pub(super) fn parse(options: &Attrs) -> Result<Ct, Unreadable> {
    options.only(&KNOWN)?;
    pipes(need(options.bytes(PARAMETERS), "ct parameters")?)?;
    let flags = options.u16(FLAGS)?.unwrap_or(0);
    if flags & CLEAR != 0 {
        return Ok(Ct::Clear);
    }
    Ok(Ct::Track(CtTrack {
        zone: CtZone(options.u16(ZONE)?.unwrap_or(0)),
        commit: flags & COMMIT != 0,
        force: flags & FORCE != 0,
        mark: parse_mark(options)?,
        label: parse_label(options)?,
        nat: parse_nat(options, flags)?,
    }))
}

fn parse_mark(options: &Attrs) -> Result<Option<Masked<u32>>, Unreadable> {
    let mask = options.u32(MARK_MASK)?.unwrap_or(u32::MAX);
    Ok(options.u32(MARK)?.and_then(|mark| Masked::new(mark, mask).unless_any()))
}

fn parse_label(options: &Attrs) -> Result<Option<Masked<u128>>, Unreadable> {
    let mask = options.be128(LABEL_MASK)?.unwrap_or(u128::MAX);
    Ok(options.be128(LABEL)?.and_then(|label| Masked::new(label, mask).unless_any()))
}

fn parse_nat(options: &Attrs, flags: u16) -> Result<Option<CtNat>, Unreadable> {
    match flags & (NAT | NAT_SRC | NAT_DST) {
        0 => Ok(None),
        NAT => Ok(Some(CtNat::Committed)),
        both if both == NAT | NAT_SRC => parse_range(options).map(CtNat::Src).map(Some),
        both if both == NAT | NAT_DST => parse_range(options).map(CtNat::Dst).map(Some),
        other => Err(Unreadable::new(format!("ct with nat flags {other:#x}"))),
    }
}

fn parse_range(options: &Attrs) -> Result<NatRange, Unreadable> {
    let v4 = (options.ipv4(NAT_IPV4_MIN)?, options.ipv4(NAT_IPV4_MAX)?);
    let v6 = (options.ipv6(NAT_IPV6_MIN)?, options.ipv6(NAT_IPV6_MAX)?);
    let addresses = match (v4, v6) {
        ((Some(min), max), _) => Some(NatAddresses::V4 { min, max: max.unwrap_or(min) }),
        (_, (Some(min), max)) => Some(NatAddresses::V6 { min, max: max.unwrap_or(min) }),
        _ => None,
    };
    let max_port = options.be16(NAT_PORT_MAX)?;
    let port = |min| NatPorts { min, max: max_port.unwrap_or(min) };
    Ok(NatRange { addresses, ports: options.be16(NAT_PORT_MIN)?.map(port) })
}
