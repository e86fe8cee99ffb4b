//! Actions and instructions that direct the walk through the tables.

use std::fmt;

use super::{Call, Context, ParseError, parse_dotted, parse_inner, subfield};
use crate::openflow::text::value::{self, Hex};
use crate::openflow::{Action, DebugAction, Field, Masked, MeterId, OfPort, Resubmit};

const RESUBMIT_EXAMPLE: &str = "resubmit(,1), resubmit(2,1) or resubmit:2";
const CONJUNCTION_EXAMPLE: &str = "conjunction(7,1/2): the id, and which of how many clauses";
const FIN_TIMEOUT_EXAMPLE: &str = "fin_timeout(idle_timeout=1,hard_timeout=2)";
const CHECK_EXAMPLE: &str = "check_pkt_larger(1500)->reg0[0]";

pub(super) fn parse_resubmit(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    if let Some(port) = call.rest.strip_prefix(":") {
        let in_port = Some(context.names.port(port)?).filter(|port| *port != OfPort::IN_PORT);
        return Ok(Action::Resubmit(Resubmit { in_port, ..Resubmit::default() }));
    }
    let items = call.items(RESUBMIT_EXAMPLE)?;
    let (port, table, ct) = match items.as_slice() {
        [port] => (*port, None, false),
        [port, table] => (*port, Some(*table), false),
        [port, table, ct] if ct.text() == "ct" => (*port, Some(*table), true),
        _ => return Err(call.malformed(RESUBMIT_EXAMPLE)),
    };
    let given = |token: &super::Token<'_>| !token.text().is_empty();
    let in_port = Some(port).filter(given).map(|port| context.names.port(port)).transpose()?;
    let table = table.filter(given).map(|table| context.names.table(table)).transpose()?;
    if in_port.is_none() && table.is_none() {
        return Err(call.malformed(RESUBMIT_EXAMPLE));
    }
    Ok(Action::Resubmit(Resubmit {
        in_port: in_port.filter(|port| *port != OfPort::IN_PORT),
        table,
        ct,
    }))
}

pub(super) fn write_resubmit(f: &mut fmt::Formatter<'_>, resubmit: &Resubmit) -> fmt::Result {
    let port = resubmit.in_port.map(|port| port.to_string());
    match (port, resubmit.table) {
        (Some(port), None) if !resubmit.ct => write!(f, "resubmit:{port}"),
        (None, None) if !resubmit.ct => f.write_str("resubmit:IN_PORT"),
        (port, table) => {
            let table = table.map(|table| table.to_string()).unwrap_or_default();
            let ct = if resubmit.ct { ",ct" } else { "" };
            write!(f, "resubmit({},{table}{ct})", port.unwrap_or_default())
        }
    }
}

pub(super) fn parse_clone(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let inside = call.rest.bracketed("(").ok_or_else(|| call.malformed("clone(output:1)"))?;
    Ok(Action::Clone(parse_inner(inside, context)?))
}

pub(super) fn parse_write_actions(
    call: Call<'_>,
    context: Context<'_>,
) -> Result<Action, ParseError> {
    let inside =
        call.rest.bracketed("(").ok_or_else(|| call.malformed("write_actions(output:1)"))?;
    Ok(Action::WriteActions(parse_inner(inside, context)?))
}

pub(super) fn parse_write_metadata(
    call: Call<'_>,
    context: Context<'_>,
) -> Result<Action, ParseError> {
    let argument = call.argument("write_metadata:0x1/0xff")?;
    Ok(Action::WriteMetadata(value::parse(Field::Metadata, argument, context.names)?))
}

pub(super) fn write_metadata(f: &mut fmt::Formatter<'_>, masked: Masked) -> fmt::Result {
    write!(f, "write_metadata:{}", Hex(masked.value))?;
    if masked.mask == Field::Metadata.full_mask() {
        Ok(())
    } else {
        write!(f, "/{}", Hex(masked.mask))
    }
}

pub(super) fn parse_meter(call: Call<'_>) -> Result<Action, ParseError> {
    Ok(Action::Meter(MeterId(call.argument("meter:1")?.uint()?)))
}

pub(super) fn parse_conjunction(call: Call<'_>) -> Result<Action, ParseError> {
    let items = call.items(CONJUNCTION_EXAMPLE)?;
    let [id, clauses] = items.as_slice() else { return Err(call.malformed(CONJUNCTION_EXAMPLE)) };
    let (clause, n_clauses) =
        clauses.split_once("/").ok_or_else(|| call.malformed(CONJUNCTION_EXAMPLE))?;
    let (clause, n_clauses): (u8, u8) = (clause.trim().uint()?, n_clauses.trim().uint()?);
    match clause.checked_sub(1) {
        Some(clause) if clause < n_clauses => {
            Ok(Action::Conjunction { id: id.uint()?, clause, n_clauses })
        }
        _ => Err(call.malformed(CONJUNCTION_EXAMPLE)),
    }
}

pub(super) fn parse_fin_timeout(call: Call<'_>) -> Result<Action, ParseError> {
    let (mut idle, mut hard) = (0, 0);
    for item in call.items(FIN_TIMEOUT_EXAMPLE)? {
        match item.split_once("=") {
            Some((key, value)) if key.text() == "idle_timeout" => idle = value.uint()?,
            Some((key, value)) if key.text() == "hard_timeout" => hard = value.uint()?,
            _ => return Err(call.malformed(FIN_TIMEOUT_EXAMPLE)),
        }
    }
    Ok(Action::FinTimeout { idle, hard })
}

pub(super) fn write_fin_timeout(f: &mut fmt::Formatter<'_>, idle: u16, hard: u16) -> fmt::Result {
    let parts = [("idle_timeout", idle), ("hard_timeout", hard)];
    let given = parts.into_iter().filter(|(_, seconds)| *seconds != 0);
    let parts: Vec<String> = given.map(|(key, seconds)| format!("{key}={seconds}")).collect();
    write!(f, "fin_timeout({})", parts.join(","))
}

pub(super) fn parse_check_pkt_larger(call: Call<'_>) -> Result<Action, ParseError> {
    let malformed = || call.malformed(CHECK_EXAMPLE);
    let (len, dst) = call.rest.split_once("->").ok_or_else(malformed)?;
    let len = len.bracketed("(").ok_or_else(malformed)?.trim().uint()?;
    let dst = subfield::parse(dst)?;
    if dst.n_bits == 1 { Ok(Action::CheckPktLarger { len, dst }) } else { Err(malformed()) }
}

pub(super) fn parse_note(call: Call<'_>) -> Result<Action, ParseError> {
    let bytes = call.rest.strip_prefix(":").ok_or_else(|| call.malformed("note:00.01.02"))?;
    Ok(Action::Note(parse_dotted(bytes)?))
}

pub(super) fn parse_debug(call: Call<'_>) -> Result<Action, ParseError> {
    let debug =
        if call.name.text() == "debug_slow" { DebugAction::Slow } else { DebugAction::Recirc };
    call.alone(Action::Debug(debug), "debug_slow or debug_recirc")
}

pub(super) fn write_debug(f: &mut fmt::Formatter<'_>, debug: DebugAction) -> fmt::Result {
    f.write_str(match debug {
        DebugAction::Slow => "debug_slow",
        DebugAction::Recirc => "debug_recirc",
    })
}
