//! Taking the steps of a plan, and taking them back.

use std::fmt;

use super::{Card, Change, Plan, Step, Wanted, plan};
use crate::error::CardError;

/// A plan that was not carried out. What was done of it was taken back, as far as `undo` says.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A step failed.
    #[error("PF {pf}: step {number} of {of} ({step}) failed: {source}; {undo}")]
    Step {
        /// The card.
        pf: String,
        /// The step's number, from 1.
        number: usize,
        /// How many there were.
        of: usize,
        /// The step.
        step: Box<Step>,
        /// Why it failed.
        source: Box<CardError>,
        /// What became of the steps before it.
        undo: UndoReport,
    },
    /// All steps were taken, and the card is not as wanted.
    #[error("PF {pf}: the card is not as wanted after all steps: {left}; {undo}")]
    NotAsWanted {
        /// The card.
        pf: String,
        /// What is amiss.
        left: String,
        /// What became of the steps.
        undo: UndoReport,
    },
}

/// How the steps taken were taken back.
#[derive(Debug, Default)]
pub struct UndoReport {
    /// How many changes were taken back.
    pub taken_back: usize,
    /// What could not be taken back, and why.
    pub failed: Vec<(Change, CardError)>,
}

/// Takes all steps, then checks that planning again finds nothing to do.
///
/// # Errors
/// [`ApplyError`]; the steps taken have then been taken back, last first.
pub fn apply(card: &mut dyn Card, plan: &Plan, wanted: &Wanted) -> Result<(), ApplyError> {
    for (index, step) in plan.steps.iter().enumerate() {
        if let Err(source) = card.change(&step.change) {
            // The failed step is taken back too: it may have been half done.
            let undo = take_back(card, &plan.steps[..=index]);
            let (pf, number, of) = (plan.pf_name.clone(), index + 1, plan.steps.len());
            let (step, source) = (Box::new(step.clone()), Box::new(source));
            return Err(ApplyError::Step { pf, number, of, step, source, undo });
        }
    }
    verify(card, wanted).map_err(|left| {
        let undo = take_back(card, &plan.steps);
        ApplyError::NotAsWanted { pf: plan.pf_name.clone(), left, undo }
    })
}

fn verify(card: &mut dyn Card, wanted: &Wanted) -> Result<(), String> {
    let left = card.observe().and_then(|observed| plan(&observed, wanted));
    match left {
        Ok(left) if left.steps.is_empty() => Ok(()),
        Ok(left) => Err(left.steps.iter().map(Step::to_string).collect::<Vec<_>>().join(", ")),
        Err(error) => Err(error.to_string()),
    }
}

/// Goes on past what cannot be taken back: the rest may still be.
fn take_back(card: &mut dyn Card, steps: &[Step]) -> UndoReport {
    let mut report = UndoReport::default();
    for change in steps.iter().rev().filter_map(|step| step.undo.as_ref()) {
        match card.change(change) {
            Ok(()) => report.taken_back += 1,
            Err(error) => report.failed.push((change.clone(), error)),
        }
    }
    report
}

impl fmt::Display for UndoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failed.is_empty() {
            return f.write_str("what was done has been taken back");
        }
        f.write_str("not all could be taken back")?;
        self.failed.iter().try_for_each(|(change, error)| write!(f, "; {change}: {error}"))
    }
}
