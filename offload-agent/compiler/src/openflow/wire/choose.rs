//! `bundle`, `bundle_load` and `multipath`, which choose by a hash of the packet.

use super::action::narrow_port;
use super::error::DecodeError;
use super::oxm;
use super::reader::Reader;
use crate::openflow::{Action, Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm};

const HASHES: [HashFields; 7] = [
    HashFields::EthSrc,
    HashFields::SymmetricL4,
    HashFields::SymmetricL3L4,
    HashFields::SymmetricL3L4Udp,
    HashFields::NwSrc,
    HashFields::NwDst,
    HashFields::SymmetricL3,
];
const BUNDLE_ALGORITHMS: [BundleAlgorithm; 2] =
    [BundleAlgorithm::ActiveBackup, BundleAlgorithm::Hrw];
const MULTIPATH_ALGORITHMS: [MultipathAlgorithm; 4] = [
    MultipathAlgorithm::ModuloN,
    MultipathAlgorithm::HashThreshold,
    MultipathAlgorithm::Hrw,
    MultipathAlgorithm::IterHash,
];

pub(super) fn multipath(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (fields, basis) = (reader.u16()?, reader.u16()?);
    reader.skip(2)?;
    let (algorithm, max_link, arg) = (reader.u16()?, reader.u16()?, reader.u32()?);
    reader.skip(2)?;
    let ofs_nbits = reader.u16()?;
    let dst = oxm::packed_subfield(reader, ofs_nbits)?;
    let n_links = u32::from(max_link) + 1;
    let (fields, algorithm) = (nth(&HASHES, fields), nth(&MULTIPATH_ALGORITHMS, algorithm));
    let (Some(fields), Some(algorithm), Some(dst)) = (fields, algorithm, dst) else {
        return Ok(None);
    };
    Ok(Some(Action::Multipath(Multipath { fields, basis, algorithm, n_links, arg, dst })))
}

pub(super) fn bundle(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let Some(header) = BundleHeader::decode(reader)? else { return Ok(None) };
    reader.u32()?;
    header.members(reader).map(Some)
}

pub(super) fn bundle_load(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let Some(mut header) = BundleHeader::decode(reader)? else { return Ok(None) };
    header.bundle.dst = oxm::packed_subfield(reader, header.ofs_nbits)?;
    if header.bundle.dst.is_none() { Ok(None) } else { header.members(reader).map(Some) }
}

/// What both forms begin with.
struct BundleHeader {
    bundle: Bundle,
    n_members: u16,
    ofs_nbits: u16,
}

impl BundleHeader {
    fn decode(reader: &mut Reader<'_>) -> Result<Option<BundleHeader>, DecodeError> {
        let (algorithm, fields, basis) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let _member_type = reader.u32()?;
        let (n_members, ofs_nbits) = (reader.u16()?, reader.u16()?);
        let known = nth(&HASHES, fields).zip(nth(&BUNDLE_ALGORITHMS, algorithm));
        Ok(known.map(|(fields, algorithm)| BundleHeader {
            bundle: Bundle { fields, basis, algorithm, dst: None, members: Vec::new() },
            n_members,
            ofs_nbits,
        }))
    }

    fn members(self, reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
        reader.skip(4)?;
        let members = (0..self.n_members).map(|_| narrow_port(reader)).collect::<Result<_, _>>()?;
        Ok(Action::Bundle(Bundle { members, ..self.bundle }))
    }
}

fn nth<T: Copy>(table: &[T], number: u16) -> Option<T> {
    table.get(usize::from(number)).copied()
}
