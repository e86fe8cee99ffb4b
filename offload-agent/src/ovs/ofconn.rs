//! One bridge's rules over its management socket, `<rundir>/<bridge>.mgmt`.
//!
//! [`OfConn::watch`] gives the rules, groups and meters as they are; after it [`OfConn::next_event`] tells every change.
//! OVS answers any number of such connections beside the bridge's controller, and neither notices the other.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use flow_compiler::openflow::wire::{
    self, DecodeError, Header, Message, Part, PortDesc, PortReason, Xid,
};
use flow_compiler::openflow::{BridgeRules, Group, Meter, Rule, RuleUpdate, TunnelOption};
use tokio::time::Instant;

use super::link::{Link, LinkError};

/// One answer may not fill the memory; 20,000 rules are 4 MB.
const ANSWER_LIMIT: usize = 256 << 20;
/// The number of our only flow monitor.
const MONITOR: u32 = 1;
/// The number of a message that answers nothing.
const NEWS: Xid = Xid(0);

/// What went wrong between us and a bridge.
#[derive(Debug, thiserror::Error)]
pub enum OfError {
    /// Nobody listens.
    #[error(
        "cannot connect to {socket}: {source}; ovs-vswitchd must run and the bridge must exist"
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {socket} broke: {source}")]
    Io {
        /// The socket.
        socket: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The switch hung up.
    #[error("ovs-vswitchd closed the connection to {socket}")]
    Closed {
        /// The socket.
        socket: PathBuf,
    },
    /// The switch does not answer.
    #[error("ovs-vswitchd says nothing on {socket} for {seconds} s")]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// For how long.
        seconds: u64,
    },
    /// The bridge is not allowed to speak our version.
    #[error(
        "{socket} speaks OpenFlow up to version {version:#04x}, and 0x06 (OpenFlow 1.5) is needed; \
         `ovs-vsctl add bridge BRIDGE protocols OpenFlow15` allows it"
    )]
    Version {
        /// The socket.
        socket: PathBuf,
        /// The newest that the switch offers.
        version: u8,
    },
    /// The switch refused a request.
    #[error("ovs-vswitchd refused a request on {socket}: OpenFlow error type {kind}, code {code}")]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The type of the error.
        kind: u16,
        /// Its code.
        code: u16,
    },
    /// An answer is larger than any bridge should need.
    #[error("an answer on {socket} is larger than {limit} bytes")]
    TooLarge {
        /// The socket.
        socket: PathBuf,
        /// The most that is taken.
        limit: usize,
    },
    /// The switch sent bytes that are not OpenFlow 1.5.
    #[error("on {socket}: {source}")]
    Decode {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with them.
        source: DecodeError,
    },
}

/// News of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// Rules came, went or changed; see [`BridgeRules::apply`].
    Rules(Vec<RuleUpdate>),
    /// A port came, went or changed. OVSDB knows more about it.
    Port(PortReason, PortDesc),
    /// Groups or meters changed; [`OfConn::refresh_groups_and_meters`] reads them again.
    GroupsOrMeters,
}

/// A connection to one bridge.
#[derive(Debug)]
pub struct OfConn {
    link: Link,
    incoming: Inbox,
    events: VecDeque<BridgeEvent>,
    last_xid: u32,
}

impl OfConn {
    /// Connects, and agrees on OpenFlow 1.5.
    pub async fn connect(socket: &Path) -> Result<OfConn, OfError> {
        let connect = |source| OfError::Connect { socket: socket.to_owned(), source };
        let mut conn = OfConn {
            link: Link::connect(socket).await.map_err(connect)?,
            incoming: Inbox::default(),
            events: VecDeque::new(),
            last_xid: 0,
        };
        conn.handshake().await?;
        Ok(conn)
    }

    fn socket(&self) -> PathBuf {
        self.link.socket().to_owned()
    }

    async fn handshake(&mut self) -> Result<(), OfError> {
        self.request(wire::hello);
        let (header, _) = self.read_message(Link::answer_deadline()).await?;
        match header.version {
            version if version < wire::VERSION => {
                Err(OfError::Version { socket: self.socket(), version })
            }
            _ => Ok(()),
        }
    }

    /// The bridge as it is now; from here on every change of it is an event.
    pub async fn watch(&mut self) -> Result<BridgeRules, OfError> {
        self.request(wire::watch_groups_and_meters);
        let mut bridge = BridgeRules::default();
        let xid = self.request(|xid| wire::flow_monitor_request(xid, MONITOR));
        for part in self.collect(xid).await? {
            if let Part::Updates(updates) = part {
                bridge.apply_all(updates);
            }
        }
        self.refresh_groups_and_meters(&mut bridge).await?;
        bridge.tunnel_options =
            self.tunnel_options().await?.into_iter().filter_map(by_small_index).collect();
        Ok(bridge)
    }

    /// Reads groups and meters again; `true` when they are not what they were.
    pub async fn refresh_groups_and_meters(
        &mut self,
        bridge: &mut BridgeRules,
    ) -> Result<bool, OfError> {
        let groups = self.groups().await?.into_iter().map(|group| (group.id, group)).collect();
        let meters = self.meters().await?.into_iter().map(|meter| (meter.id, meter)).collect();
        let changed = bridge.groups != groups || bridge.meters != meters;
        bridge.groups = groups;
        bridge.meters = meters;
        Ok(changed)
    }

