//! DEL: everything as it was. Nothing there any more is success; anything left is not.

use switchdev::PciAddress;
use switchdev::binding::{Observed, ReleaseError, Released};
use switchdev::bridge::master;
use switchdev::ledger::LedgerError;

use super::{Job, LOCK_WAIT, ledger_error, plan};
use crate::attach::{BridgePort, Tagging, remove_of};
use crate::conf::{BridgeConf, BridgeKind};
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
        off_the_bridge(job, bridge, attachment)?;
    }
    if let Some(vf) = job.conf.device {
        release(job, vf, attachment)?;
    }
    Ok(())
}

fn off_the_bridge(
    job: &mut Job<'_>,
    bridge: &BridgeConf,
    attachment: &Attachment,
) -> Result<(), CniError> {
    let later = |what: &dyn std::fmt::Display| CniError::new(Code::TryAgainLater, what);
    if plan::kind(bridge, &job.machine.sysfs) == BridgeKind::Linux {
        return off_a_linux_bridge(job, bridge, attachment);
    }
    let removed = remove_of(&bridge.socket, &attachment.container, &attachment.ifname);
    match removed.map_err(|error| later(&error))? {
        Some(removed) => {
            removed.iter().for_each(|what| job.log.line(Level::Warning, what));
            Ok(())
        }
        None => {
            let Some(netdev) = lost_representor(job, attachment)? else { return Ok(()) };
            // The kernel's part of Open vSwitch outlives its daemons, and the port comes back with them.
            match master(&job.machine.sysfs, &netdev).map_err(|error| later(&error))? {
                Some(_) => Err(later(&format!(
                    "representor {netdev} is still on a bridge, and there is no entry of it; ovsdb-server must run so that it can be taken off"
                ))),
                None => Ok(()),
            }
        }
    }
}

/// A port of a Linux bridge has no room for a mark; it is ours where its VF is.
fn off_a_linux_bridge(
    job: &mut Job<'_>,
    bridge: &BridgeConf,
    attachment: &Attachment,
) -> Result<(), CniError> {
    let Some(netdev) = lost_representor(job, attachment)? else { return Ok(()) };
    let port =
        BridgePort { bridge: bridge.name.clone(), netdev, tagging: Tagging::All, only: None };
    port.detach(&job.machine.sysfs).map_err(|error| CniError::new(Code::Card, error))
}

/// The representor of the VF that the configuration names, where the VF was given away and no entry says to whom.
fn lost_representor(
    job: &mut Job<'_>,
    attachment: &Attachment,
) -> Result<Option<String>, CniError> {
    let Some(vf) = job.conf.device else { return Ok(None) };
    let locked = job.ledger.lock(vf, LOCK_WAIT).map_err(|error| ledger_error(&error))?;
    let taken = locked.entry().is_ok_and(|entry| entry.is_some_and(|entry| entry.record.is_some()));
    if taken {
        return Ok(None);
    }
    let card = |error| CniError::new(Code::Card, error);
    let holder = job.holder(attachment);
    let mut host = job.machine.node.open(vf, &holder).map_err(card)?;
    let observed = host.observe().map_err(card)?.filter(Observed::is_given_away);
    Ok(observed.and_then(|observed| observed.state.representor).map(|representor| representor.name))
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
