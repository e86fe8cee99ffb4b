//! The configuration of a network, read from everything that has a say in it: the NetConf on stdin, the file it names,
//! what the pod's annotation asks for, the runtime's arguments and capabilities.
//!
//! What is said twice is taken from the first of: `runtimeConfig`, `CNI_ARGS`, `args.cni`, the NetConf, the file.

mod attachments;
mod conflicts;
mod fields;
mod flat_file;
pub mod keys;
mod nearest;
mod problem;
mod rates;
mod vlan;
mod wishes;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ovsdb_client::Remote;
use serde_json::{Map, Value};
use switchdev::PciAddress;
use switchdev::link::VfLinkState;
use tc_filter::Mac;

use crate::log::{Level, LogConf};
use crate::protocol::{Call, Route, Version};
use fields::Fields;

pub use problem::{Problem, Problems};
pub use rates::{Limit, Rates};
pub use vlan::Vlan;
pub use wishes::words;

/// A network's configuration, and what is asked for one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConf {
    /// In which version of the specification to answer.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The VF.
    pub device: Option<PciAddress>,
    /// The pool it comes from.
    pub resource: Option<String>,
    /// What the VF shall be.
    pub vf: VfConf,
    /// The VLAN that the pod does not see.
    pub vlan: Option<Vlan>,
    /// The bridge for the representor; without one the VF is the card's business.
    pub bridge: Option<BridgeConf>,
    /// The pod may only use its own IP addresses.
    pub port_security: bool,
    /// The IPAM plugin.
    pub ipam: Option<IpamConf>,
    /// Routes that the pod's annotation asks for.
    pub routes: Vec<Route>,
    /// A default route by the network's router, though IPAM gives none.
    pub default_route: bool,
    /// Name servers for the result.
    pub dns: Map<String, Value>,
    /// Where the runtime wants to read the device-info.
    pub device_info_file: Option<PathBuf>,
    /// The log.
    pub log: LogConf,
    /// The result of ADD, when CHECK or DEL bring it.
    pub prev_result: Option<Value>,
    /// GC: attachments that are to stay, by container and interface.
    pub valid_attachments: Option<Vec<(String, String)>>,
    /// All of it as it came, for the IPAM plugin.
    pub raw: Map<String, Value>,
}

/// What a VF shall be. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VfConf {
    /// The pod's MAC address.
    pub mac: Option<Mac>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The pod may only use its own MAC address.
    pub spoof_check: Option<bool>,
    /// It may change it, and see others' packets.
    pub trust: Option<bool>,
    /// Whether its link follows the PF's.
    pub link_state: Option<VfLinkState>,
    /// What it may send for sure, Mbit/s.
    pub min_tx_rate: Option<u32>,
    /// The most it may send, Mbit/s.
    pub max_tx_rate: Option<u32>,
}

/// Whose a bridge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeKind {
    /// Open vSwitch's.
    Ovs,
    /// The kernel's own.
    Linux,
}

/// How the representor shall be on its bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConf {
    /// The bridge.
    pub name: String,
    /// Whose it is, where that is said.
    pub kind: Option<BridgeKind>,
    /// The VLANs that the pod may use with its own tags.
    pub trunk: BTreeSet<u16>,
    /// The OpenFlow port number that is asked for.
    pub ofport_request: Option<u16>,
    /// The Interface's type.
    pub interface_type: Option<String>,
    /// OVN's or Kube-OVN's name of the logical port.
    pub iface_id: Option<String>,
    /// Mirrors that the port is part of.
    pub mirrors: Vec<MirrorConf>,
    /// How much the pod may send and get.
    pub rates: Rates,
    /// Where ovsdb-server listens.
    pub socket: Remote,
    /// How long the switch may take to take the port.
    pub patience: Duration,
}

/// A mirror of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorConf {
    /// Its name.
    pub name: String,
    /// What the pod sends is copied.
    pub ingress: bool,
    /// What the pod gets is copied.
    pub egress: bool,
}

/// The IPAM plugin, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpamConf {
    /// The plugin's name.
    pub plugin: String,
    /// Addresses that it shall give.
    pub addresses: Vec<String>,
    /// Addresses of which it shall give the first that is free.
    pub pool: Vec<String>,
}

/// OVN's integration bridge.
const OVN_BRIDGE: &str = "br-int";
/// What ovs-cni waits unless told otherwise is 5 × 600 ms; a node whose switch restarts needs more.
const DEFAULT_RETRIES: u32 = 50;
const DEFAULT_INTERVAL_MS: u64 = 600;

