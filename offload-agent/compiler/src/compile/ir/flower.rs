//! A ruleset as flower sees it: chains of ordered entries for each input port, the first that matches wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use tc_filter::action::VlanTpid;
use tc_filter::{ChainId, EtherType, Prio};

use super::filling::FillingText;
use super::program::place_of;
use super::{
    Arrival, CtStep, Encap, Filling, Ingress, Key, KeyField, PortRef, RuleId, Settled, Trail,
    UNTAGGED,
};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, MeterId};

/// What each input port's filters will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowerProgram {
    /// All chains. Ports that do the same with some packets share the chain for them.
    pub chains: Vec<FlowerChain>,
    /// Those of each port.
    pub ports: BTreeMap<Ingress, PortChains>,
    /// Which prio each table has, once that is decided.
    pub prios: BTreeMap<Table, Prio>,
    /// Input ports that get no filters, and why.
    pub idle: BTreeMap<Ingress, Reason>,
    /// Rules, or a rule's part on one port, that need no more work.
    pub settled: Vec<Settled>,
    /// The rules that packets may go by on some way that was walked.
    pub walked: BTreeSet<RuleId>,
    /// Packets of the ports' first chains that stay in OVS without a filter.
    pub unguarded: BTreeSet<Unguarded>,
    /// Why OVS has what no rule takes.
    pub rest: BTreeMap<Ingress, Reason>,
}

/// Packets of a port that go to OVS because no filter takes them: a guard would have nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unguarded {
    /// Where they come in.
    pub ingress: Ingress,
    /// Which packets: the kind alone, not whose.
    pub key: Key,
    /// Whether it is all of that kind.
    pub whole: bool,
    /// Why OVS has to have them.
    pub reason: Reason,
}

/// The chains of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortChains {
    /// Which they are; packets start in the first.
    pub chains: Vec<usize>,
    /// What they will be in TC, once that is decided.
    pub uses: Vec<Use>,
}

/// A chain of a port in TC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The chain.
    pub chain: usize,
    /// What its headers of tunnels are filled in with.
    pub filling: Filling,
    /// Its number.
    pub number: ChainId,
}

/// A table in the card: the chain, how many entries a packet could have matched before, one behind the other, and the protocol.
pub type Table = (ChainId, usize, EtherType);

/// Entries in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowerChain {
    /// The port it was made for. All that is said of a chain holds for any other that shares it.
    pub of: Rc<Ingress>,
    /// The entries.
    pub entries: Vec<FlowerEntry>,
    /// What all packets here have in common.
    pub base: Key,
    /// How packets get here.
    pub arrival: Arrival,
}

/// What will be one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowerEntry {
    /// The rules they went by; none for frames that OVS takes before any rule sees them.
    pub trail: Rc<Trail>,
    /// Which packets it takes, as flower parses them.
    pub key: Key,
    /// What happens to them.
    pub effect: Effect,
    /// How many entries a packet could have matched before, one behind the other, once that is decided.
    pub depth: Option<usize>,
}

/// What happens to the packets of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These, in this order. Without an output the packet is dropped.
    Act(Vec<Op>),
    /// They go to OVS as they came: a guard.
    Pass(Reason),
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

/// One thing done to a packet, in terms TC has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Write some bits of a header field.
    Set(Field, Masked),
    /// Take so many off the TTL.
    DecTtl(u8),
    /// Compute the checksums that the writes before concern.
    Checksum,
    /// Track the connection.
    Track(Box<CtStep>),
    /// Drop what is above a meter's rate.
    Meter(u16, MeterId),
    /// Send the packet, or a copy of it, to a port.
    Output(PortRef),
    /// Send the packet, or a copy of it, through a tunnel.
    Encap(Box<Encap>),
}

impl Effect {
    /// Where it leads, for a port that fills headers in with this.
    pub fn leads_to(&self, filling: &Filling) -> Option<(usize, Filling)> {
        match self {
            Effect::Goto { chain, filling: own, .. } => {
                Some((*chain, own.clone().unwrap_or_else(|| filling.clone())))
            }
            Effect::Act(_) | Effect::Pass(_) => None,
        }
    }
}

