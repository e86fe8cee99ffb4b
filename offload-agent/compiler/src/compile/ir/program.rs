//! A ruleset as OpenFlow sees it: tables of entries, the highest priority first.

use std::collections::BTreeMap;
use std::fmt;

use super::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{BridgeName, Match, OfPort, OfPriority, TableId};

/// The tables of all bridges and, once `specialize` has run, a copy of each bridge's first table for every input port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The tables as OpenFlow has them, until `specialize` has taken what it needs.
    pub tables: BTreeMap<(BridgeName, TableId), Vec<Entry>>,
    /// What each input port sees.
    pub ports: BTreeMap<Ingress, Vec<Entry>>,
    /// Input ports that get no filters, and why.
    pub idle: BTreeMap<Ingress, Reason>,
    /// Rules, or a rule's part on one port, that need no more work.
    pub settled: Vec<Settled>,
}

/// A port that packets come in by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ingress {
    /// Its bridge.
    pub bridge: BridgeName,
    /// Its number there.
    pub port: OfPort,
}

/// One rule, or its copy for one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub rule: RuleId,
    /// Its priority: the higher wins.
    pub priority: OfPriority,
    /// Which packets it takes, as OVS parses them.
    pub takes: Match,
    /// What happens to them.
    pub does: Does,
}

/// What happens to the packets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// These, in this order. Without an output the packet is dropped.
    Steps(Vec<Step>),
    /// OVS does it.
    Ovs(Reason),
}

/// One thing done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Send it as it is now; [`OfPort::IN_PORT`] until `specialize` knows the port.
    Output(OfPort),
    /// Take the outer tag off; nothing if there is none.
    PopVlan,
    /// Put a tag on, VLAN 0 and priority 0, with this EtherType.
    PushVlan(u16),
    /// Write the VLAN id of the outer tag.
    SetVid {
        /// The id.
        id: u16,
        /// What if there is no tag.
        untagged: OnUntagged,
    },
    /// Write the priority of the outer tag.
    SetPcp {
        /// The priority.
        pcp: u8,
        /// What if there is no tag.
        untagged: OnUntagged,
    },
}

/// What an action on a VLAN tag does to a packet that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnUntagged {
    /// It pushes an 802.1Q tag first (`mod_vlan_*`, from OpenFlow 1.0).
    Push,
    /// It leaves the packet alone (`set_vlan_*`).
    Leave,
    /// OpenFlow forbids it and OVS's versions differ (`set_field` of `vlan_vid`).
    Forbidden,
}

/// A rule, or its part on one port, with the last word on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settled {
    /// Whose it is.
    pub rule: RuleId,
    /// On which port; `None` for the whole rule.
    pub ingress: Option<Ingress>,
    /// The last word.
    pub reason: Reason,
}

/// Whether some packet could match both. Never wrongly false.
pub fn overlaps(a: &Match, b: &Match) -> bool {
    a.fields().iter().all(|ours| {
        b.get(ours.field).is_none_or(|theirs| {
            let ours = ours.masked;
            (ours.value ^ theirs.value) & ours.mask & theirs.mask == 0
        })
    })
}

/// Whether every packet of `b` matches `a` too. Never wrongly true.
pub fn covers(a: &Match, b: &Match) -> bool {
    a.unsupported().is_empty()
        && a.fields().iter().all(|ours| {
            b.get(ours.field).is_some_and(|theirs| {
                let ours = ours.masked;
                theirs.mask & ours.mask == ours.mask && ours.covers(theirs.value)
            })
        })
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bridge, self.port)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((bridge, table), entries) in &self.tables {
            writeln!(f, "{bridge} table {table}")?;
            entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))?;
        }
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

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "#{} priority={} {} -> {}",
            self.rule.0,
            self.priority,
            MatchText(&self.takes),
            self.does
        )
    }
}

/// A match as OVS writes it, or `any`.
struct MatchText<'a>(&'a Match);

impl fmt::Display for MatchText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.0 == Match::any() { f.write_str("any") } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Does::Ovs(reason) => write!(f, "ovs: {reason}"),
            Does::Steps(steps) if steps.is_empty() => f.write_str("drop"),
            Does::Steps(steps) => {
                let words: Vec<String> = steps.iter().map(Step::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Output(port) => write!(f, "output:{port}"),
            Step::PopVlan => f.write_str("pop_vlan"),
            Step::PushVlan(tpid) => write!(f, "push_vlan:{tpid:#x}"),
            Step::SetVid { id, untagged } => write!(f, "set_vid:{id}{untagged}"),
            Step::SetPcp { pcp, untagged } => write!(f, "set_pcp:{pcp}{untagged}"),
        }
    }
}

impl fmt::Display for OnUntagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnUntagged::Push => "(or push)",
            OnUntagged::Leave => "(if tagged)",
            OnUntagged::Forbidden => "",
        })
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} settled", self.rule.0)?;
        if let Some(ingress) = &self.ingress {
            write!(f, " on {ingress}")?;
        }
        write!(f, ": {}", self.reason)
    }
}