impl NetConf {
    /// Reads a configuration; `call` is what the environment says, where there is one.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(bytes: &[u8], call: Option<&Call>) -> Result<Self, Problems> {
        Self::from_object(parse_object(bytes)?, call)
    }

    /// As [`NetConf::read`], of JSON that is parsed already.
    ///
    /// # Errors
    /// As [`NetConf::read`].
    pub fn from_object(given: Map<String, Value>, call: Option<&Call>) -> Result<Self, Problems> {
        let version = version(&given)?;
        let mut problems = Vec::new();
        let conf = gather(given.clone(), call, &mut problems);
        fields::check(&without_wishes(&conf), keys::KEYS, "", &mut problems);
        let fields = Fields(&conf);
        let trunk = if problems.is_empty() {
            vlan::read_trunk(fields, &mut problems)
        } else {
            BTreeSet::new()
        };
        let routes = wished_routes(fields, &mut problems);
        let socket = socket(fields, &mut problems);
        let valid_attachments = attachments::read(fields, &mut problems);
        conflicts::check(fields, call, &mut problems);
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let bridge = bridge(fields, call, trunk, socket);
        let conf = build(version, fields, bridge, routes, given);
        Ok(Self { valid_attachments, ..conf })
    }
}

/// The object that the bytes hold.
///
/// # Errors
/// [`Problem::NotJson`], [`Problem::NotObject`].
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes).map_err(|error| Problem::NotJson(error.to_string()))? {
        Value::Object(object) => Ok(object),
        Value::Array(_) => Err(Problem::NotObject("a list".to_owned())),
        other => Err(Problem::NotObject(other.to_string())),
    }
}

fn version(conf: &Map<String, Value>) -> Result<Version, Problem> {
    match conf.get("cniVersion") {
        Some(Value::String(text)) => Ok(text.parse()?),
        None | Some(Value::Null) => Err(Problem::Missing {
            field: "cniVersion",
            remedy: "say one of 0.3.1, 0.4.0, 1.0.0, 1.1.0",
        }),
        Some(other) => {
            Err(fields::wrong("cniVersion", other, "a version as text, such as \"1.1.0\""))
        }
    }
}

/// One object of all that has a say, the first of them on top.
fn gather(
    mut conf: Map<String, Value>,
    call: Option<&Call>,
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    for (name, value) in flat_file::read(Fields(&conf), problems) {
        conf.entry(name).or_insert(value);
    }
    let asked = Fields(&conf).fields("args").and_then(|args| args.object("cni")).cloned();
    let ifname = call.and_then(|call| call.attachment.as_ref()).map(|to| to.ifname.as_str());
    conf.extend(wishes::read(&asked.unwrap_or_default(), ifname, problems));
    conf.extend(call.map(arguments).unwrap_or_default());
    let runtime = Fields(&conf).fields("runtimeConfig");
    if let Some(mac) = runtime.and_then(|runtime| runtime.mac("mac")) {
        conf.insert("mac".to_owned(), Value::from(mac.to_string()));
    }
    conf
}

/// What `CNI_ARGS` has for us; the rest is the runtime's.
fn arguments(call: &Call) -> Map<String, Value> {
    let meant = |name: &str| match name.to_ascii_lowercase().as_str() {
        "mac" => Some("mac"),
        "ovnport" => Some("ovnPort"),
        _ => None,
    };
    let pair = |(name, value): (&String, &String)| {
        Some((meant(name)?.to_owned(), Value::from(value.as_str())))
    };
    call.args.iter().filter_map(pair).collect()
}