impl Op {
    /// Whether the packet, or a copy of it, leaves.
    pub fn sends(&self) -> bool {
        matches!(self, Op::Output(_) | Op::Encap(_))
    }
}

impl FlowerChain {
    /// A chain without entries.
    pub fn new(of: Rc<Ingress>, base: Key, arrival: Arrival) -> FlowerChain {
        FlowerChain { of, entries: Vec::new(), base, arrival }
    }

    /// Its tables, but for the chain's number.
    pub fn tables(&self) -> BTreeSet<(usize, EtherType)> {
        self.entries.iter().filter_map(FlowerEntry::table).collect()
    }

    /// Where its entries lead, in their order, for a port that fills headers in with this.
    pub fn leads_to<'a>(
        &'a self,
        filling: &'a Filling,
    ) -> impl DoubleEndedIterator<Item = (usize, Filling)> + 'a {
        self.entries.iter().filter_map(move |entry| entry.effect.leads_to(filling))
    }
}

impl FlowerEntry {
    /// Whether it keeps packets for OVS.
    pub fn is_guard(&self) -> bool {
        matches!(self.effect, Effect::Pass(_))
    }

    /// The table it is in, but for the chain's number, once that is decided.
    pub fn table(&self) -> Option<(usize, EtherType)> {
        self.depth.map(|depth| (depth, protocol(&self.key)))
    }

    /// The rule that says what happens.
    pub fn rule(&self) -> Option<RuleId> {
        self.trail.last()
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
        for (ingress, port) in &self.ports {
            writeln!(f, "port {ingress}")?;
            for (number, at) in port.chains.iter().enumerate() {
                let Some(chain) = self.chains.get(*at) else { continue };
                if number > 0 {
                    writeln!(f, " chain {number}{}", chain.arrival)?;
                }
                for entry in &chain.entries {
                    let entry = entry.local(&port.chains);
                    match port.uses.iter().find(|used| used.chain == *at) {
                        None => writeln!(f, "  {entry}")?,
                        Some(Use { number, .. }) => {
                            let Some(prio) = self.prio(&entry, *number) else { continue };
                            writeln!(f, "  chain {number} prio {prio} {entry}")?;
                        }
                    }
                }
            }
        }
        for (ingress, reason) in &self.idle {
            writeln!(f, "port {ingress} idle: {reason}")?;
        }
        self.settled.iter().try_for_each(|settled| writeln!(f, "{settled}"))
    }
}

impl FlowerProgram {
    /// The prio of an entry in a chain of this number; `None` if it gets none.
    pub fn prio(&self, entry: &FlowerEntry, number: ChainId) -> Option<Prio> {
        let Some((depth, protocol)) = entry.table() else { return Some(Prio::MIN) };
        self.prios.get(&(number, depth, protocol)).copied()
    }
}

impl FlowerEntry {
    /// The same with the chains of a port by their place among these.
    fn local(&self, chains: &[usize]) -> FlowerEntry {
        let mut here = self.clone();
        if let Effect::Goto { chain, .. } = &mut here.effect {
            *chain = place_of(*chain, chains);
        }
        here
    }
}

impl fmt::Display for FlowerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule() {
            Some(rule) => write!(f, "#{} {} -> {}", rule.0, self.key, self.effect),
            None => write!(f, "#port {} -> {}", self.key, self.effect),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Pass(reason) => write!(f, "pass: {reason}"),
            Effect::Goto { through, chain, filling } => {
                through.iter().try_for_each(|ct| write!(f, "{ct},"))?;
                write!(f, "goto {chain}{}", FillingText(filling.as_ref()))
            }
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
            Op::Set(field, masked) if masked.mask == field.full_mask() => {
                write!(f, "set:{field}={:#x}", masked.value)
            }
            Op::Set(field, masked) => {
                write!(f, "set:{field}={:#x}/{:#x}", masked.value, masked.mask)
            }
            Op::DecTtl(by) => write!(f, "dec_ttl:{by}"),
            Op::Checksum => f.write_str("csum"),
            Op::Track(ct) => ct.fmt(f),
            Op::Meter(_, meter) => write!(f, "meter:{meter}"),
            Op::Output(port) => write!(f, "output:{port}"),
            Op::Encap(encap) => encap.fmt(f),
        }
    }
}
