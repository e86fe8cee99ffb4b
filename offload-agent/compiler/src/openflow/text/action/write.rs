//! Actions that write a field.

use std::fmt;
use std::net::Ipv4Addr;

use super::{Call, Context, ParseError, Problem, Token, subfield, write_joined};
use crate::openflow::text::value::{self, Hex, Mac, Value};
use crate::openflow::{Action, Field, Masked, Notation, SetField, Subfield, low_bits};

const LOAD_EXAMPLE: &str = "load:0x1->NXM_NX_REG0[0..15]";
const MOVE_EXAMPLE: &str = "move:NXM_OF_ETH_SRC[]->NXM_NX_XXREG0[0..47]";
const SET_FIELD_EXAMPLE: &str = "set_field:10.0.0.1->ip_dst";

pub(super) fn parse_set_field(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let (value, name) = arrow(call, SET_FIELD_EXAMPLE)?;
    let field = Field::from_name(name.text()).ok_or_else(|| name.error(Problem::UnknownField))?;
    // An action may write some bits of a field that a match must name as a whole, unless it is a port.
    let in_part = field.info().notation != Notation::Port;
    let masked = match value.split_once("/").filter(|_| in_part) {
        Some((plain, mask)) if is_number(mask) && is_number(plain) => {
            Masked::new(plain.number(field.full_mask())?, mask.number(field.full_mask())?)
        }
        _ => value::parse(field, value, context.names)?,
    };
    Ok(Action::SetField(SetField { field, masked }))
}

fn is_number(token: Token<'_>) -> bool {
    token.number(u128::MAX).is_ok() && token.text().starts_with(|c: char| c.is_ascii_digit())
}

/// The two sides of `->`.
fn arrow<'a>(call: Call<'a>, example: &'static str) -> Result<(Token<'a>, Token<'a>), ParseError> {
    call.argument(example)?.rsplit_once("->").ok_or_else(|| call.malformed(example))
}

pub(super) fn parse_load(call: Call<'_>) -> Result<Action, ParseError> {
    let (value, dst) = arrow(call, LOAD_EXAMPLE)?;
    let dst = subfield::parse(dst)?;
    Ok(Action::Load { value: value.number(low_bits(dst.n_bits))?, dst })
}

pub(super) fn parse_move(call: Call<'_>) -> Result<Action, ParseError> {
    let (src, dst) = arrow(call, MOVE_EXAMPLE)?;
    let (src, dst) = (subfield::parse(src)?, subfield::parse(dst)?);
    if src.n_bits == dst.n_bits {
        Ok(Action::Move { src, dst })
    } else {
        Err(call.malformed(MOVE_EXAMPLE))
    }
}

pub(super) fn parse_push(call: Call<'_>) -> Result<Action, ParseError> {
    Ok(Action::Push(subfield::parse(call.argument("push:NXM_NX_REG0[]")?)?))
}

pub(super) fn parse_pop(call: Call<'_>) -> Result<Action, ParseError> {
    Ok(Action::Pop(subfield::parse(call.argument("pop:NXM_NX_REG0[]")?)?))
}

pub(super) fn parse_delete_field(call: Call<'_>) -> Result<Action, ParseError> {
    let name = call.argument("delete_field:tun_metadata0")?;
    Field::from_name(name.text())
        .map(Action::DeleteField)
        .ok_or_else(|| name.error(Problem::UnknownField))
}

pub(super) fn parse_mod_mac(call: Call<'_>) -> Result<Action, ParseError> {
    let mac = value::mac(call.argument("mod_dl_dst:0a:00:00:00:00:01")?)?;
    Ok(if call.name.text() == "mod_dl_src" { Action::ModDlSrc(mac) } else { Action::ModDlDst(mac) })
}

pub(super) fn parse_mod_ip(call: Call<'_>) -> Result<Action, ParseError> {
    let ip = value::ipv4(call.argument("mod_nw_dst:10.0.0.1")?)?;
    Ok(if call.name.text() == "mod_nw_src" { Action::ModNwSrc(ip) } else { Action::ModNwDst(ip) })
}

pub(super) fn parse_mod_ip_byte(call: Call<'_>) -> Result<Action, ParseError> {
    let argument = call.argument("mod_nw_ttl:64")?;
    match call.name.text() {
        "mod_nw_tos" => match argument.uint()? {
            tos if tos & 3 == 0 => Ok(Action::ModNwTos(tos)),
            _ => Err(argument.error(Problem::Malformed {
                example: "a multiple of 4: the lower two bits are mod_nw_ecn",
            })),
        },
        "mod_nw_ecn" => Ok(Action::ModNwEcn(small(argument, 3)?)),
        _ => Ok(Action::ModNwTtl(argument.uint()?)),
    }
}

/// A number of less than eight bits.
fn small(argument: Token<'_>, max: u8) -> Result<u8, ParseError> {
    argument.number(u128::from(max))?;
    argument.uint()
}

pub(super) fn parse_mod_port(call: Call<'_>) -> Result<Action, ParseError> {
    let port = call.argument("mod_tp_dst:80")?.uint()?;
    Ok(if call.name.text() == "mod_tp_src" {
        Action::ModTpSrc(port)
    } else {
        Action::ModTpDst(port)
    })
}

