//! Rules on the wire: in a dump (`OFPMP_FLOW_DESC`) and as news from the flow monitor (`OFPMP_FLOW_MONITOR`).

use super::error::DecodeError;
use super::reader::Reader;
use super::{instruction, matches};
use crate::openflow::{Cookie, OfPriority, Rule, RuleFlags, RuleUpdate, TableId};

const STATS_HEADER_LEN: usize = 4;

/// Reads the rules of one message of a dump.
pub(super) fn decode_descs(body: &[u8]) -> Result<Vec<Rule>, DecodeError> {
    each(body, "a rule", decode_desc)
}

/// Reads the changes of one message of the flow monitor.
pub(super) fn decode_updates(body: &[u8]) -> Result<Vec<RuleUpdate>, DecodeError> {
    each(body, "a rule update", decode_update)
}

/// Reads entries that begin with their own length.
pub(super) fn each<T>(
    body: &[u8],
    what: &'static str,
    decode: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut reader = Reader::new(what, body);
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let length = usize::from(reader.u16()?);
        entries.push(decode(&mut Reader::new(what, reader.body(length, size_of::<u16>())?))?);
    }
    Ok(entries)
}

/// `struct ofp15_flow_desc` after its length.
fn decode_desc(reader: &mut Reader<'_>) -> Result<Rule, DecodeError> {
    reader.skip(2)?;
    let table = TableId(reader.u8()?);
    reader.skip(1)?;
    let priority = OfPriority(reader.u16()?);
    let (idle_timeout, hard_timeout) = (reader.u16()?, reader.u16()?);
    let flags = decode_flags(reader.u16()?);
    let importance = reader.u16()?;
    let cookie = Cookie(reader.u64()?);
    let match_ = matches::decode(reader)?;
    skip_statistics(reader)?;
    let actions = instruction::decode_list_of_rule(reader.rest())?;
    Ok(Rule {
        table,
        priority,
        match_,
        actions,
        cookie,
        idle_timeout,
        hard_timeout,
        importance,
        flags,
    })
}

fn decode_flags(bits: u16) -> RuleFlags {
    RuleFlags {
        send_flow_rem: bits & 1 != 0,
        check_overlap: bits & 2 != 0,
        reset_counts: bits & 4 != 0,
        no_packet_counts: bits & 8 != 0,
        no_byte_counts: bits & 16 != 0,
    }
}

/// Counters change from second to second and are no part of the rule.
fn skip_statistics(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.skip(2)?;
    let length = usize::from(reader.u16()?);
    reader.body(length, STATS_HEADER_LEN)?;
    reader.skip_padding_of(length);
    Ok(())
}

/// `struct ofp_flow_update_header` after its length.
fn decode_update(reader: &mut Reader<'_>) -> Result<RuleUpdate, DecodeError> {
    match reader.u16()? {
        0 | 1 | 3 => decode_full(reader).map(RuleUpdate::Present),
        2 => decode_full(reader).map(RuleUpdate::Gone),
        4 => Ok(RuleUpdate::Own { xid: reader.u32()? }),
        5 => Ok(RuleUpdate::Paused),
        6 => Ok(RuleUpdate::Resumed),
        event => Err(reader.bad_value(event)),
    }
}

/// The monitor tells neither importance nor flags.
fn decode_full(reader: &mut Reader<'_>) -> Result<Rule, DecodeError> {
    let table = TableId(reader.u8()?);
    let _reason = reader.u8()?;
    let (idle_timeout, hard_timeout) = (reader.u16()?, reader.u16()?);
    let priority = OfPriority(reader.u16()?);
    reader.skip(4)?;
    let cookie = Cookie(reader.u64()?);
    let match_ = matches::decode(reader)?;
    let actions = instruction::decode_list_of_rule(reader.rest())?;
    Ok(Rule {
        table,
        priority,
        match_,
        actions,
        cookie,
        idle_timeout,
        hard_timeout,
        ..Rule::default()
    })
}
