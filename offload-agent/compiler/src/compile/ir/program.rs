//! A ruleset as OpenFlow sees it from each input port: chains of entries, the first that matches wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::filling::FillingText;
use super::{Filling, HeaderBits, RuleId};
use crate::compile::verdict::Reason;
use crate::openflow::{BridgeName, Field, Masked, Match, MeterId, Nat, OfPort, TunnelOption, Zone};

/// What each input port sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// All chains. Ports that do the same with some packets share the chain for them.
    pub chains: Vec<Chain>,
    /// Which of them are those of each port; packets start in the first.
    pub ports: BTreeMap<Ingress, Vec<usize>>,
    /// Input ports that get no filters, and why.
    pub idle: BTreeMap<Ingress, Reason>,
    /// Rules, or a rule's part on one port, that need no more work.
    pub settled: Vec<Settled>,
    /// The rules that packets may go by on some way that was walked.
    pub walked: BTreeSet<RuleId>,
}

/// A port that packets come in by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ingress {
    /// Its bridge.
    pub bridge: BridgeName,
    /// Its number there.
    pub port: OfPort,
}

/// A port of any bridge, as something to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRef {
    /// The bridge's place among all bridges.
    pub bridge: u16,
    /// The port's number there.
    pub port: OfPort,
}

/// Entries that are tried one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The port it was made for. All that is said of a chain holds for any other that shares it.
    pub of: Rc<Ingress>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Why OVS has what no entry takes, where that is no matter of a rule.
    pub rest: Option<Reason>,
    /// How packets get here.
    pub arrival: Arrival,
}

/// How packets get to a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// They have been through connection tracking.
    pub tracked: bool,
    /// Which of them OVS must not see any more.
    pub bound: Bound,
}

/// Which packets of a chain cannot go back to OVS, because a translation may have changed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// None.
    #[default]
    Free,
    /// Those of established connections.
    Established,
    /// All of them.
    All,
}

/// Some packets, and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The rules they went by.
    pub trail: Rc<Trail>,
    /// Which packets, as OVS parses them.
    pub takes: Match,
    /// What happens to them.
    pub does: Does,
}

/// The rules that packets went by, the last ones first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Those of one stretch.
    pub rules: Rc<[RuleId]>,
    /// Those before.
    pub before: Option<Rc<Trail>>,
}

impl Chain {
    /// A chain without entries.
    pub fn new(of: Rc<Ingress>, arrival: Arrival) -> Chain {
        Chain { of, entries: Vec::new(), rest: None, arrival }
    }
}

impl Trail {
    /// The last rule, which says what happens.
    pub fn last(&self) -> Option<RuleId> {
        let here = self.rules.last().copied();
        here.or_else(|| self.before.as_ref().and_then(|before| before.last()))
    }

    /// This one and those before, the last one first.
    pub fn back(&self) -> impl Iterator<Item = &Trail> {
        std::iter::successors(Some(self), |trail| trail.before.as_deref())
    }

    /// The stretches of rules, the last one first.
    pub fn stretches(&self) -> impl Iterator<Item = &Rc<[RuleId]>> {
        self.back().map(|trail| &trail.rules)
    }
}

/// What happens to the packets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// These, in this order. Without an output the packet is dropped.
    Steps(Vec<Step>),
    /// OVS does it.
    Ovs(Reason),
    /// They go on in another chain.
    Goto {
        /// Through connection tracking.
        through: Vec<CtStep>,
        /// The chain's place.
        chain: usize,
        /// What headers of tunnels are filled in with there; `None` for what they are filled in with here.
        filling: Option<Filling>,
    },
}

/// One thing done to a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Send it as it is now.
    Output(PortRef),
    /// Send it as it is now, in a tunnel.
    Encap(Box<Encap>),
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
    /// Write some bits of a header field.
    Set(Field, Masked),
    /// Take so many off the TTL.
    DecTtl(u8),
    /// Track the connection.
    Track(Box<CtStep>),
    /// Drop what is above a meter's rate.
    Meter(u16, MeterId),
}

impl Step {
    /// Whether the packet leaves, or something else is left behind: a meter counts what is dropped after it too.
    pub fn has_effect(&self) -> bool {
        matches!(self, Step::Output(_) | Step::Encap(_) | Step::Track(_) | Step::Meter(..))
    }
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

/// What a rule asks of connection tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtAsked {
    /// In which zone.
    pub zone: Zone,
    /// Remember the connection.
    pub commit: bool,
    /// Replace a connection that goes the other way.
    pub force: bool,
    /// Translate addresses.
    pub nat: Option<Nat>,
    /// Bits of the connection's mark to write.
    pub mark: Option<Masked>,
    /// Bits of the connection's label to write.
    pub label: Option<Masked>,
}

impl CtAsked {
    /// Whether the packet may come back changed.
    pub fn translates(&self) -> bool {
        self.nat.is_some()
    }
}

/// The same, with the zone known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CtStep {
    /// In which zone.
    pub zone: u16,
    /// Remember the connection.
    pub commit: bool,
    /// Replace a connection that goes the other way.
    pub force: bool,
    /// Translate addresses.
    pub nat: Option<Nat>,
    /// Bits of the connection's mark to write.
    pub mark: Option<Masked>,
    /// Bits of the connection's label to write.
    pub label: Option<Masked>,
}

