//! The steps that the ledger keeps for us, and who takes them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ovsdb_client::Remote;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use switchdev::Sysfs;
use switchdev::binding::{External, ExternalError, ExternalStep, ReadEntries};
use switchdev::ledger::Record;

use super::device_info::DeviceInfo;
use super::ipam::{Delegate, IpamError};
use super::linux::BridgePort;
use super::mend::mend;
use super::ovs::OvsPort;
use super::pod::PodSide;
use super::rules::PortRules;
use super::sweep;
use crate::protocol::{CniResult, Version};

/// A step of an attachment that is not the card's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "record", rename_all = "kebab-case")]
pub enum Step {
    /// Addresses from an IPAM plugin.
    Ipam(Delegate),
    /// A port on an OVS bridge.
    OvsPort(Box<OvsPort>),
    /// A port on a Linux bridge.
    BridgePort(BridgePort),
    /// Rules that hold the pod to its addresses.
    PortRules(PortRules),
    /// Addresses and routes in the pod.
    Pod(PodSide),
    /// The device-info for the runtime.
    DeviceInfo(DeviceInfo),
}

impl Step {
    /// As the ledger keeps it.
    ///
    /// # Errors
    /// Never for a step made here; the ledger's format could not hold it.
    pub fn recorded(&self) -> Result<ExternalStep, ExternalError> {
        let mut tagged = serde_json::to_value(self).map_err(ExternalError::new)?;
        Ok(ExternalStep {
            kind: tagged["kind"].as_str().unwrap_or_default().to_owned(),
            what: self.to_string(),
            record: tagged["record"].take(),
            outcome: Value::Null,
        })
    }

    /// From the ledger.
    ///
    /// # Errors
    /// It is no step of ours, or was recorded by another version.
    pub fn from_record(step: &ExternalStep) -> Result<Self, ExternalError> {
        let tagged = json!({"kind": step.kind, "record": step.record});
        serde_json::from_value(tagged).map_err(|error| {
            ExternalError::new(format!(
                "step {:?} ({}) is no step of this sriov-cni: {error}",
                step.kind, step.what
            ))
        })
    }
}

impl Step {
    pub(super) fn as_ovs_port(&self) -> Option<&OvsPort> {
        match self {
            Self::OvsPort(port) => Some(port),
            _ => None,
        }
    }

    pub(super) fn as_port_rules(&self) -> Option<&PortRules> {
        match self {
            Self::PortRules(rules) => Some(rules),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipam(delegate) => write!(f, "get addresses from {}", delegate.plugin),
            Self::OvsPort(port) => write!(f, "add {} to OVS bridge {}", port.netdev, port.bridge),
            Self::BridgePort(port) => write!(f, "add {} to bridge {}", port.netdev, port.bridge),
            Self::PortRules(rules) => write!(f, "hold the pod to {}", rules.mac),
            Self::Pod(_) => f.write_str("give the interface its addresses"),
            Self::DeviceInfo(info) => write!(f, "write {}", info.path.display()),
        }
    }
}

/// Takes the steps, and takes them back.
#[derive(Debug)]
pub struct Steps {
    sysfs: Sysfs,
    /// The node's own OVSDB server, where ports of ours may be that no entry knows any more.
    database: Remote,
    /// What an IPAM plugin said of the ADD before, if it said no.
    refusal: Option<(Delegate, IpamError)>,
    /// What each took, for the log and the bench.
    pub times: Vec<(String, Duration)>,
}

impl Steps {
    /// On this machine, whose OVSDB server is where it usually is.
    #[must_use]
    pub fn new(sysfs: Sysfs) -> Self {
        let times = Vec::new();
        Self { sysfs, database: Remote::default_socket(), refusal: None, times }
    }

    /// The same, with the OVSDB server elsewhere. Steps that are recorded name their own.
    #[must_use]
    pub fn with_database(self, database: Remote) -> Self {
        Self { database, ..self }
    }

