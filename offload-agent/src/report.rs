//! What the agent says of itself: one value, shown as JSON on the status socket, as a table by `offload-agent status`,
//! and as metrics.

pub mod metrics;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use flow_compiler::compile::verdict::{Outcome, Summary, Verdict};
use serde::{Deserialize, Serialize};
use switchdev::tc::Counters;
use tc_filter::{FilterId, InHw};

use crate::agent::devices::Offload;
use crate::agent::mirror::Turn;
use crate::reconcile::Settled;

/// What the agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Whether the kernel has what the last known ruleset asks for.
    pub synced: bool,
    /// What it is doing, or why it is not in sync.
    pub state: String,
    /// The bridges that are mirrored.
    pub bridges: BTreeMap<String, Bridge>,
    /// Their netdevs.
    pub ports: Vec<Port>,
    /// Every rule.
    pub rules: Vec<Rule>,
    /// The filters in numbers.
    pub filters: FilterCounts,
    /// Filters of others on the same devices: device, classifier and, where known, chain and prio.
    pub foreign: Vec<String>,
    /// The work so far.
    pub reconciles: Reconciles,
    /// The VFs that pods have.
    #[serde(default)]
    pub vfs: Vfs,
}

/// What the ledger says of the node's VFs, and what the collector did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vfs {
    /// Who has which, a line each.
    pub held: Vec<String>,
    /// How many the agent gave back because nobody else did.
    pub given_back: u64,
    /// What could not be given back so far, and why, a sentence each.
    pub lost: Vec<String>,
}

/// A bridge in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bridge {
    /// Its rules.
    pub rules: usize,
    /// Those with packets in hardware (or, with `policy: skip_hw`, in the kernel's TC).
    pub offloaded: usize,
    /// Those that are not, by the label of their reason.
    pub reasons: BTreeMap<String, usize>,
}

/// A netdev of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Whether rules can be offloaded there.
    pub offload: bool,
    /// What to do where they cannot.
    pub remedy: Option<String>,
}

/// What became of one rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its bridge.
    pub bridge: String,
    /// The rule as OVS writes it.
    pub rule: String,
    /// `hardware`, `software`, `split`, `ovs` or `dead`.
    pub outcome: String,
    /// Why packets of it are in OVS: a stable label.
    pub reason: Option<String>,
    /// The same for people.
    pub sentence: Option<String>,
    /// How many filters do what it says.
    pub filters: usize,
    /// How many filters keep its packets for OVS.
    pub guards: usize,
    /// What the card handled for it.
    pub hardware: Count,
    /// What the kernel's TC handled for it.
    pub software: Count,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The filters in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterCounts {
    /// Those that the compiler asked for.
    pub wanted: usize,
    /// Those in the kernel.
    pub installed: usize,
    /// Those that a card runs.
    pub in_hw: usize,
    /// Those that the card refused, or that had to go with one that it refused.
    pub withheld: usize,
}

/// The work so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reconciles {
    /// How many there were.
    pub total: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Operations on filters, over all of them.
    pub ops: u64,
    /// How many operations the last one took.
    pub last_ops: usize,
    /// How long the last one took, with compiling.
    pub last_seconds: f64,
}

impl Status {
    /// Takes in what a turn did.
    pub fn take(&mut self, turn: &Turn) {
        self.reconciles.total += 1;
        self.reconciles.last_seconds = turn.took.as_secs_f64();
        self.ports = turn.offload.iter().map(|(name, state)| port(name, state)).collect();
        match &turn.result {
            Ok(settled) => self.take_settled(turn, settled),
            Err(error) => {
                self.reconciles.failed += 1;
                self.reconciles.last_ops = 0;
                self.synced = false;
                self.state = error.to_string();
            }
        }
    }

    fn take_settled(&mut self, turn: &Turn, settled: &Settled) {
        self.synced = true;
        "in sync".clone_into(&mut self.state);
        self.reconciles.last_ops = settled.ops;
        self.reconciles.ops += u64::try_from(settled.ops).unwrap_or(u64::MAX);
        self.filters = filter_counts(turn, settled);
        self.foreign = foreign(turn, settled);
        let counters = counters(settled);
        let verdicts: Vec<_> = turn.compiled.verdicts.iter().map(|v| amended(v, settled)).collect();
        self.rules = verdicts.iter().map(|amended| amended.rule(&counters)).collect();
        self.bridges = bridges(&self.rules);
    }

    /// The line that says it all.
    #[must_use]
    pub fn summary(&self) -> String {
        let rules: usize = self.bridges.values().map(|bridge| bridge.rules).sum();
        let offloaded: usize = self.bridges.values().map(|bridge| bridge.offloaded).sum();
        format!(
            "{}: {offloaded} of {rules} rules offloaded, {} of {} filters in hardware",
            self.state, self.filters.in_hw, self.filters.wanted
        )
    }

    /// The same for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        table::render(self)
    }
}