pub(super) fn parse_vlan_vid(call: Call<'_>) -> Result<Action, ParseError> {
    const VID_MAX: u128 = 0xfff;
    let argument = call.argument("mod_vlan_vid:100")?;
    argument.number(VID_MAX)?;
    let vid = argument.uint()?;
    Ok(if call.name.text() == "mod_vlan_vid" {
        Action::ModVlanVid(vid)
    } else {
        Action::SetVlanVid(vid)
    })
}

pub(super) fn parse_vlan_pcp(call: Call<'_>) -> Result<Action, ParseError> {
    let pcp = small(call.argument("mod_vlan_pcp:3")?, 7)?;
    Ok(if call.name.text() == "mod_vlan_pcp" {
        Action::ModVlanPcp(pcp)
    } else {
        Action::SetVlanPcp(pcp)
    })
}

pub(super) fn parse_set_tunnel(call: Call<'_>) -> Result<Action, ParseError> {
    let id: u64 = call.argument("set_tunnel:0x1")?.uint()?;
    let wide = call.name.text() == "set_tunnel64" || id > u64::from(u32::MAX);
    Ok(Action::SetTunnel { id, wide })
}

pub(super) fn parse_set_mpls(call: Call<'_>) -> Result<Action, ParseError> {
    const LABEL_MAX: u128 = 0xf_ffff;
    let argument = call.argument("set_mpls_ttl(64)")?;
    match call.name.text() {
        "set_mpls_label" => {
            argument.number(LABEL_MAX)?;
            Ok(Action::SetMplsLabel(argument.uint()?))
        }
        "set_mpls_tc" => Ok(Action::SetMplsTc(small(argument, 7)?)),
        _ => Ok(Action::SetMplsTtl(argument.uint()?)),
    }
}

pub(super) fn parse_dec_ttl(call: Call<'_>) -> Result<Action, ParseError> {
    let ids = call.items("dec_ttl or dec_ttl(1,2)")?;
    let ids = ids.into_iter().map(Token::uint).collect::<Result<Vec<u16>, _>>()?;
    Ok(Action::DecTtl { controllers: Some(ids).filter(|_| !call.rest.text().is_empty()) })
}

pub(super) fn write_generic(f: &mut fmt::Formatter<'_>, action: &Action) -> fmt::Result {
    match action {
        Action::SetField(SetField { field, masked }) => {
            write!(f, "set_field:{}->{field}", Value { field: *field, masked: *masked })
        }
        Action::Load { value, dst } => write!(f, "load:{}->{dst}", Hex(*value)),
        Action::Move { src, dst } => write!(f, "move:{src}->{dst}"),
        Action::Push(field) => write!(f, "push:{field}"),
        Action::Pop(field) => write!(f, "pop:{field}"),
        Action::DeleteField(field) => write!(f, "delete_field:{field}"),
        Action::SetTunnel { id, wide: false } => write!(f, "set_tunnel:{}", Hex(u128::from(*id))),
        Action::SetTunnel { id, wide: true } => write!(f, "set_tunnel64:{}", Hex(u128::from(*id))),
        Action::DecTtl { controllers: None } => f.write_str("dec_ttl"),
        Action::DecTtl { controllers: Some(controllers) } => {
            f.write_str("dec_ttl(")?;
            write_joined(f, controllers)?;
            f.write_str(")")
        }
        Action::DecMplsTtl => f.write_str("dec_mpls_ttl"),
        _ => f.write_str("dec_nsh_ttl"),
    }
}

pub(super) fn write_by_name(f: &mut fmt::Formatter<'_>, action: &Action) -> fmt::Result {
    match action {
        Action::ModDlSrc(mac) => write!(f, "mod_dl_src:{}", Mac(u128::from(*mac))),
        Action::ModDlDst(mac) => write!(f, "mod_dl_dst:{}", Mac(u128::from(*mac))),
        Action::ModNwSrc(ip) => write!(f, "mod_nw_src:{}", Ipv4Addr::from(*ip)),
        Action::ModNwDst(ip) => write!(f, "mod_nw_dst:{}", Ipv4Addr::from(*ip)),
        Action::ModNwTos(tos) => write!(f, "mod_nw_tos:{tos}"),
        Action::ModNwEcn(ecn) => write!(f, "mod_nw_ecn:{ecn}"),
        Action::ModNwTtl(ttl) => write!(f, "mod_nw_ttl:{ttl}"),
        Action::ModTpSrc(port) => write!(f, "mod_tp_src:{port}"),
        Action::ModTpDst(port) => write!(f, "mod_tp_dst:{port}"),
        Action::ModVlanVid(vid) => write!(f, "mod_vlan_vid:{vid}"),
        Action::SetVlanVid(vid) => write!(f, "set_vlan_vid:{vid}"),
        Action::ModVlanPcp(pcp) => write!(f, "mod_vlan_pcp:{pcp}"),
        Action::SetVlanPcp(pcp) => write!(f, "set_vlan_pcp:{pcp}"),
        Action::SetMplsLabel(label) => write!(f, "set_mpls_label({label})"),
        Action::SetMplsTc(tc) => write!(f, "set_mpls_tc({tc})"),
        Action::SetMplsTtl(ttl) => write!(f, "set_mpls_ttl({ttl})"),
        _ => Ok(()),
    }
}

/// The bits that an immediate of `learn` may have.
pub(super) fn immediate(value: Token<'_>, dst: Subfield) -> Result<u128, ParseError> {
    value.number(low_bits(dst.n_bits))
}
