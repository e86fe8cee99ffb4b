//! `ct(...)`, which sends a packet through conntrack, and `nat(...)` inside it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::{ActionList, Call, Context, ParseError, Problem, Token, parse_inner, subfield};
use crate::openflow::text::value::Ipv6;
use crate::openflow::{Action, Alg, Ct, Nat, NatDirection, Zone};

const CT_EXAMPLE: &str =
    "ct(commit,force,table=1,zone=5,nat(src=10.0.0.1),exec(set_field:1->ct_mark),alg=ftp)";
const NAT_EXAMPLE: &str =
    "nat, nat(src=10.0.0.1-10.0.0.9:1024-65535,random) or nat(dst=[fd00::1]:80)";

pub(super) fn parse_ct(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let mut ct = Ct::default();
    for item in call.items(CT_EXAMPLE)? {
        match item.split_once("=").filter(|(key, _)| !key.text().contains('(')) {
            Some((key, value)) => parse_key(&mut ct, key, value, context)?,
            None => parse_word(&mut ct, item, call, context)?,
        }
    }
    Ok(Action::Ct(ct))
}

fn parse_key(
    ct: &mut Ct,
    key: Token<'_>,
    value: Token<'_>,
    context: Context<'_>,
) -> Result<(), ParseError> {
    match key.text() {
        "table" => ct.table = Some(context.names.table(value)?),
        "zone" => ct.zone = parse_zone(value)?,
        "alg" => ct.alg = Some(parse_alg(value)?),
        _ => return Err(key.error(Problem::Malformed { example: CT_EXAMPLE })),
    }
    Ok(())
}

fn parse_word(
    ct: &mut Ct,
    item: Token<'_>,
    call: Call<'_>,
    context: Context<'_>,
) -> Result<(), ParseError> {
    let inner = Call::new(item);
    match inner.name.text() {
        "commit" => ct.commit = true,
        "force" => ct.force = true,
        "nat" => ct.actions.push(parse_nat(inner)?),
        "exec" => {
            let inside = inner.rest.bracketed("(").ok_or_else(|| call.malformed(CT_EXAMPLE))?;
            ct.actions.extend(parse_inner(inside, context)?);
        }
        _ => return Err(call.malformed(CT_EXAMPLE)),
    }
    Ok(())
}

fn parse_zone(value: Token<'_>) -> Result<Zone, ParseError> {
    match value.text().starts_with(|c: char| c.is_ascii_digit()) {
        true => Ok(Zone::Immediate(value.uint()?)),
        false => match subfield::parse(value)? {
            source if source.n_bits == 16 => Ok(Zone::From(source)),
            _ => Err(value.error(Problem::Malformed { example: "16 bits, like reg0[0..15]" })),
        },
    }
}

fn parse_alg(value: Token<'_>) -> Result<Alg, ParseError> {
    match value.text() {
        "ftp" => Ok(Alg::Ftp),
        "tftp" => Ok(Alg::Tftp),
        _ => Ok(Alg::Other(value.uint()?)),
    }
}

pub(super) fn parse_nat(call: Call<'_>) -> Result<Action, ParseError> {
    let mut nat = Nat::default();
    for item in call.items(NAT_EXAMPLE)? {
        let (key, range) =
            item.split_once("=").map_or((item, None), |(key, range)| (key, Some(range)));
        match key.text() {
            "src" => nat.direction = Some(NatDirection::Src),
            "dst" => nat.direction = Some(NatDirection::Dst),
            "persistent" => nat.persistent = true,
            "hash" => nat.hash = true,
            "random" => nat.random = true,
            _ => return Err(call.malformed(NAT_EXAMPLE)),
        }
        if let Some(range) = range {
            parse_range(&mut nat, range)?;
        }
    }
    Ok(Action::Nat(nat))
}

