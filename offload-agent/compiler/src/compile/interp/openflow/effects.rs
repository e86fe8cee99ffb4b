//! What comes of a packet: where it goes, what connection tracking is asked, which limits count it, and what cannot be
//! said of it.

use std::collections::BTreeSet;
use std::fmt;

use super::super::conntrack::{State, Tracking};
use super::super::packet::Delivery;
use crate::openflow::{BridgeName, Rule, TableId};

/// What happens to a packet, in a fixed order: the copies of one packet have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effects {
    /// The copies that leave; none if it is dropped.
    pub deliveries: Vec<Delivery>,
    /// The questions to connection tracking.
    pub tracked: Vec<Tracking>,
    /// The limits that count it.
    pub limits: Vec<Limit>,
}

impl Effects {
    /// The same effects in their fixed order.
    #[must_use]
    pub fn sorted(mut self) -> Effects {
        self.deliveries.sort();
        self.tracked.sort();
        self.limits.sort();
        self
    }
}

/// A limit on a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Bytes a second.
    Bytes(u64),
    /// Packets a second.
    Packets(u64),
}

/// Why what comes of a packet is not the filters' to decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// A controller is told.
    Controller,
    /// No rule of the table takes it, and OVS may tell a controller.
    Miss(BridgeName, TableId),
    /// A rule is learned from it.
    Learns,
    /// `NORMAL` learns its address.
    LearnsAddress,
    /// It keeps a rule alive that would go without packets.
    KeepsAlive,
    /// It is sampled or copied.
    Sampled,
    /// OVS takes it before the first table does.
    LinkProtocol,
    /// Connection tracking would have to put fragments together, or gets something that is not IP.
    NotTrackable,
    /// OVS may choose, and the choices differ.
    Several,
    /// It goes round in circles until OVS stops it.
    TooDeep,
    /// OpenFlow leaves it open, or OVS's versions differ.
    Unspecified(&'static str),
    /// It takes something that this reading does not know.
    NotUnderstood(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Controller => f.write_str("a controller is told"),
            Doubt::Miss(bridge, table) => write!(f, "no rule of {bridge} table {table} takes it"),
            Doubt::Learns => f.write_str("a rule is learned from it"),
            Doubt::LearnsAddress => f.write_str("its address is learned"),
            Doubt::KeepsAlive => f.write_str("it keeps a rule alive"),
            Doubt::Sampled => f.write_str("it is sampled or copied"),
            Doubt::LinkProtocol => f.write_str("OVS itself answers it"),
            Doubt::NotTrackable => f.write_str("connection tracking cannot take it as it is"),
            Doubt::Several => f.write_str("OVS may choose, and the choices differ"),
            Doubt::TooDeep => f.write_str("it goes round in circles"),
            Doubt::Unspecified(what) => write!(f, "nobody says what happens: {what}"),
            Doubt::NotUnderstood(what) => write!(f, "not understood: {what}"),
        }
    }
}

/// One look-up on a packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// In which bridge.
    pub bridge: &'a BridgeName,
    /// In which table.
    pub table: TableId,
    /// What it found; `None` if no rule takes the packet.
    pub rule: Option<&'a Rule>,
}

/// One way through the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// What happens.
    pub effects: Effects,
    /// Why that may not be all, or not be so.
    pub doubts: BTreeSet<Doubt>,
    /// The look-ups, in order.
    pub hops: Vec<Hop<'a>>,
    /// What connection tracking said each time the packet started again, in order.
    pub answers: Vec<State>,
    /// What the datapath does and `ofproto/trace`, which has only fields and no packet, does not know.
    pub untraceable: BTreeSet<&'static str>,
}
