//! What a well-formed program is. Debug builds check it after every pass.
//!
//! For a [`Program`]:
//! 1. the entries of a port or table stand in the order of their priority, the highest first;
//! 2. from `specialize` on, no entry asks for an input port, and no step names `IN_PORT`;
//! 3. steps end with an output, or there are none.
//!
//! For a [`FlowerProgram`]:
//! 1. operations end with an output, or there are none;
//! 2. until `ground`, every key says whether there is a tag;
//! 3. from `shield` on, behind every guard there is a filter it guards against;
//! 4. from `assign_prios` on, entries that overlap stand at rising prios, in their order, and a prio has one protocol.

use std::fmt;

use super::Stage;
use super::ir::{
    Does, Effect, Entry, FlowerEntry, FlowerProgram, KeyField, Op, Program, Step, protocol,
};
use crate::openflow::{Field, OfPort};

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
pub(super) fn checked(result: Result<(), Violation>) {
    debug_assert!(result.is_ok(), "{}", result.err().map(|v| v.to_string()).unwrap_or_default());
}

/// Checks OpenFlow's view.
///
/// # Errors
///
/// The first [`Violation`].
pub fn program(program: &Program, stage: Stage) -> Result<(), Violation> {
    let lists = program.tables.values().chain(program.ports.values());
    for entries in lists {
        let sorted = entries.is_sorted_by(|a, b| a.priority >= b.priority);
        ensure(sorted, stage, "priorities out of order", entries.first())?;
    }
    if stage >= Stage::Specialize {
        let mut entries = program.ports.values().flatten();
        entries.try_for_each(|entry| specialized(entry, stage))?;
    }
    Ok(())
}

fn specialized(entry: &Entry, stage: Stage) -> Result<(), Violation> {
    let asks = entry.takes.get(Field::InPort).is_some();
    ensure(!asks, stage, "asks for an input port", Some(entry))?;
    let Does::Steps(steps) = &entry.does else { return Ok(()) };
    let vague = steps.contains(&Step::Output(OfPort::IN_PORT));
    ensure(!vague, stage, "sends to an input port not named", Some(entry))?;
    let ends = steps.last().is_none_or(|step| matches!(step, Step::Output(_)));
    ensure(ends, stage, "changes a packet nobody gets", Some(entry))
}

/// Checks flower's view.
///
/// # Errors
///
/// The first [`Violation`].
pub fn flower(program: &FlowerProgram, stage: Stage) -> Result<(), Violation> {
    program.ports.values().try_for_each(|entries| list(entries, stage))
}

fn list(entries: &[FlowerEntry], stage: Stage) -> Result<(), Violation> {
    for (at, entry) in entries.iter().enumerate() {
        ensure(ends_with_output(entry), stage, "changes a packet nobody gets", Some(entry))?;
        let behind = &entries[at + 1..];
        if stage < Stage::Ground {
            let told = entry.key.exact(KeyField::Tpid).is_some();
            ensure(told, stage, "does not say whether there is a tag", Some(entry))?;
        }
        if stage >= Stage::Shield && entry.is_guard() {
            let used =
                behind.iter().any(|other| !other.is_guard() && other.key.overlaps(&entry.key));
            ensure(
                used || stage == Stage::AssignPrios,
                stage,
                "guards against nothing",
                Some(entry),
            )?;
        }
        if stage >= Stage::AssignPrios {
            behind.iter().try_for_each(|other| prios(entry, other, stage))?;
        }
    }
    Ok(())
}

fn ends_with_output(entry: &FlowerEntry) -> bool {
    match &entry.effect {
        Effect::Act(ops) => ops.last().is_none_or(|op| matches!(op, Op::Output(_))),
        Effect::Pass(_) => true,
    }
}

fn prios(first: &FlowerEntry, second: &FlowerEntry, stage: Stage) -> Result<(), Violation> {
    let (Some(a), Some(b)) = (first.place, second.place) else {
        return ensure(false, stage, "has no place", Some(second));
    };
    let rising = a.chain != b.chain || a.prio < b.prio || !first.key.overlaps(&second.key);
    ensure(rising, stage, "overlaps one of the same or a lower prio", Some(second))?;
    let same_protocol = a != b || protocol(&first.key) == protocol(&second.key);
    ensure(same_protocol, stage, "shares a prio with another protocol", Some(second))
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
