//! What a function may send: shares and limits, of single functions and of groups of them.
//!
//! devlink makes a tree of *nodes*, named by the operator, with the ports' *leaves* below. The wire
//! counts in bytes a second, the `devlink` command in bits; [`Rate`] reads and shows bits.

use std::fmt;
use std::str::FromStr;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Devlink, Handle, PortIndex, handle, uapi};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};

/// A data rate, in bytes a second. 0 is no share, and no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rate {
    /// On the wire, devlink's unit.
    pub bytes_per_second: u64,
}

/// The text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rate {0:?} is not a whole number with bit, kbit, mbit, gbit or tbit, such as 10gbit")]
pub struct InvalidRate(pub String);

/// What a rate is set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RateTarget {
    /// The function behind a port.
    Leaf(PortIndex),
    /// A group of functions, by its name.
    Node(String),
}

/// `devlink port function rate show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateObject {
    /// The card.
    pub card: Handle,
    /// The leaf or node.
    pub target: RateTarget,
    /// What it gets for sure, as a share among its siblings.
    pub tx_share: Rate,
    /// The most it gets.
    pub tx_max: Rate,
    /// The node above it.
    pub parent: Option<String>,
}

/// One property of a rate object and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateChange {
    /// What it gets for sure.
    TxShare(Rate),
    /// The most it gets; 0 takes the limit away.
    TxMax(Rate),
    /// The node above it; `None` detaches it.
    Parent(Option<String>),
}

impl Devlink {
    /// All leaves and nodes of all cards.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn rates(&mut self) -> Result<Vec<RateObject>, NetlinkError> {
        let what = "devlink port function rate show";
        let mut rates = self.generic.list(uapi::CMD_RATE_GET, Writer::default(), what, parse)?;
        rates.sort_by(|a, b| (&a.card, &a.target).cmp(&(&b.card, &b.target)));
        Ok(rates)
    }

    /// The leaf of a port, where the card has rates.
    ///
    /// # Errors
    /// As every request, but for `ENODEV` and `EOPNOTSUPP`, which say that there is none.
    pub fn rate_leaf(
        &mut self,
        card: &Handle,
        port: PortIndex,
    ) -> Result<Option<RateObject>, NetlinkError> {
        let what = format!("devlink port function rate show {card}/{port}");
        let request = address(card, &RateTarget::Leaf(port));
        match self.generic.ask(uapi::CMD_RATE_GET, request, &what, parse) {
            Err(error) if error.is(Errno::NODEV) || error.is(Errno::OPNOTSUPP) => Ok(None),
            leaf => leaf.map(Some),
        }
    }

    /// Changes a leaf or a node.
    ///
    /// # Errors
    /// The driver's errno and sentence: `ENODEV` where there is no such leaf or node, `EOPNOTSUPP`
    /// where the card cannot.
    pub fn set_rate(
        &mut self,
        card: &Handle,
        target: &RateTarget,
        change: &RateChange,
    ) -> Result<(), NetlinkError> {
        let what = format!("devlink port function rate set {card}/{target} {change}");
        self.generic.request(uapi::CMD_RATE_SET, write(card, target, change), &what).map(drop)
    }

    /// Makes a node.
    ///
    /// # Errors
    /// `EEXIST` where there is one of that name.
    pub fn add_rate_node(&mut self, card: &Handle, name: &str) -> Result<(), NetlinkError> {
        let what = format!("devlink port function rate add {card}/{name}");
        let request = address(card, &RateTarget::Node(name.to_owned()));
        self.generic.request(uapi::CMD_RATE_NEW, request, &what).map(drop)
    }

    /// Removes a node.
    ///
    /// # Errors
    /// `EBUSY` while leaves or nodes are below it.
    pub fn remove_rate_node(&mut self, card: &Handle, name: &str) -> Result<(), NetlinkError> {
        let what = format!("devlink port function rate del {card}/{name}");
        let request = address(card, &RateTarget::Node(name.to_owned()));
        self.generic.request(uapi::CMD_RATE_DEL, request, &what).map(drop)
    }
}

