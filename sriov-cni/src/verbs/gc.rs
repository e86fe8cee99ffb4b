//! GC: attachments of this network that the runtime does not list are given back, and so is what belongs to none.

use switchdev::binding::{Collected, ExternalError};
use switchdev::ledger::Holder;

use super::{Job, plan};
use crate::log::Level;
use crate::protocol::{CniError, Code};

pub(super) fn gc(job: &mut Job<'_>) -> Result<(), CniError> {
    let Some(valid) = job.conf.valid_attachments.clone() else {
        return Err(CniError::new(
            Code::InvalidConfig,
            "cni.dev/valid-attachments is missing; GC must say which attachments are to stay",
        ));
    };
    let network = job.conf.name.clone();
    let keep = |holder: &Holder| {
        holder.network != network || valid.iter().any(|(id, ifname)| holder.is(id, ifname))
    };
    let collected = job.binder().collect(&keep);
    let mut failed = Vec::new();
    for event in &collected {
        let level = if event.is_failure() { Level::Error } else { Level::Info };
        job.log.line(level, event);
        failed.extend(failure(event));
    }
    failed.extend(sweep(job).err().map(|error| error.to_string()));
    failed.extend(forward(job).err().map(|error| error.to_string()));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(CniError::new(Code::TryAgainLater, failed.join("; ")))
    }
}

fn failure(event: &Collected) -> Option<String> {
    event.is_failure().then(|| event.to_string())
}

/// The collector looks into the node's own database and those that entries name; this network's may be another.
fn sweep(job: &mut Job<'_>) -> Result<(), ExternalError> {
    let Some(bridge) = &job.conf.bridge else { return Ok(()) };
    let entries = || job.ledger.entries()?.into_values().collect();
    for removed in crate::attach::sweep(&bridge.socket, &entries)? {
        job.log.line(Level::Info, removed);
    }
    Ok(())
}

/// The IPAM plugin has its own to collect.
fn forward(job: &Job<'_>) -> Result<(), crate::attach::IpamError> {
    plan::delegate_of_all(job.conf, job.call).map_or(Ok(()), |delegate| delegate.forward("GC"))
}
