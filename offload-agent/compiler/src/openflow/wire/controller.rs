//! `controller` in its short form and in the one with properties.

use super::error::DecodeError;
use super::reader::Reader;
use crate::openflow::{Action, Controller, MeterId};

const PROPERTY_HEADER_LEN: usize = 4;

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let (max_len, id, reason) = (reader.u16()?, reader.u16()?, reader.u8()?);
    Ok(action(Controller { max_len, id, reason, ..Controller::default() }))
}

/// To OVS a controller action that says nothing special is an output.
fn action(controller: Controller) -> Action {
    let plain = Controller { max_len: controller.max_len, ..Controller::default() };
    match controller == plain {
        true => Action::OutputController { max_len: plain.max_len },
        false => Action::Controller(controller),
    }
}

/// `None` when a property is unknown: the action would not be the same without it.
pub(super) fn decode_properties(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    reader.skip(6)?;
    let mut controller = Controller::default();
    while !reader.is_empty() {
        let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
        let body = reader.body(length, PROPERTY_HEADER_LEN)?;
        reader.skip_padding_of(length);
        if !property(&mut controller, kind, body)? {
            return Ok(None);
        }
    }
    Ok(Some(action(controller)))
}

/// Whether the property is known.
fn property(controller: &mut Controller, kind: u16, body: &[u8]) -> Result<bool, DecodeError> {
    let mut reader = Reader::new("a property of a controller action", body);
    match kind {
        0 => controller.max_len = reader.u16()?,
        1 => controller.id = reader.u16()?,
        2 => controller.reason = reader.u8()?,
        3 => controller.userdata = body.to_vec(),
        4 => controller.pause = true,
        5 => controller.meter = Some(MeterId(reader.u32()?)),
        _ => return Ok(false),
    }
    Ok(true)
}
