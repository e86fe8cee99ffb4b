//! A representor's port on an OVS bridge: one transaction puts it there with all that is said of it, one takes it away.
//!
//! The port carries our mark and the container's id, so that it is known without the ledger. Each attempt begins with a
//! look, so it may be made again when the server went away in between.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ovsdb_client::value::{self, Uuid, key, map, named_uuid, set};
use ovsdb_client::{
    Client, Condition, Mutator, OPEN_VSWITCH, OvsdbError, Remote, Transaction, Until, columns,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::conf::{BridgeConf, Limit};

/// Who a port belongs to, in `external_ids:owner` of its Port.
pub const OWNER: &str = "sriov-cni.linerate.dev";

/// Between two attempts to reach a server that restarts.
const RETRY: Duration = Duration::from_millis(100);

/// A representor's port on an OVS bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsPort {
    /// The bridge.
    pub bridge: String,
    /// The representor.
    pub netdev: String,
    /// Where the database is.
    pub database: String,
    /// How long the switch may take, in milliseconds.
    pub patience_ms: u64,
    /// The VLANs.
    pub tagging: Tagging,
    /// `external_ids` of the Port.
    pub port_ids: Vec<(String, String)>,
    /// `external_ids` of the Interface.
    pub interface_ids: Vec<(String, String)>,
    /// The OpenFlow number asked for.
    pub ofport_request: Option<u16>,
    /// The Interface's type.
    pub interface_type: Option<String>,
    /// Mirrors, and whether what the pod sends and gets is copied.
    pub mirrors: Vec<(String, bool, bool)>,
    /// What the pod gets at most: kbit/s and kbit.
    pub ingress: Option<(u64, u64)>,
    /// What is taken from the pod at most.
    pub egress: Option<(u64, u64)>,
}

/// The VLANs of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tagging {
    /// All, as they come.
    All,
    /// One, unseen by the pod.
    Access(u16),
    /// One of the service provider's, around the pod's own.
    Tunnel(u16),
    /// These, by the pod's own tags.
    Trunk(Vec<u16>),
}

/// What went wrong on an OVS bridge.
#[derive(Debug, thiserror::Error)]
pub enum OvsError {
    /// The database.
    #[error(transparent)]
    Database(#[from] OvsdbError),
    /// The record is not ours.
    #[error("database {0:?}: {1}")]
    Remote(String, ovsdb_client::InvalidRemote),
    /// There is no such bridge.
    #[error(
        "bridge: there is no OVS bridge {bridge:?}; make it (ovs-vsctl add-br {bridge}), or name one of {there}"
    )]
    NoBridge {
        /// Asked for.
        bridge: String,
        /// Those there are.
        there: String,
    },
    /// A mirror is not on the bridge.
    #[error(
        "mirrors: bridge {bridge} has no mirror {mirror:?}; make it first, with its output port"
    )]
    NoMirror {
        /// The bridge.
        bridge: String,
        /// Asked for.
        mirror: String,
    },
    /// Somebody else put the representor on a bridge.
    #[error(
        "representor {netdev} is already a port of bridge {bridge}, and not one of ours; take it off: ovs-vsctl del-port {bridge} {netdev}"
    )]
    Foreign {
        /// The representor.
        netdev: String,
        /// The bridge it is on.
        bridge: String,
    },
    /// The switch could not use the netdev.
    #[error("ovs-vswitchd cannot use {netdev}: {error}")]
    Unusable {
        /// The representor.
        netdev: String,
        /// The switch's sentence.
        error: String,
    },
    /// The switch did not answer in time.
    #[error(
        "ovs-vswitchd has not taken {netdev} within {seconds} s; see whether it runs, and its log"
    )]
    NotTaken {
        /// The representor.
        netdev: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The switch still has the netdev.
    #[error(
        "ovs-vswitchd has not let go of {netdev} within {seconds} s; see whether it runs, and its log"
    )]
    NotReleased {
        /// The representor.
        netdev: String,
        /// How long was waited.
        seconds: u64,
    },
}

impl OvsError {
    /// Whether the same may succeed in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_transient(),
            Self::NotTaken { .. } | Self::NotReleased { .. } => true,
            _ => false,
        }
    }
}

/// What is in the database now of what a port has to do with.
#[derive(Debug)]
struct Seen {
    bridge: Uuid,
    /// Our port, when it is there already.
    ours: Option<Uuid>,
    /// Ports that must go: ours of another time, and others with the same `iface-id`.
    stale: Vec<(Uuid, Uuid)>,
    mirrors: Vec<(Uuid, bool, bool)>,
}

