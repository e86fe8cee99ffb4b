//! ADD: the VF to the pod, the representor to the bridge.

use switchdev::PciAddress;
use switchdev::binding::{BindError, Bound, ExternalError};
use switchdev::ledger::{Holder, LedgerError};

use super::plan::PlanError;
use super::{Job, ledger_error, plan};
use crate::attach::{OvsError, PodSide, Step, ipam_result};
use crate::log::Level;
use crate::protocol::{Attachment, CniError, CniResult, Code, Interface};

pub(super) fn add(job: &mut Job<'_>, attachment: &Attachment) -> Result<CniResult, CniError> {
    let vf = device(job)?;
    identify(job, vf, attachment)?;
    let holder = job.holder(attachment);
    let mode = observe(job, vf, &holder)?;
    let wish = plan::wish(job.conf, mode);
    let (conf, call, sysfs) = (job.conf, job.call, job.machine.sysfs.clone());
    let bound = job
        .binder()
        .bind(vf, holder, &wish, |observed| plan::steps(conf, call, attachment, observed, &sysfs))
        .map_err(|error| bind_error(&error))?;
    for step in &bound.record.steps {
        job.log.line(Level::Debug, step);
    }
    Ok(result(job, attachment, &bound))
}

fn device(job: &Job<'_>) -> Result<PciAddress, CniError> {
    job.conf.device.ok_or_else(|| {
        CniError::new(
            Code::InvalidConfig,
            "deviceID is missing; the runtime puts the VF's PCI address there, so the NetworkAttachmentDefinition needs \
             the annotation k8s.v1.cni.cncf.io/resourceName with the device plugin's resource",
        )
    })
}

/// The kubelet's word on whose the VF is, as the device plugin wrote it into the ledger; the device-info is held
/// against the VF when the steps are planned.
fn identify(job: &Job<'_>, vf: PciAddress, attachment: &Attachment) -> Result<(), CniError> {
    if let Some(other) = job.entries_of(attachment)?.iter().find(|entry| entry.vf != vf) {
        let asked = format!(
            "VF {vf} is asked for, and {} of this container has VF {}",
            attachment.ifname, other.vf
        );
        return Err(CniError::new(
            Code::Identity,
            format!("{asked} already; DEL must come before another ADD"),
        ));
    }
    let Some(wanted) = &job.conf.resource else { return Ok(()) };
    let entry = job.ledger.entry(vf).map_err(|error| ledger_error(&error))?;
    match entry.and_then(|entry| entry.reservation).map(|reservation| reservation.resource) {
        Some(found) if found != *wanted => Err(CniError::new(
            Code::Identity,
            format!(
                "VF {vf} was allocated as {found}, and resourceName is {wanted}; the two networks of the pod got each other's VF"
            ),
        )),
        _ => Ok(()),
    }
}

fn observe(
    job: &mut Job<'_>,
    vf: PciAddress,
    holder: &Holder,
) -> Result<switchdev::eswitch::EswitchMode, CniError> {
    let card = |error: switchdev::CardError| CniError::new(Code::Card, error);
    let mut host = job.machine.node.open(vf, holder).map_err(card)?;
    let observed = host.observe().map_err(card)?;
    observed.map(|observed| observed.place.mode).ok_or_else(|| {
        CniError::new(Code::InvalidConfig, format!("deviceID {vf}: there is no such VF on this node; see whether the device plugin's list is up to date"))
    })
}

fn bind_error(error: &BindError) -> CniError {
    let code = match error {
        BindError::Ledger(LedgerError::Locked { .. }) | BindError::Held { .. } => {
            Code::TryAgainLater
        }
        BindError::Ledger(_) => Code::Io,
        BindError::Wish(_) | BindError::NoSuchVf { .. } => Code::InvalidConfig,
        BindError::External { source, .. } => plan_code(source),
        BindError::Step { source, .. } => step_code(source.as_ref()),
        _ => Code::Card,
    };
    CniError::new(code, error)
}

fn plan_code(error: &ExternalError) -> Code {
    match error.0.downcast_ref() {
        Some(PlanError::Ovs(error)) if error.is_transient() => Code::TryAgainLater,
        Some(PlanError::Ovs(_)) => Code::Bridge,
        _ => Code::InvalidConfig,
    }
}

fn step_code(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Code {
    match source.downcast_ref::<OvsError>() {
        Some(error) if error.is_transient() => Code::TryAgainLater,
        Some(_) => Code::Bridge,
        None => Code::Card,
    }
}

/// The representor first, where a bridge has it, then the pod's interface with the addresses.
fn result(job: &Job<'_>, attachment: &Attachment, bound: &Bound) -> CniResult {
    let ipam = ipam_result(&bound.record);
    let mut interfaces: Vec<Interface> = Vec::new();
    if let (Some(representor), Some(_)) = (&bound.observed.state.representor, &job.conf.bridge) {
        interfaces.push(Interface {
            name: representor.name.clone(),
            mtu: Some(representor.mtu),
            ..Interface::default()
        });
    }
    let pod = interfaces.len();
    interfaces.push(pod_interface(job, attachment, bound));
    let ips = ipam.ips.iter().cloned().map(|mut ip| {
        ip.interface = Some(pod);
        ip
    });
    CniResult {
        interfaces,
        ips: ips.collect(),
        routes: pod_side(bound).map_or_else(Vec::new, |side| side.routes(&ipam)),
        dns: if ipam.dns.is_empty() { job.conf.dns.clone() } else { ipam.dns.clone() },
    }
}

fn pod_interface(job: &Job<'_>, attachment: &Attachment, bound: &Bound) -> Interface {
    let netdev = bound.observed.state.netdev.as_ref();
    Interface {
        name: attachment.ifname.clone(),
        mac: plan::pod_mac(job.conf, &bound.observed).map(|mac| mac.to_string()),
        mtu: netdev.map(|netdev| netdev.mtu),
        sandbox: attachment.netns.as_ref().map(|path| path.display().to_string()),
        pci: Some(bound.observed.vf.to_string()),
    }
}

fn pod_side(bound: &Bound) -> Option<PodSide> {
    bound.record.external.iter().find_map(|step| match Step::from_record(step) {
        Ok(Step::Pod(side)) => Some(side),
        _ => None,
    })
}