fn without_wishes(conf: &Map<String, Value>) -> Map<String, Value> {
    const WISHES: [&str; 4] =
        [wishes::ADDRESSES, wishes::POOL, wishes::ROUTES, wishes::DEFAULT_ROUTE];
    let keys = conf.iter().filter(|(name, _)| !WISHES.contains(&name.as_str()));
    keys.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn wished_routes(conf: Fields<'_>, problems: &mut Vec<Problem>) -> Vec<Route> {
    let wished = conf.0.get(wishes::ROUTES).and_then(Value::as_array);
    let mut routes = Vec::new();
    for (at, route) in wished.into_iter().flatten().enumerate() {
        match crate::protocol::read_route(route, &format!("args.cni.routes[{at}]")) {
            Ok(route) => routes.push(route),
            Err(bad) => problems.push(Problem::Value {
                field: bad.field,
                value: bad.value,
                wanted: bad.wanted.to_owned(),
            }),
        }
    }
    routes
}

fn socket(conf: Fields<'_>, problems: &mut Vec<Problem>) -> Remote {
    let Some(text) = conf.text("socket_file") else { return Remote::default_socket() };
    text.parse().unwrap_or_else(|error: ovsdb_client::InvalidRemote| {
        problems.push(Problem::Value {
            field: "socket_file".to_owned(),
            value: format!("{text:?}"),
            wanted: format!("unix:/PATH or tcp:HOST:PORT ({error})"),
        });
        Remote::default_socket()
    })
}

fn bridge(
    conf: Fields<'_>,
    call: Option<&Call>,
    trunk: BTreeSet<u16>,
    socket: Remote,
) -> Option<BridgeConf> {
    let iface_id = conf.owned("ovnPort").or_else(|| kube_ovn_port(conf.text("provider")?, call?));
    let integration = iface_id.as_ref().map(|_| OVN_BRIDGE.to_owned());
    Some(BridgeConf {
        name: conf.owned("bridge").or(integration)?,
        kind: conf
            .text("bridgeType")
            .map(|kind| if kind == "ovs" { BridgeKind::Ovs } else { BridgeKind::Linux }),
        trunk,
        ofport_request: conf.number("ofport_request"),
        interface_type: conf.owned("interface_type"),
        iface_id,
        mirrors: conf.list("mirrors").filter_map(mirror).collect(),
        rates: rates::read(conf, conf.fields("runtimeConfig")),
        socket,
        patience: patience(conf),
    })
}

/// Kube-OVN's `PodNameToPortName`: the provider `ovn` is the cluster's own network.
fn kube_ovn_port(provider: &str, call: &Call) -> Option<String> {
    let pod = call.pod()?;
    let port = format!("{}.{}", pod.name, pod.namespace);
    Some(if provider == "ovn" { port } else { format!("{port}.{provider}") })
}

fn mirror(fields: Fields<'_>) -> Option<MirrorConf> {
    let flag = |name| fields.bool(name).unwrap_or(false);
    Some(MirrorConf {
        name: fields.owned("name")?,
        ingress: flag("ingress"),
        egress: flag("egress"),
    })
}

fn patience(conf: Fields<'_>) -> Duration {
    let retries = conf.number("link_state_check_retries").unwrap_or(DEFAULT_RETRIES);
    let interval = conf.number("link_state_check_interval").unwrap_or(DEFAULT_INTERVAL_MS);
    Duration::from_millis(interval) * retries
}

fn build(
    version: Version,
    conf: Fields<'_>,
    bridge: Option<BridgeConf>,
    routes: Vec<Route>,
    raw: Map<String, Value>,
) -> NetConf {
    let runtime = conf.fields("runtimeConfig");
    NetConf {
        version,
        name: conf.owned("name").unwrap_or_default(),
        device: runtime
            .and_then(|runtime| runtime.pci("deviceID"))
            .or_else(|| conf.pci("deviceID")),
        resource: conf.owned("resourceName"),
        vf: vf(conf),
        vlan: vlan::read(conf),
        bridge,
        port_security: conf.bool("portSecurity").unwrap_or(false),
        ipam: ipam(conf, runtime),
        routes,
        default_route: conf.bool(wishes::DEFAULT_ROUTE).unwrap_or(false),
        dns: conf.object("dns").cloned().unwrap_or_default(),
        device_info_file: runtime
            .and_then(|runtime| runtime.text("CNIDeviceInfoFile"))
            .map(PathBuf::from),
        log: log(conf),
        prev_result: conf.object("prevResult").cloned().map(Value::Object),
        valid_attachments: None,
        raw,
    }
}

fn vf(conf: Fields<'_>) -> VfConf {
    let link_state = conf.text("link_state").map(|state| match state {
        "enable" => VfLinkState::Enable,
        "disable" => VfLinkState::Disable,
        _ => VfLinkState::Auto,
    });
    VfConf {
        mac: conf.mac("mac"),
        mtu: conf.number("mtu"),
        spoof_check: conf.on_off("spoofchk"),
        trust: conf.on_off("trust"),
        link_state,
        min_tx_rate: conf.number("min_tx_rate"),
        max_tx_rate: conf.number("max_tx_rate"),
    }
}

fn ipam(conf: Fields<'_>, runtime: Option<Fields<'_>>) -> Option<IpamConf> {
    let texts =
        |fields: Fields<'_>, name: &str| fields.texts(name).map(str::to_owned).collect::<Vec<_>>();
    let asked = runtime.map(|runtime| texts(runtime, "ips")).filter(|ips| !ips.is_empty());
    Some(IpamConf {
        plugin: conf.fields("ipam")?.owned("type")?,
        addresses: asked.unwrap_or_else(|| texts(conf, wishes::ADDRESSES)),
        pool: texts(conf, wishes::POOL),
    })
}

fn log(conf: Fields<'_>) -> LogConf {
    LogConf {
        file: conf.text("logFile").map(PathBuf::from),
        level: conf.text("logLevel").and_then(Level::named).unwrap_or(Level::Info),
    }
}

#[cfg(test)]
mod tests;
