//! The actions of Open vSwitch, by their subtypes in `NXAST_*`.

use super::action::{decode_list, field_pair, narrow_port, set_field};
use super::error::DecodeError;
use super::reader::Reader;
use super::{choose, controller, ct, encap, learn, oxm};
use crate::openflow::{
    Action, DebugAction, GroupId, Masked, OfPort, Resubmit, Sample, SampleDirection, SampleId,
    TableId,
};

const TABLE_UNCHANGED: u8 = 0xff;

/// The action of the subtype that comes next; `None` for one that this program does not know.
pub(super) fn decode(reader: &mut Reader<'_>, depth: u8) -> Result<Option<Action>, DecodeError> {
    let subtype = reader.u16()?;
    Ok(Some(match subtype {
        1 => resubmit_port(reader)?,
        2 => set_tunnel(reader)?,
        4 => set_queue(reader)?,
        5 => Action::PopQueue,
        6 => return reg_move(reader),
        7 => return reg_load(reader),
        8 => Action::Note(reader.rest().to_vec()),
        9 => set_tunnel64(reader)?,
        10 => return choose::multipath(reader),
        12 => return choose::bundle(reader),
        13 => return choose::bundle_load(reader),
        14 => resubmit(reader, false)?,
        15 => return output_reg(reader),
        16 => return learn::decode(reader),
        17 => Action::Exit,
        18 => Action::DecTtl { controllers: None },
        19 => Action::FinTimeout { idle: reader.u16()?, hard: reader.u16()? },
        20 => controller::decode(reader)?,
        21 => dec_ttl_ids(reader)?,
        22 => write_metadata(reader)?,
        23 => Action::PushMpls(reader.u16()?),
        24 => Action::PopMpls(reader.u16()?),
        25 => Action::SetMplsTtl(reader.u8()?),
        26 => Action::DecMplsTtl,
        27 => return stack(reader, Action::Push),
        28 => return stack(reader, Action::Pop),
        29 => sample(reader)?,
        30 => set_mpls_label(reader)?,
        31 => Action::SetMplsTc(reader.u8()?),
        32 => return output_reg2(reader),
        33 => return set_field(reader),
        34 => conjunction(reader)?,
        35 => return ct::decode(reader, depth),
        36 => ct::decode_nat(reader)?,
        37 => return controller::decode_properties(reader),
        38 | 41 => sample_of_port(reader)?,
        39 => output_trunc(reader)?,
        40 => group(reader)?,
        42 => clone(reader, depth)?,
        43 => Action::CtClear,
        44 => resubmit(reader, true)?,
        45 => return learn::decode_limited(reader),
        46 => return encap::decode(reader),
        47 => encap::decode_decap(reader)?,
        48 => Action::DecNshTtl,
        49 => return check_pkt_larger(reader),
        50 => return delete_field(reader),
        254 => Action::Debug(DebugAction::Slow),
        255 => Action::Debug(DebugAction::Recirc),
        _ => return Ok(None),
    }))
}

fn resubmit_port(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let in_port = Some(narrow_port(reader)?).filter(|port| *port != OfPort::IN_PORT);
    Ok(Action::Resubmit(Resubmit { in_port, ..Resubmit::default() }))
}

fn resubmit(reader: &mut Reader<'_>, ct: bool) -> Result<Action, DecodeError> {
    let in_port = Some(narrow_port(reader)?).filter(|port| *port != OfPort::IN_PORT);
    let table = Some(reader.u8()?).filter(|table| *table != TABLE_UNCHANGED).map(TableId);
    Ok(Action::Resubmit(Resubmit { in_port, table, ct }))
}

fn set_tunnel(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    Ok(Action::SetTunnel { id: u64::from(reader.u32()?), wide: false })
}

fn set_tunnel64(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(6)?;
    Ok(Action::SetTunnel { id: reader.u64()?, wide: true })
}

fn set_queue(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    Ok(Action::SetQueue(reader.u32()?))
}

