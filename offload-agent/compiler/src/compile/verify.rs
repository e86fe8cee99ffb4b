//! What a well-formed program is. Debug builds check it after every pass.
//!
//! For a [`Program`]:
//! 1. no entry asks for a field of the pipeline, or for an input port;
//! 2. steps end with something that has an effect, or there are none.
//!
//! For a [`FlowerProgram`]:
//! 1. operations end with one that has an effect, or there are none;
//! 2. until `ground`, every key says whether there is a tag;
//! 3. from `hoist` on, no packet that may have been translated goes to OVS;
//! 4. from `shield` on, behind every guard there is a filter it guards against;
//! 5. from `assign_prios` on, entries that overlap stand at rising prios, in their order, and a prio has one protocol;
//!    every chain but the first ends with a filter that takes every packet.

use std::collections::BTreeSet;
use std::fmt;

use super::Stage;
use super::ir::{
    Bound, Does, Effect, Entry, FlowerChain, FlowerEntry, FlowerProgram, Key, KeyField, Op,
    Program, Step,
};
use crate::openflow::Field;

/// What is wrong with a program, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {stage:?}: {what}: {entry}")]
pub struct Violation {
    /// After which pass.
    pub stage: Stage,
    /// Which invariant does not hold.
    pub what: &'static str,
    /// For which entry.
    pub entry: String,
}

/// Stops a debug build on a violation, which is always a mistake of ours.
pub(super) fn checked(check: impl FnOnce() -> Result<(), Violation>) {
    if cfg!(debug_assertions) {
        let found = check().err();
        debug_assert!(found.is_none(), "{}", found.map(|v| v.to_string()).unwrap_or_default());
    }
}

/// Checks OpenFlow's view.
///
/// # Errors
///
/// The first [`Violation`].
pub fn program(program: &Program) -> Result<(), Violation> {
    let entries = program.chains.iter().flat_map(|chain| &chain.entries);
    entries.into_iter().try_for_each(unfolded)
}

fn unfolded(entry: &Entry) -> Result<(), Violation> {
    let stage = Stage::Unfold;
    let pipeline = |field: Field| field.is_register() || field == Field::InPort;
    let asks = entry.takes.fields().iter().any(|field| pipeline(field.field));
    ensure(!asks, stage, "asks for a field of the pipeline", Some(entry))?;
    let Does::Steps(steps) = &entry.does else { return Ok(()) };
    let ends = steps.last().is_none_or(Step::has_effect);
    ensure(ends, stage, "changes a packet nobody gets", Some(entry))
}

/// Checks flower's view.
///
/// # Errors
///
/// The first [`Violation`].
pub fn flower(program: &FlowerProgram, stage: Stage) -> Result<(), Violation> {
    let firsts: BTreeSet<usize> =
        program.ports.values().filter_map(|port| port.chains.first().copied()).collect();
    for (at, chain) in program.chains.iter().enumerate() {
        one_chain(chain, firsts.contains(&at), stage)?;
    }
    one_protocol_a_prio(program, stage)
}

fn one_protocol_a_prio(program: &FlowerProgram, stage: Stage) -> Result<(), Violation> {
    let mut prios = BTreeSet::new();
    let mut places = program.prios.iter().map(|((chain, ..), prio)| (*chain, *prio));
    let shared = places.find(|place| !prios.insert(*place));
    let shared = shared.map(|(chain, prio)| format!("chain {chain} prio {prio}"));
    ensure(shared.is_none(), stage, "shares a prio with another protocol", shared.as_ref())
}

/// Comparing all pairs of a longer list would take debug builds too long.
const LONG: usize = 400;

fn one_chain(chain: &FlowerChain, first: bool, stage: Stage) -> Result<(), Violation> {
    let entries = chain.entries.as_slice();
    for (at, entry) in entries.iter().enumerate() {
        ensure(ends_with_output(entry), stage, "changes a packet nobody gets", Some(entry))?;
        if stage < Stage::Ground {
            let told = entry.key.exact(KeyField::Tpid).is_some();
            ensure(told, stage, "does not say whether there is a tag", Some(entry))?;
        }
        if (Stage::Hoist..Stage::AssignChains).contains(&stage) {
            let lost = chain.arrival.bound == Bound::All && entry.is_guard();
            ensure(!lost, stage, "passes what may have been translated", Some(entry))?;
        }
        if entries.len() < LONG {
            pairs(entry, &entries[at + 1..], stage)?;
        }
    }
    if stage == Stage::AssignPrios && !first && !entries.is_empty() {
        let last = entries.last();
        let total = last.is_some_and(|last| last.is_guard() && last.key == Key::any());
        ensure(total, stage, "is the last of a chain that loses packets", last)?;
    }
    Ok(())
}

fn pairs(entry: &FlowerEntry, behind: &[FlowerEntry], stage: Stage) -> Result<(), Violation> {
    if stage == Stage::Shield && entry.is_guard() {
        let used = behind.iter().any(|other| !other.is_guard() && other.key.overlaps(&entry.key));
        ensure(used, stage, "guards against nothing", Some(entry))?;
    }
    if stage >= Stage::AssignPrios {
        behind.iter().try_for_each(|other| prios(entry, other, stage))?;
    }
    Ok(())
}

fn ends_with_output(entry: &FlowerEntry) -> bool {
    match &entry.effect {
        Effect::Act(ops) => {
            ops.last().is_none_or(|op| op.sends() || matches!(op, Op::Track(_) | Op::Meter(..)))
        }
        Effect::Pass(_) | Effect::Goto { .. } => true,
    }
}

fn prios(first: &FlowerEntry, second: &FlowerEntry, stage: Stage) -> Result<(), Violation> {
    let (Some(a), Some(b)) = (first.depth, second.depth) else {
        return ensure(false, stage, "has no place", Some(second));
    };
    let rising = a < b || !first.key.overlaps(&second.key);
    ensure(rising, stage, "overlaps one of the same or a lower prio", Some(second))
}

fn ensure<T: fmt::Display>(
    holds: bool,
    stage: Stage,
    what: &'static str,
    entry: Option<&T>,
) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    let entry = entry.map(T::to_string).unwrap_or_default();
    Err(Violation { stage, what, entry })
}
