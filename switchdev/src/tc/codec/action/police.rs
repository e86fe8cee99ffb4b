//! police: a token bucket.
//!
//! The kernel no longer reads the table of 256 times that goes with a rate, but it still refuses
//! a rate without one (`qdisc_get_rtab`), and old drivers read it; so it is computed as `tc` does.

use tc_filter::action::{Burst, Conform, Exceed, Police, PoliceRate};

use super::{number_at, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

const PARAMETERS: u16 = 1;
const RATE_TABLE: u16 = 2;
const RESULT: u16 = 5;
pub(super) const TIMES: u16 = 6;
const PAD: u16 = 7;
const RATE_64: u16 = 8;
const PACKET_RATE_64: u16 = 10;
const PACKET_BURST_64: u16 = 11;

/// `struct tc_police`.
const PARAMETERS_LEN: usize = 56;
const EXCEED_AT: usize = 4;
const BURST_AT: usize = 12;
const MTU_AT: usize = 16;
/// `struct tc_ratespec` within it.
const CELL_LOG_AT: usize = 20;
const LINK_LAYER_AT: usize = 21;
const CELL_ALIGN_AT: usize = 24;
const RATE_AT: usize = 28;
/// `TC_LINKLAYER_ETHERNET`.
const ETHERNET: u8 = 1;

const TABLE_CELLS: u32 = 256;
const MICROS_PER_SECOND: f64 = 1_000_000.0;
/// A microsecond has 15.625 ticks of 64 ns.
const TICKS_PER_8_MICROS: u64 = 125;
/// What `tc` takes for the longest packet where none is given.
const DEFAULT_MTU: u32 = 2047;

pub(super) fn emit(police: &Police) -> Writer {
    let mut parameters = vec![0; PARAMETERS_LEN];
    put(&mut parameters, EXCEED_AT, exceed_number(police.exceed).cast_unsigned());
    put(&mut parameters, MTU_AT, police.mtu.unwrap_or(u32::MAX));
    let mut out = Writer::default();
    if let Some(PoliceRate::Bytes { per_second, burst }) = police.rate {
        emit_bytes(&mut out, parameters, per_second, burst, police.mtu);
    } else {
        out.bytes(PARAMETERS, parameters);
    }
    // Without it the kernel passes what conforms.
    if police.conform != Conform::Pass {
        out.u32(RESULT, conform_number(police.conform).cast_unsigned());
    }
    if let Some(PoliceRate::Packets { per_second, burst }) = police.rate {
        out.u64(PACKET_RATE_64, per_second);
        out.u64(PACKET_BURST_64, burst.to_ticks(per_second));
    }
    out
}

fn emit_bytes(
    out: &mut Writer,
    mut parameters: Vec<u8>,
    per_second: u64,
    burst: Burst,
    mtu: Option<u32>,
) {
    let cell_log = cell_log(mtu.unwrap_or(u32::MAX));
    put(&mut parameters, BURST_AT, clamp(burst.to_ticks(per_second)));
    parameters[CELL_LOG_AT] = cell_log;
    parameters[LINK_LAYER_AT] = ETHERNET;
    parameters[CELL_ALIGN_AT..CELL_ALIGN_AT + 2].copy_from_slice(&(-1i16).to_ne_bytes());
    put(&mut parameters, RATE_AT, clamp(per_second));
    out.bytes(PARAMETERS, parameters);
    out.bytes(RATE_TABLE, rate_table(per_second, cell_log));
    if per_second > u64::from(u32::MAX) {
        out.u64(RATE_64, per_second);
    }
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How far a length is shifted so that the longest packet falls into the table.
fn cell_log(mtu: u32) -> u8 {
    let longest = if mtu == 0 { DEFAULT_MTU } else { mtu };
    (0..24).find(|shift| longest >> shift < TABLE_CELLS).unwrap_or(24)
}

/// The time each length takes. `tc` cuts it to microseconds before it makes ticks of them, and
/// lengths wrap at 32 bits; so do ours, for no one reads them who could tell.
fn rate_table(per_second: u64, cell_log: u8) -> Vec<u8> {
    let cells = (1..=TABLE_CELLS).map(|cell| {
        let length = (u64::from(cell) << cell_log) & u64::from(u32::MAX);
        clamp(u64::from(micros(length, per_second)) * TICKS_PER_8_MICROS / 8)
    });
    cells.flat_map(u32::to_ne_bytes).collect()
}

/// In floating point, as `tc` reckons it, so that our table is its table to the last bit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that does not fit becomes the nearest number that does"
)]
fn micros(length: u64, per_second: u64) -> u32 {
    (MICROS_PER_SECOND * (length as f64 / per_second.max(1) as f64)) as u32
}

const KNOWN: [u16; 8] =
    [PARAMETERS, RATE_TABLE, RESULT, TIMES, PAD, RATE_64, PACKET_RATE_64, PACKET_BURST_64];

pub(super) fn parse(options: &Attrs) -> Result<Police, Unreadable> {
    options.only(&KNOWN)?;
    let parameters = need(options.bytes(PARAMETERS), "police parameters")?;
    let field = |at| need(number_at(parameters, at), "police parameters");
    Ok(Police {
        rate: parse_rate(options, field(RATE_AT)?, field(BURST_AT)?)?,
        mtu: Some(field(MTU_AT)?).filter(|mtu| *mtu != u32::MAX),
        conform: parse_conform(options.u32(RESULT)?.unwrap_or(0).cast_signed())?,
        exceed: parse_exceed(field(EXCEED_AT)?.cast_signed())?,
    })
}

fn parse_rate(options: &Attrs, rate: u32, ticks: u32) -> Result<Option<PoliceRate>, Unreadable> {
    if let Some(per_second) = options.u64(PACKET_RATE_64)? {
        let ticks = need(options.u64(PACKET_BURST_64)?, "packet burst")?;
        let burst = Burst::from_ticks(ticks, per_second);
        return Ok(Some(PoliceRate::Packets { per_second, burst }));
    }
    let per_second = options.u64(RATE_64)?.unwrap_or_else(|| u64::from(rate));
    let burst = Burst::from_ticks(u64::from(ticks), per_second);
    Ok((per_second != 0).then_some(PoliceRate::Bytes { per_second, burst }))
}

fn conform_number(conform: Conform) -> i32 {
    match conform {
        Conform::Pass => verdict::OK,
        Conform::Pipe => verdict::PIPE,
        Conform::Continue => verdict::UNSPEC,
        Conform::Drop => verdict::SHOT,
    }
}

fn exceed_number(exceed: Exceed) -> i32 {
    match exceed {
        Exceed::Pass => verdict::OK,
        Exceed::Pipe => verdict::PIPE,
        Exceed::Continue => verdict::UNSPEC,
        Exceed::Drop => verdict::SHOT,
    }
}

fn parse_conform(number: i32) -> Result<Conform, Unreadable> {
    let all = [Conform::Pass, Conform::Pipe, Conform::Continue, Conform::Drop];
    let found = all.into_iter().find(|conform| conform_number(*conform) == number);
    need(found, "a known verdict for conforming packets")
}

fn parse_exceed(number: i32) -> Result<Exceed, Unreadable> {
    let all = [Exceed::Pass, Exceed::Pipe, Exceed::Continue, Exceed::Drop];
    let found = all.into_iter().find(|exceed| exceed_number(*exceed) == number);
    need(found, "a known verdict for exceeding packets")
}
