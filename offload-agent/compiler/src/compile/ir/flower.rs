//! A ruleset as flower sees it: one ordered list of entries an input port, the first that matches wins.

use std::collections::BTreeMap;
use std::fmt;

use tc_filter::action::VlanTpid;
use tc_filter::{ChainId, EtherType, Prio};

use super::{Ingress, Key, KeyField, RuleId, Settled, UNTAGGED};
use crate::compile::verdict::Reason;
use crate::openflow::OfPort;

/// What each input port's filters will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowerProgram {
    /// The entries of each port, in the order in which they are tried.
    pub ports: BTreeMap<Ingress, Vec<FlowerEntry>>,
    /// Input ports that get no filters, and why.
    pub idle: BTreeMap<Ingress, Reason>,
    /// Rules, or a rule's part on one port, that need no more work.
    pub settled: Vec<Settled>,
}

/// What will be one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowerEntry {
    /// Whose it is; `None` for frames that OVS takes before any rule sees them.
    pub rule: Option<RuleId>,
    /// Which packets it takes, as flower parses them.
    pub key: Key,
    /// What happens to them.
    pub effect: Effect,
    /// Where it will stand, once that is decided.
    pub place: Option<Place>,
}

/// Where a filter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The chain.
    pub chain: ChainId,
    /// The prio; lowest in its chain until `assign_prios` has run.
    pub prio: Prio,
}

/// What happens to the packets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These, in this order. Without an output the packet is dropped.
    Act(Vec<Op>),
    /// They go to OVS as they came: a guard.
    Pass(Reason),
}

/// One thing done to a packet, in terms TC has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// Take the outer tag off.
    PopVlan,
    /// Put a tag on.
    PushVlan {
        /// Its EtherType.
        tpid: VlanTpid,
        /// Its VLAN id.
        id: u16,
        /// Its priority.
        pcp: u8,
    },
    /// Send the packet, or a copy of it, to a port of the same bridge.
    Output(OfPort),
}

impl FlowerEntry {
    /// Whether it keeps packets for OVS.
    pub fn is_guard(&self) -> bool {
        matches!(self.effect, Effect::Pass(_))
    }
}

/// The `protocol` of the filter for a key: the outermost EtherType of the frames it takes.
pub fn protocol(key: &Key) -> EtherType {
    let outermost = match key.exact(KeyField::Tpid) {
        Some(UNTAGGED) | None => key.exact(KeyField::EthType),
        tagged => tagged,
    };
    outermost.and_then(|value| u16::try_from(value).ok()).map_or(EtherType::ALL, EtherType)
}

impl fmt::Display for FlowerProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ingress, entries) in &self.ports {
            writeln!(f, "port {ingress}")?;
            entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))?;
        }
        for (ingress, reason) in &self.idle {
            writeln!(f, "port {ingress} idle: {reason}")?;
        }
        self.settled.iter().try_for_each(|settled| writeln!(f, "{settled}"))
    }
}

impl fmt::Display for FlowerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "chain {} prio {} ", place.chain, place.prio)?;
        }
        match self.rule {
            Some(rule) => write!(f, "#{} {} -> {}", rule.0, self.key, self.effect),
            None => write!(f, "#port {} -> {}", self.key, self.effect),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Pass(reason) => write!(f, "pass: {reason}"),
            Effect::Act(ops) if ops.is_empty() => f.write_str("drop"),
            Effect::Act(ops) => {
                let words: Vec<String> = ops.iter().map(Op::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::PopVlan => f.write_str("pop"),
            Op::PushVlan { tpid, id, pcp } => {
                write!(f, "push({:#x},id {id},prio {pcp})", tpid.ethertype().0)
            }
            Op::Output(port) => write!(f, "output:{port}"),
        }
    }
}
