//! Whole messages: the header that all share, what the switch says, and what is asked of it.

use super::error::DecodeError;
use super::matches::MATCH_ANY;
use super::port::{self, PortDesc, PortReason};
use super::reader::Reader;
use super::{flow, group};
use crate::openflow::{Group, Meter, Rule, RuleUpdate, TunnelOption};

/// OpenFlow 1.5 on the wire.
pub const VERSION: u8 = 0x06;
/// Bytes that every message begins with.
pub const HEADER_LEN: usize = 8;

const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const EXPERIMENTER: u8 = 4;
const FEATURES_REQUEST: u8 = 5;
const FEATURES_REPLY: u8 = 6;
const PORT_STATUS: u8 = 12;
const MULTIPART_REQUEST: u8 = 18;
const MULTIPART_REPLY: u8 = 19;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;
const SET_ASYNC: u8 = 28;
const REQUEST_FORWARD: u8 = 32;

const MULTIPART_FLOW_DESC: u16 = 1;
const MULTIPART_GROUP_DESC: u16 = 7;
const MULTIPART_METER_CONFIG: u16 = 10;
const MULTIPART_PORT_DESC: u16 = 13;
const MULTIPART_FLOW_MONITOR: u16 = 16;

const EXPERIMENTER_NICIRA: u32 = 0x0000_2320;
const NICIRA_TLV_TABLE_REQUEST: u32 = 25;
const NICIRA_TLV_TABLE_REPLY: u32 = 26;

/// All of something, or any: ports, meters.
const ALL: u32 = 0xffff_ffff;
/// All groups; `0xffff_ffff` is *any* group there, which is none.
const GROUP_ALL: u32 = 0xffff_fffc;
const TABLE_ALL: u8 = 0xff;

/// Ties a reply to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xid(pub u32);

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of OpenFlow.
    pub version: u8,
    /// Which message it is.
    pub kind: u8,
    /// Bytes of the whole message, this header included.
    pub length: u16,
    /// Which request it answers; 0 for news.
    pub xid: Xid,
}

impl Header {
    /// Reads a header.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Header, DecodeError> {
        let mut reader = Reader::new("a message", bytes);
        let (version, kind, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
        if usize::from(length) < HEADER_LEN {
            return Err(DecodeError::BadLength { what: "a message", length: usize::from(length) });
        }
        Ok(Header { version, kind, length, xid: Xid(reader.u32()?) })
    }

    /// Bytes that follow the header.
    pub fn body_len(&self) -> usize {
        usize::from(self.length).saturating_sub(HEADER_LEN)
    }
}

/// What the switch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message; its version is the newest that the switch speaks.
    Hello,
    /// A request was refused.
    Error {
        /// The kind of error.
        kind: u16,
        /// The error within its kind.
        code: u16,
    },
    /// To be answered with the same bytes.
    EchoRequest(Vec<u8>),
    /// The answer to our own.
    EchoReply,
    /// Which switch it is.
    Features {
        /// The datapath's number.
        datapath_id: u64,
    },
    /// A port came, went or changed.
    PortStatus(PortReason, PortDesc),
    /// Part of an answer.
    Multipart {
        /// What it is about.
        part: Part,
        /// Whether more of the same answer follows.
        more: bool,
    },
    /// All requests before ours have been carried out.
    BarrierReply,
    /// Another controller changed a group or a meter.
    GroupOrMeterChanged,
    /// Which tunnel option each `tun_metadata` field is.
    TunnelOptions(Vec<(u16, TunnelOption)>),
    /// Something that does not concern us.
    Other {
        /// Its number.
        kind: u8,
    },
}

/// Part of an answer that may need several messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rules of a dump.
    Rules(Vec<Rule>),
    /// News of the flow monitor, the first dump included.
    Updates(Vec<RuleUpdate>),
    /// Groups.
    Groups(Vec<Group>),
    /// Meters.
    Meters(Vec<Meter>),
    /// Ports.
    Ports(Vec<PortDesc>),
    /// Something that was not asked for.
    Other {
        /// Its number.
        kind: u16,
    },
}

/// Reads what follows a header.
pub fn decode(header: &Header, body: &[u8]) -> Result<Message, DecodeError> {
    if header.kind == HELLO {
        return Ok(Message::Hello);
    }
    if header.version != VERSION {
        return Err(DecodeError::BadVersion { version: header.version });
    }
    let mut reader = Reader::new("a message", body);
    Ok(match header.kind {
        ERROR => Message::Error { kind: reader.u16()?, code: reader.u16()? },
        ECHO_REQUEST => Message::EchoRequest(body.to_vec()),
        ECHO_REPLY => Message::EchoReply,
        EXPERIMENTER => decode_experimenter(&mut reader)?,
        FEATURES_REPLY => Message::Features { datapath_id: reader.u64()? },
        PORT_STATUS => {
            let (reason, port) = port::decode_status(body)?;
            Message::PortStatus(reason, port)
        }
        MULTIPART_REPLY => decode_multipart(&mut reader)?,
        BARRIER_REPLY => Message::BarrierReply,
        REQUEST_FORWARD => Message::GroupOrMeterChanged,
        kind => Message::Other { kind },
    })
}

fn decode_multipart(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let (kind, flags) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    let body = reader.rest();
    let part = match kind {
        MULTIPART_FLOW_DESC => Part::Rules(flow::decode_descs(body)?),
        MULTIPART_FLOW_MONITOR => Part::Updates(flow::decode_updates(body)?),
        MULTIPART_GROUP_DESC => Part::Groups(group::decode_groups(body)?),
        MULTIPART_METER_CONFIG => Part::Meters(group::decode_meters(body)?),
        MULTIPART_PORT_DESC => Part::Ports(port::decode_list(body)?),
        kind => Part::Other { kind },
    };
    Ok(Message::Multipart { part, more: flags & 1 != 0 })
}

