//! The ports and settings of Open vSwitch, over the socket of its database server (RFC 7047).
//!
//! [`OvsdbConn::watch`] gives the rows as they are; after it [`OvsdbConn::next_updates`] tells every change. The plain
//! `monitor` is used, whose changes are whole rows: the later kinds save bytes that matter to databases much larger
//! than that of a node, and need the schema to be understood. The server speaks JSON-RPC 1.0 and hangs up on a request
//! that carries a `jsonrpc` member.

use std::collections::VecDeque;
use std::path::Path;

use flow_compiler::ports::{Database, RowUpdate};
use ovsdb_client::message::{self, Incoming};
use ovsdb_client::{JsonStream, OPEN_VSWITCH, OvsdbError, Remote};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::link::{Link, LinkError};
use super::rows;

/// One message may not fill the memory.
const MESSAGE_LIMIT: usize = 64 << 20;
const WATCH_ID: &str = "watch";
const PROBE_ID: &str = "echo";

/// What is asked of each table. Counters are not: they change every few seconds.
const TABLES: [(&str, &[&str]); 7] = [
    (
        "Open_vSwitch",
        &["bridges", "manager_options", "other_config", "external_ids", "ovs_version"],
    ),
    (
        "Bridge",
        &[
            "name",
            "ports",
            "datapath_type",
            "protocols",
            "controller",
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
            "flood_vlans",
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
    ("Controller", &["target", "connection_mode"]),
    ("Manager", &["target", "connection_mode"]),
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
            "snaplen",
            "filter",
        ],
    ),
];

/// A connection to the database server.
#[derive(Debug)]
pub struct OvsdbConn {
    remote: Remote,
    link: Link,
    incoming: JsonStream,
    updates: VecDeque<Vec<RowUpdate>>,
}

impl OvsdbConn {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<OvsdbConn, OvsdbError> {
        let connect = |source| OvsdbError::Connect { remote: Remote::from(socket), source };
        Ok(OvsdbConn {
            remote: Remote::from(socket),
            link: Link::connect(socket).await.map_err(connect)?,
            incoming: JsonStream::default(),
            updates: VecDeque::new(),
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
            match self.read_message(self.link.news_deadline()).await {
                Ok(message) => self.take_news(message::classify(message, None)),
                Err(OvsdbError::Silent { .. }) if self.link.may_probe() => {
                    self.send(&message::echo(PROBE_ID));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a message into the queue; it leaves with the next read.
    fn send(&mut self, message: &Value) {
        self.link.send(message.to_string().as_bytes());
    }

    async fn answer(&mut self, id: &str) -> Result<Value, OvsdbError> {
        loop {
            let message = self.read_message(Link::answer_deadline()).await?;
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
        loop {
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
            let mut chunk = Vec::new();
            let read = self.link.read(&mut chunk, deadline).await;
            read.map_err(|error| self.broke(error))?;
            self.incoming.push(&chunk);
        }
    }

    fn broke(&self, error: LinkError) -> OvsdbError {
        let remote = self.remote.clone();
        match error {
            LinkError::Io(source) => OvsdbError::Io { remote, source },
            LinkError::Closed => OvsdbError::Closed { remote },
            LinkError::Silent { seconds } => OvsdbError::Silent { remote, seconds },
        }
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
