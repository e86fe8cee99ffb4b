//! All of a node that giving a VF to a pod may touch, as text, to be the same afterwards to the byte.
//!
//! Links with their addresses, routes and VF settings are what `ip` shows of them; e-switch, ports and rates what `devlink` does; then
//! policing on the way in, RDMA devices, drivers, files, OVS's database, and how many rules its bridges have. What counts or ages (statistics, timers) is left out. Some of it settles a
//! moment later (carrier, duplicate address detection, ovs-vswitchd's answers), so that a comparison may wait.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

/// For what settles by itself.
const SETTLE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// What to look at beside what is always looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Directories whose files count, with their modes and contents. One that is not there is empty.
    pub files: Vec<PathBuf>,
    /// The directory of OVS's `db.sock`.
    pub ovs: Option<PathBuf>,
}

/// A node's state at one time: lines, by section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState(BTreeMap<String, Vec<String>>);

impl Scope {
    /// Looks at the node.
    pub fn look(&self) -> anyhow::Result<NodeState> {
        let mut sections = BTreeMap::new();
        let mut add =
            |name: &str, lines: Vec<String>| drop(sections.insert(name.to_owned(), lines));
        add("links", batch("ip", &["-j", "-d", "-batch", "-"], IP)?);
        add("devlink", batch("devlink", &["-j", "-batch", "-"], DEVLINK)?);
        add("ingress", ingress()?);
        add("drivers", drivers()?);
        add("rdma", names("/sys/class/infiniband")?);
        add("namespaces", names("/run/netns")?);
        for dir in &self.files {
            add(&dir.display().to_string(), files(dir)?);
        }
        if let Some(dir) = &self.ovs {
            add("ovs", ovs(dir)?);
        }
        Ok(NodeState(sections))
    }

    /// Looks until nothing changes any more by itself.
    pub fn settled(&self) -> anyhow::Result<NodeState> {
        let until = Instant::now() + SETTLE;
        let mut before = self.look()?;
        loop {
            std::thread::sleep(POLL);
            let now = self.look()?;
            if now == before && !now.is_tentative() {
                return Ok(now);
            }
            ensure!(
                Instant::now() < until,
                "the node does not settle:\n{}",
                before.differences(&now)
            );
            before = now;
        }
    }

    /// Looks until the node is as it was, and says what differs if it does not become so.
    pub fn ensure_is(&self, before: &NodeState) -> anyhow::Result<()> {
        let until = Instant::now() + SETTLE;
        loop {
            let now = self.look()?;
            if now == *before {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "the node is not as it was:\n{}",
                before.differences(&now)
            );
            std::thread::sleep(POLL);
        }
    }
}

impl NodeState {
    /// Whether the kernel still looks whether an address is somebody else's.
    fn is_tentative(&self) -> bool {
        self.0.values().flatten().any(|line| line.contains("\"tentative\":true"))
    }

    /// Lines that are gone, and lines that are new.
    fn differences(&self, now: &Self) -> String {
        let mut text = String::new();
        let none = Vec::new();
        for (section, lines) in &self.0 {
            let after = now.0.get(section).unwrap_or(&none);
            let gone = lines.iter().filter(|line| !after.contains(line)).map(|line| ("-", line));
            let new = after.iter().filter(|line| !lines.contains(line)).map(|line| ("+", line));
            for (sign, line) in gone.chain(new) {
                text.push_str(&format!("{sign} {section}: {line}\n"));
            }
        }
        text
    }
}

const IP: &str = "address show\nroute show table all\n";
const DEVLINK: &str = "dev eswitch show\nport show\nport function rate show\n";

/// What counts or ages.
const VOLATILE: [&str; 9] = [
    "stats64",
    "stats",
    "carrier_changes",
    "valid_life_time",
    "preferred_life_time",
    "expires",
    "used",
    "age",
    "cache",
];

/// Runs several of a tool's commands in one process, for starting one is dear in the guest; each value of its answers as a line.
///
/// A tool that goes away before it has read is asked once more; what it says twice is what counts.
fn batch(program: &str, arguments: &[&str], commands: &str) -> anyhow::Result<Vec<String>> {
    batch_once(program, arguments, commands).or_else(|error| {
        eprintln!("linerate: once more: {error:#}");
        batch_once(program, arguments, commands)
    })
}

fn batch_once(program: &str, arguments: &[&str], commands: &str) -> anyhow::Result<Vec<String>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let written = input.write_all(commands.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    if let Err(error) = written {
        anyhow::bail!(
            "{program} {} took no commands ({}): {error}",
            arguments.join(" "),
            output.status
        );
    }
    let mut lines = Vec::new();
    for answer in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>() {
        lines.extend(values(answer.with_context(|| format!("{program} printed no JSON"))?));
    }
    // The kernel lists IPv6's routes in the order in which they came.
    lines.sort();
    Ok(lines)
}

/// The entries of a list, or the value itself, without what is volatile.
fn values(answer: Value) -> Vec<String> {
    let list = match answer {
        Value::Array(list) => list,
        other => vec![other],
    };
    list.into_iter().map(|value| steady(value).to_string()).collect()
}

/// Also the timers of a bridge and its ports.
fn is_volatile(key: &str) -> bool {
    VOLATILE.contains(&key) || key.ends_with("_timer")
}

