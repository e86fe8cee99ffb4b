//! What `ovs-vswitchd` answers to `ovs-appctl`, over its control socket: JSON-RPC 1.0, one request after another.
//!
//! The learned addresses are nowhere else, and nobody is told when they change: they have to be asked for.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use flow_compiler::openflow::BridgeName;
use flow_compiler::ports::{Fdb, FdbError};
use ovsdb_client::JsonStream;
use ovsdb_client::message::{self, Incoming};
use serde_json::{Value, json};

use super::link::{Link, LinkError};

const DAEMON: &str = "ovs-vswitchd";
/// One answer may not fill the memory; an FDB of 100,000 addresses is 4 MB.
const ANSWER_LIMIT: usize = 64 << 20;

/// What went wrong between us and the switch's control socket.
#[derive(Debug, thiserror::Error)]
pub enum UnixctlError {
    /// There is no socket in the directory.
    #[error("no control socket of ovs-vswitchd in {directory}; it must run, and `ovs.runDir` must name its directory", directory = .0.display())]
    NoSocket(PathBuf),
    /// Nobody listens, or the connection broke.
    #[error("the control socket {socket}: {source}", socket = .socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The switch hung up.
    #[error("ovs-vswitchd closed its control socket {socket}", socket = .0.display())]
    Closed(PathBuf),
    /// The switch does not answer.
    #[error("ovs-vswitchd says nothing on {socket} for {seconds} s", socket = .socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// For how long.
        seconds: u64,
    },
    /// The answer is larger than any should be.
    #[error("an answer on {socket} is larger than {ANSWER_LIMIT} bytes", socket = .0.display())]
    TooLarge(PathBuf),
    /// The switch sent bytes that are not JSON, or not text.
    #[error("on {socket}: the answer is no text in JSON", socket = .0.display())]
    NoText(PathBuf),
    /// The switch refused the command.
    #[error("ovs-vswitchd refused `{command}`: {error}")]
    Refused {
        /// What it was asked.
        command: String,
        /// What it says.
        error: String,
    },
    /// The learned addresses cannot be read.
    #[error("fdb/show {bridge}: {source}")]
    Fdb {
        /// Whose they are.
        bridge: BridgeName,
        /// What is wrong.
        source: FdbError,
    },
}

/// A connection to the switch's control socket.
#[derive(Debug)]
pub struct Unixctl {
    link: Link,
    incoming: JsonStream,
    requests: u64,
}

impl Unixctl {
    /// Finds the socket in OVS's runtime directory and connects.
    ///
    /// # Errors
    ///
    /// When there is no socket, or nobody listens on it.
    pub async fn find(run_dir: &Path) -> Result<Unixctl, UnixctlError> {
        let mut last = UnixctlError::NoSocket(run_dir.to_owned());
        for socket in sockets(run_dir) {
            match Unixctl::connect(&socket).await {
                // A socket that an earlier process left.
                Err(error) => last = error,
                connected => return connected,
            }
        }
        Err(last)
    }

    /// Connects to a socket.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub async fn connect(socket: &Path) -> Result<Unixctl, UnixctlError> {
        let link = Link::connect(socket).await;
        let link = link.map_err(|source| UnixctlError::Io { socket: socket.to_owned(), source })?;
        Ok(Unixctl { link, incoming: JsonStream::default(), requests: 0 })
    }

    /// What `ovs-appctl COMMAND ARGUMENTS...` prints.
    ///
    /// # Errors
    ///
    /// When the switch refuses, or does not answer. After the latter the connection is of no use any more.
    pub async fn call(
        &mut self,
        command: &str,
        arguments: &[&str],
    ) -> Result<String, UnixctlError> {
        self.requests += 1;
        let id = self.requests.to_string();
        let request = message::request(&id, command, &json!(arguments));
        self.link.send(request.to_string().as_bytes());
        match self.answer(&id).await? {
            Ok(Value::String(text)) => Ok(text),
            Ok(_) => Err(UnixctlError::NoText(self.socket())),
            Err(error) => Err(UnixctlError::Refused { command: command.to_owned(), error }),
        }
    }

    /// The addresses that a bridge has learned.
    ///
    /// # Errors
    ///
    /// As [`Unixctl::call`]; and when the answer is no table of addresses.
    pub async fn fdb(&mut self, bridge: &BridgeName) -> Result<Fdb, UnixctlError> {
        let shown = self.call("fdb/show", &[&bridge.0]).await?;
        let wrong = |source| UnixctlError::Fdb { bridge: bridge.clone(), source };
        Fdb::parse(&shown, &BTreeMap::new()).map_err(wrong)
    }

    async fn answer(&mut self, id: &str) -> Result<Result<Value, String>, UnixctlError> {
        let deadline = Link::answer_deadline();
        loop {
            while let Some(object) = self.incoming.next_object() {
                let message = serde_json::from_slice(&object);
                let message = message.map_err(|_| UnixctlError::NoText(self.socket()))?;
                if let Incoming::Answer(answer) = message::classify(message, Some(id)) {
                    return Ok(answer);
                }
            }
            if self.incoming.waiting() > ANSWER_LIMIT {
                return Err(UnixctlError::TooLarge(self.socket()));
            }
            let mut chunk = Vec::new();
            let read = self.link.read(&mut chunk, deadline).await;
            read.map_err(|error| self.broke(error))?;
            self.incoming.push(&chunk);
        }
    }

    fn socket(&self) -> PathBuf {
        self.link.socket().to_owned()
    }

    fn broke(&self, error: LinkError) -> UnixctlError {
        let socket = self.socket();
        match error {
            LinkError::Io(source) => UnixctlError::Io { socket, source },
            LinkError::Closed => UnixctlError::Closed(socket),
            LinkError::Silent { seconds } => UnixctlError::Silent { socket, seconds },
        }
    }
}

/// `ovs-vswitchd.<pid>.ctl` of the process that wrote its number down, then whatever else looks like one.
fn sockets(run_dir: &Path) -> Vec<PathBuf> {
    let pid = std::fs::read_to_string(run_dir.join(format!("{DAEMON}.pid"))).unwrap_or_default();
    let told = run_dir.join(format!("{DAEMON}.{}.ctl", pid.trim()));
    let entries = std::fs::read_dir(run_dir).into_iter().flatten().filter_map(Result::ok);
    let mut others: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_socket(path) && *path != told).collect();
    others.sort();
    let told = Some(told).filter(|path| path.exists());
    told.into_iter().chain(others).collect()
}

fn is_socket(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix(DAEMON).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".ctl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_wrote_its_number_down_is_asked_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["ovs-vswitchd.7.ctl", "ovs-vswitchd.12.ctl", "ovsdb-server.3.ctl", "db.sock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names = || -> Vec<String> {
            let found = sockets(directory.path()).into_iter();
            found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(), ["ovs-vswitchd.12.ctl", "ovs-vswitchd.7.ctl"]);
        std::fs::write(directory.path().join("ovs-vswitchd.pid"), "7\n").unwrap();
        assert_eq!(names(), ["ovs-vswitchd.7.ctl", "ovs-vswitchd.12.ctl"]);
    }

    #[tokio::test]
    async fn without_a_switch_the_error_says_where_it_was_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let error = Unixctl::find(directory.path()).await.unwrap_err().to_string();
        assert!(error.starts_with("no control socket of ovs-vswitchd in "), "{error}");
    }
}