fn decode_experimenter(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let ours = reader.u32()? == EXPERIMENTER_NICIRA && reader.u32()? == NICIRA_TLV_TABLE_REPLY;
    if !ours {
        return Ok(Message::Other { kind: EXPERIMENTER });
    }
    reader.skip(16)?;
    let mut options = Vec::new();
    while !reader.is_empty() {
        let (class, kind, length) = (reader.u16()?, reader.u8()?, reader.u8()?);
        options.push((reader.u16()?, TunnelOption { class, kind, length }));
        reader.skip(2)?;
    }
    Ok(Message::TunnelOptions(options))
}

fn encode(kind: u8, xid: Xid, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
    let mut message = vec![VERSION, kind];
    message.extend(length.to_be_bytes());
    message.extend(xid.0.to_be_bytes());
    message.extend(body);
    message
}

/// The first message: we speak OpenFlow 1.5 and nothing else.
pub fn hello(xid: Xid) -> Vec<u8> {
    const VERSION_BITMAP: u16 = 1;
    const BITMAP_LEN: u16 = 8;
    let mut body = [VERSION_BITMAP.to_be_bytes(), BITMAP_LEN.to_be_bytes()].concat();
    body.extend((1u32 << VERSION).to_be_bytes());
    encode(HELLO, xid, &body)
}

/// The answer to an echo request.
pub fn echo_reply(xid: Xid, data: &[u8]) -> Vec<u8> {
    encode(ECHO_REPLY, xid, data)
}

/// Asks whether the switch is still there.
pub fn echo_request(xid: Xid) -> Vec<u8> {
    encode(ECHO_REQUEST, xid, &[])
}

/// Asks which switch it is.
pub fn features_request(xid: Xid) -> Vec<u8> {
    encode(FEATURES_REQUEST, xid, &[])
}

/// Asks for an answer once all requests before it have been carried out.
pub fn barrier_request(xid: Xid) -> Vec<u8> {
    encode(BARRIER_REQUEST, xid, &[])
}

fn multipart_request(kind: u16, xid: Xid, body: &[u8]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0; 6]);
    message.extend(body);
    encode(MULTIPART_REQUEST, xid, &message)
}

/// Asks for all rules, once.
pub fn flow_desc_request(xid: Xid) -> Vec<u8> {
    let mut body = vec![TABLE_ALL, 0, 0, 0];
    body.extend([ALL.to_be_bytes(), ALL.to_be_bytes(), [0; 4]].concat());
    body.extend([0; 16]);
    body.extend(MATCH_ANY);
    multipart_request(MULTIPART_FLOW_DESC, xid, &body)
}

/// Asks for all rules now, and for every change from now on.
///
/// Our own changes are told in full, too (`ONLY_OWN` means that to OVS), in case we ever make any.
pub fn flow_monitor_request(xid: Xid, monitor: u32) -> Vec<u8> {
    const INITIAL_ADD_REMOVED_MODIFY_INSTRUCTIONS_OWN: u16 = 0x5f;
    const COMMAND_ADD: u8 = 0;
    let mut body = [monitor.to_be_bytes(), ALL.to_be_bytes(), ALL.to_be_bytes()].concat();
    body.extend(INITIAL_ADD_REMOVED_MODIFY_INSTRUCTIONS_OWN.to_be_bytes());
    body.extend([TABLE_ALL, COMMAND_ADD]);
    body.extend(MATCH_ANY);
    multipart_request(MULTIPART_FLOW_MONITOR, xid, &body)
}

/// Asks for all groups.
pub fn group_desc_request(xid: Xid) -> Vec<u8> {
    multipart_request(MULTIPART_GROUP_DESC, xid, &[GROUP_ALL.to_be_bytes(), [0; 4]].concat())
}

/// Asks for all meters.
pub fn meter_config_request(xid: Xid) -> Vec<u8> {
    multipart_request(MULTIPART_METER_CONFIG, xid, &[ALL.to_be_bytes(), [0; 4]].concat())
}

/// Asks for all ports.
pub fn port_desc_request(xid: Xid) -> Vec<u8> {
    multipart_request(MULTIPART_PORT_DESC, xid, &[ALL.to_be_bytes(), [0; 4]].concat())
}

/// Asks which tunnel option each `tun_metadata` field is.
pub fn tunnel_options_request(xid: Xid) -> Vec<u8> {
    let body = [EXPERIMENTER_NICIRA.to_be_bytes(), NICIRA_TLV_TABLE_REQUEST.to_be_bytes()].concat();
    encode(EXPERIMENTER, xid, &body)
}

/// Asks to be told when another controller changes a group or a meter; the flow monitor does not tell.
pub fn watch_groups_and_meters(xid: Xid) -> Vec<u8> {
    const REQUEST_FORWARD_SLAVE: u16 = 10;
    const REQUEST_FORWARD_MASTER: u16 = 11;
    const GROUP_AND_METER: u32 = 3;
    let property = |kind: u16| {
        let mut bytes = [kind.to_be_bytes(), 8u16.to_be_bytes()].concat();
        bytes.extend(GROUP_AND_METER.to_be_bytes());
        bytes
    };
    encode(
        SET_ASYNC,
        xid,
        &[property(REQUEST_FORWARD_SLAVE), property(REQUEST_FORWARD_MASTER)].concat(),
    )
}
