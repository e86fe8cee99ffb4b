//! What names in text stand for: `ovs-ofctl --names` writes the names of ports and tables in place of their numbers.

use std::collections::BTreeMap;

use super::error::{ParseError, Problem};
use super::token::Token;
use crate::openflow::{OfPort, TableId};

/// The names of one bridge's ports and tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The ports by interface name.
    pub ports: BTreeMap<String, OfPort>,
    /// The tables by name.
    pub tables: BTreeMap<String, TableId>,
}

impl Names {
    pub(super) fn port(&self, token: Token<'_>) -> Result<OfPort, ParseError> {
        let name = token.unquote().text();
        let known = self.ports.get(name).copied().or_else(|| OfPort::from_reserved_name(name));
        known.map_or_else(|| port_number(token), Ok)
    }

    pub(super) fn table(&self, token: Token<'_>) -> Result<TableId, ParseError> {
        match self.tables.get(token.unquote().text()) {
            Some(table) => Ok(*table),
            None => match token.uint() {
                Ok(u8::MAX) | Err(_) => Err(token.error(Problem::UnknownTable)),
                Ok(number) => Ok(TableId(number)),
            },
        }
    }
}

/// A port as a number; the 32-bit numbers of OpenFlow 1.1 are taken too.
fn port_number(token: Token<'_>) -> Result<OfPort, ParseError> {
    let unknown = |_| token.error(Problem::UnknownPort);
    let number: u32 = token.uint().map_err(unknown)?;
    OfPort::from_wide(number).ok_or_else(|| token.error(Problem::UnknownPort))
}
