//! Carries steps to the kernel, and rounds of them until nothing is left to do.
//!
//! When an operation fails, its attach point is left as it is: the steps behind were planned for a kernel
//! in which it had worked. The next round looks at what is there and plans anew, without what the card
//! refused. Each round ends in a state that misforwards no packet, so it may also be the last.

use std::collections::{BTreeMap, BTreeSet};

use switchdev::tc::{Op, Outcome, Sentence, Tc, TcError};
use tc_filter::{Attach, Filter, FilterId, HwPolicy, InHw};

use super::refusal::{Refusals, silent_refusals, withhold};
use super::{Bearable, Filters, NoRoom, Observed, Placed, PrioRoom, Slot, Step};

/// Rounds until a reconcile gives up; every round but the last found something new that the card refuses.
const MAX_ROUNDS: usize = 64;

/// Why a reconcile did not come to its end. What is in the kernel misforwards no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The kernel could not be asked, or would not answer.
    #[error(transparent)]
    Tc(#[from] TcError),
    /// The plan needs more prios than there are.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Operations kept failing.
    #[error(
        "{failed} of {tried} operations still fail after {rounds} rounds; the last one: {last}"
    )]
    Unsettled {
        /// How many failed in the last round.
        failed: usize,
        /// How many were tried in it.
        tried: usize,
        /// The number of rounds.
        rounds: usize,
        /// What the kernel said.
        last: TcError,
    },
}

/// What the kernel has when a reconcile is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// What the card refused, and what had to go with it.
    pub bearable: Bearable,
    /// Where the wanted filters are.
    pub placed: Placed,
    /// Everything on the attach points, with counters, as last dumped.
    pub seen: Vec<switchdev::tc::Observed>,
    /// Filters of others on the attach points.
    pub foreign: Vec<Foreign>,
    /// How many operations it took.
    pub ops: usize,
}

/// A filter that is not ours, on an attach point where we work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// Where it hangs.
    pub attach: Attach,
    /// Its place, as far as it could be read.
    pub id: Option<FilterId>,
    /// Its classifier, `flower` or another.
    pub kind: String,
}

/// Brings the kernel to `wanted` on the attach points given, and verifies by a dump that it is there.
///
/// # Errors
///
/// When the kernel does not answer, the plan does not fit, or operations keep failing.
pub fn reconcile(
    tc: &mut dyn Tc,
    hooks: &BTreeSet<Attach>,
    wanted: &Filters,
    refusals: &mut Refusals,
    room: PrioRoom,
) -> Result<Settled, ReconcileError> {
    let mut ops = 0;
    let mut last = Report::default();
    let mut present = hooks.clone();
    for round in 1..=MAX_ROUNDS {
        let looked = Looked::at(tc, &mut present)?;
        let bearable = withhold(&on(&present, wanted), refusals);
        let change = super::plan(&bearable.filters, &looked.observed(), room)?;
        let planned = |filter: &Filter| planned(filter, &change.placed, &bearable);
        if change.steps.is_empty() && !looked.found_silent_refusals(refusals, planned) {
            let (seen, foreign) = (looked.seen, looked.foreign);
            return Ok(Settled { bearable, placed: change.placed, seen, foreign, ops });
        }
        last = apply(tc, &change.steps)?;
        ops += last.done;
        present.retain(|attach| !last.is_gone(*attach));
        if last.is_stuck() {
            return Err(last.unsettled(round));
        }
        for (filter, sentence) in last.refused.drain(..) {
            refusals.add(&planned(&filter), sentence);
        }
    }
    Err(last.unsettled(MAX_ROUNDS))
}

/// What a filter of the kernel is called in the plan: its chains may have other numbers there.
fn planned(filter: &Filter, placed: &Placed, bearable: &Bearable) -> Filter {
    let origin = placed.origin.get(&filter.id()).and_then(|id| bearable.filters.get(id));
    origin.unwrap_or(filter).clone()
}

/// The wanted filters that have a device to hang on.
fn on(present: &BTreeSet<Attach>, wanted: &Filters) -> Filters {
    let mut possible = wanted.clone();
    possible.retain(|id, _| present.contains(&id.attach));
    possible
}

/// Takes our filters off the attach points, the last ones first.
///
/// # Errors
///
/// When the kernel does not answer, or an operation fails.
pub fn flush(tc: &mut dyn Tc, hooks: &BTreeSet<Attach>) -> Result<usize, ReconcileError> {
    let nothing = Filters::new();
    let room = PrioRoom { highest: tc_filter::Prio::MAX, free_chains: true };
    Ok(reconcile(tc, hooks, &nothing, &mut Refusals::default(), room)?.ops)
}

/// What is on the attach points.
#[derive(Debug, Default)]
struct Looked {
    seen: Vec<switchdev::tc::Observed>,
    foreign: Vec<Foreign>,
}

impl Looked {
    /// Looks; a port may go at any time, and its filters with it, so it is `present` no longer.
    fn at(tc: &mut dyn Tc, present: &mut BTreeSet<Attach>) -> Result<Self, TcError> {
        let mut looked = Self::default();
        for attach in present.clone() {
            match tc.dump(attach) {
                Ok(dump) => looked.take(attach, dump),
                Err(TcError::NoDevice(_)) => drop(present.remove(&attach)),
                Err(error) => return Err(error),
            }
        }
        Ok(looked)
    }