impl OvsPort {
    /// The port that a configuration asks for.
    #[must_use]
    pub fn new(conf: &BridgeConf, netdev: &str, tagging: Tagging) -> Self {
        let limit = |limit: Limit| (limit.kbps, limit.burst_kbits);
        Self {
            bridge: conf.name.clone(),
            netdev: netdev.to_owned(),
            database: match &conf.socket {
                Remote::Unix(path) => format!("unix:{}", path.display()),
                Remote::Tcp(address) => format!("tcp:{address}"),
            },
            patience_ms: u64::try_from(conf.patience.as_millis()).unwrap_or(u64::MAX),
            tagging,
            port_ids: Vec::new(),
            interface_ids: conf
                .iface_id
                .iter()
                .map(|id| ("iface-id".to_owned(), id.clone()))
                .collect(),
            ofport_request: conf.ofport_request,
            interface_type: conf.interface_type.clone(),
            mirrors: conf.mirrors.iter().map(|m| (m.name.clone(), m.ingress, m.egress)).collect(),
            ingress: conf.rates.ingress.map(limit),
            egress: conf.rates.egress.map(limit),
        }
    }

    /// Whether the database answers, before anything is recorded or done: what was never there need not be taken back.
    ///
    /// # Errors
    /// [`OvsError`].
    pub fn is_reachable(&self) -> Result<(), OvsError> {
        self.persist(|_, _| Ok(()))
    }

    /// Puts the representor on the bridge and waits until the switch has given it a number.
    ///
    /// # Errors
    /// [`OvsError`]. Something of it may be there; [`OvsPort::detach`] takes it away.
    pub fn attach(&self) -> Result<u16, OvsError> {
        self.persist(|port, client| {
            let seen = port.look(client)?;
            if seen.ours.is_none() {
                client.transact(&port.addition(&seen))?;
            }
            port.wait_for_number(client)
        })
    }

    /// Takes it away, and waits until the switch has let go of it. Nothing there is success.
    ///
    /// # Errors
    /// [`OvsError`]; something is left then.
    pub fn detach(&self) -> Result<(), OvsError> {
        self.persist(|port, client| {
            let found = Self::find(
                client,
                "Port",
                &[Condition::is("name", port.netdev.as_str())],
                &["_uuid", "external_ids"],
            )?;
            let ours: Vec<Uuid> =
                found.iter().filter(|row| port.is_ours(row)).filter_map(uuid).collect();
            let qos = Self::find(
                client,
                "QoS",
                &[Condition::includes("external_ids", port.mark())],
                &["_uuid"],
            )?;
            if ours.is_empty() && qos.is_empty() {
                return Ok(());
            }
            port.remove(client, &ours)
        })
    }

    /// The number that the switch gives the port now.
    ///
    /// # Errors
    /// [`OvsError`]; also when the switch does not have the port.
    pub(super) fn number_now(&self) -> Result<u16, OvsError> {
        let mut client = Client::connect(&self.remote()?)?;
        let named = [Condition::is("name", self.netdev.as_str())];
        let found = Self::find(&mut client, "Interface", &named, &["ofport", "error"])?;
        self.number(found.first().unwrap_or(&Value::Null))
    }

    /// Makes attempts until one succeeds, fails for good, or the patience is at its end.
    fn persist<T>(
        &self,
        mut attempt: impl FnMut(&Self, &mut Client) -> Result<T, OvsError>,
    ) -> Result<T, OvsError> {
        let (remote, deadline) = (self.remote()?, Instant::now() + self.patience());
        loop {
            let result = Client::connect(&remote)
                .map_err(OvsError::from)
                .and_then(|mut client| attempt(self, &mut client));
            match result {
                Err(OvsError::Database(error))
                    if error.is_transient() && Instant::now() < deadline =>
                {
                    sleep(RETRY)
                }
                result => return result,
            }
        }
    }

    pub(super) fn remote(&self) -> Result<Remote, OvsError> {
        self.database.parse().map_err(|error| OvsError::Remote(self.database.clone(), error))
    }