/// Whether the queue of a link is the kernel's own business: a link that is down has none yet, or the one that it was given by default
/// when it was up last; the next time it gets that one in either case, and nobody can take it away again.
fn is_idle_link(link: &serde_json::Map<String, Value>) -> bool {
    const BY_DEFAULT: [&str; 2] = ["noop", "fq_codel"];
    let up = |flag: &Value| flag.as_str() == Some("UP");
    let down =
        link.get("flags").and_then(Value::as_array).is_some_and(|flags| !flags.iter().any(up));
    down && link.get("qdisc").and_then(Value::as_str).is_some_and(|kind| BY_DEFAULT.contains(&kind))
}

fn steady(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            if is_idle_link(&map) {
                map.remove("qdisc");
            }
            let kept = map.into_iter().filter(|(key, _)| !is_volatile(key));
            Value::Object(kept.map(|(key, value)| (key, steady(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(steady).collect()),
        other => other,
    }
}

/// The queues on the way in, which `ip` does not show: Open vSwitch's policing makes some. The others come and go with links.
fn ingress() -> anyhow::Result<Vec<String>> {
    let all = batch("tc", &["-j", "-batch", "-"], "qdisc show\n")?;
    let ingress = |line: &String| {
        ["\"ingress\"", "\"clsact\""].iter().any(|kind| line.contains(&format!("\"kind\":{kind}")))
    };
    Ok(all.into_iter().filter(ingress).collect())
}

/// The driver of each PCI function, and the only one it may have.
fn drivers() -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/sys/bus/pci/devices")? {
        let path = entry?.path();
        let driver = fs::read_link(path.join("driver")).ok();
        let driver = driver.as_deref().and_then(Path::file_name).unwrap_or_default();
        let only = fs::read_to_string(path.join("driver_override")).unwrap_or_default();
        let function = path.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{function} {} {}", driver.to_string_lossy(), only.trim()));
    }
    lines.sort();
    Ok(lines)
}

fn names(dir: &str) -> anyhow::Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(Vec::new()) };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|entry| entry.map(name)).collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// Every file below a directory: its path, mode and content.
fn files(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return Ok(lines) };
    for entry in entries {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let content = if metadata.is_file() { fs::read(&path)? } else { Vec::new() };
        let content = String::from_utf8_lossy(&content).into_owned();
        lines.push(format!("{} {:o} {content:?}", path.display(), metadata.mode()));
        if metadata.is_dir() {
            lines.extend(files(&path)?);
        }
    }
    lines.sort();
    Ok(lines)
}

/// The columns that somebody sets. The others are ovs-vswitchd's reports: counters, carrier, times.
const OVS_COLUMNS: [(&str, &str); 7] = [
    ("Bridge", "_uuid,name,ports,mirrors,external_ids,other_config"),
    ("Port", "_uuid,name,interfaces,tag,trunks,vlan_mode,qos,external_ids,other_config"),
    (
        "Interface",
        "_uuid,name,type,options,external_ids,other_config,mtu_request,mac,ingress_policing_rate,ingress_policing_burst,ingress_policing_kpkts_rate,ingress_policing_kpkts_burst",
    ),
    ("Mirror", "_uuid,name,select_all,select_src_port,select_dst_port,output_port,output_vlan"),
    ("QoS", "_uuid,type,queues,other_config,external_ids"),
    ("Queue", "_uuid,dscp,other_config,external_ids"),
    ("Open_vSwitch", "bridges,external_ids,other_config"),
];

/// One transaction of selects; starting a process for each table would take seconds.
fn ovs(dir: &Path) -> anyhow::Result<Vec<String>> {
    let select = |(table, columns): &(&str, &str)| {
        serde_json::json!({
            "op": "select", "table": table, "where": [], "columns": columns.split(',').collect::<Vec<_>>()
        })
    };
    let selects = OVS_COLUMNS.iter().map(select);
    let request = Value::Array([Value::from("Open_vSwitch")].into_iter().chain(selects).collect());
    let socket = format!("unix:{}", dir.join("db.sock").display());
    let answer = super::tool::run_args(&[
        "ovsdb-client",
        "--timeout=30",
        "transact",
        &socket,
        &request.to_string(),
    ])?;
    let answer: Vec<Value> =
        serde_json::from_str(&answer).context("ovsdb-client printed no JSON")?;
    let mut lines = Vec::new();
    for ((table, _), rows) in OVS_COLUMNS.iter().zip(answer) {
        let rows =
            rows["rows"].as_array().with_context(|| format!("no rows of {table}: {rows}"))?;
        lines.extend(rows.iter().map(|row| format!("{table} {row}")));
    }
    lines.extend(rules(dir)?);
    lines.sort();
    Ok(lines)
}

/// How many rules each bridge has. A switch that is down has told nobody.
fn rules(dir: &Path) -> anyhow::Result<Vec<String>> {
    let sockets = names(&dir.display().to_string())?.into_iter();
    let bridges = sockets.filter(|name| name.ends_with(".mgmt"));
    let count = |bridge: String| match sriov_cni::attach::rules_on(&dir.join(&bridge)) {
        Ok(rules) => format!("{bridge}: {rules} rules"),
        Err(error) => format!("{bridge}: {error}"),
    };
    Ok(bridges.map(count).collect())
}
