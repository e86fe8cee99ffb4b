//! What the runtime asks for, verb by verb.

mod add;
mod check;
mod del;
mod gc;
mod plan;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use switchdev::Sysfs;
use switchdev::binding::{Binder, External, KernelNode, Node};
use switchdev::ledger::{self, Entry, Holder, Ledger, LedgerError};

use crate::attach::Steps;
use crate::conf::{NetConf, Problems, parse_object};
use crate::log::{Level, Log};
use crate::protocol::{Attachment, Call, CniError, Code, Verb, Version};

/// How long to wait for others who work on the same VF: less than a kubelet waits for us.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Where an offload-agent tells its status, unless it is told otherwise.
pub const AGENT_SOCKET: &str = "/run/offload-agent/offload-agent.sock";

/// What a call works on: this machine, or one that a test made.
pub struct Machine {
    /// The ledger's directory.
    pub ledger: PathBuf,
    /// Where sysfs is.
    pub sysfs: Sysfs,
    /// The socket on which the node's offload-agent tells its status.
    pub agent: PathBuf,
    /// The VFs.
    pub node: Box<dyn Node>,
    /// Who takes the steps that are not the card's.
    pub external: Box<dyn External>,
}

impl Default for Machine {
    fn default() -> Self {
        let sysfs = Sysfs::default();
        Self {
            ledger: ledger::DEFAULT_DIR.into(),
            node: Box::new(KernelNode::new(sysfs.clone())),
            external: Box::new(Steps::new(sysfs.clone())),
            agent: AGENT_SOCKET.into(),
            sysfs,
        }
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// One call, with all that it goes by.
struct Job<'a> {
    call: &'a Call,
    conf: &'a NetConf,
    ledger: Ledger,
    machine: &'a mut Machine,
    log: Log,
}

/// The answer to a call: what goes to stdout, and whether it is a success.
pub fn answer(
    call: &Call,
    stdin: &[u8],
    machine: &mut Machine,
) -> Result<Option<Value>, (CniError, Version)> {
    if call.verb == Verb::Version {
        return Ok(Some(versions(stdin)));
    }
    let version = version_of(stdin);
    let failed = |error: CniError| (error, version);
    let conf = NetConf::read(stdin, Some(call)).map_err(|problems| failed(bad_conf(&problems)))?;
    let ledger = Ledger::open(&machine.ledger).map_err(|error| failed(ledger_error(&error)))?;
    let log = Log::open(&conf.log, context(call));
    let mut job = Job { call, conf: &conf, ledger, machine, log };
    let answer = job.run();
    match &answer {
        Ok(_) => job.log.line(Level::Info, "done"),
        Err(error) => job.log.line(Level::Error, error),
    }
    answer.map_err(failed)
}

impl Job<'_> {
    fn run(&mut self) -> Result<Option<Value>, CniError> {
        match (self.call.verb, self.call.attachment.as_ref()) {
            (Verb::Add, Some(attachment)) => {
                let result = add::add(self, attachment)?;
                Ok(Some(result.to_json(self.conf.version)))
            }
            (Verb::Del, Some(attachment)) => del::del(self, attachment).map(|()| None),
            (Verb::Check, Some(attachment)) => check::check(self, attachment).map(|()| None),
            (Verb::Gc, _) => gc::gc(self).map(|()| None),
            (Verb::Status, _) => status::status(self).map(|()| None),
            (Verb::Add | Verb::Del | Verb::Check | Verb::Version, _) => Ok(None),
        }
    }

    fn binder(&mut self) -> Binder<'_> {
        Binder {
            ledger: &self.ledger,
            node: &mut *self.machine.node,
            external: &mut *self.machine.external,
            wait: LOCK_WAIT,
        }
    }

    fn holder(&self, attachment: &Attachment) -> Holder {
        let pod = self.call.pod().map(|pod| ledger::Pod {
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid,
        });
        Holder {
            container: attachment.container.clone(),
            ifname: attachment.ifname.clone(),
            netns: attachment.netns.clone().unwrap_or_default(),
            netns_id: None,
            network: self.conf.name.clone(),
            pod,
        }
    }

    /// The entries that speak of an attachment: by identity, never by which VF the configuration names.
    fn entries_of(&self, attachment: &Attachment) -> Result<Vec<Entry>, CniError> {
        let entries = self.ledger.entries().map_err(|error| ledger_error(&error))?;
        let is = |entry: &Entry| {
            let holder = entry.record.as_ref().map(|record| &record.holder);
            holder.is_some_and(|holder| holder.is(&attachment.container, &attachment.ifname))
        };
        Ok(entries.into_values().filter_map(Result::ok).filter(is).collect())
    }
}

fn context(call: &Call) -> String {
    match &call.attachment {
        Some(attachment) => {
            format!("{:?} {} {}", call.verb, attachment.container, attachment.ifname)
        }
        None => format!("{:?}", call.verb),
    }
}

/// A runtime that asks for versions may not have one yet.
fn versions(stdin: &[u8]) -> Value {
    let all: Vec<String> = Version::ALL.iter().map(ToString::to_string).collect();
    json!({"cniVersion": version_of(stdin).to_string(), "supportedVersions": all})
}

/// In which version to answer, even if the rest of the configuration is wrong.
fn version_of(stdin: &[u8]) -> Version {
    let text = parse_object(stdin)
        .ok()
        .and_then(|conf| conf.get("cniVersion")?.as_str().map(str::to_owned));
    text.and_then(|text| text.parse().ok()).unwrap_or(Version::LATEST)
}

fn bad_conf(problems: &Problems) -> CniError {
    use crate::conf::Problem;
    let code = match problems.0.first() {
        Some(Problem::Version(_)) => Code::IncompatibleVersion,
        Some(Problem::NotJson(_)) => Code::Decode,
        _ => Code::InvalidConfig,
    };
    let mut sentences = problems.0.iter().map(ToString::to_string);
    let first = sentences.next().unwrap_or_default();
    CniError::new(code, first).details(sentences.collect::<Vec<_>>().join("; "))
}

fn ledger_error(error: &LedgerError) -> CniError {
    let code =
        if matches!(error, LedgerError::Locked { .. }) { Code::TryAgainLater } else { Code::Io };
    CniError::new(code, error)
}
