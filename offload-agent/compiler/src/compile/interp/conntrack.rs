//! Connection tracking as a given: what it would say about a packet in each zone, and a record of how it was asked.
//!
//! Real connection tracking remembers. Here the answers are fixed before the packet starts, and whoever forwards the
//! packet asks for them. Two forwarders agree only if they ask the same questions about the same packet in the same
//! zones, commit the same, and then do the same with the packet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tc_filter::CtZone;

use super::l4::{Endpoint, Tuple};
use crate::openflow::{Nat, NatDirection};

/// What connection tracking knows, by zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// The connection that the packet belongs to, in each zone; elsewhere it begins a new one.
    pub zones: BTreeMap<CtZone, Connection>,
    /// Who answers.
    pub oracle: Oracle,
    /// How `ofproto/trace` is told to say that connections are translated, as bits of `ct_state`; the kernel knows by itself.
    pub told: u128,
}

/// Who answers, which decides how addresses are translated and where marks come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oracle {
    /// The kernel.
    #[default]
    Kernel,
    /// `ofproto/trace`, which makes believe: a mark is what the rules wrote, and `nat(src=...)` always translates to the
    /// first address of its range.
    Trace,
}

/// A connection as one zone knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// How the packet relates to it.
    pub state: State,
    /// Its mark.
    pub mark: u32,
    /// Its label.
    pub label: u128,
    /// How its packets in this direction are translated.
    pub translation: Translation,
}

/// How a packet relates to its connection (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It begins it, or nobody has answered yet.
    #[default]
    New,
    /// It belongs to it, in its direction.
    Established,
    /// It belongs to it, in the other direction.
    Reply,
    /// It belongs, in its direction, to an established connection that an application helper expected.
    EstablishedRelated,
    /// It is an ICMP error about it, in its direction.
    Related,
    /// It is an ICMP error about it, in the other direction.
    RelatedReply,
    /// It belongs to none and may not begin one.
    Invalid,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::New,
        State::Established,
        State::Reply,
        State::EstablishedRelated,
        State::Related,
        State::RelatedReply,
        State::Invalid,
    ];

    /// Whether a connection exists already.
    pub fn is_known(self) -> bool {
        !matches!(self, State::New | State::Invalid)
    }

    /// `ct_state` as OVS has it (`ovs_ct_get_state`): new 1, est 2, rel 4, rpl 8, inv 16, trk 32.
    pub fn openflow(self) -> u128 {
        const TRACKED: u128 = 0x20;
        TRACKED
            | match self {
                State::New => 0x01,
                State::Established => 0x02,
                State::Reply => 0x0a,
                State::EstablishedRelated => 0x06,
                State::Related => 0x04,
                State::RelatedReply => 0x0c,
                State::Invalid => 0x10,
            }
    }
}

/// New ends for a packet; `None` keeps what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// Source.
    pub src: Rewrite,
    /// Destination.
    pub dst: Rewrite,
}

/// What is written over one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rewrite {
    /// The address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

impl Rewrite {
    fn of(self, end: Endpoint) -> Endpoint {
        Endpoint { address: self.address.unwrap_or(end.address), port: self.port.or(end.port) }
    }
}

impl Translation {
    /// A packet's ends once they are translated.
    pub fn of(self, tuple: Tuple) -> Tuple {
        Tuple { src: self.src.of(tuple.src), dst: self.dst.of(tuple.dst), ..tuple }
    }
}

/// One question to connection tracking, and what was done to the connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tracking {
    /// In which zone.
    pub zone: CtZone,
    /// The packet's ends as they were asked with.
    pub tuple: Option<Tuple>,
    /// The translation that was asked for.
    pub nat: NatAsked,
    /// What was remembered.
    pub commit: Option<Commit>,
}

/// What translation is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatAsked {
    /// None.
    #[default]
    Nothing,
    /// Whatever the connection was committed with.
    Committed,
    /// A new source for a new connection.
    Src(Range),
    /// A new destination for a new connection.
    Dst(Range),
}

/// What to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Lowest and highest address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Lowest and highest port.
    pub ports: Option<(u16, u16)>,
}

/// What a commit writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// Throw away a connection found in the other direction.
    pub force: bool,
    /// Value and mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// Value and mask of the label.
    pub label: Option<(u128, u128)>,
}

impl Conntrack {
    /// What a zone answers to a question, with what the question itself changes. `before` is what the packet carries as
    /// mark and label.
    pub fn ask(&self, asked: &Tracking, before: (u32, u128)) -> Connection {
        let mut found = self.zones.get(&asked.zone).copied().unwrap_or_default();
        if found.state == State::Invalid && self.oracle == Oracle::Kernel {
            return Connection { state: State::Invalid, ..Connection::default() };
        }
        if self.oracle == Oracle::Trace {
            found = Connection { mark: before.0, label: before.1, ..found };
        } else if !found.state.is_known() {
            found = Connection { state: found.state, ..Connection::default() };
        }
        if let Some(commit) = asked.commit {
            found.mark = commit.mark.map_or(found.mark, |(value, mask)| found.mark & !mask | value);
            found.label =
                commit.label.map_or(found.label, |(value, mask)| found.label & !mask | value);
        }
        found.translation = self.translation(asked, found);
        found
    }

    /// `ovs_ct_nat`: a known connection is treated as before; a new one only if the rule says how.
    fn translation(&self, asked: &Tracking, found: Connection) -> Translation {
        let fresh = |range: Range| Rewrite {
            address: range.addresses.map(|(min, _)| min),
            port: range.ports.map(|(min, _)| min),
        };
        let known = found.state.is_known() && self.oracle == Oracle::Kernel;
        match asked.nat {
            NatAsked::Nothing => Translation::default(),
            _ if known => found.translation,
            NatAsked::Committed => Translation::default(),
            NatAsked::Src(range) => Translation { src: fresh(range), ..Translation::default() },
            NatAsked::Dst(range) => Translation { dst: fresh(range), ..Translation::default() },
        }
    }
}

impl NatAsked {
    /// What `nat(...)` asks for.
    pub fn of(nat: Option<&Nat>) -> NatAsked {
        let Some(nat) = nat else { return NatAsked::Nothing };
        let range = Range {
            addresses: nat.addr_min.map(|min| (min, nat.addr_max.unwrap_or(min))),
            ports: nat.port_min.map(|min| (min, nat.port_max.unwrap_or(min))),
        };
        match nat.direction {
            None => NatAsked::Committed,
            Some(NatDirection::Src) => NatAsked::Src(range),
            Some(NatDirection::Dst) => NatAsked::Dst(range),
        }
    }
}
