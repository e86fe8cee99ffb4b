//! CHECK: is all as ADD left it? A few questions to the kernel and to the bridge, and nothing is changed; some runtimes ask
//! right after every ADD.

use std::os::fd::AsFd;

use switchdev::ledger::{Phase, Record};
use switchdev::link::{Link, Links};

use super::{Job, plan};
use crate::attach::{Shortfall, Step, ipam_result, open_netns, shortfall};
use crate::protocol::{Attachment, CniError, CniResult, Code};

pub(super) fn check(job: &mut Job<'_>, attachment: &Attachment) -> Result<(), CniError> {
    let entries = job.entries_of(attachment)?;
    let record = entries.into_iter().next().and_then(|entry| entry.record);
    let record = record.ok_or_else(|| {
        let what = format!("container {} has no VF as {}", attachment.container, attachment.ifname);
        CniError::new(Code::UnknownContainer, format!("{what}; it must be added again"))
    })?;
    if record.phase != Phase::Bound {
        return Err(drifted(format!(
            "the VF is {} {}; DEL must come before another ADD",
            record.phase, record.holder
        )));
    }
    steps(job, &record)?;
    interface(attachment, &record)?;
    ipam(job, attachment)
}

fn drifted(what: impl std::fmt::Display) -> CniError {
    CniError::new(Code::Drifted, what)
}

fn steps(job: &Job<'_>, record: &Record) -> Result<(), CniError> {
    for step in &record.external {
        let step = Step::from_record(step).map_err(|error| CniError::new(Code::Io, error))?;
        if let Some(wrong) = step_is_wrong(job, &step, record)? {
            return Err(drifted(wrong));
        }
    }
    Ok(())
}

fn step_is_wrong(job: &Job<'_>, step: &Step, record: &Record) -> Result<Option<String>, CniError> {
    let unreachable = |error: &dyn std::error::Error| CniError::new(Code::TryAgainLater, error);
    match step {
        Step::OvsPort(port) => port.check().map_err(|error| unreachable(&error)),
        Step::BridgePort(port) => Ok(port.check(&job.machine.sysfs)),
        Step::PortRules(rules) => {
            let short = shortfall(rules, record).map_err(|error| unreachable(&error))?;
            Ok(short.map(|Shortfall { found, wanted }| {
                format!(
                    "the bridge has {found} of the {wanted} rules that hold the pod to {}; offload-agent puts them back where it runs",
                    rules.mac
                )
            }))
        }
        Step::Ipam(_) | Step::Pod(_) | Step::DeviceInfo(_) => Ok(None),
    }
}

/// The pod's interface, where the VF has one.
fn interface(attachment: &Attachment, record: &Record) -> Result<(), CniError> {
    let (Some(netns), Some(_)) = (&attachment.netns, &record.original.netdev) else {
        return Ok(());
    };
    let namespace = open_netns(netns).map_err(drifted)?;
    let mut links =
        Links::open_in(namespace.as_fd()).map_err(|error| CniError::new(Code::Card, error))?;
    let link = links.find(&attachment.ifname).map_err(drifted)?;
    if !link.up {
        return Err(drifted(format!("{} is down in the pod", link.name)));
    }
    addresses(&mut links, &link, &ipam_result(record))
}

fn addresses(links: &mut Links, link: &Link, given: &CniResult) -> Result<(), CniError> {
    if given.ips.is_empty() {
        return Ok(());
    }
    let found = links.addresses(link.ifindex).map_err(|error| CniError::new(Code::Card, error))?;
    let missing =
        given.ips.iter().find(|ip| !found.iter().any(|found| found.address == ip.address.address));
    missing.map_or(Ok(()), |ip| {
        Err(drifted(format!("{} has not its address {} any more", link.name, ip.address)))
    })
}

fn ipam(job: &Job<'_>, attachment: &Attachment) -> Result<(), CniError> {
    let (Some(delegate), Some(result)) =
        (plan::delegate(job.conf, job.call, attachment), &job.conf.prev_result)
    else {
        return Ok(());
    };
    delegate.check(result).map_err(drifted)
}
