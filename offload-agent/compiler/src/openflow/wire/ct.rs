//! `ct`, and `nat` inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::action::decode_list;
use super::error::DecodeError;
use super::oxm;
use super::reader::Reader;
use crate::openflow::{Action, Alg, Ct, Nat, NatDirection, TableId, Zone};

const FLAG_COMMIT: u16 = 1;
const FLAG_FORCE: u16 = 2;
const NO_TABLE: u8 = 0xff;
const ALG_FTP: u16 = 21;
const ALG_TFTP: u16 = 69;

pub(super) fn decode(reader: &mut Reader<'_>, depth: u8) -> Result<Option<Action>, DecodeError> {
    let flags = reader.u16()?;
    let Some(zone) = decode_zone(reader)? else { return Ok(None) };
    let table = Some(reader.u8()?).filter(|table| *table != NO_TABLE).map(TableId);
    reader.skip(3)?;
    let alg = decode_alg(reader.u16()?);
    let actions = decode_list(reader.rest(), depth + 1)?;
    let known_flags = flags & !(FLAG_COMMIT | FLAG_FORCE) == 0;
    let (commit, force) = (flags & FLAG_COMMIT != 0, flags & FLAG_FORCE != 0);
    Ok(known_flags.then_some(Action::Ct(Ct { commit, force, zone, table, alg, actions })))
}

/// A number, or the field that holds it; `None` for a field that this program does not know.
fn decode_zone(reader: &mut Reader<'_>) -> Result<Option<Zone>, DecodeError> {
    let mut header = *reader;
    let source = reader.u32()?;
    if source == 0 {
        return Ok(Some(Zone::Immediate(reader.u16()?)));
    }
    let class = u16::try_from(source >> 16).unwrap_or_default();
    reader.skip(oxm::header_len(class) - size_of::<u32>())?;
    let ofs_nbits = reader.u16()?;
    Ok(oxm::packed_subfield(&mut header, ofs_nbits)?.map(Zone::From))
}

fn decode_alg(port: u16) -> Option<Alg> {
    match port {
        0 => None,
        ALG_FTP => Some(Alg::Ftp),
        ALG_TFTP => Some(Alg::Tftp),
        other => Some(Alg::Other(other)),
    }
}

pub(super) fn decode_nat(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    let (flags, present) = (reader.u16()?, reader.u16()?);
    let has = |bit: u16| present >> bit & 1 == 1;
    let v4_min = optional(has(0), reader, ipv4)?;
    let v4_max = optional(has(1), reader, ipv4)?;
    let v6_min = optional(has(2), reader, ipv6)?;
    let v6_max = optional(has(3), reader, ipv6)?;
    Ok(Action::Nat(Nat {
        direction: direction(flags),
        addr_min: v4_min.or(v6_min),
        addr_max: v4_max.or(v6_max),
        port_min: optional(has(4), reader, Reader::u16)?,
        port_max: optional(has(5), reader, Reader::u16)?,
        persistent: flags & 4 != 0,
        hash: flags & 8 != 0,
        random: flags & 16 != 0,
    }))
}

fn direction(flags: u16) -> Option<NatDirection> {
    match flags & 3 {
        1 => Some(NatDirection::Src),
        2 => Some(NatDirection::Dst),
        _ => None,
    }
}

fn optional<'a, T>(
    present: bool,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if present { read(reader).map(Some) } else { Ok(None) }
}

fn ipv4(reader: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    reader.u32().map(|address| IpAddr::V4(Ipv4Addr::from(address)))
}

fn ipv6(reader: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    reader.u128().map(|address| IpAddr::V6(Ipv6Addr::from(address)))
}