    /// Where the database's socket is, as the bridges' sockets are beside it.
    pub(crate) fn database_path(&self) -> &Path {
        Path::new(self.database.strip_prefix("unix:").unwrap_or("/var/run/openvswitch/db.sock"))
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    fn find(
        client: &mut Client,
        table: &str,
        rows: &[Condition],
        columns: &[&str],
    ) -> Result<Vec<Value>, OvsError> {
        let found = client.transact(&Transaction::on(OPEN_VSWITCH).select(table, rows, columns))?;
        Ok(found.rows(0).to_vec())
    }

    fn look(&self, client: &mut Client) -> Result<Seen, OvsError> {
        let bridges = Self::find(client, "Bridge", &[], &["_uuid", "name", "ports", "mirrors"])?;
        let named = bridges.iter().find(|bridge| bridge["name"] == json!(self.bridge));
        let bridge = named.ok_or_else(|| self.no_bridge(&bridges))?;
        let same_name = Self::find(
            client,
            "Port",
            &[Condition::is("name", self.netdev.as_str())],
            &["_uuid", "external_ids"],
        )?;
        let mut seen = Seen {
            bridge: uuid(bridge).ok_or_else(|| self.no_bridge(&bridges))?,
            ours: None,
            stale: Vec::new(),
            mirrors: self.find_mirrors(client, bridge)?,
        };
        for port in &same_name {
            self.judge(port, &bridges, &mut seen)?;
        }
        seen.stale.extend(self.with_same_iface_id(client, &bridges)?);
        Ok(seen)
    }

    /// A port that has the representor's name: ours, ours of another container, or somebody's.
    fn judge(&self, port: &Value, bridges: &[Value], seen: &mut Seen) -> Result<(), OvsError> {
        let Some(id) = uuid(port) else { return Ok(()) };
        let Some(bridge) = bridge_of(&id, bridges) else { return Ok(()) };
        let on_bridge = uuid(bridge).as_ref() == Some(&seen.bridge);
        if self.is_ours(port) && on_bridge {
            seen.ours = Some(id);
        } else if key(&port["external_ids"], "owner") == Some(OWNER) {
            seen.stale.extend(uuid(bridge).map(|bridge| (bridge, id)));
        } else {
            let bridge = bridge["name"].as_str().unwrap_or_default().to_owned();
            return Err(OvsError::Foreign { netdev: self.netdev.clone(), bridge });
        }
        Ok(())
    }

    fn with_same_iface_id(
        &self,
        client: &mut Client,
        bridges: &[Value],
    ) -> Result<Vec<(Uuid, Uuid)>, OvsError> {
        let Some((_, id)) = self.interface_ids.iter().find(|(name, _)| name == "iface-id") else {
            return Ok(Vec::new());
        };
        let same = [Condition::includes("external_ids", map([("iface-id", id.as_str())]))];
        let interfaces = Self::find(client, "Interface", &same, &["_uuid", "name"])?;
        let others =
            interfaces.iter().filter(|row| row["name"] != json!(self.netdev)).filter_map(uuid);
        let mut ports = Vec::new();
        for interface in others {
            let of = [Condition::includes("interfaces", interface.to_json())];
            ports.extend(Self::find(client, "Port", &of, &["_uuid"])?.iter().filter_map(uuid));
        }
        Ok(ports
            .into_iter()
            .filter_map(|port| Some((uuid(bridge_of(&port, bridges)?)?, port)))
            .collect())
    }

    fn find_mirrors(
        &self,
        client: &mut Client,
        bridge: &Value,
    ) -> Result<Vec<(Uuid, bool, bool)>, OvsError> {
        let there = value::uuids(&bridge["mirrors"]);
        let mut found = Vec::new();
        for (name, ingress, egress) in &self.mirrors {
            let rows =
                Self::find(client, "Mirror", &[Condition::is("name", name.as_str())], &["_uuid"])?;
            let mirror = rows.iter().filter_map(uuid).find(|mirror| there.contains(mirror));
            let missing =
                || OvsError::NoMirror { bridge: self.bridge.clone(), mirror: name.clone() };
            found.push((mirror.ok_or_else(missing)?, *ingress, *egress));
        }
        Ok(found)
    }

    fn no_bridge(&self, bridges: &[Value]) -> OvsError {
        let names: Vec<&str> =
            bridges.iter().filter_map(|bridge| bridge["name"].as_str()).collect();
        let there =
            if names.is_empty() { "none, for there is none".to_owned() } else { names.join(", ") };
        OvsError::NoBridge { bridge: self.bridge.clone(), there }
    }

    /// All of the port, in one transaction.
    fn addition(&self, seen: &Seen) -> Transaction {
        let new = || set([named_uuid("port")]);
        let mut transaction = Transaction::on(OPEN_VSWITCH);
        for (bridge, port) in &seen.stale {
            let row = [Condition::row(bridge)];
            transaction =
                transaction.mutate("Bridge", &row, "ports", Mutator::Delete, port.to_json());
        }
        transaction = transaction.insert("Interface", "interface", self.interface_row());
        if let Some((kbps, burst)) = self.ingress {
            transaction = transaction.insert("Queue", "queue", self.queue_row(kbps, burst));
            transaction = transaction.insert("QoS", "qos", self.qos_row(kbps));
        }
        transaction = transaction.insert("Port", "port", self.port_row());
        let bridge = [Condition::row(&seen.bridge)];
        transaction = transaction.mutate("Bridge", &bridge, "ports", Mutator::Insert, new());
        for (mirror, ingress, egress) in &seen.mirrors {
            let row = [Condition::row(mirror)];
            for column in mirror_columns(*ingress, *egress) {
                transaction = transaction.mutate("Mirror", &row, column, Mutator::Insert, new());
            }
        }
        transaction.comment(&format!("sriov-cni: {} to {}", self.netdev, self.bridge))
    }

    fn interface_row(&self) -> Map<String, Value> {
        let mut row =
            columns([("name", json!(self.netdev)), ("external_ids", pairs(&self.interface_ids))]);
        let mut put = |column: &str, value: Option<Value>| {
            row.extend(value.map(|value| (column.to_owned(), value)));
        };
        put(
            "type",
            self.interface_type.as_ref().filter(|kind| *kind != "system").map(|kind| json!(kind)),
        );
        put("ofport_request", self.ofport_request.map(|number| json!(number)));
        put("ingress_policing_rate", self.egress.map(|(kbps, _)| json!(kbps)));
        put("ingress_policing_burst", self.egress.map(|(_, burst)| json!(burst)));
        row
    }

    fn port_row(&self) -> Map<String, Value> {
        let mut row = columns([
            ("name", json!(self.netdev)),
            ("interfaces", set([named_uuid("interface")])),
            ("external_ids", pairs(&self.port_ids)),
        ]);
        row.extend(self.vlan_columns());
        if self.ingress.is_some() {
            row.insert("qos".to_owned(), named_uuid("qos"));
        }
        row
    }

    pub(super) fn vlan_columns(&self) -> Vec<(String, Value)> {
        let columns = match &self.tagging {
            Tagging::All => vec![],
            Tagging::Access(vlan) => vec![("tag", json!(vlan)), ("vlan_mode", json!("access"))],
            Tagging::Tunnel(vlan) => vec![
                ("tag", json!(vlan)),
                ("vlan_mode", json!("dot1q-tunnel")),
                ("other_config", map([("qinq-ethtype", "802.1ad")])),
            ],
            Tagging::Trunk(vlans) => {
                vec![("trunks", set(vlans.iter().copied())), ("vlan_mode", json!("trunk"))]
            }
        };
        columns.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
    }

    /// OVS counts rates of queues in bit/s.
    fn qos_row(&self, kbps: u64) -> Map<String, Value> {
        columns([
            ("type", json!("linux-htb")),
            ("other_config", map([("max-rate", (kbps * 1000).to_string())])),
            ("queues", json!(["map", [[0, named_uuid("queue")]]])),
            ("external_ids", self.mark()),
        ])
    }

    fn queue_row(&self, kbps: u64, burst_kbits: u64) -> Map<String, Value> {
        let mut config = vec![("max-rate", (kbps * 1000).to_string())];
        if burst_kbits != 0 {
            config.push(("burst", (burst_kbits * 1000).to_string()));
        }
        columns([("other_config", map(config)), ("external_ids", self.mark())])
    }

    /// What all rows of this attachment carry: whose it is, and of which container and interface.
    pub(super) fn mark(&self) -> Value {
        let names = ["owner", "contId", "contIface"];
        let marks = self.port_ids.iter().filter(|(name, _)| names.contains(&name.as_str()));
        map(marks.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    pub(super) fn is_ours(&self, port: &Value) -> bool {
        let names = ["owner", "contId", "contIface"];
        let marks = self.port_ids.iter().filter(|(name, _)| names.contains(&name.as_str()));
        marks.into_iter().all(|(name, value)| key(&port["external_ids"], name) == Some(value))
    }

    /// Before the port goes: see [`without_limits`].
    fn lift_limits(&self, client: &mut Client, ports: &[Uuid]) -> Result<(), OvsError> {
        let limited = self.ingress.is_some() || self.egress.is_some();
        if !limited || ports.is_empty() {
            return Ok(());
        }
        let lift = |transaction, port| without_limits(transaction, port, &self.netdev);
        let transaction = ports.iter().fold(Transaction::on(OPEN_VSWITCH), lift);
        self.configure(client, transaction)
    }

    fn remove(&self, client: &mut Client, ports: &[Uuid]) -> Result<(), OvsError> {
        self.lift_limits(client, ports)?;
        let marked = [Condition::includes("external_ids", self.mark())];
        let mut transaction = Transaction::on(OPEN_VSWITCH);
        for port in ports {
            transaction = leave(transaction, port);
        }
        let transaction = transaction.delete("QoS", &marked).delete("Queue", &marked);
        let transaction =
            transaction.comment(&format!("sriov-cni: {} from {}", self.netdev, self.bridge));
        self.configure(client, transaction)
    }

    /// Waits until the switch has done it.
    fn configure(&self, client: &mut Client, transaction: Transaction) -> Result<(), OvsError> {
        match client.configure(transaction, self.patience()) {
            Err(error) if error.is_wait_timeout() => Err(OvsError::NotReleased {
                netdev: self.netdev.clone(),
                seconds: self.patience().as_secs(),
            }),
            done => Ok(done.map(drop)?),
        }
    }

    fn wait_for_number(&self, client: &mut Client) -> Result<u16, OvsError> {
        let row = [Condition::is("name", self.netdev.as_str())];
        let none = columns([("ofport", set::<Value>([]))]);
        let wait = Transaction::on(OPEN_VSWITCH)
            .wait("Interface", &row, Until::NotEqual, &[none], self.patience())
            .select("Interface", &row, &["ofport", "error"]);
        let found = match client.transact_patiently(&wait, self.patience()) {
            Err(error) if error.is_wait_timeout() => {
                return Err(OvsError::NotTaken {
                    netdev: self.netdev.clone(),
                    seconds: self.patience().as_secs(),
                });
            }
            found => found?,
        };
        self.number(found.rows(1).first().unwrap_or(&Value::Null))
    }

    /// The port's number; -1 is how the switch says that it could not.
    pub(super) fn number(&self, interface: &Value) -> Result<u16, OvsError> {
        let number = interface["ofport"].as_u64().and_then(|number| u16::try_from(number).ok());
        number.ok_or_else(|| OvsError::Unusable {
            netdev: self.netdev.clone(),
            error: interface["error"].as_str().unwrap_or("it has no port number").to_owned(),
        })
    }
}

fn without_qos(transaction: Transaction, port: &Uuid) -> Transaction {
    transaction.update("Port", &[Condition::row(port)], columns([("qos", set::<Value>([]))]))
}

/// A port without its limits, for as long as it takes the switch to see that: it takes queues and policing off a netdev
/// when the port has none any more, and leaves them there when the port goes with them.
pub(super) fn without_limits(transaction: Transaction, port: &Uuid, netdev: &str) -> Transaction {
    let interface = [Condition::is("name", netdev)];
    let none = columns([("ingress_policing_rate", json!(0)), ("ingress_policing_burst", json!(0))]);
    without_qos(transaction, port).update("Interface", &interface, none)
}

/// Off its bridge, and without its QoS: rows that are referred to cannot be deleted, also by one that is about to go.
pub(super) fn leave(transaction: Transaction, port: &Uuid) -> Transaction {
    let on = [Condition::includes("ports", port.to_json())];
    without_qos(transaction, port).mutate("Bridge", &on, "ports", Mutator::Delete, port.to_json())
}

pub(super) fn mirror_columns(ingress: bool, egress: bool) -> impl Iterator<Item = &'static str> {
    let source = ingress.then_some("select_src_port");
    source.into_iter().chain(egress.then_some("select_dst_port"))
}

pub(super) fn uuid(row: &Value) -> Option<Uuid> {
    Uuid::from_json(row.get("_uuid")?)
}

fn bridge_of<'a>(port: &Uuid, bridges: &'a [Value]) -> Option<&'a Value> {
    bridges.iter().find(|bridge| value::uuids(&bridge["ports"]).contains(port))
}

fn pairs(ids: &[(String, String)]) -> Value {
    map(ids.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
