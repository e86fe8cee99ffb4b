//! STATUS: could an ADD succeed now? A VF is left, the IPAM plugin can give addresses, the bridge is there, and so is the
//! agent on a node that has one.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ovsdb_client::value::key;
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, Transaction};
use switchdev::Inventory;
use switchdev::PciAddress;

use super::{Job, plan};
use crate::attach::Delegate;
use crate::conf::{BridgeConf, BridgeKind};
use crate::protocol::{CniError, Code};

pub(super) fn status(job: &mut Job<'_>) -> Result<(), CniError> {
    vfs_left(job)?;
    ipam_answers(plan::delegate_of_all(job.conf, job.call).as_ref())?;
    match &job.conf.bridge {
        Some(bridge) => {
            bridge_is_there(job, bridge)?;
            agent_answers(&job.machine.agent)
        }
        None => Ok(()),
    }
}

/// As the specification wants it of who delegates. A plugin of before 1.1.0 has no STATUS, and is only there.
fn ipam_answers(delegate: Option<&Delegate>) -> Result<(), CniError> {
    delegate.map_or(Ok(()), |delegate| delegate.forward("STATUS").map_err(unavailable))
}

/// For the agent to begin its answer, which it does at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Without its agent the node offloads nothing more and gives back no lost VF. Its runtime directory tells whether it has one.
fn agent_answers(socket: &Path) -> Result<(), CniError> {
    if !socket.parent().is_some_and(Path::is_dir) {
        return Ok(());
    }
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_exact(&mut [0])
    };
    ask().map_err(|error| {
        unavailable(format!(
            "the offload-agent does not answer on {}: {error}; start it, or remove that directory from a node without one",
            socket.display()
        ))
    })
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_ipam_plugin_that_has_no_addresses_left_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let says = |answer: &str| {
            let program = dir.path().join("fake");
            std::fs::write(&program, format!("#!/bin/sh\necho '{answer}'; exit 1\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let delegate = Delegate {
            plugin: "fake".into(),
            path: vec![dir.path().to_owned()],
            conf: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
            pool: Vec::new(),
        };
        let error = ipam_answers(Some(&delegate)).unwrap_err();
        assert_eq!(error.code, Code::NotAvailable.number());
        assert!(error.to_string().contains("\"fake\": no such plugin in CNI_PATH"), "{error}");
        says(r#"{"code": 50, "msg": "the range is full"}"#);
        let error = ipam_answers(Some(&delegate)).unwrap_err().to_string();
        assert!(error.contains("the range is full"), "{error}");
        says(r#"{"code": 4, "msg": "unknown CNI_COMMAND: STATUS"}"#);
        assert_eq!(ipam_answers(Some(&delegate)), Ok(()));
        assert_eq!(ipam_answers(None), Ok(()));
    }

    #[test]
    fn a_node_without_an_agent_needs_none_and_one_with_an_agent_needs_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let (absent, socket) = (dir.path().join("none/a.sock"), dir.path().join("a.sock"));
        assert_eq!(agent_answers(&absent), Ok(()));
        let error = agent_answers(&socket).unwrap_err();
        assert_eq!(error.code, Code::NotAvailable.number());
        assert!(error.to_string().contains("the offload-agent does not answer on"), "{error}");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"{}"));
        assert_eq!(agent_answers(&socket), Ok(()));
        agent.join().unwrap().unwrap();
        assert!(agent_answers(&socket).is_err(), "an agent that was killed leaves its socket");
    }
}
