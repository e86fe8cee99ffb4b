//! Ports on the wire (`OFPMP_PORT_DESC`, `OFPT_PORT_STATUS`).

use super::error::DecodeError;
use super::reader::{Reader, number};
use crate::openflow::OfPort;

const NAME_LEN: usize = 16;
const MAC_LEN: usize = 6;
const CONFIG_DOWN: u32 = 1;
const STATE_LINK_DOWN: u32 = 1;

/// A port as the switch describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// Its number.
    pub port: OfPort,
    /// The first 15 bytes of the interface's name; OVSDB has all of it.
    pub name: String,
    /// Its MAC address.
    pub mac: u64,
    /// Whether it is switched off.
    pub admin_down: bool,
    /// Whether it has no link.
    pub link_down: bool,
}

/// What happened to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortReason {
    /// It is new.
    Add,
    /// It is gone.
    Delete,
    /// Something about it changed.
    Modify,
}

/// Reads the ports of one message.
pub(super) fn decode_list(body: &[u8]) -> Result<Vec<PortDesc>, DecodeError> {
    let mut reader = Reader::new("a port", body);
    let mut ports = Vec::new();
    while !reader.is_empty() {
        ports.push(decode(&mut reader)?);
    }
    Ok(ports)
}

/// `struct ofp14_port`.
fn decode(reader: &mut Reader<'_>) -> Result<PortDesc, DecodeError> {
    let number_of_port = reader.u32()?;
    let length = usize::from(reader.u16()?);
    let mut body = Reader::new("a port", reader.body(length, 6)?);
    body.skip(2)?;
    let mac = u64::try_from(number(body.take(MAC_LEN)?)).unwrap_or_default();
    body.skip(2)?;
    let name: Vec<u8> =
        body.take(NAME_LEN)?.iter().copied().take_while(|byte| *byte != 0).collect();
    let (config, state) = (body.u32()?, body.u32()?);
    Ok(PortDesc {
        port: OfPort::from_wide(number_of_port).ok_or_else(|| body.bad_value(number_of_port))?,
        name: String::from_utf8_lossy(&name).into_owned(),
        mac,
        admin_down: config & CONFIG_DOWN != 0,
        link_down: state & STATE_LINK_DOWN != 0,
    })
}

/// `struct ofp_port_status`.
pub(super) fn decode_status(body: &[u8]) -> Result<(PortReason, PortDesc), DecodeError> {
    let mut reader = Reader::new("a port status", body);
    let reason = match reader.u8()? {
        0 => PortReason::Add,
        1 => PortReason::Delete,
        2 => PortReason::Modify,
        other => return Err(reader.bad_value(other)),
    };
    reader.skip(7)?;
    Ok((reason, decode(&mut reader)?))
}
