//! As much OpenFlow 1.3 as it takes to put rules of ours on a bridge and to take them off: hello, flow mods, barrier.
//!
//! The bridge's management socket takes it (`<rundir>/<bridge>.mgmt`). Rules are known by their cookie alone.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION: u8 = 4;
const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const FLOW_MOD: u8 = 14;
const MULTIPART_REQUEST: u8 = 18;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;

const COMMAND_ADD: u8 = 0;
const COMMAND_DELETE: u8 = 3;
const ALL_TABLES: u8 = 255;
const NO_BUFFER: u32 = u32::MAX;
const ANY: u32 = u32::MAX;

const HEADER: usize = 8;
/// A message may not be longer than its own length field says at most.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A field of a packet, by its number in the class OPENFLOW_BASIC, with its width in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    number: u8,
    width: usize,
}

impl Field {
    /// How many bytes it has.
    pub(crate) fn width(self) -> usize {
        self.width
    }
}

pub(crate) const IN_PORT: Field = Field { number: 0, width: 4 };
pub(crate) const ETH_SRC: Field = Field { number: 4, width: 6 };
pub(crate) const ETH_TYPE: Field = Field { number: 5, width: 2 };
pub(crate) const IPV4_SRC: Field = Field { number: 11, width: 4 };
pub(crate) const ARP_SPA: Field = Field { number: 22, width: 4 };
pub(crate) const IPV6_SRC: Field = Field { number: 26, width: 16 };

/// What a rule asks of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) field: Field,
    pub(crate) value: u128,
    /// Which bits count; `None` for all.
    pub(crate) mask: Option<u128>,
}

/// A connection to one bridge.
#[derive(Debug)]
pub(crate) struct OpenFlow {
    socket: PathBuf,
    stream: UnixStream,
}

/// What went wrong between us and the bridge.
#[derive(Debug, thiserror::Error)]
pub enum OpenFlowError {
    /// The socket failed.
    #[error("bridge socket {socket}: {source}; ovs-vswitchd must run and have the bridge", socket = socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The switch refused a message.
    #[error("bridge socket {socket}: the switch refused a rule (OpenFlow error {kind}/{code}); OpenFlow13 must be among the bridge's protocols", socket = socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The error's type.
        kind: u16,
        /// Its code.
        code: u16,
    },
}

