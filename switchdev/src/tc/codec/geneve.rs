//! Geneve options inside a message. Flower and tunnel_key number them alike
//! (`TCA_FLOWER_KEY_ENC_OPT_GENEVE_*`, `TCA_TUNNEL_KEY_ENC_OPT_GENEVE_*`).
//!
//! `tc` sends one nest an option; the kernel dumps all of them in one nest, one after another.
//! Both are read.

use super::Unreadable;
use super::attrs::{Writer, list, need};

const GENEVE: u16 = 1;
const CLASS: u16 = 1;
const TYPE: u16 = 2;
const DATA: u16 = 3;

/// One option as the message has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawOption {
    pub(super) class: u16,
    pub(super) kind: u8,
    pub(super) data: Vec<u8>,
}

pub(super) fn emit(options: impl Iterator<Item = RawOption>) -> Writer {
    let mut all = Writer::default();
    for option in options {
        let mut one = Writer::default();
        one.be16(CLASS, option.class);
        one.u8(TYPE, option.kind);
        one.bytes(DATA, option.data);
        all.plain_nest(GENEVE, &one);
    }
    all
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<RawOption>, Unreadable> {
    let mut options = Vec::new();
    for (kind, inside) in list(bytes)? {
        if kind != GENEVE {
            return Err(Unreadable::new("tunnel options other than Geneve's"));
        }
        parse_nest(&inside, &mut options)?;
    }
    Ok(options)
}

/// Each option ends with its data.
fn parse_nest(bytes: &[u8], options: &mut Vec<RawOption>) -> Result<(), Unreadable> {
    let (mut class, mut option_type) = (None, None);
    for (kind, value) in list(bytes)? {
        match (kind, value.as_slice()) {
            (CLASS, &[high, low]) => class = Some(u16::from_be_bytes([high, low])),
            (TYPE, &[byte]) => option_type = Some(byte),
            (DATA, data) => options.push(RawOption {
                class: need(class.take(), "Geneve option class")?,
                kind: need(option_type.take(), "Geneve option type")?,
                data: data.to_vec(),
            }),
            _ => return Err(Unreadable::new("a Geneve option that is not understood")),
        }
    }
    Ok(())
}
