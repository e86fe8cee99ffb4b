//! The ports and settings of Open vSwitch, over the socket of its database server (RFC 7047).
//!
//! [`OvsdbConn::watch`] gives the rows as they are; after it [`OvsdbConn::next_updates`] tells every change. The plain
//! `monitor` is used, whose changes are whole rows: the later kinds save bytes that matter to databases much larger
//! than that of a node, and need the schema to be understood. The server speaks JSON-RPC 1.0 and hangs up on a request
//! that carries a `jsonrpc` member.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use flow_compiler::ports::{Database, RowUpdate};
use ovsdb_client::message::{self, Incoming};
use ovsdb_client::{JsonStream, OPEN_VSWITCH, OvsdbError, Remote};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::rows;

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

/// A connection to the database server.
#[derive(Debug)]
pub struct OvsdbConn {
    remote: Remote,
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
        let connect = |source| OvsdbError::Connect { remote: Remote::from(socket), source };
        Ok(OvsdbConn {
            remote: Remote::from(socket),
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
        self.send(&message::request("schema", "get_schema", &json!([OPEN_VSWITCH])));
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
                Ok(message) => self.take_news(message::classify(message, None)),
                Err(OvsdbError::Silent { .. }) if !self.probed => self.probe(),
                Err(error) => return Err(error),
            }
        }
    }

    fn probe(&mut self) {
        self.probed = true;
        self.send(&message::echo(PROBE_ID));
    }

    /// Puts a message into the queue; it leaves with the next read.
    fn send(&mut self, message: &Value) {
        self.outgoing.extend(message.to_string().into_bytes());
    }

    async fn answer(&mut self, id: &str) -> Result<Value, OvsdbError> {
        loop {
            let message = self.read_message(Instant::now() + ANSWER_TIMEOUT).await?;
            match message::classify(message, Some(id)) {
                Incoming::Answer(Ok(result)) => return Ok(result),
                Incoming::Answer(Err(error)) => {
                    return Err(OvsdbError::Refused { remote: self.remote.clone(), error });
                }
                news => self.take_news(news),
            }
        }
    }

    fn take_news(&mut self, news: Incoming) {
        match news {
            Incoming::Echo(reply) => self.send(&reply),
            Incoming::Update(tables) => self.updates.push_back(rows::updates(&tables)),
            Incoming::Answer(_) | Incoming::Other => {}
        }
    }

    /// The next message. What has been read of it is kept when the wait is given up.
    async fn read_message(&mut self, deadline: Instant) -> Result<Value, OvsdbError> {
        let mut chunk = vec![0; READ_CHUNK];
        loop {
            self.flush().await?;
            if let Some(object) = self.incoming.next_object() {
                let decode = |source| OvsdbError::Decode { remote: self.remote.clone(), source };
                return serde_json::from_slice(&object).map_err(decode);
            }
            if self.incoming.waiting() > MESSAGE_LIMIT {
                return Err(OvsdbError::TooLarge {
                    remote: self.remote.clone(),
                    limit: MESSAGE_LIMIT,
                });
            }
            match timeout_at(deadline, self.stream.read(&mut chunk)).await {
                Err(_) => return Err(self.silent()),
                Ok(Ok(0)) => return Err(OvsdbError::Closed { remote: self.remote.clone() }),
                Ok(Ok(count)) => self.heard(chunk.get(..count).unwrap_or_default()),
                Ok(Err(source)) => {
                    return Err(OvsdbError::Io { remote: self.remote.clone(), source });
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
            remote: self.remote.clone(),
            seconds: self.last_heard.elapsed().as_secs(),
        }
    }

    async fn flush(&mut self) -> Result<(), OvsdbError> {
        while !self.outgoing.is_empty() {
            let written = self.stream.write(&self.outgoing).await;
            let written =
                written.map_err(|source| OvsdbError::Io { remote: self.remote.clone(), source })?;
            self.outgoing.drain(..written);
        }
        Ok(())
    }
}

fn watch_request(tables: &Value) -> Value {
    message::request(WATCH_ID, "monitor", &json!([OPEN_VSWITCH, null, tables]))
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
