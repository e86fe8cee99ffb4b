//! `copy_field` of OpenFlow 1.5, which is what OVS calls `move`.

use super::action;
use super::error::DecodeError;
use super::reader::Reader;
use crate::openflow::Action;

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (n_bits, src_offset, dst_offset) = (reader.u16()?, reader.u16()?, reader.u16()?);
    reader.skip(2)?;
    action::field_pair(reader, n_bits, src_offset, dst_offset)
}