    fn take_step(&mut self, step: &Step, record: &Record) -> Result<Value, ExternalError> {
        match step {
            Step::Ipam(delegate) => self.allocate(delegate),
            Step::OvsPort(port) => {
                port.attach().map(|ofport| json!({"ofport": ofport})).map_err(ExternalError::new)
            }
            Step::BridgePort(port) => done(port.attach(&self.sysfs)),
            Step::PortRules(rules) => {
                let port = ofport(record)
                    .ok_or_else(|| ExternalError::new("the port has no OpenFlow number"))?;
                let installed = rules.install(port, &pod_addresses(record));
                installed.map(|count| json!({"rules": count})).map_err(ExternalError::new)
            }
            Step::Pod(side) => done(side.configure(
                &record.holder.netns,
                &record.holder.ifname,
                &ipam_result(record),
            )),
            Step::DeviceInfo(info) => done(info.write()),
        }
    }

    fn undo_step(&self, step: &Step) -> Result<Value, ExternalError> {
        match step {
            Step::Ipam(delegate) => done(self.release(delegate)),
            Step::OvsPort(port) => done(port.detach()),
            Step::BridgePort(port) => done(port.detach(&self.sysfs)),
            Step::PortRules(rules) => done(rules.remove()),
            Step::Pod(_) => Ok(Value::Null),
            Step::DeviceInfo(info) => done(info.restore()),
        }
    }

    fn allocate(&mut self, delegate: &Delegate) -> Result<Value, ExternalError> {
        self.refusal = None;
        match delegate.allocate() {
            Ok(result) => Ok(result.to_json(Version::LATEST)),
            Err(error) => {
                let told = ExternalError::new(error.to_string());
                self.refusal = Some((delegate.clone(), error));
                Err(told)
            }
        }
    }