/// A label for rules whose filters the card would not take.
const CARD_REFUSED: &str = "card_refused";

/// A verdict after the card had its say.
struct Amended<'a> {
    verdict: &'a Verdict,
    outcome: Outcome,
    refusal: Option<String>,
}

fn amended<'a>(verdict: &'a Verdict, settled: &Settled) -> Amended<'a> {
    let withheld = &settled.bearable.withheld;
    let refused: Vec<_> = verdict.filters.iter().filter_map(|id| withheld.get(id)).collect();
    let refusal = refused.first().map(|why| why.sentence().to_string());
    let outcome = match (refused.len(), verdict.filters.len()) {
        (0, _) => verdict.outcome,
        (refused, all) if refused == all => Outcome::Ovs,
        _ => Outcome::Split,
    };
    Amended { verdict, outcome, refusal }
}

impl Amended<'_> {
    fn rule(&self, counters: &BTreeMap<FilterId, (Count, Count)>) -> Rule {
        let verdict = self.verdict;
        let (hardware, software) = total(&verdict.filters, counters);
        Rule {
            bridge: verdict.bridge.to_string(),
            rule: verdict.text.clone(),
            outcome: self.outcome.name().to_owned(),
            reason: self.reason(),
            sentence: self.sentence(),
            filters: verdict.filters.len(),
            guards: verdict.guards.len(),
            hardware,
            software,
        }
    }

    fn reason(&self) -> Option<String> {
        if self.refusal.is_some() {
            return Some(CARD_REFUSED.to_owned());
        }
        self.compilers().map(|reason| reason.label().to_owned())
    }

    fn sentence(&self) -> Option<String> {
        match &self.refusal {
            Some(words) => Some(format!("the card refused it: {words}")),
            None => self.compilers().map(ToString::to_string),
        }
    }

    /// Odd frames that stay in OVS are no reason to worry about a rule that is in hardware.
    fn compilers(&self) -> Option<&flow_compiler::compile::verdict::Reason> {
        let whole = matches!(self.outcome, Outcome::Hardware | Outcome::Software);
        self.verdict.reason().filter(|reason| !(whole && reason.is_marginal()))
    }
}

fn port(name: &str, state: &Offload) -> Port {
    Port { name: name.to_owned(), offload: *state == Offload::Ready, remedy: state.remedy(name) }
}

fn filter_counts(turn: &Turn, settled: &Settled) -> FilterCounts {
    FilterCounts {
        wanted: turn.compiled.plan.filters.len(),
        installed: settled.seen.len(),
        in_hw: settled.seen.iter().filter(|one| one.in_hw == InHw::Yes).count(),
        withheld: settled.bearable.withheld.len(),
    }
}

fn foreign(turn: &Turn, settled: &Settled) -> Vec<String> {
    let show = |one: &crate::reconcile::Foreign| {
        let device = one.attach.device().and_then(|device| turn.devices.name(device));
        let place = one.id.map(|id| format!(" chain {} prio {}", id.chain, id.prio));
        format!("{} {}{}", device.unwrap_or("?"), one.kind, place.unwrap_or_default())
    };
    settled.foreign.iter().map(show).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What each filter of the plan counted, in hardware and in software.
fn counters(settled: &Settled) -> BTreeMap<FilterId, (Count, Count)> {
    let planned = |id: FilterId| settled.placed.origin.get(&id).copied();
    let seen = settled.seen.iter();
    seen.filter_map(|one| {
        let id = planned(one.filter.id())?;
        Some((id, (count(one.hardware), count(one.software))))
    })
    .collect()
}

fn count(counters: Counters) -> Count {
    Count { packets: counters.packets, bytes: counters.bytes }
}

fn total(
    filters: &BTreeSet<FilterId>,
    counters: &BTreeMap<FilterId, (Count, Count)>,
) -> (Count, Count) {
    let mine = filters.iter().filter_map(|id| counters.get(id));
    mine.fold((Count::default(), Count::default()), |(hardware, software), one| {
        (hardware.plus(one.0), software.plus(one.1))
    })
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

fn bridges(rules: &[Rule]) -> BTreeMap<String, Bridge> {
    let mut bridges: BTreeMap<String, Bridge> = BTreeMap::new();
    for rule in rules {
        let bridge = bridges.entry(rule.bridge.clone()).or_default();
        bridge.rules += 1;
        bridge.offloaded += usize::from(rule.is_offloaded());
        if let Some(reason) = &rule.reason {
            *bridge.reasons.entry(reason.clone()).or_default() += 1;
        }
    }
    bridges
}

impl Rule {
    /// Whether some of its packets are offloaded.
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        [Outcome::Hardware, Outcome::Software, Outcome::Split]
            .iter()
            .any(|outcome| outcome.name() == self.outcome)
    }
}

/// The compiler's own summary, for logs.
#[must_use]
pub fn compiled(turn: &Turn) -> Summary {
    Summary::of(&turn.compiled.verdicts)
}
