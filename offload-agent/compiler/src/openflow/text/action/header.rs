//! Actions that put a header on or take one off.

use std::fmt;

use super::{Call, ParseError, Problem, Token};
use crate::openflow::{Action, Encap};

const PACKET_TYPE_ETHERNET: u32 = 0;
const PACKET_TYPE_NSH: u32 = 0x0001_894f;
/// The headers that `encap` knows by name: their packet types.
const HEADERS: [(&str, u32); 4] = [
    ("ethernet", PACKET_TYPE_ETHERNET),
    ("nsh", PACKET_TYPE_NSH),
    ("mpls", 0x0001_8847),
    ("mpls_mc", 0x0001_8848),
];

const ENCAP_EXAMPLE: &str = "encap(ethernet), encap(mpls) or encap(nsh(md_type=1))";
const DECAP_EXAMPLE: &str = "decap() or decap(packet_type(ns=0,type=0))";

pub(super) fn parse_ethertype(call: Call<'_>) -> Result<Action, ParseError> {
    let ethertype = call.argument("push_vlan:0x8100")?.uint()?;
    Ok(match call.name.text() {
        "push_vlan" => Action::PushVlan(ethertype),
        "push_mpls" => Action::PushMpls(ethertype),
        _ => Action::PopMpls(ethertype),
    })
}

pub(super) fn parse_encap(call: Call<'_>) -> Result<Action, ParseError> {
    let inside = Call::new(call.argument(ENCAP_EXAMPLE)?.trim());
    let known = HEADERS.iter().find(|(name, _)| *name == inside.name.text());
    let (_, packet_type) = known.ok_or_else(|| call.malformed(ENCAP_EXAMPLE))?;
    let mut encap = Encap { packet_type: *packet_type, nsh_md_type: None, nsh_tlvs: Vec::new() };
    for item in inside.items(ENCAP_EXAMPLE)? {
        parse_nsh_property(&mut encap, item, call)?;
    }
    Ok(Action::Encap(encap))
}

fn parse_nsh_property(
    encap: &mut Encap,
    item: Token<'_>,
    call: Call<'_>,
) -> Result<(), ParseError> {
    match item.strip_prefix("md_type=") {
        _ if encap.packet_type != PACKET_TYPE_NSH => Err(call.malformed(ENCAP_EXAMPLE)),
        Some(kind) => {
            encap.nsh_md_type = Some(kind.uint()?);
            Ok(())
        }
        None => {
            encap.nsh_tlvs.push(parse_tlv(item)?);
            Ok(())
        }
    }
}

/// `tlv(class,type,0xvalue)`.
fn parse_tlv(item: Token<'_>) -> Result<(u16, u8, Vec<u8>), ParseError> {
    let malformed = || item.error(Problem::Malformed { example: "tlv(0x1000,10,0x12345678)" });
    let parts = item.bracketed("tlv(").ok_or_else(malformed)?.items()?;
    let [class, kind, value] = parts.as_slice() else { return Err(malformed()) };
    let digits = value.strip_prefix("0x").ok_or_else(malformed)?;
    Ok((class.uint()?, kind.uint()?, super::parse_dotted(digits)?))
}

pub(super) fn parse_decap(call: Call<'_>) -> Result<Action, ParseError> {
    match call.items(DECAP_EXAMPLE)?.as_slice() {
        [] => Ok(Action::Decap { packet_type: None }),
        [kind] => Ok(Action::Decap { packet_type: Some(parse_packet_type(*kind)?) }),
        _ => Err(call.malformed(DECAP_EXAMPLE)),
    }
}

/// `packet_type(ns=0,type=0)`.
fn parse_packet_type(item: Token<'_>) -> Result<u32, ParseError> {
    let malformed = || item.error(Problem::Malformed { example: DECAP_EXAMPLE });
    let parts = item.bracketed("packet_type(").ok_or_else(malformed)?.items()?;
    let [space, kind] = parts.as_slice() else { return Err(malformed()) };
    let space: u16 = space.strip_prefix("ns=").ok_or_else(malformed)?.uint()?;
    let kind: u16 = kind.strip_prefix("type=").ok_or_else(malformed)?.uint()?;
    Ok(u32::from(space) << 16 | u32::from(kind))
}

pub(super) fn write(f: &mut fmt::Formatter<'_>, action: &Action) -> fmt::Result {
    match action {
        Action::PushVlan(ethertype) => write!(f, "push_vlan:{ethertype:#x}"),
        Action::PushMpls(ethertype) => write!(f, "push_mpls:0x{ethertype:04x}"),
        Action::PopMpls(ethertype) => write!(f, "pop_mpls:0x{ethertype:04x}"),
        Action::PopVlan => f.write_str("pop_vlan"),
        Action::Encap(encap) => write_encap(f, encap),
        Action::Decap { packet_type: None } => f.write_str("decap()"),
        Action::Decap { packet_type: Some(kind) } => {
            write!(f, "decap(packet_type(ns={},type={}))", kind >> 16, TypeNumber(kind & 0xffff))
        }
        _ => f.write_str("strip_vlan"),
    }
}

/// Hexadecimal, except that 0 has no `0x`.
struct TypeNumber(u32);

impl fmt::Display for TypeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

fn write_encap(f: &mut fmt::Formatter<'_>, encap: &Encap) -> fmt::Result {
    let mut properties: Vec<String> =
        encap.nsh_md_type.iter().map(|kind| format!("md_type={kind}")).collect();
    properties.extend(encap.nsh_tlvs.iter().map(|(class, kind, value)| {
        let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("tlv(0x{class:04x},{kind},0x{digits})")
    }));
    let name = HEADERS
        .iter()
        .find(|(_, known)| *known == encap.packet_type)
        .map(|(name, _)| (*name).to_owned());
    let name = name.unwrap_or_else(|| format!("{:#x}", encap.packet_type));
    match properties.is_empty() {
        true => write!(f, "encap({name})"),
        false => write!(f, "encap({name}({}))", properties.join(",")),
    }
}
