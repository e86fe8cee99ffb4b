//! The instructions of a rule, which OVS and this program keep in one list with the actions.

use super::action::decode_list;
use super::error::DecodeError;
use super::reader::Reader;
use crate::openflow::{Action, Masked, MeterId, TableId, Unsupported};

const HEADER_LEN: usize = 4;

/// Reads all instructions there are, in the order in which the switch carries them out.
pub(super) fn decode_list_of_rule(bytes: &[u8]) -> Result<Vec<Action>, DecodeError> {
    let mut reader = Reader::new("an instruction", bytes);
    let mut instructions = Vec::new();
    while !reader.is_empty() {
        instructions.push(decode(&mut reader)?);
    }
    instructions.sort_by_key(|(order, _)| *order);
    Ok(instructions.into_iter().flat_map(|(_, actions)| actions).collect())
}

/// One instruction, and its place in the order.
fn decode(reader: &mut Reader<'_>) -> Result<(u8, Vec<Action>), DecodeError> {
    let all = reader.rest();
    let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
    let mut body = Reader::new("an instruction", reader.body(length, HEADER_LEN)?);
    Ok(match kind {
        6 => (0, vec![Action::Meter(MeterId(body.u32()?))]),
        4 => (1, nested(&mut body)?),
        5 => (2, vec![Action::ClearActions]),
        3 => (3, vec![Action::WriteActions(nested(&mut body)?)]),
        2 => (4, vec![Action::WriteMetadata(metadata(&mut body)?)]),
        1 => (5, vec![Action::GotoTable(TableId(body.u8()?))]),
        _ => {
            let raw = all.get(..length).unwrap_or_default().to_vec();
            (u8::MAX, vec![Action::Unsupported(Unsupported::Bytes(raw))])
        }
    })
}

fn nested(body: &mut Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    body.skip(4)?;
    decode_list(body.rest(), 0)
}

fn metadata(body: &mut Reader<'_>) -> Result<Masked, DecodeError> {
    body.skip(4)?;
    let (value, mask) = (body.u64()?, body.u64()?);
    Ok(Masked::new(u128::from(value), u128::from(mask)))
}
