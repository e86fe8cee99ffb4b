//! The steps of a binding that are not the kernel's: a port on a bridge, an address from IPAM.
//!
//! They are another program's to take, and ours to record. The order is fixed: the step is recorded,
//! then taken; what it answers is recorded with the finished binding. Taking back must work from
//! the record alone, for a program that was killed has recorded no answer; it must succeed where
//! nothing, half, or all of the step was done, and a second time.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::{Entry, LedgerError, Record};

/// A step that is not the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalStep {
    /// Which of the other program's steps it is: `ovs-port`, `bridge-port`, `ipam`.
    pub kind: String,
    /// What it does, in words, for plans and errors: `add np0r0 to bridge br0`.
    pub what: String,
    /// All that taking it, and taking it back, needs to know.
    pub record: Value,
    /// What taking it answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub outcome: Value,
}

/// Who takes such steps, and takes them back.
pub trait External {
    /// Takes the step. The VF's own steps before it in the plan are done. What is returned becomes
    /// the step's outcome.
    ///
    /// # Errors
    /// What went wrong, for the operator. The step may be half done; it is taken back next.
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError>;

    /// Takes the step back, whatever of it was done, and also when it was taken back already.
    ///
    /// # Errors
    /// Something of it is left. The VF is not given back then, and this is called again.
    fn take_back(&mut self, step: &ExternalStep, record: &Record) -> Result<(), ExternalError>;

    /// Puts back what somebody took away of the steps of a finished binding, and says what that was; `None` where all is
    /// there. Only for what must not wait for the pod's end.
    ///
    /// # Errors
    /// What could not be looked at or put back.
    fn mend(&mut self, record: &Record) -> Result<Option<String>, ExternalError> {
        let _ = record;
        Ok(None)
    }

    /// Removes what carries our mark outside the kernel and belongs to no entry of the ledger: a
    /// bridge port whose entry was lost. Says what it removed, a line each. Entries are recorded
    /// before anything is made, so only those that are read after the look outside tell what is lost.
    ///
    /// # Errors
    /// What could not be looked at or removed.
    fn sweep(&mut self, entries: ReadEntries<'_>) -> Result<Vec<String>, ExternalError> {
        let _ = entries;
        Ok(Vec::new())
    }
}

/// Reads the ledger as it is now. It fails while any entry cannot be read, for nobody can tell then
/// what belongs to none.
pub type ReadEntries<'a> = &'a dyn Fn() -> Result<Vec<Entry>, LedgerError>;

/// An external step that failed, in the words of the program that takes it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExternalError(pub Box<dyn std::error::Error + Send + Sync>);

impl ExternalError {
    /// From another error, or a sentence.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// For who has no such steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExternal;

impl NoExternal {
    fn refuse(step: &ExternalStep) -> ExternalError {
        let ExternalStep { kind, what, .. } = step;
        ExternalError::new(format!(
            "this program cannot do steps of kind {kind:?} ({what}): use the program that recorded it"
        ))
    }
}

impl External for NoExternal {
    fn take(&mut self, step: &ExternalStep, _: &Record) -> Result<Value, ExternalError> {
        Err(Self::refuse(step))
    }

    fn take_back(&mut self, step: &ExternalStep, _: &Record) -> Result<(), ExternalError> {
        Err(Self::refuse(step))
    }
}

impl<T: External + ?Sized> External for &mut T {
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError> {
        (**self).take(step, record)
    }

    fn take_back(&mut self, step: &ExternalStep, record: &Record) -> Result<(), ExternalError> {
        (**self).take_back(step, record)
    }

    fn mend(&mut self, record: &Record) -> Result<Option<String>, ExternalError> {
        (**self).mend(record)
    }

    fn sweep(&mut self, entries: ReadEntries<'_>) -> Result<Vec<String>, ExternalError> {
        (**self).sweep(entries)
    }
}

impl fmt::Display for ExternalStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