    fn take(&mut self, attach: Attach, dump: switchdev::tc::Dump) {
        for one in dump.filters {
            if one.is_ours() {
                self.seen.push(one);
            } else {
                let (id, kind) = (Some(one.filter.id()), "flower".to_owned());
                self.foreign.push(Foreign { attach, id, kind });
            }
        }
        let others = dump.undecoded.into_iter();
        self.foreign.extend(others.map(|it| Foreign { attach, id: it.id, kind: it.kind }));
    }

    fn observed(&self) -> Observed {
        let ours = self.seen.iter().map(|one| (one.filter.id(), one.filter.clone())).collect();
        let slots = self.foreign.iter().filter_map(|one| one.id);
        let foreign = slots.map(|id| Slot { attach: id.attach, chain: id.chain, prio: id.prio });
        Observed { ours, foreign: foreign.collect() }
    }

    /// Notes the filters that the card left out without a word. Whether there was a new one.
    fn found_silent_refusals(
        &self,
        refusals: &mut Refusals,
        planned: impl Fn(&Filter) -> Filter,
    ) -> bool {
        let before = refusals.len();
        for filter in silent_refusals(&self.seen) {
            let words =
                "the driver took other filters of the port but not this one, and did not say why";
            refusals.add(&planned(filter), Sentence::new(words));
        }
        refusals.len() > before
    }
}

/// What became of the operations of one round.
#[derive(Debug, Default)]
struct Report {
    done: usize,
    tried: usize,
    refused: Vec<(Filter, Sentence)>,
    failed: BTreeMap<Attach, TcError>,
}

impl Report {
    /// Whether the next round would be the same again.
    fn is_stuck(&self) -> bool {
        let gone = self.failed.keys().any(|attach| self.is_gone(*attach));
        self.tried > 0 && self.done == 0 && self.refused.is_empty() && !gone
    }

    fn is_gone(&self, attach: Attach) -> bool {
        matches!(self.failed.get(&attach), Some(TcError::NoDevice(_)))
    }

    fn unsettled(self, rounds: usize) -> ReconcileError {
        let last = self.failed.into_values().next().unwrap_or(TcError::AnswerLost);
        ReconcileError::Unsettled {
            failed: self.tried - self.done,
            tried: self.tried,
            rounds,
            last,
        }
    }

    fn take(&mut self, op: &Op, outcome: Outcome) {
        self.tried += 1;
        match (op, outcome) {
            (Op::Add(filter) | Op::Replace(filter), Ok(applied)) => {
                self.done += 1;
                self.take_refusal(filter, applied.refusal);
            }
            (_, Ok(_)) => self.done += 1,
            // Someone was faster: the filter is gone, as we wanted it.
            (Op::Delete(_), Err(TcError::NotFound(_))) => self.done += 1,
            (op, Err(error)) => self.take_failure(op, error),
        }
    }

    /// The filter is in software only. Below it, the card might take its packets.
    fn take_refusal(&mut self, filter: &Filter, refusal: Option<Sentence>) {
        if let Some(sentence) = refusal {
            self.failed.insert(filter.attach, TcError::NotSupported(sentence.clone()));
            self.refused.push((filter.clone(), sentence));
        }
    }

    fn take_failure(&mut self, op: &Op, error: TcError) {
        let attach = match op {
            Op::Add(filter) | Op::Replace(filter) => {
                self.refused.extend(refusal_of(&error).map(|words| (filter.clone(), words)));
                filter.attach
            }
            Op::Delete(id) => id.attach,
            Op::AddClsact(device) | Op::DelClsact(device) => Attach::Ingress(*device),
        };
        self.failed.insert(attach, error);
    }
}

/// The words of an error that will come again for the same filter.
fn refusal_of(error: &TcError) -> Option<Sentence> {
    match error {
        TcError::NotSupported(words) | TcError::NoSpace(words) | TcError::Refused(words, _) => {
            Some(words.clone())
        }
        TcError::Malformed(words) => Some(Sentence::new(words.clone())),
        TcError::NotPermitted
        | TcError::KernelLacks { .. }
        | TcError::NoDevice(_)
        | TcError::NoClsact(_)
        | TcError::NotFound(_)
        | TcError::Exists(_)
        | TcError::AnswerLost
        | TcError::Socket { .. }
        | TcError::DumpBroken(_) => None,
    }
}

fn apply(tc: &mut dyn Tc, steps: &[Step]) -> Result<Report, TcError> {
    let mut report = Report::default();
    for step in steps {
        let ops: Vec<Op> =
            step.iter().filter(|op| !report.failed.contains_key(&attach_of(op))).cloned().collect();
        let outcomes = tc.apply(&ops)?;
        for (op, outcome) in ops.iter().zip(outcomes) {
            if let Err(error @ (TcError::NotPermitted | TcError::KernelLacks { .. })) = outcome {
                return Err(error);
            }
            report.take(op, outcome);
        }
    }
    Ok(report)
}

fn attach_of(op: &Op) -> Attach {
    match op {
        Op::Add(filter) | Op::Replace(filter) => filter.attach,
        Op::Delete(id) => id.attach,
        Op::AddClsact(device) | Op::DelClsact(device) => Attach::Ingress(*device),
    }
}

/// Whether a card runs the filter, or was never asked to.
#[must_use]
pub fn is_where_it_should_be(one: &switchdev::tc::Observed) -> bool {
    one.filter.hw == HwPolicy::SkipHw || one.in_hw == InHw::Yes
}

#[cfg(test)]
mod tests;
