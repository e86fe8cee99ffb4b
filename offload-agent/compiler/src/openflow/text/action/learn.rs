//! `learn(...)`, which makes a rule from a packet.

use std::fmt;

use super::{Call, Context, ParseError, Problem, Token, subfield, write};
use crate::openflow::text::value::{self, Hex, Value};
use crate::openflow::{
    Action, Cookie, Field, Learn, LearnSpec, Masked, OfPriority, Subfield, TableId,
};

const LEARN_EXAMPLE: &str = "learn(table=1,idle_timeout=10,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0x1->NXM_NX_REG0[],output:NXM_OF_IN_PORT[])";
/// The table that OVS takes when none is named.
const DEFAULT_TABLE: TableId = TableId(1);

pub(super) fn parse_learn(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let mut learn = Learn { table: DEFAULT_TABLE, ..Learn::default() };
    for item in call.items(LEARN_EXAMPLE)? {
        if !parse_setting(&mut learn, item, context)? {
            learn.specs.push(parse_spec(item, call, context)?);
        }
    }
    Ok(Action::Learn(Box::new(learn)))
}

/// Whether the item is about the rule rather than a piece of it; if so it is taken.
fn parse_setting(
    learn: &mut Learn,
    item: Token<'_>,
    context: Context<'_>,
) -> Result<bool, ParseError> {
    match (item.text(), item.split_once("=")) {
        ("send_flow_rem", _) => learn.send_flow_rem = true,
        ("delete_learned", _) => learn.delete_learned = true,
        (_, Some((key, value))) => return parse_key(learn, key.text(), value, context),
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_key(
    learn: &mut Learn,
    key: &str,
    value: Token<'_>,
    context: Context<'_>,
) -> Result<bool, ParseError> {
    match key {
        "table" => learn.table = context.names.table(value)?,
        "priority" => learn.priority = OfPriority(value.uint()?),
        "cookie" => learn.cookie = Cookie(value.uint()?),
        "idle_timeout" => learn.idle_timeout = value.uint()?,
        "hard_timeout" => learn.hard_timeout = value.uint()?,
        "fin_idle_timeout" => learn.fin_idle_timeout = value.uint()?,
        "fin_hard_timeout" => learn.fin_hard_timeout = value.uint()?,
        "limit" => learn.limit = value.uint()?,
        "result_dst" => learn.result_dst = Some(subfield::parse(value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_spec(
    item: Token<'_>,
    call: Call<'_>,
    context: Context<'_>,
) -> Result<LearnSpec, ParseError> {
    if let Some(load) = item.strip_prefix("load:") {
        return parse_load(load, call);
    }
    if let Some(output) = item.strip_prefix("output:") {
        return Ok(LearnSpec::Output(subfield::parse(output)?));
    }
    match item.split_once("=") {
        Some((dst, src)) => parse_match(dst, src, context),
        None => {
            let same = subfield::parse(item)?;
            Ok(LearnSpec::MatchField { src: same, dst: same })
        }
    }
}

fn parse_load(load: Token<'_>, call: Call<'_>) -> Result<LearnSpec, ParseError> {
    let (src, dst) = load.split_once("->").ok_or_else(|| call.malformed(LEARN_EXAMPLE))?;
    let dst = subfield::parse(dst)?;
    match subfield::parse(src) {
        Ok(src) => same_width(src, dst, load).map(|()| LearnSpec::LoadField { src, dst }),
        Err(_) => Ok(LearnSpec::LoadValue { value: write::immediate(src, dst)?, dst }),
    }
}

fn parse_match(
    dst_token: Token<'_>,
    src: Token<'_>,
    context: Context<'_>,
) -> Result<LearnSpec, ParseError> {
    let dst = subfield::parse(dst_token)?;
    if let Ok(src) = subfield::parse(src) {
        return same_width(src, dst, dst_token).map(|()| LearnSpec::MatchField { src, dst });
    }
    let value = match dst.is_whole() {
        true => value::parse(dst.field, src, context.names)?.value,
        false => write::immediate(src, dst)?,
    };
    Ok(LearnSpec::MatchValue { value, dst })
}

fn same_width(src: Subfield, dst: Subfield, token: Token<'_>) -> Result<(), ParseError> {
    let problem = Problem::Malformed {
        example: "two fields with as many bits, like reg0[0..15]=reg1[16..31]",
    };
    if src.n_bits == dst.n_bits { Ok(()) } else { Err(token.error(problem)) }
}

pub(super) fn write_learn(f: &mut fmt::Formatter<'_>, learn: &Learn) -> fmt::Result {
    write!(f, "learn(table={}", learn.table)?;
    write_nonzero(f, "idle_timeout", u32::from(learn.idle_timeout))?;
    write_nonzero(f, "hard_timeout", u32::from(learn.hard_timeout))?;
    write_nonzero(f, "fin_idle_timeout", u32::from(learn.fin_idle_timeout))?;
    write_nonzero(f, "fin_hard_timeout", u32::from(learn.fin_hard_timeout))?;
    if learn.priority != OfPriority::DEFAULT {
        write!(f, ",priority={}", learn.priority)?;
    }
    f.write_str(if learn.send_flow_rem { ",send_flow_rem" } else { "" })?;
    f.write_str(if learn.delete_learned { ",delete_learned" } else { "" })?;
    if learn.cookie != Cookie::default() {
        write!(f, ",cookie={}", learn.cookie)?;
    }
    write_nonzero(f, "limit", learn.limit)?;
    if let Some(dst) = learn.result_dst {
        write!(f, ",result_dst={dst}")?;
    }
    learn.specs.iter().try_for_each(|spec| write!(f, ",{spec}"))?;
    f.write_str(")")
}

fn write_nonzero(f: &mut fmt::Formatter<'_>, key: &str, number: u32) -> fmt::Result {
    if number == 0 { Ok(()) } else { write!(f, ",{key}={number}") }
}

impl fmt::Display for LearnSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LearnSpec::MatchField { src, dst } if src == dst => dst.fmt(f),
            LearnSpec::MatchField { src, dst } => write!(f, "{dst}={src}"),
            LearnSpec::MatchValue { value, dst } if dst.is_whole() => {
                write_match_value(f, dst.field, *value)
            }
            LearnSpec::MatchValue { value, dst } => write!(f, "{dst}={}", Hex(*value)),
            LearnSpec::LoadField { src, dst } => write!(f, "load:{src}->{dst}"),
            LearnSpec::LoadValue { value, dst } => write!(f, "load:{}->{dst}", Hex(*value)),
            LearnSpec::Output(field) => write!(f, "output:{field}"),
        }
    }
}

fn write_match_value(f: &mut fmt::Formatter<'_>, field: Field, value: u128) -> fmt::Result {
    write!(f, "{field}={}", Value { field, masked: Masked { value, mask: field.full_mask() } })
}
