//! `encap` and `decap`.

use super::error::DecodeError;
use super::reader::Reader;
use crate::openflow::{Action, Encap};

const PROPERTY_HEADER_LEN: usize = 4;
const CLASS_NSH: u16 = 0x0004;
const NSH_MD_TYPE: u8 = 1;
const NSH_TLV: u8 = 2;
/// The packet type that means: what the header says comes next.
const NEXT_PROTO: u32 = 0xfffe;

/// `None` when a property is unknown: the header would not be the same without it.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let _header_size = reader.u16()?;
    let mut encap = Encap { packet_type: reader.u32()?, nsh_md_type: None, nsh_tlvs: Vec::new() };
    while !reader.is_empty() {
        let (class, kind, length) = (reader.u16()?, reader.u8()?, usize::from(reader.u8()?));
        let body = reader.body(length, PROPERTY_HEADER_LEN)?;
        reader.skip_padding_of(length);
        if class != CLASS_NSH || !property(&mut encap, kind, body)? {
            return Ok(None);
        }
    }
    Ok(Some(Action::Encap(encap)))
}

/// Whether the property is known.
fn property(encap: &mut Encap, kind: u8, body: &[u8]) -> Result<bool, DecodeError> {
    let mut reader = Reader::new("a property of an encap action", body);
    match kind {
        NSH_MD_TYPE => encap.nsh_md_type = Some(reader.u8()?),
        NSH_TLV => {
            let (class, kind, length) = (reader.u16()?, reader.u8()?, reader.u8()?);
            encap.nsh_tlvs.push((class, kind, reader.take(usize::from(length))?.to_vec()));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn decode_decap(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    let packet_type = Some(reader.u32()?).filter(|kind| *kind != NEXT_PROTO);
    Ok(Action::Decap { packet_type })
}
