//! `learn`, and its later form with a limit.

use super::error::DecodeError;
use super::oxm;
use super::reader::{Reader, number};
use crate::openflow::{Action, Cookie, Learn, LearnSpec, OfPriority, Subfield, TableId, low_bits};

const FLAG_SEND_FLOW_REM: u16 = 1;
const FLAG_DELETE_LEARNED: u16 = 2;
const FLAG_WRITE_RESULT: u16 = 4;
const KNOWN_FLAGS: u16 = FLAG_SEND_FLOW_REM | FLAG_DELETE_LEARNED | FLAG_WRITE_RESULT;

const SPEC_BITS: u16 = 0x3ff;
const SPEC_DST_SHIFT: u16 = 11;
const SPEC_SRC_IMMEDIATE: u16 = 1 << 13;
const SPEC_KNOWN: u16 = SPEC_BITS | SPEC_DST_MASK | SPEC_SRC_IMMEDIATE;
const SPEC_DST_MASK: u16 = 3 << SPEC_DST_SHIFT;

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (learn, flags) = header(reader)?;
    if flags & !KNOWN_FLAGS != 0 { Ok(None) } else { with_specs(reader, learn) }
}

pub(super) fn decode_limited(reader: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let (mut learn, flags) = header(reader)?;
    learn.limit = reader.u32()?;
    let offset = reader.u16()?;
    reader.skip(2)?;
    if flags & FLAG_WRITE_RESULT != 0 {
        learn.result_dst = oxm::subfield(reader, offset, 1)?;
        if learn.result_dst.is_none() {
            return Ok(None);
        }
    }
    if flags & !KNOWN_FLAGS != 0 { Ok(None) } else { with_specs(reader, learn) }
}

fn header(reader: &mut Reader<'_>) -> Result<(Learn, u16), DecodeError> {
    let mut learn = Learn {
        idle_timeout: reader.u16()?,
        hard_timeout: reader.u16()?,
        priority: OfPriority(reader.u16()?),
        cookie: Cookie(reader.u64()?),
        ..Learn::default()
    };
    let flags = reader.u16()?;
    learn.send_flow_rem = flags & FLAG_SEND_FLOW_REM != 0;
    learn.delete_learned = flags & FLAG_DELETE_LEARNED != 0;
    learn.table = TableId(reader.u8()?);
    reader.skip(1)?;
    learn.fin_idle_timeout = reader.u16()?;
    learn.fin_hard_timeout = reader.u16()?;
    Ok((learn, flags))
}

/// The pieces of the rule, up to a zero or the end.
fn with_specs(reader: &mut Reader<'_>, mut learn: Learn) -> Result<Option<Action>, DecodeError> {
    while reader.rest().len() >= size_of::<u16>() {
        let spec_header = reader.u16()?;
        if spec_header == 0 {
            break;
        }
        match spec(reader, spec_header)? {
            Some(spec) => learn.specs.push(spec),
            None => return Ok(None),
        }
    }
    Ok(Some(Action::Learn(Box::new(learn))))
}

/// Where a piece takes its bits from.
enum Source {
    Field(Subfield),
    Value(u128),
}

/// `None` for a piece that this program does not know.
fn spec(reader: &mut Reader<'_>, header: u16) -> Result<Option<LearnSpec>, DecodeError> {
    let n_bits = header & SPEC_BITS;
    let Some(source) = source(reader, header, n_bits)? else { return Ok(None) };
    let known = header & !SPEC_KNOWN == 0;
    let to = (header & SPEC_DST_MASK) >> SPEC_DST_SHIFT;
    if let (2, Source::Field(field)) = (to, &source) {
        return Ok(Some(LearnSpec::Output(*field)).filter(|_| known));
    }
    let Some(dst) = field(reader, n_bits)? else { return Ok(None) };
    Ok(match (to, source) {
        (0, Source::Field(src)) => Some(LearnSpec::MatchField { src, dst }),
        (0, Source::Value(value)) => Some(LearnSpec::MatchValue { value, dst }),
        (1, Source::Field(src)) => Some(LearnSpec::LoadField { src, dst }),
        (1, Source::Value(value)) => Some(LearnSpec::LoadValue { value, dst }),
        _ => None,
    }
    .filter(|_| known))
}

fn source(
    reader: &mut Reader<'_>,
    header: u16,
    n_bits: u16,
) -> Result<Option<Source>, DecodeError> {
    if header & SPEC_SRC_IMMEDIATE == 0 {
        return Ok(field(reader, n_bits)?.map(Source::Field));
    }
    // A constant fills whole 16-bit words.
    let bytes = reader.take(usize::from(n_bits.div_ceil(16)) * 2)?;
    let fits = bytes.len() <= size_of::<u128>();
    Ok(fits.then(|| Source::Value(number(bytes) & low_bits(n_bits))))
}

fn field(reader: &mut Reader<'_>, n_bits: u16) -> Result<Option<Subfield>, DecodeError> {
    let mut header = *reader;
    reader.skip(oxm::header_len(Reader::new("a field", reader.rest()).u16()?))?;
    let offset = reader.u16()?;
    oxm::subfield(&mut header, offset, n_bits)
}
