//! DEL: everything as it was. Nothing there any more is success; anything left is not.

use switchdev::PciAddress;
use switchdev::binding::{ReleaseError, Released};
use switchdev::ledger::LedgerError;

use super::{Job, plan};
use crate::attach::remove_of;
use crate::log::Level;
use crate::protocol::{Attachment, CniError, Code};

pub(super) fn del(job: &mut Job<'_>, attachment: &Attachment) -> Result<(), CniError> {
    let recorded: Vec<PciAddress> =
        job.entries_of(attachment)?.into_iter().map(|entry| entry.vf).collect();
    for vf in &recorded {
        release(job, *vf, attachment)?;
    }
    if recorded.is_empty() {
        without_entry(job, attachment)?;
    }
    Ok(())
}

fn release(job: &mut Job<'_>, vf: PciAddress, attachment: &Attachment) -> Result<(), CniError> {
    let holder = job.holder(attachment);
    let released = job.binder().release(vf, &holder).map_err(|error| release_error(&error))?;
    tell(job, &released);
    Ok(())
}

/// The best that can be done: what IPAM keeps, what carries our mark, and the VF that the configuration names.
fn without_entry(job: &mut Job<'_>, attachment: &Attachment) -> Result<(), CniError> {
    if let Some(delegate) = plan::delegate(job.conf, job.call, attachment) {
        // What is asked of a plugin is recorded before, so there is something only if the record was lost.
        if let Err(error) = delegate.release() {
            job.log.line(Level::Warning, format_args!("IPAM was asked without a record: {error}"));
        }
    }
    if let Some(bridge) = &job.conf.bridge {
        let removed = remove_of(&bridge.socket, &attachment.container, &attachment.ifname);
        for what in removed.map_err(|error| CniError::new(Code::TryAgainLater, error))? {
            job.log.line(Level::Warning, what);
        }
    }
    if let Some(vf) = job.conf.device {
        release(job, vf, attachment)?;
    }
    Ok(())
}

fn tell(job: &Job<'_>, released: &Released) {
    for change in &released.changes {
        job.log.line(Level::Debug, change);
    }
    for note in &released.notes {
        job.log.line(Level::Warning, note);
    }
}

pub(super) fn release_error(error: &ReleaseError) -> CniError {
    let code = match error {
        ReleaseError::Ledger(LedgerError::Locked { .. }) | ReleaseError::Left { .. } => {
            Code::TryAgainLater
        }
        ReleaseError::Ledger(_) => Code::Io,
        ReleaseError::Node { .. } => Code::Card,
    };
    CniError::new(code, error)
}