/// The kernel takes a port's number for a leaf and a name for a node
/// (`devlink_rate_get_from_info()` in `net/devlink/rate.c`).
pub(super) fn address(card: &Handle, target: &RateTarget) -> Writer {
    match target {
        RateTarget::Leaf(index) => card.write().u32(uapi::PORT_INDEX, index.0),
        RateTarget::Node(name) => card.write().string(uapi::RATE_NODE_NAME, name),
    }
}

pub(super) fn write(card: &Handle, target: &RateTarget, change: &RateChange) -> Writer {
    let writer = address(card, target);
    match change {
        RateChange::TxShare(rate) => writer.u64(uapi::RATE_TX_SHARE, rate.bytes_per_second),
        RateChange::TxMax(rate) => writer.u64(uapi::RATE_TX_MAX, rate.bytes_per_second),
        // An empty name detaches (`devlink_nl_rate_parent_node_set()`).
        RateChange::Parent(parent) => {
            writer.string(uapi::RATE_PARENT_NODE_NAME, parent.as_deref().unwrap_or(""))
        }
    }
}

pub(super) fn parse(attributes: &Attributes<'_>) -> Result<RateObject, AttrError> {
    let rate =
        |kind| attributes.u64(kind).map(|rate| Rate { bytes_per_second: rate.unwrap_or_default() });
    Ok(RateObject {
        card: handle::parse(attributes)?,
        target: parse_target(attributes)?,
        tx_share: rate(uapi::RATE_TX_SHARE)?,
        tx_max: rate(uapi::RATE_TX_MAX)?,
        parent: attributes.string(uapi::RATE_PARENT_NODE_NAME)?,
    })
}

fn parse_target(attributes: &Attributes<'_>) -> Result<RateTarget, AttrError> {
    match attributes.string(uapi::RATE_NODE_NAME)? {
        Some(name) => Ok(RateTarget::Node(name)),
        None => {
            let index = attributes.require_u32(uapi::PORT_INDEX, "the port of a rate leaf")?;
            Ok(RateTarget::Leaf(PortIndex(index)))
        }
    }
}

const UNITS: [(&str, u64); 5] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

impl Rate {
    /// From bits a second, rounded down to what the wire can say.
    #[must_use]
    pub fn from_bits_per_second(bits: u64) -> Self {
        Self { bytes_per_second: bits / 8 }
    }
}

impl fmt::Display for Rate {
    /// In the largest unit that shows it whole: `10gbit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.bytes_per_second) * 8;
        let fits = |unit: &u64| bits != 0 && bits % u128::from(*unit) == 0;
        let (unit, size) = UNITS.into_iter().find(|(_, size)| fits(size)).unwrap_or(("bit", 1));
        write!(f, "{}{unit}", bits / u128::from(size))
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_rate(&text.to_ascii_lowercase()).ok_or_else(|| InvalidRate(text.to_owned()))
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, word) = text.split_at(digits);
    let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == word)?;
    let bits = number.parse::<u128>().ok()?.checked_mul(unit.into())?;
    Some(Rate { bytes_per_second: u64::try_from(bits / 8).ok()? })
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl TryFrom<String> for Rate {
    type Error = InvalidRate;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for RateTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(index) => index.fmt(f),
            Self::Node(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for RateObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self.target, RateTarget::Leaf(_)) { "leaf" } else { "node" };
        let (share, max) = (self.tx_share, self.tx_max);
        write!(f, "{}/{}: {kind} tx_share {share} tx_max {max}", self.card, self.target)?;
        self.parent.iter().try_for_each(|parent| write!(f, " parent {parent}"))
    }
}

impl fmt::Display for RateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TxShare(rate) => write!(f, "tx_share {rate}"),
            Self::TxMax(rate) => write!(f, "tx_max {rate}"),
            Self::Parent(Some(parent)) => write!(f, "parent {parent}"),
            Self::Parent(None) => write!(f, "noparent"),
        }
    }
}