/// `address[-address][:port[-port]]`; an IPv6 address with a port stands in brackets.
fn parse_range(nat: &mut Nat, range: Token<'_>) -> Result<(), ParseError> {
    let (addresses, ports) = split_ports(range);
    let (low, high) = split_range(addresses);
    nat.addr_min = Some(parse_address(low)?);
    nat.addr_max = high.map(parse_address).transpose()?;
    if let Some(ports) = ports {
        let (low, high) = split_range(ports);
        nat.port_min = Some(low.uint()?);
        nat.port_max = high.map(Token::uint).transpose()?;
    }
    Ok(())
}

fn split_ports(range: Token<'_>) -> (Token<'_>, Option<Token<'_>>) {
    let has_one_colon = range.text().matches(':').count() == 1;
    let split = if range.text().contains(']') {
        range.rsplit_once("]:")
    } else {
        range.split_once(":").filter(|_| has_one_colon)
    };
    match split {
        // The bracket belongs to the address.
        Some((addresses, ports)) if range.text().contains(']') => {
            (range.slice(0, addresses.text().len() + 1), Some(ports))
        }
        Some((addresses, ports)) => (addresses, Some(ports)),
        None => (range, None),
    }
}

fn split_range(range: Token<'_>) -> (Token<'_>, Option<Token<'_>>) {
    range.split_once("-").map_or((range, None), |(low, high)| (low, Some(high)))
}

fn parse_address(token: Token<'_>) -> Result<IpAddr, ParseError> {
    let bare = token.strip_prefix("[").and_then(|rest| rest.strip_suffix("]")).unwrap_or(token);
    bare.parsed(Problem::Malformed { example: NAT_EXAMPLE })
}

pub(super) fn write_ct(f: &mut fmt::Formatter<'_>, ct: &Ct) -> fmt::Result {
    let mut parts = Vec::new();
    if ct.commit {
        parts.push("commit".to_owned());
    }
    if ct.force {
        parts.push("force".to_owned());
    }
    parts.extend(ct.table.map(|table| format!("table={table}")));
    match ct.zone {
        Zone::Immediate(0) => {}
        Zone::Immediate(zone) => parts.push(format!("zone={zone}")),
        Zone::From(source) => parts.push(format!("zone={source}")),
    }
    parts.extend(ct.nats().map(|nat| Action::Nat(*nat).to_string()));
    let exec: Vec<Action> = ct.exec().cloned().collect();
    if !exec.is_empty() {
        parts.push(format!("exec({})", ActionList(&exec)));
    }
    parts.extend(ct.alg.map(alg_name));
    write!(f, "ct({})", parts.join(","))
}

fn alg_name(alg: Alg) -> String {
    match alg {
        Alg::Ftp => "alg=ftp".to_owned(),
        Alg::Tftp => "alg=tftp".to_owned(),
        Alg::Other(port) => format!("alg={port}"),
    }
}

pub(super) fn write_nat(f: &mut fmt::Formatter<'_>, nat: &Nat) -> fmt::Result {
    let Some(direction) = nat.direction else { return f.write_str("nat") };
    let direction = match direction {
        NatDirection::Src => "src",
        NatDirection::Dst => "dst",
    };
    let flags = [(nat.persistent, ",persistent"), (nat.hash, ",hash"), (nat.random, ",random")];
    let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
    write!(f, "nat({direction}{}{flags})", range_text(nat))
}

fn range_text(nat: &Nat) -> String {
    let Some(low) = nat.addr_min else { return String::new() };
    let bracket = nat.port_min.is_some();
    let high =
        nat.addr_max.map(|high| format!("-{}", address_text(high, bracket))).unwrap_or_default();
    let ports = nat.port_min.map(|port| format!(":{port}")).unwrap_or_default();
    let last = nat.port_max.map(|port| format!("-{port}")).unwrap_or_default();
    format!("={}{high}{ports}{last}", address_text(low, bracket))
}

fn address_text(address: IpAddr, bracket: bool) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) if bracket => format!("[{}]", ipv6_text(v6)),
        IpAddr::V6(v6) => ipv6_text(v6),
    }
}

fn ipv6_text(address: Ipv6Addr) -> String {
    Ipv6(u128::from(address)).to_string()
}
