//! The collector: VFs that nobody gives back.
//!
//! Runtimes and Multus do not call CNI GC for the networks a pod has beside its first, and a node
//! may go down with all its pods. So whoever runs for good on the node, and whoever is called next,
//! goes through the ledger.

use std::fmt;
use std::time::Duration;

use super::release::give_back;
use super::{Binder, Released};
use crate::ledger::{Entry, Holder, Ledger, LedgerError, Phase, Record};
use crate::pci::PciAddress;

/// What the collector did about a VF, or outside the kernel.
#[derive(Debug)]
pub enum Collected {
    /// Its holder is gone, or its binding was cut off; it has been given back.
    GivenBack {
        /// The VF.
        vf: PciAddress,
        /// Who had it.
        holder: Box<Holder>,
        /// How far that was.
        phase: Phase,
        /// What was done.
        released: Released,
    },
    /// It is with its pod, and something of its attachment that was gone is there again.
    Mended {
        /// The VF.
        vf: PciAddress,
        /// What.
        what: String,
    },
    /// It could not be given back, or mended; it is tried again the next time.
    Failed {
        /// The VF, or `None` where it is about no single one.
        vf: Option<PciAddress>,
        /// Why not, and what to do.
        reason: String,
    },
    /// Something outside the kernel that belonged to no entry was removed.
    Swept(String),
}

impl Collected {
    /// Whether something is left for the next time.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl Binder<'_> {
    /// Takes back every VF whose holder `keep` disowns, or whose network namespace is gone, or whose
    /// binding or release was cut off. A VF that somebody works on is left to them; of one that is in order, what somebody
    /// took away is put back.
    ///
    /// `keep` is what the runtime says beyond the kernel: CNI GC's list of valid attachments. The agent
    /// keeps all.
    pub fn collect(&mut self, keep: &dyn Fn(&Holder) -> bool) -> Vec<Collected> {
        let entries = match self.ledger.entries() {
            Ok(entries) => entries,
            Err(error) => return vec![failure(None, &error)],
        };
        let mut collected = Vec::new();
        for (vf, entry) in entries {
            match entry {
                Ok(Entry { record: Some(_), .. }) => collected.extend(self.collect_one(vf, keep)),
                Ok(_) => {}
                Err(error) => collected.push(failure(Some(vf), &error)),
            }
        }
        self.tidy();
        collected.extend(self.sweep());
        collected
    }

    /// Clears away what programs that were killed left beside entries. What is in use stays, and what
    /// cannot be cleared is in nobody's way.
    fn tidy(&self) {
        for vf in self.ledger.untidy().unwrap_or_default() {
            drop(self.ledger.lock(vf, Duration::ZERO));
        }
    }

    /// `None` for what is in order.
    fn collect_one(&mut self, vf: PciAddress, keep: &dyn Fn(&Holder) -> bool) -> Option<Collected> {
        let mut locked = match self.ledger.lock(vf, Duration::ZERO) {
            Err(LedgerError::Locked { .. }) => return None,
            locked => match locked {
                Ok(locked) => locked,
                Err(error) => return Some(failure(Some(vf), &error)),
            },
        };
        // Read again: it may have changed until it was locked.
        let record = match locked.entry() {
            Ok(entry) => entry?.record?,
            Err(error) => return Some(failure(Some(vf), &error)),
        };
        match self.is_lost(&record, keep) {
            Ok(false) => return self.mend(vf, &record),
            Ok(true) => {}
            Err(error) => return Some(failure(Some(vf), &error)),
        }
        let (holder, phase) = (Box::new(record.holder.clone()), record.phase);
        Some(match give_back(&mut locked, self.node, self.external, record, self.wait) {
            Ok(released) => Collected::GivenBack { vf, holder, phase, released },
            Err(error) => failure(Some(vf), &error),
        })
    }

    /// While the VF is locked, so that nobody takes it back meanwhile.
    fn mend(&mut self, vf: PciAddress, record: &Record) -> Option<Collected> {
        match self.external.mend(record) {
            Ok(what) => what.map(|what| Collected::Mended { vf, what }),
            Err(error) => Some(failure(Some(vf), &error)),
        }
    }

    fn is_lost(
        &mut self,
        record: &Record,
        keep: &dyn Fn(&Holder) -> bool,
    ) -> Result<bool, std::io::Error> {
        let kept = record.phase == Phase::Bound && keep(&record.holder);
        Ok(!kept || record.boot != self.node.boot()? || !self.node.is_alive(&record.holder)?)
    }

    /// An entry that cannot be read has been told of already.
    fn sweep(&mut self) -> Vec<Collected> {
        let ledger = self.ledger;
        if readable(ledger).is_err() {
            return Vec::new();
        }
        match self.external.sweep(&|| readable(ledger)) {
            Ok(swept) => swept.into_iter().map(Collected::Swept).collect(),
            Err(error) => vec![failure(None, &error)],
        }
    }
}

fn readable(ledger: &Ledger) -> Result<Vec<Entry>, LedgerError> {
    ledger.entries()?.into_values().collect()
}

fn failure(vf: Option<PciAddress>, error: &impl ToString) -> Collected {
    Collected::Failed { vf, reason: error.to_string() }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GivenBack { vf, holder, phase, released } => {
                let why = match phase {
                    Phase::Binding => "its binding was cut off",
                    Phase::Bound => "its pod is gone",
                    Phase::Releasing => "its release was cut off",
                };
                write!(f, "VF {vf} taken back from {holder}, for {why}: {released}")
            }
            Self::Mended { vf, what } => write!(f, "VF {vf}: {what}"),
            Self::Failed { vf: _, reason } => f.write_str(reason),
            Self::Swept(what) => f.write_str(what),
        }
    }
}
