//! Which tunnel option each `tun_metadata` field is, as `ovs-ofctl dump-tlv-map` prints it and `add-tlv-map` takes it.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{ParseError, Problem};
use super::token::Token;
use crate::openflow::{Field, TunnelOption};

const ROW_EXAMPLE: &str =
    "0x102 0x80 4 tun_metadata0, or {class=0x102,type=0x80,len=4}->tun_metadata0";
/// What stands above the rows of a table.
const HEADINGS: [&str; 5] =
    ["max option space", "allocated option space", "mapping table:", "class", "------"];

/// Whether the line says something of a field.
pub(super) fn is_row(line: &str) -> bool {
    !HEADINGS.iter().any(|heading| line.trim().starts_with(heading))
}

/// Reads a line: one row of a table, or pairs with commas between them.
pub(super) fn parse(line: &str) -> Result<BTreeMap<u8, TunnelOption>, ParseError> {
    let line = Token::line(line).trim();
    if line.text().starts_with('{') {
        return line.braced_items()?.into_iter().map(parse_pair).collect();
    }
    let words = line.words()?;
    let [class, kind, length, name] = words.as_slice() else { return Err(malformed(line)) };
    let option = TunnelOption { class: class.uint()?, kind: kind.uint()?, length: length.uint()? };
    Ok(BTreeMap::from([(index(*name)?, option)]))
}

/// `{class=0x102,type=0x80,len=4}->tun_metadata0`.
fn parse_pair(pair: Token<'_>) -> Result<(u8, TunnelOption), ParseError> {
    let (option, name) = pair.split_once("->").ok_or_else(|| malformed(pair))?;
    let inside = option.strip_prefix("{").and_then(|rest| rest.strip_suffix("}"));
    let (mut class, mut kind, mut length) = (None, None, None);
    for item in inside.ok_or_else(|| malformed(pair))?.items()? {
        let (key, value) = item.split_once("=").ok_or_else(|| malformed(item))?;
        match key.text() {
            "class" => class = Some(value.uint()?),
            "type" => kind = Some(value.uint()?),
            "len" => length = Some(value.uint()?),
            _ => return Err(malformed(item)),
        }
    }
    match (class, kind, length) {
        (Some(class), Some(kind), Some(length)) => {
            Ok((index(name)?, TunnelOption { class, kind, length }))
        }
        _ => Err(malformed(pair)),
    }
}

fn index(name: Token<'_>) -> Result<u8, ParseError> {
    match Field::from_name(name.text()) {
        Some(Field::TunMetadata(index)) => Ok(index),
        _ => Err(name.error(Problem::Malformed { example: "tun_metadata0" })),
    }
}

fn malformed(token: Token<'_>) -> ParseError {
    token.error(Problem::Malformed { example: ROW_EXAMPLE })
}

impl fmt::Display for TunnelOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{class={:#x},type={:#x},len={}}}", self.class, self.kind, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_tunnel_options;
    use super::*;

    const DUMP: &str = "\
NXT_TLV_TABLE_REPLY (xid=0x2):
 max option space=256 max fields=64
 allocated option space=4

 mapping table:
  class  type  length  match field
 ------  ----  ------  --------------
  0x102  0x80       4  tun_metadata0
 0xffff   0x1     124  tun_metadata63
";

    #[test]
    fn what_dump_tlv_map_prints() {
        let options = parse_tunnel_options(DUMP).unwrap();
        let first = TunnelOption { class: 0x102, kind: 0x80, length: 4 };
        let last = TunnelOption { class: 0xffff, kind: 1, length: 124 };
        assert_eq!(options, BTreeMap::from([(0, first), (63, last)]));
    }

    #[test]
    fn what_add_tlv_map_takes_is_what_an_option_prints_as() {
        let options = parse_tunnel_options(DUMP).unwrap();
        let pairs: Vec<String> = options
            .iter()
            .map(|(index, option)| format!("{option}->tun_metadata{index}"))
            .collect();
        assert_eq!(parse_tunnel_options(&pairs.join(",")).unwrap(), options);
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        for (text, column) in [
            ("0x102 0x80 4 reg0", 14),
            ("0x102 0x180 4 tun_metadata0", 7),
            ("0x102 0x80 tun_metadata0", 1),
            ("{class=1,type=2}->tun_metadata0", 1),
            ("{class=1,type=2,length=3}->tun_metadata0", 17),
            ("{class=1", 1),
        ] {
            let error = parse_tunnel_options(&format!("\n{text}\n")).unwrap_err();
            assert_eq!((error.line, error.column), (2, column), "{error}");
        }
    }
}
