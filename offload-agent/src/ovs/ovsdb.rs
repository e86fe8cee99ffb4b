//! The ports and settings of Open vSwitch, over the socket of its database server (RFC 7047).
//!
//! [`OvsdbConn::watch`] gives the rows as they are; after it [`OvsdbConn::next_updates`] tells every change. The plain
//! `monitor` is used, whose changes are whole rows: the later kinds save bytes that matter to databases much larger
//! than that of a node, and need the schema to be understood. The server speaks JSON-RPC 1.0 and hangs up on a request
//! that carries a `jsonrpc` member.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_compiler::ports::{Database, RowUpdate};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::json_stream::JsonStream;
use super::rows;

const DATABASE: &str = "Open_vSwitch";
/// How long an answer, or a piece of it, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After so much silence we ask whether the server is still there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// One message may not fill the memory.
const MESSAGE_LIMIT: usize = 64 << 20;
const READ_CHUNK: usize = 64 << 10;
const WATCH_ID: &str = "watch";
const PROBE_ID: &str = "echo";

/// What is asked of each table. Counters are not: they change every few seconds.
const TABLES: [(&str, &[&str]); 5] = [
    ("Open_vSwitch", &["bridges", "other_config", "external_ids", "ovs_version"]),
    (
        "Bridge",
        &[
            "name",
            "ports",
            "datapath_type",
            "protocols",
            "fail_mode",
            "other_config",
            "external_ids",
            "mirrors",
            "stp_enable",
            "rstp_enable",
            "auto_attach",
            "netflow",
            "sflow",
            "ipfix",
            "mcast_snooping_enable",
        ],
    ),
    (
        "Port",
        &[
            "name",
            "interfaces",
            "tag",
            "trunks",
            "cvlans",
            "vlan_mode",
            "bond_mode",
            "lacp",
            "protected",
            "qos",
            "other_config",
            "external_ids",
        ],
    ),
    (
        "Interface",
        &[
            "name",
            "type",
            "ofport",
            "ofport_request",
            "ifindex",
            "mac_in_use",
            "admin_state",
            "link_state",
            "mtu",
            "options",
            "other_config",
            "external_ids",
            "ingress_policing_rate",
            "ingress_policing_burst",
            "ingress_policing_kpkts_rate",
            "ingress_policing_kpkts_burst",
            "bfd",
            "cfm_mpid",
            "lldp",
        ],
    ),
    (
        "Mirror",
        &[
            "name",
            "select_all",
            "select_src_port",
            "select_dst_port",
            "select_vlan",
            "output_port",
            "output_vlan",
        ],
    ),
];

/// What went wrong between us and the database server.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nobody listens.
    #[error(
        "cannot connect to {socket}: {source}; ovsdb-server must run, and `ovs.database` must name its socket"
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {socket} broke: {source}")]
    Io {
        /// The socket.
        socket: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The server hung up.
    #[error("ovsdb-server closed the connection to {socket}")]
    Closed {
        /// The socket.
        socket: PathBuf,
    },
    /// The server does not answer.
    #[error("ovsdb-server says nothing on {socket} for {seconds} s")]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// For how long.
        seconds: u64,
    },
    /// The server refused a request.
    #[error("ovsdb-server refused to be watched on {socket}: {error}")]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What it says.
        error: String,
    },
    /// A message is larger than any node's database should be.
    #[error("a message on {socket} is larger than {limit} bytes")]
    TooLarge {
        /// The socket.
        socket: PathBuf,
        /// The most that is taken.
        limit: usize,
    },
    /// The server sent bytes that are not JSON.
    #[error("on {socket}: {source}")]
    Decode {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with them.
        source: serde_json::Error,
    },
}

/// A connection to the database server.
#[derive(Debug)]
pub struct OvsdbConn {
    socket: PathBuf,
    stream: UnixStream,
    incoming: JsonStream,
    outgoing: Vec<u8>,
    updates: VecDeque<Vec<RowUpdate>>,
    last_heard: Instant,
    probed: bool,
}

impl OvsdbConn {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<OvsdbConn, OvsdbError> {
        let connect = |source| OvsdbError::Connect { socket: socket.to_owned(), source };
        Ok(OvsdbConn {
            socket: socket.to_owned(),
            stream: UnixStream::connect(socket).await.map_err(connect)?,
            incoming: JsonStream::default(),
            outgoing: Vec::new(),
            updates: VecDeque::new(),
            last_heard: Instant::now(),
            probed: false,
        })
    }

    /// The database as it is now; from here on every change of it is told.
    pub async fn watch(&mut self) -> Result<Database, OvsdbError> {
        let tables = self.tables_there().await?;
        self.send(&watch_request(&tables));
        let mut database = Database::default();
        database.apply_all(rows::updates(&self.answer(WATCH_ID).await?));
        Ok(database)
    }