    /// A plugin that just refused ADD, and refuses DEL in the same words, does not accept the configuration: it gave nothing.
    fn release(&self, delegate: &Delegate) -> Result<(), IpamError> {
        let error = match delegate.release() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match &self.refusal {
            Some((asked, refusal)) if asked == delegate && refusal.is_same_refusal(&error) => {
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn timed<T>(&mut self, what: String, call: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let answer = call(self);
        self.times.push((what, began.elapsed()));
        answer
    }
}

fn done<E: std::error::Error + Send + Sync + 'static>(
    result: Result<(), E>,
) -> Result<Value, ExternalError> {
    result.map(|()| Value::Null).map_err(ExternalError::new)
}

/// What IPAM gave, as far as it has been asked.
#[must_use]
pub fn ipam_result(record: &Record) -> CniResult {
    let step = record.external.iter().find(|step| step.kind == "ipam");
    step.and_then(|step| CniResult::from_json(&step.outcome).ok()).unwrap_or_default()
}

/// The addresses that IPAM gave.
pub(super) fn pod_addresses(record: &Record) -> Vec<IpAddr> {
    ipam_result(record).ips.iter().map(|ip| ip.address.address).collect()
}

/// The OVSDB server that a recorded port is in.
fn database_of(step: &ExternalStep) -> Option<Remote> {
    match Step::from_record(step) {
        Ok(Step::OvsPort(port)) => port.remote().ok(),
        _ => None,
    }
}

fn ofport(record: &Record) -> Option<u16> {
    let step = record.external.iter().find(|step| step.kind == "ovs-port")?;
    step.outcome.get("ofport")?.as_u64().and_then(|number| u16::try_from(number).ok())
}

impl External for Steps {
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError> {
        let ours = Step::from_record(step)?;
        self.timed(step.kind.clone(), |steps| steps.take_step(&ours, record))
    }

    fn take_back(&mut self, step: &ExternalStep, _: &Record) -> Result<(), ExternalError> {
        let ours = Step::from_record(step)?;
        self.timed(format!("undo {}", step.kind), |steps| steps.undo_step(&ours)).map(drop)
    }

    fn mend(&mut self, record: &Record) -> Result<Option<String>, ExternalError> {
        let steps: Vec<Step> =
            record.external.iter().map(Step::from_record).collect::<Result<_, _>>()?;
        mend(&steps, record)
    }

    fn sweep(&mut self, entries: ReadEntries<'_>) -> Result<Vec<String>, ExternalError> {
        let recorded = entries().map_err(ExternalError::new)?;
        let records = recorded.iter().filter_map(|entry| entry.record.as_ref());
        let named = records.flat_map(|record| &record.external).filter_map(database_of);
        let databases: BTreeSet<Remote> = named.chain([self.database.clone()]).collect();
        let mut swept = Vec::new();
        for database in databases {
            swept.extend(sweep::sweep(&database, entries)?);
        }
        Ok(swept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_back_from_the_ledger_as_it_went_in() {
        let step = Step::BridgePort(BridgePort {
            bridge: "br0".into(),
            netdev: "np0r0".into(),
            tagging: super::super::ovs::Tagging::Trunk(vec![5, 6]),
            only: Some("02:00:00:00:00:01".into()),
        });
        let recorded = step.recorded().unwrap();
        assert_eq!(
            (recorded.kind.as_str(), recorded.what.as_str()),
            ("bridge-port", "add np0r0 to bridge br0")
        );
        assert_eq!(Step::from_record(&recorded).unwrap(), step);
    }

    /// A plugin that answers with what is in these files, and the step that asks it.
    fn ipam(dir: &std::path::Path) -> (ExternalStep, impl Fn(&str, &str)) {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("fake");
        std::fs::write(&program, "#!/bin/sh\ncat \"$(dirname $0)/$CNI_COMMAND\"; exit 1\n")
            .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let delegate = Delegate {
            plugin: "fake".into(),
            path: vec![dir.to_owned()],
            conf: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
            pool: Vec::new(),
        };
        let says = {
            let dir = dir.to_owned();
            move |verb: &str, words: &str| {
                std::fs::write(dir.join(verb), json!({"msg": words}).to_string()).unwrap();
            }
        };
        (Step::Ipam(delegate).recorded().unwrap(), says)
    }

    #[test]
    fn a_plugin_that_refuses_its_configuration_has_nothing_to_give_back() {
        let dir = tempfile::tempdir().unwrap();
        let (step, says) = ipam(dir.path());
        let Ok(Step::Ipam(delegate)) = Step::from_record(&step) else { panic!("{step:?}") };
        let mut steps = Steps::new(Sysfs::default());
        says("ADD", "no ranges");
        says("DEL", "no ranges");
        assert!(steps.release(&delegate).is_err(), "nobody knows what became of ADD");
        assert!(steps.allocate(&delegate).unwrap_err().to_string().ends_with("no ranges"));
        assert!(steps.release(&delegate).is_ok());
        says("DEL", "busy");
        assert!(steps.release(&delegate).is_err(), "it is something else that it says now");
    }

    #[test]
    fn what_ipam_gave_is_given_back_by_its_own_plugin() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("fake");
        let script = "#!/bin/sh\necho $CNI_COMMAND $CNI_CONTAINERID >> \"$(dirname $0)/asked\"; echo '{\"ips\": []}'\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let delegate = Delegate {
            plugin: "fake".into(),
            path: vec![dir.path().to_owned()],
            conf: serde_json::Map::new(),
            env: [("CNI_CONTAINERID".to_owned(), "c1".to_owned())].into(),
            pool: Vec::new(),
        };
        let mut steps = Steps::new(Sysfs::default());
        let step = Step::Ipam(delegate);
        let Step::Ipam(delegate) = &step else { panic!("{step:?}") };
        steps.allocate(delegate).unwrap();
        steps.undo_step(&step).unwrap();
        let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
        assert_eq!(asked, "ADD c1\nDEL c1\n");
    }

    #[test]
    fn a_step_of_another_program_is_refused_by_name() {
        let step = ExternalStep {
            kind: "x".into(),
            what: "do x".into(),
            record: json!({}),
            outcome: Value::Null,
        };
        assert!(Step::from_record(&step).unwrap_err().to_string().contains("\"x\" (do x)"));
    }
}
