//! STATUS: could an ADD succeed now? The bridge's database answers, a VF is left, the ledger can be written.

use ovsdb_client::value::key;
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, Transaction};
use switchdev::Inventory;
use switchdev::PciAddress;

use super::{Job, plan};
use crate::conf::{BridgeConf, BridgeKind};
use crate::protocol::{CniError, Code};

pub(super) fn status(job: &mut Job<'_>) -> Result<(), CniError> {
    vfs_left(job)?;
    match &job.conf.bridge {
        Some(bridge) => bridge_is_there(job, bridge),
        None => Ok(()),
    }
}

fn unavailable(what: impl std::fmt::Display) -> CniError {
    CniError::new(Code::NotAvailable, what)
}

/// VFs that no pod has. Where the configuration names the pool, those that the kubelet took from another do not count.
fn vfs_left(job: &Job<'_>) -> Result<(), CniError> {
    let inventory = Inventory::scan(&job.machine.sysfs).map_err(unavailable)?;
    let entries = job.ledger.entries().map_err(unavailable)?;
    let taken = |vf: &PciAddress| match entries.get(vf) {
        None => false,
        Some(Err(_)) => true,
        Some(Ok(entry)) => {
            let reserved = entry.reservation.as_ref().map(|reservation| &reservation.resource);
            let elsewhere = job.conf.resource.is_some()
                && reserved.is_some()
                && reserved != job.conf.resource.as_ref();
            entry.record.is_some() || elsewhere
        }
    };
    let all: Vec<PciAddress> =
        inventory.pfs.iter().flat_map(|pf| pf.vfs()).map(|vf| vf.function.address).collect();
    match all.iter().filter(|vf| !taken(vf)).count() {
        0 if all.is_empty() => {
            Err(unavailable("there are no VFs on this node; create some (sriov_numvfs)"))
        }
        0 => Err(unavailable(format!("all {} VFs of this node are with pods", all.len()))),
        _ => Ok(()),
    }
}

fn bridge_is_there(job: &Job<'_>, bridge: &BridgeConf) -> Result<(), CniError> {
    if plan::kind(bridge, &job.machine.sysfs) == BridgeKind::Linux {
        let there = crate::attach::is_bridge(&job.machine.sysfs, &bridge.name);
        return if there {
            Ok(())
        } else {
            Err(unavailable(format!("there is no Linux bridge {:?}", bridge.name)))
        };
    }
    let mut client = Client::connect(&bridge.socket).map_err(unavailable)?;
    let named = [Condition::is("name", bridge.name.as_str())];
    let question = Transaction::on(OPEN_VSWITCH).select("Bridge", &named, &["name"]).select(
        "Open_vSwitch",
        &[],
        &["cur_cfg", "next_cfg", "other_config"],
    );
    let answer = client.transact(&question).map_err(unavailable)?;
    if answer.rows(0).is_empty() {
        return Err(unavailable(format!(
            "there is no OVS bridge {:?}; make it: ovs-vsctl add-br {0}",
            bridge.name
        )));
    }
    let owned =
        answer.rows(1).iter().any(|row| key(&row["other_config"], "hw-offload") == Some("true"));
    if owned {
        return Err(unavailable(
            "other_config:hw-offload is true, so OVS keeps the agent from the card; set it to false and restart ovs-vswitchd",
        ));
    }
    Ok(())
}
