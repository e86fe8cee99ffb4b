//! Actions on the wire: those of OpenFlow 1.5 itself. Those of Open vSwitch are in `nicira`.

use super::error::DecodeError;
use super::oxm::{self, Oxm};
use super::reader::Reader;
use super::{copy_field, nicira};
use crate::openflow::{Action, GroupId, MeterId, OfPort, SetField, Unsupported};

/// How deep actions may hold actions.
const NESTING_LIMIT: u8 = 32;
const HEADER_LEN: usize = 4;
const EXPERIMENTER: u16 = 0xffff;
const EXPERIMENTER_NICIRA: u32 = 0x0000_2320;

/// Reads all actions there are.
pub(super) fn decode_list(bytes: &[u8], depth: u8) -> Result<Vec<Action>, DecodeError> {
    if depth > NESTING_LIMIT {
        return Err(DecodeError::TooDeep { limit: NESTING_LIMIT });
    }
    let mut reader = Reader::new("an action", bytes);
    let mut actions = Vec::new();
    while !reader.is_empty() {
        actions.push(decode(&mut reader, depth)?);
    }
    Ok(actions)
}

fn decode(reader: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    let all = reader.rest();
    let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
    let body = reader.body(length, HEADER_LEN)?;
    let raw = all.get(..length).unwrap_or_default();
    let unsupported = || Action::Unsupported(Unsupported::Bytes(raw.to_vec()));
    let known = match kind {
        EXPERIMENTER => decode_experimenter(body, depth)?,
        _ => decode_standard(kind, &mut Reader::new("an action", body))?,
    };
    Ok(known.unwrap_or_else(unsupported))
}

fn decode_experimenter(body: &[u8], depth: u8) -> Result<Option<Action>, DecodeError> {
    let mut reader = Reader::new("an experimenter action", body);
    match reader.u32()? {
        EXPERIMENTER_NICIRA => nicira::decode(&mut reader, depth),
        _ => Ok(None),
    }
}

/// The action of this number; `None` for one that this program does not know.
fn decode_standard(kind: u16, reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match kind {
        0 => output(reader)?,
        15 => Action::SetMplsTtl(reader.u8()?),
        16 => Action::DecMplsTtl,
        17 => Action::PushVlan(reader.u16()?),
        18 => Action::PopVlan,
        19 => Action::PushMpls(reader.u16()?),
        20 => Action::PopMpls(reader.u16()?),
        21 => Action::SetQueue(reader.u32()?),
        22 => Action::Group(GroupId(reader.u32()?)),
        23 => Action::ModNwTtl(reader.u8()?),
        24 => Action::DecTtl { controllers: None },
        25 => return set_field(reader),
        28 => return copy_field::decode(reader),
        29 => Action::Meter(MeterId(reader.u32()?)),
        _ => return Ok(None),
    }))
}

fn output(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let (port, max_len) = (reader.u32()?, reader.u16()?);
    match OfPort::from_wide(port).ok_or_else(|| reader.bad_value(port))? {
        OfPort::CONTROLLER => Ok(Action::OutputController { max_len }),
        port => Ok(Action::Output(port)),
    }
}

/// A field with its value, and with a mask from OpenFlow 1.5 on.
pub(super) fn set_field(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let known = Oxm::decode(reader)?.known;
    Ok(known.map(|(field, masked)| Action::SetField(SetField { field, masked })))
}

/// A port of an Open vSwitch action, which has 16 bits in every version.
pub(super) fn narrow_port(reader: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    reader.u16().map(OfPort)
}

/// Two fields one after the other, each with a header of its own length.
pub(super) fn field_pair(
    reader: &mut Reader<'_>,
    n_bits: u16,
    src_offset: u16,
    dst_offset: u16,
) -> Result<Option<Action>, DecodeError> {
    let src = oxm::subfield(reader, src_offset, n_bits)?;
    let dst = oxm::subfield(reader, dst_offset, n_bits)?;
    Ok(src.zip(dst).map(|(src, dst)| Action::Move { src, dst }))
}
