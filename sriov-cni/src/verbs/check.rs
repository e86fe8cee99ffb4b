//! CHECK: is all as ADD left it? A few questions to the kernel and to the bridge, and nothing is changed; some runtimes ask
//! right after every ADD.
//!
//! Of the VF the planner of ADD is asked: it is in order when there is nothing left to do.

use std::os::fd::AsFd;

use switchdev::PciAddress;
use switchdev::binding::{self, Change};
use switchdev::ledger::{Phase, Record};
use switchdev::link::{Link, Links};
use switchdev::route::Routes;

use super::{Job, plan};
use crate::attach::{Shortfall, Step, ipam_result, open_netns, pod_routes, shortfall};
use crate::protocol::{Attachment, CniError, CniResult, Code};

pub(super) fn check(job: &mut Job<'_>, attachment: &Attachment) -> Result<(), CniError> {
    let entries = job.entries_of(attachment)?.into_iter();
    let found = entries.filter_map(|entry| Some((entry.vf, entry.record?))).next();
    let (of, record) = found.ok_or_else(|| {
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
    vf(job, of, &record)?;
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
        Step::BridgePort(port) => {
            port.check(&job.machine.sysfs).map_err(|error| CniError::new(Code::Card, error))
        }
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

fn vf(job: &mut Job<'_>, vf: PciAddress, record: &Record) -> Result<(), CniError> {
    let card = |error| CniError::new(Code::Card, error);
    let wish = plan::wish(job.conf, record.place.mode);
    let mut host = job.machine.node.open(vf, &record.holder).map_err(card)?;
    let observed = host.observe().map_err(card)?;
    let observed = observed.ok_or_else(|| drifted(format!("VF {vf} is no more")))?;
    let left = binding::plan(&observed, &record.holder.ifname, &wish).map_err(drifted)?;
    if left.is_empty() {
        return Ok(());
    }
    let left: Vec<String> = left.iter().map(Change::to_string).collect();
    Err(drifted(format!("VF {vf} was changed; ADD would now {}", left.join(", "))))
}

/// The addresses and routes of the pod's interface, where the VF has one.
fn interface(attachment: &Attachment, record: &Record) -> Result<(), CniError> {
    let (Some(path), Some(_)) = (&attachment.netns, &record.original.netdev) else {
        return Ok(());
    };
    let card = |error: switchdev::CardError| CniError::new(Code::Card, error);
    let given = ipam_result(record);
    let namespace = open_netns(path).map_err(drifted)?;
    let mut links = Links::open_in(namespace.as_fd()).map_err(|error| card(error.into()))?;
    let link = links.find(&attachment.ifname).map_err(drifted)?;
    addresses(&mut links, &link, &given)?;
    let mut routes = Routes::open_in(namespace.as_fd()).map_err(|error| card(error.into()))?;
    for route in pod_routes(record, &given) {
        if !routes.has(link.ifindex, &route).map_err(|error| card(error.into()))? {
            return Err(drifted(format!("{} has not its route {route} any more", link.name)));
        }
    }
    Ok(())
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
