//! The match of a rule on the wire: `struct ofp_match` with OXM fields.

use super::error::DecodeError;
use super::oxm::Oxm;
use super::reader::Reader;
use crate::openflow::{Match, Unsupported};

const TYPE_OXM: u16 = 1;
const HEADER_LEN: usize = 4;

/// Reads a match and its padding.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Match, DecodeError> {
    let (kind, length) = (reader.u16()?, usize::from(reader.u16()?));
    if kind != TYPE_OXM {
        return Err(DecodeError::BadValue { what: "the type of a match", value: u64::from(kind) });
    }
    let mut fields = Reader::new("the fields of a match", reader.body(length, HEADER_LEN)?);
    reader.skip_padding_of(length);
    let mut match_ = Match::any();
    while !fields.is_empty() {
        insert(&mut match_, &Oxm::decode(&mut fields)?);
    }
    Ok(match_)
}

fn insert(match_: &mut Match, oxm: &Oxm<'_>) {
    match oxm.known {
        Some((field, masked)) => match_.insert(field, masked),
        None => match_.insert_unsupported(Unsupported::Bytes(oxm.raw.to_vec())),
    }
}

/// The match that takes every packet, as a request carries it.
pub(super) const MATCH_ANY: [u8; 8] = [0, 1, 0, 4, 0, 0, 0, 0];
