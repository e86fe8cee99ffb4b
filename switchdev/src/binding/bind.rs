//! The way to the pod: look, plan, record, take, check, record.

use std::time::Duration;

use super::error::{BindError, UndoReport};
use super::host::{Host, Node, Observed};
use super::plan::{Wish, plan};
use super::release::{give_back, take_back};
use super::{Binder, Change, External, ExternalError, ExternalStep};
use crate::ledger::{Holder, LockedVf, Phase, Record};
use crate::pci::PciAddress;

/// A VF that a pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// What the ledger says of it, with what the external steps answered.
    pub record: Record,
    /// The VF as it is in the pod.
    pub observed: Observed,
}

impl Binder<'_> {
    /// Gives a VF to a pod. `external` says which steps that are not the kernel's belong to it; they
    /// are taken after the kernel's, in this order.
    ///
    /// A holder before this one whose namespace is gone, or whose binding was never finished, is
    /// no hindrance: the VF is first taken back from it.
    ///
    /// # Errors
    /// [`BindError`]. The VF is then as it was, or the error says that it is not, and the ledger
    /// knows.
    pub fn bind(
        &mut self,
        vf: PciAddress,
        holder: Holder,
        wish: &Wish,
        external: impl FnOnce(&Observed) -> Result<Vec<ExternalStep>, ExternalError>,
    ) -> Result<Bound, BindError> {
        let mut locked = self.ledger.lock(vf, self.wait)?;
        make_way(&mut locked, self.node, self.external, self.wait)?;
        let unreadable = |source| BindError::Node { vf, source };
        let holder = self.node.identify(holder).map_err(unreadable)?;
        let boot = self.node.boot().map_err(unreadable)?;
        let look = |source| BindError::Look { vf, source: Box::new(source) };
        let mut host = self.node.open(vf, &holder).map_err(look)?;
        let observed = host.observe().map_err(look)?.ok_or(BindError::NoSuchVf { vf })?;
        let changes = plan(&observed, &holder.ifname, wish)?;
        let external = external(&observed).map_err(|source| BindError::External { vf, source })?;
        let record = record(holder, boot, observed, &changes, external);
        let mut binding =
            Binding { locked, host, external: self.external, record, wait: self.wait };
        binding.begin()?;
        binding.take(&changes)?;
        let observed = binding.check(wish)?;
        binding.finish(observed)
    }
}

fn record(
    holder: Holder,
    boot: String,
    observed: Observed,
    changes: &[Change],
    external: Vec<ExternalStep>,
) -> Record {
    let steps = changes.iter().map(Change::to_string);
    let steps = steps.chain(external.iter().map(ExternalStep::to_string)).collect();
    let (place, original) = (observed.place, observed.state);
    Record { phase: Phase::Binding, holder, boot, place, original, steps, external }
}

/// Takes the VF back from whoever had it and is gone.
fn make_way(
    locked: &mut LockedVf,
    node: &mut dyn Node,
    external: &mut dyn External,
    wait: Duration,
) -> Result<(), BindError> {
    let vf = locked.vf();
    let Some(record) = locked.entry()?.and_then(|entry| entry.record) else { return Ok(()) };
    let alive = node.is_alive(&record.holder).map_err(|source| BindError::Node { vf, source })?;
    let holder = Box::new(record.holder.clone());
    if alive && record.phase == Phase::Bound {
        return Err(BindError::Held { vf, phase: record.phase, holder });
    }
    give_back(locked, node, external, record, wait)
        .map(drop)
        .map_err(|source| BindError::Predecessor { vf, holder, source: Box::new(source) })
}

/// A binding under way.
struct Binding<'a> {
    locked: LockedVf,
    host: Box<dyn Host + 'a>,
    external: &'a mut dyn External,
    record: Record,
    wait: Duration,
}

impl Binding<'_> {
    fn record(&mut self, phase: Phase) -> Result<(), crate::ledger::LedgerError> {
        self.record.phase = phase;
        self.locked.record(self.record.clone())
    }

    /// Nothing has been done yet, so a record that was written and not acknowledged is no loss.
    fn begin(&mut self) -> Result<(), BindError> {
        let recorded = self.record(Phase::Binding);
        Ok(recorded.inspect_err(|_| drop(self.locked.forget()))?)
    }

    fn take(&mut self, changes: &[Change]) -> Result<(), BindError> {
        for (index, change) in changes.iter().enumerate() {
            if let Err(source) = self.host.change(change) {
                return Err(self.failed(index, change.to_string(), Box::new(source)));
            }
        }
        for index in 0..self.record.external.len() {
            let step = self.record.external[index].clone();
            match self.external.take(&step, &self.record) {
                Ok(outcome) => self.record.external[index].outcome = outcome,
                Err(source) => {
                    let number = changes.len() + index;
                    return Err(self.failed(number, step.to_string(), source.0));
                }
            }
        }
        Ok(())
    }

    fn failed(
        &mut self,
        index: usize,
        step: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> BindError {
        let (vf, number, of) = (self.locked.vf(), index + 1, self.record.steps.len());
        BindError::Step { vf, number, of, step, source, undo: self.undo() }
    }

    /// Planning again and finding nothing to do is the proof.
    fn check(&mut self, wish: &Wish) -> Result<Observed, BindError> {
        let left = match self.host.observe() {
            Err(error) => error.to_string(),
            Ok(None) => "it is gone".to_owned(),
            Ok(Some(observed)) => match plan(&observed, &self.record.holder.ifname, wish) {
                Ok(changes) if changes.is_empty() => return Ok(observed),
                Ok(changes) => changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", "),
                Err(error) => error.to_string(),
            },
        };
        let vf = self.locked.vf();
        Err(BindError::NotAsWished { vf, left, undo: self.undo() })
    }

    fn finish(mut self, observed: Observed) -> Result<Bound, BindError> {
        match self.record(Phase::Bound) {
            Ok(()) => Ok(Bound { record: self.record, observed }),
            Err(source) => {
                let vf = self.locked.vf();
                Err(BindError::Unrecorded { vf, source, undo: self.undo() })
            }
        }
    }

    fn undo(&mut self) -> UndoReport {
        let record = self.record.clone();
        let host = Some(&mut *self.host);
        let undone = take_back(&mut self.locked, host, self.external, record, self.wait);
        UndoReport(undone.map(drop).map_err(Box::new))
    }
}
