//! One field on the wire: an NXM or OXM header, with or without value and mask.

use super::error::DecodeError;
use super::reader::{Reader, number};
use crate::openflow::encoding::Class;
use crate::openflow::{Field, Masked, OfPort, Subfield, low_bits};

const EXPERIMENTER_CLASS: u16 = 0xffff;
const EXPERIMENTER_LEN: usize = 4;
const HEADER_LEN: usize = 4;

/// The header of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// The field; `None` for one that this program does not know.
    pub(super) field: Option<Field>,
    has_mask: bool,
    /// Bytes of value and mask.
    payload: usize,
}

impl Header {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Header, DecodeError> {
        let (class, number, length) = (reader.u16()?, reader.u8()?, usize::from(reader.u8()?));
        let is_experimenter = class == EXPERIMENTER_CLASS;
        let experimenter = if is_experimenter { Some(reader.u32()?) } else { None };
        let taken = if is_experimenter { EXPERIMENTER_LEN } else { 0 };
        let payload =
            length.checked_sub(taken).ok_or(DecodeError::BadLength { what: "a field", length })?;
        let field = Class::from_code(class, experimenter)
            .and_then(|class| Field::from_header(class, number >> 1));
        Ok(Header { field, has_mask: number & 1 == 1, payload })
    }
}

/// A field with its value.
#[derive(Clone, Debug)]
pub(super) struct Oxm<'a> {
    /// Field and value; `None` when the field is unknown or its value is not one.
    pub(super) known: Option<(Field, Masked)>,
    /// All its bytes.
    pub(super) raw: &'a [u8],
}

impl<'a> Oxm<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Oxm<'a>, DecodeError> {
        let all = reader.rest();
        let header = Header::decode(reader)?;
        let payload = reader.take(header.payload)?;
        let raw = all.get(..all.len() - reader.rest().len()).unwrap_or_default();
        Ok(Oxm {
            known: header.field.and_then(|field| value(field, header.has_mask, payload)),
            raw,
        })
    }
}

/// The value and mask of a field; `None` when their bytes cannot be.
fn value(field: Field, has_mask: bool, payload: &[u8]) -> Option<(Field, Masked)> {
    let width = if has_mask { payload.len() / 2 } else { payload.len() };
    let fits = field.wire_len().map_or(width <= size_of::<u128>(), |expected| width == expected);
    if !fits || has_mask && width * 2 != payload.len() {
        return None;
    }
    let (value, mask) = payload.split_at_checked(width)?;
    let all = low_bits(u16::try_from(width * 8).ok()?);
    let mask = has_mask.then(|| number(mask));
    masked(field, number(value), mask, all).map(|masked| (field, masked))
}

/// The value in this program's terms: ports have 16 bits, and an exact match has the field's full mask.
fn masked(field: Field, value: u128, mask: Option<u128>, all: u128) -> Option<Masked> {
    let (has_mask, mask) = (mask.is_some(), mask.unwrap_or(all));
    match field {
        Field::InPortOxm | Field::ActsetOutput if mask == all => {
            let port = OfPort::from_wide(u32::try_from(value).ok()?)?;
            Some(Masked { value: u128::from(port.0), mask: field.full_mask() })
        }
        // OVS leaves out leading zero bytes of a tunnel option, so even a mask of all ones is not the whole option.
        Field::TunMetadata(_) if has_mask => Some(Masked::new(value, mask)),
        _ if mask == all => Some(Masked::new(value, field.full_mask())),
        // A bit that the field does not have is 0 in every packet.
        _ if value & mask & !field.full_mask() != 0 => None,
        _ => Some(Masked::new(value, mask & field.full_mask())),
    }
}

/// A field without a value, and the bits of it that are meant.
pub(super) fn subfield(
    reader: &mut Reader<'_>,
    offset: u16,
    n_bits: u16,
) -> Result<Option<Subfield>, DecodeError> {
    let header = Header::decode(reader)?;
    let fits = |field: &Field| {
        n_bits > 0 && u32::from(offset) + u32::from(n_bits) <= u32::from(field.bits())
    };
    Ok(header.field.filter(fits).map(|field| Subfield { field, offset, n_bits }))
}

/// Bits of a field as `ofs_nbits` packs them: the offset, and one less than their number.
pub(super) fn packed_subfield(
    reader: &mut Reader<'_>,
    ofs_nbits: u16,
) -> Result<Option<Subfield>, DecodeError> {
    subfield(reader, ofs_nbits >> 6, (ofs_nbits & 0x3f) + 1)
}

/// A field that stands alone, without bits.
pub(super) fn field(reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    Ok(Header::decode(reader)?.field)
}

/// How long a header is, seen from its first bytes.
pub(super) fn header_len(class: u16) -> usize {
    if class == EXPERIMENTER_CLASS { HEADER_LEN + EXPERIMENTER_LEN } else { HEADER_LEN }
}