impl OpenFlow {
    pub(crate) fn connect(socket: &Path) -> Result<Self, OpenFlowError> {
        let stream = UnixStream::connect(socket).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(stream)
        });
        let stream =
            stream.map_err(|source| OpenFlowError::Io { socket: socket.to_owned(), source })?;
        let mut connection = Self { socket: socket.to_owned(), stream };
        connection.send(&message(HELLO, &[]))?;
        Ok(connection)
    }

    /// Rules that drop what they match, with this cookie and priority.
    pub(crate) fn add_drops(
        &mut self,
        cookie: u64,
        priority: u16,
        rules: &[Vec<Match>],
    ) -> Result<(), OpenFlowError> {
        let mods: Vec<u8> =
            rules.iter().flat_map(|rule| flow_mod(COMMAND_ADD, cookie, priority, rule)).collect();
        self.send(&mods)?;
        self.barrier()
    }

    /// Removes all rules with this cookie.
    pub(crate) fn remove(&mut self, cookie: u64) -> Result<(), OpenFlowError> {
        self.send(&flow_mod(COMMAND_DELETE, cookie, 0, &[]))?;
        self.barrier()
    }

    /// How many rules have this cookie.
    pub(crate) fn count(&mut self, cookie: u64) -> Result<u32, OpenFlowError> {
        self.aggregate(cookie, u64::MAX)
    }

    /// How many rules there are, whoever put them there.
    pub(crate) fn count_all(&mut self) -> Result<u32, OpenFlowError> {
        self.aggregate(0, 0)
    }

    fn aggregate(&mut self, cookie: u64, mask: u64) -> Result<u32, OpenFlowError> {
        self.send(&aggregate_request(cookie, mask))?;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                ERROR => return Err(self.refused(&body)),
                ECHO_REQUEST => self.send(&message(ECHO_REPLY, &body))?,
                // Multipart's header, packets and bytes, then the number of rules.
                _ if kind == MULTIPART_REQUEST + 1 => return Ok(number(&body, 8 + 16)),
                _ => {}
            }
        }
    }

    /// Returns when the switch has done all before it, with the first thing that it refused.
    fn barrier(&mut self) -> Result<(), OpenFlowError> {
        self.send(&message(BARRIER_REQUEST, &[]))?;
        let mut refused = None;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                ERROR => refused = refused.or_else(|| Some(self.refused(&body))),
                ECHO_REQUEST => self.send(&message(ECHO_REPLY, &body))?,
                BARRIER_REPLY => return refused.map_or(Ok(()), Err),
                _ => {}
            }
        }
    }

    fn refused(&self, body: &[u8]) -> OpenFlowError {
        let word = |at: usize| {
            body.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
        };
        OpenFlowError::Refused { socket: self.socket.clone(), kind: word(0), code: word(2) }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), OpenFlowError> {
        self.stream.write_all(bytes).map_err(|source| self.broke(source))
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), OpenFlowError> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).map_err(|source| self.broke(source))?;
        let [_, kind, l0, l1, ..] = header;
        let mut body = vec![0; usize::from(u16::from_be_bytes([l0, l1])).saturating_sub(HEADER)];
        self.stream.read_exact(&mut body).map_err(|source| self.broke(source))?;
        Ok((kind, body))
    }

    fn broke(&self, source: io::Error) -> OpenFlowError {
        OpenFlowError::Io { socket: self.socket.clone(), source }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![VERSION, kind];
    bytes.extend(length.to_be_bytes());
    // Nothing here is told apart by its transaction id: answers come in order.
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// `struct ofp_flow_mod`. Without instructions a packet that matches is dropped.
fn flow_mod(command: u8, cookie: u64, priority: u16, matches: &[Match]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(cookie.to_be_bytes());
    body.extend(if command == COMMAND_DELETE { u64::MAX } else { 0 }.to_be_bytes());
    body.push(if command == COMMAND_DELETE { ALL_TABLES } else { 0 });
    body.push(command);
    body.extend([0; 4]); // no time-outs
    body.extend(priority.to_be_bytes());
    body.extend(NO_BUFFER.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend([0; 4]); // flags, padding
    body.extend(write_match(matches));
    message(FLOW_MOD, &body)
}

/// `OFPMP_AGGREGATE` for cookies of which these bits count, in all tables.
fn aggregate_request(cookie: u64, mask: u64) -> Vec<u8> {
    const AGGREGATE: u16 = 2;
    let mut body = Vec::new();
    body.extend(AGGREGATE.to_be_bytes());
    body.extend([0; 6]);
    body.extend([ALL_TABLES, 0, 0, 0]);
    body.extend(ANY.to_be_bytes());
    body.extend(ANY.to_be_bytes());
    body.extend([0; 4]);
    body.extend(cookie.to_be_bytes());
    body.extend(mask.to_be_bytes());
    body.extend(write_match(&[]));
    message(MULTIPART_REQUEST, &body)
}

/// `struct ofp_match` of type OXM, padded to eight bytes.
fn write_match(matches: &[Match]) -> Vec<u8> {
    const TYPE_OXM: u16 = 1;
    let fields: Vec<u8> = matches.iter().flat_map(write_field).collect();
    let length = 4 + fields.len();
    let mut bytes = TYPE_OXM.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(fields);
    bytes.resize(length.next_multiple_of(8), 0);
    bytes
}

fn write_field(wanted: &Match) -> Vec<u8> {
    const BASIC: u16 = 0x8000;
    let Field { number, width } = wanted.field;
    let low = |value: u128| value.to_be_bytes()[16 - width..].to_vec();
    let value = [low(wanted.value), wanted.mask.map(low).unwrap_or_default()].concat();
    let mut bytes = BASIC.to_be_bytes().to_vec();
    bytes.push(number << 1 | u8::from(wanted.mask.is_some()));
    bytes.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_openflow_13_has_it() {
        let rule = [
            Match { field: IN_PORT, value: 3, mask: None },
            Match { field: ETH_SRC, value: 0x0200_0000_0000, mask: Some(0xffff_0000_0000) },
        ];
        let bytes = flow_mod(COMMAND_ADD, 0x1122_3344_5566_7788, 7, &rule);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len());
        assert_eq!(bytes[48..52], [0, 1, 0, 28]);
        assert_eq!(bytes[52..60], [0x80, 0, 0, 4, 0, 0, 0, 3]);
        assert_eq!(bytes[60..76], [0x80, 0, 9, 12, 2, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    }
}