    /// Waits for the next change. Nothing is lost when the wait is given up.
    pub async fn next_event(&mut self) -> Result<BridgeEvent, OfError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            match self.read_message(self.link.news_deadline()).await {
                Ok((header, message)) => self.take_news(header, message)?,
                Err(OfError::Silent { .. }) if self.link.may_probe() => {
                    self.request(wire::echo_request);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All rules, with importance and flags, which [`OfConn::watch`] is not told.
    pub async fn rules(&mut self) -> Result<Vec<Rule>, OfError> {
        let xid = self.request(wire::flow_desc_request);
        let parts = self.collect(xid).await?.into_iter();
        Ok(parts
            .flat_map(|part| if let Part::Rules(rules) = part { rules } else { Vec::new() })
            .collect())
    }

    /// All groups.
    pub async fn groups(&mut self) -> Result<Vec<Group>, OfError> {
        let xid = self.request(wire::group_desc_request);
        let parts = self.collect(xid).await?.into_iter();
        Ok(parts
            .flat_map(|part| if let Part::Groups(groups) = part { groups } else { Vec::new() })
            .collect())
    }

    /// All meters.
    pub async fn meters(&mut self) -> Result<Vec<Meter>, OfError> {
        let xid = self.request(wire::meter_config_request);
        let parts = self.collect(xid).await?.into_iter();
        Ok(parts
            .flat_map(|part| if let Part::Meters(meters) = part { meters } else { Vec::new() })
            .collect())
    }

    /// All ports.
    pub async fn ports(&mut self) -> Result<Vec<PortDesc>, OfError> {
        let xid = self.request(wire::port_desc_request);
        let parts = self.collect(xid).await?.into_iter();
        Ok(parts
            .flat_map(|part| if let Part::Ports(ports) = part { ports } else { Vec::new() })
            .collect())
    }

    /// Which tunnel option each `tun_metadata` field is.
    pub async fn tunnel_options(&mut self) -> Result<Vec<(u16, TunnelOption)>, OfError> {
        let xid = self.request(wire::tunnel_options_request);
        loop {
            match self.read_message(Link::answer_deadline()).await? {
                (header, Message::TunnelOptions(options)) if header.xid == xid => {
                    return Ok(options);
                }
                (header, message) => self.take_news(header, message)?,
            }
        }
    }

    /// Puts a request into the queue; it leaves with the next read.
    fn request(&mut self, encode: impl FnOnce(Xid) -> Vec<u8>) -> Xid {
        self.last_xid = self.last_xid.wrapping_add(1).max(1);
        let xid = Xid(self.last_xid);
        self.link.send(&encode(xid));
        xid
    }

    /// All parts of an answer.
    async fn collect(&mut self, xid: Xid) -> Result<Vec<Part>, OfError> {
        let (mut parts, mut size) = (Vec::new(), 0);
        loop {
            let (header, message) = self.read_message(Link::answer_deadline()).await?;
            match message {
                Message::Multipart { part, more } if header.xid == xid => {
                    size += header.body_len();
                    parts.push(part);
                    if !more {
                        return Ok(parts);
                    }
                }
                message => self.take_news(header, message)?,
            }
            if size > ANSWER_LIMIT {
                return Err(OfError::TooLarge { socket: self.socket(), limit: ANSWER_LIMIT });
            }
        }
    }

    /// Deals with a message that is not the answer being waited for.
    fn take_news(&mut self, header: Header, message: Message) -> Result<(), OfError> {
        match message {
            Message::EchoRequest(data) => self.link.send(&wire::echo_reply(header.xid, &data)),
            Message::Error { kind, code } => {
                return Err(OfError::Refused { socket: self.socket(), kind, code });
            }
            Message::PortStatus(reason, port) => {
                self.events.push_back(BridgeEvent::Port(reason, port))
            }
            Message::GroupOrMeterChanged => self.events.push_back(BridgeEvent::GroupsOrMeters),
            Message::Multipart { part: Part::Updates(updates), .. } if header.xid == NEWS => {
                self.events.push_back(BridgeEvent::Rules(updates));
            }
            _ => {}
        }
        Ok(())
    }

    /// The next message. What has been read of it is kept when the wait is given up.
    async fn read_message(&mut self, deadline: Instant) -> Result<(Header, Message), OfError> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            let read = self.link.read(self.incoming.space(), deadline).await;
            read.map_err(|error| self.broke(error))?;
        }
    }

    fn broke(&self, error: LinkError) -> OfError {
        let socket = self.socket();
        match error {
            LinkError::Io(source) => OfError::Io { socket, source },
            LinkError::Closed => OfError::Closed { socket },
            LinkError::Silent { seconds } => OfError::Silent { socket, seconds },
        }
    }

    /// The first message of what has been read, when all of it is there.
    fn take_message(&mut self) -> Result<Option<(Header, Message)>, OfError> {
        let decoding = |source| OfError::Decode { socket: self.socket(), source };
        let unread = self.incoming.unread();
        let Some(start) = unread.first_chunk::<{ wire::HEADER_LEN }>() else { return Ok(None) };
        let header = Header::decode(start).map_err(decoding)?;
        let Some(body) = unread.get(wire::HEADER_LEN..usize::from(header.length)) else {
            return Ok(None);
        };
        let message = wire::decode(&header, body).map_err(decoding)?;
        self.incoming.taken += usize::from(header.length);
        Ok(Some((header, message)))
    }
}

/// Bytes that have been read, and how many of them have been dealt with.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Where to read more to, behind what has not been dealt with.
    fn space(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        &mut self.bytes
    }
}

/// The fields are `tun_metadata0` to `tun_metadata63`.
fn by_small_index((index, option): (u16, TunnelOption)) -> Option<(u8, TunnelOption)> {
    u8::try_from(index).ok().map(|index| (index, option))
}
