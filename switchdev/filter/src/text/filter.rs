//! A whole filter: a line for `tc -batch`.

use std::fmt;
use std::str::FromStr;

use super::value::{EtherTypeWord, ethertype, number_u16, number_u32};
use super::words::{TextError, Words, wrong};
use super::{IfNames, Numbered, action, key};
use crate::{
    Attach, BlockId, ChainId, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex, Prio,
};

/// A filter with the names its devices go by.
pub struct FilterText<'a> {
    filter: &'a Filter,
    names: &'a dyn IfNames,
}

impl fmt::Debug for FilterText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Filter {
    /// The line that gives `tc -batch` this filter, with the names its devices go by.
    #[must_use]
    pub fn text<'a>(&'a self, names: &'a dyn IfNames) -> FilterText<'a> {
        FilterText { filter: self, names }
    }

    /// Reads such a line. What stands before `dev` or `block` may be missing.
    ///
    /// # Errors
    /// [`TextError`] names the word and what would be right.
    pub fn parse(line: &str, names: &dyn IfNames) -> Result<Self, TextError> {
        let words = &mut Words::new(line);
        words.take("tc");
        if words.take("filter") {
            words.read("add or replace", |w| matches!(w, "add" | "replace").then_some(()))?;
        }
        parse(words, names)
    }
}

impl fmt::Display for FilterText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = self.filter;
        f.write_str("filter add ")?;
        self.print_attach(f)?;
        write!(f, " chain {} prio {}", filter.chain, filter.prio)?;
        write!(f, " handle {:#x}", filter.handle.get())?;
        write!(f, " protocol {} flower", EtherTypeWord(filter.protocol))?;
        key::print(f, &filter.key)?;
        f.write_str(match filter.hw {
            HwPolicy::Both => " verbose",
            HwPolicy::SkipSw => " skip_sw verbose",
            HwPolicy::SkipHw => " skip_hw verbose",
        })?;
        for each in filter.actions.iter() {
            action::print(f, each, self.names)?;
            if let Some(cookie) = &filter.cookie {
                write!(f, " cookie {cookie}")?;
            }
        }
        Ok(())
    }
}

impl FilterText<'_> {
    fn print_attach(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |device: IfIndex| device_name(self.names, device);
        match self.filter.attach {
            Attach::Ingress(device) => write!(f, "dev {} ingress", name(device)),
            Attach::Egress(device) => write!(f, "dev {} egress", name(device)),
            Attach::Block(block) => write!(f, "block {block}"),
        }
    }
}

pub(super) fn device_name(names: &dyn IfNames, device: IfIndex) -> String {
    names.name(device).unwrap_or_else(|| format!("if{device}"))
}

/// The line for `tc -batch`, with devices by number.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text(&Numbered), f)
    }
}

impl FromStr for Filter {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        Self::parse(line, &Numbered)
    }
}

/// What stands before `flower`.
struct Head {
    chain: ChainId,
    prio: Prio,
    handle: Handle,
    protocol: EtherType,
}

fn parse(words: &mut Words<'_>, names: &dyn IfNames) -> Result<Filter, TextError> {
    let attach = parse_attach(words, names)?;
    let head = parse_head(words)?;
    let (key, hw) = parse_keys(words)?;
    let (actions, cookie) = action::parse_all(words, names)?;
    Ok(Filter {
        attach,
        chain: head.chain,
        prio: head.prio,
        handle: head.handle,
        protocol: head.protocol,
        key: key.into(),
        actions: actions.into(),
        hw,
        cookie,
    })
}

fn parse_attach(words: &mut Words<'_>, names: &dyn IfNames) -> Result<Attach, TextError> {
    if words.take("block") {
        let block = words.read("a block number", number_u32)?;
        return Ok(Attach::Block(BlockId(block)));
    }
    words.expect("dev")?;
    let device = words.read("a device", |word| names.index(word))?;
    let side = words.next("ingress or egress")?;
    match side {
        "ingress" => Ok(Attach::Ingress(device)),
        "egress" => Ok(Attach::Egress(device)),
        _ => Err(wrong(side, "ingress or egress")),
    }
}

fn parse_head(words: &mut Words<'_>) -> Result<Head, TextError> {
    let (mut chain, mut prio, mut handle, mut protocol) = (ChainId::ZERO, None, None, None);
    loop {
        match words.next("flower")? {
            "chain" => chain = words.read("a chain", |w| number_u32(w)?.try_into().ok())?,
            "prio" | "pref" => {
                prio =
                    Some(words.read("a prio of 1 to 65535", |w| number_u16(w)?.try_into().ok())?);
            }
            "handle" => {
                let read = |w: &str| number_u32(w)?.try_into().ok();
                handle = Some(words.read("a handle of at least 1", read)?);
            }
            "protocol" => protocol = Some(words.read("a protocol", ethertype)?),
            "flower" => break,
            other => return Err(TextError::Unknown(other.to_owned())),
        }
    }
    Ok(Head {
        chain,
        prio: prio.ok_or(TextError::Missing("prio"))?,
        handle: handle.ok_or(TextError::Missing("handle"))?,
        protocol: protocol.ok_or(TextError::Missing("protocol"))?,
    })
}

fn parse_keys(words: &mut Words<'_>) -> Result<(FlowerMatch, HwPolicy), TextError> {
    let (mut key, mut hw) = (FlowerMatch::default(), HwPolicy::Both);
    loop {
        if words.take("skip_sw") {
            hw = HwPolicy::SkipSw;
        } else if words.take("skip_hw") {
            hw = HwPolicy::SkipHw;
        } else if !words.take("verbose") && !key::parse(words, &mut key)? {
            return Ok((key, hw));
        }
    }
}