fn group(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    Ok(Action::Group(GroupId(reader.u32()?)))
}

fn set_mpls_label(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(2)?;
    Ok(Action::SetMplsLabel(reader.u32()?))
}

fn reg_move(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (n_bits, src_offset, dst_offset) = (reader.u16()?, reader.u16()?, reader.u16()?);
    field_pair(reader, n_bits, src_offset, dst_offset)
}

fn reg_load(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let ofs_nbits = reader.u16()?;
    let dst = oxm::packed_subfield(reader, ofs_nbits)?;
    let value = u128::from(reader.u64()?);
    Ok(dst.map(|dst| Action::Load { value, dst }))
}

fn output_reg(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let ofs_nbits = reader.u16()?;
    let source = oxm::packed_subfield(reader, ofs_nbits)?;
    let max_len = reader.u16()?;
    Ok(source.map(|source| Action::OutputReg { source, max_len }))
}

fn output_reg2(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (ofs_nbits, max_len) = (reader.u16()?, reader.u16()?);
    let source = oxm::packed_subfield(reader, ofs_nbits)?;
    Ok(source.map(|source| Action::OutputReg { source, max_len }))
}

fn output_trunc(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    Ok(Action::OutputTrunc { port: narrow_port(reader)?, max_len: reader.u32()? })
}

fn dec_ttl_ids(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let count = reader.u16()?;
    reader.skip(4)?;
    let ids = (0..count).map(|_| reader.u16()).collect::<Result<_, _>>()?;
    Ok(Action::DecTtl { controllers: Some(ids) })
}

fn write_metadata(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    reader.skip(6)?;
    let (value, mask) = (reader.u64()?, reader.u64()?);
    Ok(Action::WriteMetadata(Masked::new(u128::from(value), u128::from(mask))))
}

fn stack(
    reader: &mut Reader<'_>,
    action: fn(crate::openflow::Subfield) -> Action,
) -> Result<Option<Action>, DecodeError> {
    let offset = reader.u16()?;
    let mut header = *reader;
    // The number of bits comes after the header, whose length depends on its class.
    reader.skip(oxm::header_len(Reader::new("a field", reader.rest()).u16()?))?;
    let n_bits = reader.u16()?;
    Ok(oxm::subfield(&mut header, offset, n_bits)?.map(action))
}

fn conjunction(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let (clause, n_clauses) = (reader.u8()?, reader.u8()?);
    Ok(Action::Conjunction { id: reader.u32()?, clause, n_clauses })
}

fn clone(reader: &mut Reader<'_>, depth: u8) -> Result<Action, DecodeError> {
    reader.skip(6)?;
    Ok(Action::Clone(decode_list(reader.rest(), depth + 1)?))
}

fn check_pkt_larger(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (len, offset) = (reader.u16()?, reader.u16()?);
    Ok(oxm::subfield(reader, offset, 1)?.map(|dst| Action::CheckPktLarger { len, dst }))
}

fn delete_field(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok(oxm::field(reader)?.map(Action::DeleteField))
}

fn sample(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    sample_header(reader).map(Action::Sample)
}

fn sample_header(reader: &mut Reader<'_>) -> Result<Sample, DecodeError> {
    Ok(Sample {
        probability: reader.u16()?,
        collector_set: reader.u32()?,
        domain: SampleId::Immediate(reader.u32()?),
        point: SampleId::Immediate(reader.u32()?),
        sampling_port: None,
        direction: None,
    })
}

fn sample_of_port(reader: &mut Reader<'_>) -> Result<Action, DecodeError> {
    let sample = sample_header(reader)?;
    let sampling_port = Some(narrow_port(reader)?).filter(|port| *port != OfPort::NONE);
    let direction = match reader.u8()? {
        1 => Some(SampleDirection::Ingress),
        2 => Some(SampleDirection::Egress),
        _ => None,
    };
    Ok(Action::Sample(Sample { sampling_port, direction, ..sample }))
}