/// A tunnel header to put on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encap {
    /// The tunnel's port.
    pub to: PortRef,
    /// The tunnel's key, where there is one.
    pub id: Option<HeaderBits>,
    /// The ECN bits of the outer header.
    pub ecn: u8,
    /// The options that the packet carries, each with its value.
    pub options: Vec<(TunnelOptionKey, HeaderBits)>,
}

/// A tunnel option by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelOptionKey {
    /// The option's class.
    pub class: u16,
    /// The option's type.
    pub kind: u8,
    /// Bytes of its value.
    pub length: u8,
}

impl From<TunnelOption> for TunnelOptionKey {
    fn from(option: TunnelOption) -> Self {
        TunnelOptionKey { class: option.class, kind: option.kind, length: option.length }
    }
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

/// What matches both; `None` if nothing can.
pub fn both(a: &Match, b: &Match) -> Option<Match> {
    if !overlaps(a, b) {
        return None;
    }
    let mut both = a.clone();
    b.fields().iter().for_each(|field| both.insert(field.field, field.masked));
    b.unsupported().iter().for_each(|raw| both.insert_unsupported(raw.clone()));
    Some(both)
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

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bridge {
            0 => write!(f, "{}", self.port),
            bridge => write!(f, "{}@{bridge}", self.port),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ingress, chains) in &self.ports {
            writeln!(f, "port {ingress}")?;
            for (number, chain) in chains.iter().enumerate() {
                let Some(chain) = self.chains.get(*chain) else { continue };
                if number > 0 {
                    writeln!(f, " chain {number}{}", chain.arrival)?;
                }
                chain.entries.iter().try_for_each(|entry| entry.write(f, chains))?;
            }
        }
        for (ingress, reason) in &self.idle {
            writeln!(f, "port {ingress} idle: {reason}")?;
        }
        self.settled.iter().try_for_each(|settled| writeln!(f, "{settled}"))
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.bound {
            Bound::Free => "",
            Bound::Established => " (established must not pass)",
            Bound::All => " (nothing must pass)",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.trail, MatchText(&self.takes), self.does)
    }
}

impl Entry {
    /// A line of a port whose chains these are.
    fn write(&self, f: &mut fmt::Formatter<'_>, chains: &[usize]) -> fmt::Result {
        let mut here = self.clone();
        if let Does::Goto { chain, .. } = &mut here.does {
            *chain = place_of(*chain, chains);
        }
        writeln!(f, "  {here}")
    }
}

/// The place of a chain among those of a port.
pub(super) fn place_of(chain: usize, chains: &[usize]) -> usize {
    chains.iter().position(|other| *other == chain).unwrap_or(chain)
}

/// The last rule, and how many there were before.
impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rules: Vec<String> = Vec::new();
        for trail in std::iter::successors(Some(self), |trail| trail.before.as_deref()) {
            rules.splice(0..0, trail.rules.iter().map(|rule| rule.0.to_string()));
        }
        write!(f, "#{}", rules.join("-"))
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
            Does::Goto { through, chain, filling } => {
                through.iter().try_for_each(|ct| write!(f, "{ct},"))?;
                write!(f, "goto {chain}{}", FillingText(filling.as_ref()))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Output(port) => write!(f, "output:{port}"),
            Step::Encap(encap) => encap.fmt(f),
            Step::PopVlan => f.write_str("pop_vlan"),
            Step::PushVlan(tpid) => write!(f, "push_vlan:{tpid:#x}"),
            Step::SetVid { id, untagged } => write!(f, "set_vid:{id}{untagged}"),
            Step::SetPcp { pcp, untagged } => write!(f, "set_pcp:{pcp}{untagged}"),
            Step::Set(field, masked) if masked.mask == field.full_mask() => {
                write!(f, "set:{field}={:#x}", masked.value)
            }
            Step::Set(field, masked) => {
                write!(f, "set:{field}={:#x}/{:#x}", masked.value, masked.mask)
            }
            Step::DecTtl(by) => write!(f, "dec_ttl:{by}"),
            Step::Track(ct) => ct.fmt(f),
            Step::Meter(_, meter) => write!(f, "meter:{meter}"),
        }
    }
}

impl fmt::Display for CtStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ct(zone={}", self.zone)?;
        if self.commit {
            f.write_str(",commit")?;
        }
        if self.force {
            f.write_str(",force")?;
        }
        if let Some(nat) = self.nat {
            write!(f, ",{}", crate::openflow::Action::Nat(nat))?;
        }
        for (name, bits) in [("mark", self.mark), ("label", self.label)] {
            if let Some(bits) = bits {
                write!(f, ",{name}={:#x}/{:#x}", bits.value, bits.mask)?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Encap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encap:{}", self.to)?;
        if let Some(id) = &self.id {
            write!(f, "(id={id}")?;
        } else {
            f.write_str("(")?;
        }
        if self.ecn != 0 {
            write!(f, ",ecn={}", self.ecn)?;
        }
        for (option, value) in &self.options {
            write!(f, ",{:#x}:{:#x}={value}", option.class, option.kind)?;
        }
        f.write_str(")")
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