    /// The columns to ask for: an older server does not have all of them, and would refuse.
    async fn tables_there(&mut self) -> Result<Value, OvsdbError> {
        self.send(&json!({"id": "schema", "method": "get_schema", "params": [DATABASE]}));
        let schema = self.answer("schema").await?;
        Ok(known_columns(&schema))
    }

    /// Waits for the next changes, which were made together. Nothing is lost when the wait is given up.
    pub async fn next_updates(&mut self) -> Result<Vec<RowUpdate>, OvsdbError> {
        loop {
            if let Some(updates) = self.updates.pop_front() {
                return Ok(updates);
            }
            let patience = if self.probed { PROBE_AFTER + ANSWER_TIMEOUT } else { PROBE_AFTER };
            match self.read_message(self.last_heard + patience).await {
                Ok(message) => self.take_news(&message),
                Err(OvsdbError::Silent { .. }) if !self.probed => self.probe(),
                Err(error) => return Err(error),
            }
        }
    }

    fn probe(&mut self) {
        self.probed = true;
        self.send(&json!({"id": PROBE_ID, "method": "echo", "params": []}));
    }

    /// Puts a message into the queue; it leaves with the next read.
    fn send(&mut self, message: &Value) {
        self.outgoing.extend(message.to_string().into_bytes());
    }

    async fn answer(&mut self, id: &str) -> Result<Value, OvsdbError> {
        loop {
            let mut message = self.read_message(Instant::now() + ANSWER_TIMEOUT).await?;
            let is_answer = message.get("id").and_then(Value::as_str) == Some(id)
                && message.get("method").is_none();
            match message.get("error").filter(|error| !error.is_null()) {
                Some(error) if is_answer => {
                    return Err(OvsdbError::Refused {
                        socket: self.socket.clone(),
                        error: error.to_string(),
                    });
                }
                _ if is_answer => {
                    return Ok(message.get_mut("result").map(Value::take).unwrap_or_default());
                }
                _ => self.take_news(&message),
            }
        }
    }

    fn take_news(&mut self, message: &Value) {
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => self.send(&echo_reply(message)),
            Some("update") => {
                let tables = message.get("params").and_then(|params| params.get(1));
                self.updates.extend(tables.map(rows::updates));
            }
            _ => {}
        }
    }

    /// The next message. What has been read of it is kept when the wait is given up.
    async fn read_message(&mut self, deadline: Instant) -> Result<Value, OvsdbError> {
        let mut chunk = vec![0; READ_CHUNK];
        loop {
            self.flush().await?;
            if let Some(object) = self.incoming.next_object() {
                let decode = |source| OvsdbError::Decode { socket: self.socket.clone(), source };
                return serde_json::from_slice(&object).map_err(decode);
            }
            if self.incoming.waiting() > MESSAGE_LIMIT {
                return Err(OvsdbError::TooLarge {
                    socket: self.socket.clone(),
                    limit: MESSAGE_LIMIT,
                });
            }
            match timeout_at(deadline, self.stream.read(&mut chunk)).await {
                Err(_) => return Err(self.silent()),
                Ok(Ok(0)) => return Err(OvsdbError::Closed { socket: self.socket.clone() }),
                Ok(Ok(count)) => self.heard(chunk.get(..count).unwrap_or_default()),
                Ok(Err(source)) => {
                    return Err(OvsdbError::Io { socket: self.socket.clone(), source });
                }
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.last_heard = Instant::now();
        self.probed = false;
        self.incoming.push(bytes);
    }

    fn silent(&self) -> OvsdbError {
        OvsdbError::Silent {
            socket: self.socket.clone(),
            seconds: self.last_heard.elapsed().as_secs(),
        }
    }

    async fn flush(&mut self) -> Result<(), OvsdbError> {
        while !self.outgoing.is_empty() {
            let written = self.stream.write(&self.outgoing).await;
            let written =
                written.map_err(|source| OvsdbError::Io { socket: self.socket.clone(), source })?;
            self.outgoing.drain(..written);
        }
        Ok(())
    }
}

fn watch_request(tables: &Value) -> Value {
    json!({"id": WATCH_ID, "method": "monitor", "params": [DATABASE, null, tables]})
}

fn echo_reply(request: &Value) -> Value {
    json!({"id": request.get("id"), "result": request.get("params"), "error": null})
}

/// Of what we would ask for, what the schema has.
fn known_columns(schema: &Value) -> Value {
    let has = |table: &str, column: &str| schema["tables"][table]["columns"].get(column).is_some();
    let tables = TABLES.iter().map(|(table, columns)| {
        let known: Vec<&str> =
            columns.iter().copied().filter(|column| has(table, column)).collect();
        ((*table).to_owned(), json!({"columns": known}))
    });
    Value::Object(tables.collect())
}
