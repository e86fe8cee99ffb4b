//! A table of NetConfs: what each adds to the base, and what must then be seen where.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, Transaction};
use serde_json::Value;
use switchdev::devlink::Devlink;
use switchdev::link::Links;

use super::pod::{IPAM_DIR, NETWORK, Pod, netconf};
use super::site::DEVICE_INFO;
use crate::guest::node_state::{NodeState, Scope};
use crate::guest::tool::run;

/// Where something is looked at after ADD.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// The result of ADD.
    Result,
    /// The pod's interface, as `ip link` shows it, and its addresses.
    Pod,
    /// The pod's routes, as `ip route` shows them.
    Routes,
    /// The VF on its PF.
    Vf,
    /// devlink's rate leaves.
    Rates,
    /// The rows of this table of OVSDB.
    Ovs(&'static str),
    /// The VLANs and flags of the port on a Linux bridge.
    Bridge,
    /// A device-info file.
    Info(&'static str),
}

/// One NetConf.
pub(super) struct Row {
    /// The keys it adds to the base.
    pub(super) more: Value,
    /// `CNI_ARGS` it adds.
    pub(super) args: &'static str,
    /// What must be seen, as parts of text; with a `!` before it, what must not.
    pub(super) seen: Vec<(At, &'static str)>,
}

/// A row without `CNI_ARGS`.
pub(super) fn row(more: Value, seen: &[(At, &'static str)]) -> Row {
    Row { more, args: "", seen: seen.to_vec() }
}

/// The VF that the table is about, and where it is looked at.
pub(super) struct Bench {
    /// Its PCI address.
    pub(super) device: String,
    /// The PF's netdev, and the VF's number.
    pub(super) pf: (String, usize),
    /// Its representor, in switchdev mode.
    pub(super) representor: String,
    /// The database, where there is one.
    pub(super) database: Option<ovsdb_client::Remote>,
    /// The pod.
    pub(super) pod: Pod,
    /// What must be as it was.
    pub(super) scope: Scope,
}

impl Bench {
    /// For a VF without a representor.
    pub(super) fn legacy(device: String, pf: &str) -> anyhow::Result<Self> {
        for dir in ["/var/lib/linerate/ledger", DEVICE_INFO] {
            fs::create_dir_all(dir)?;
        }
        let files = ["/var/lib/linerate", DEVICE_INFO].map(PathBuf::from);
        Ok(Self {
            device,
            pf: (pf.to_owned(), 0),
            representor: String::new(),
            database: None,
            pod: Pod::new("web", "/run/netns/pod"),
            scope: Scope { files: files.into(), ovs: None },
        })
    }

    /// Runs all rows, one after another, and tells of all that fail. What one left is not held against the next.
    pub(super) fn run(&self, base: &Value, rows: &[Row]) -> anyhow::Result<()> {
        let mut before = self.scope.settled()?;
        let mut failed = Vec::new();
        for row in rows {
            if let Err(error) = self.run_row(base, row, &before) {
                failed.push(format!("NetConf with {}: {error:#}", row.more));
                before = self.scope.settled()?;
            }
        }
        eprintln!("{} NetConfs", rows.len());
        ensure!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
        Ok(())
    }

    fn run_row(&self, base: &Value, row: &Row, before: &NodeState) -> anyhow::Result<()> {
        let conf = netconf(&self.device, &merged(base, &row.more));
        let mut pod = self.pod.clone();
        pod.args.push_str(row.args);
        let result = pod.call("ADD", &conf)?;
        let looked = self.look(row, &result).and_then(|()| self.checks(&pod, &conf, &result));
        let deleted = pod.call("DEL", &conf).map(drop);
        looked.and(deleted)?;
        pod.call("DEL", &conf).context("a second DEL")?;
        self.scope.ensure_is(before)?;
        no_address_is_kept()
    }

    /// CHECK came with 0.4.0, and gets the result of ADD.
    fn checks(&self, pod: &Pod, conf: &Value, result: &Value) -> anyhow::Result<()> {
        if conf["cniVersion"] == "0.3.1" {
            return Ok(());
        }
        let mut conf = conf.clone();
        conf["prevResult"] = result.clone();
        pod.call("CHECK", &conf).map(drop)
    }

    fn look(&self, row: &Row, result: &Value) -> anyhow::Result<()> {
        for (at, part) in &row.seen {
            let text = self.text(*at, result)?;
            match part.strip_prefix('!') {
                Some(part) => ensure!(!text.contains(part), "{at:?} shows {part:?}: {text}"),
                None => ensure!(text.contains(part), "{at:?} does not show {part:?}: {text}"),
            }
        }
        Ok(())
    }

    fn text(&self, at: At, result: &Value) -> anyhow::Result<String> {
        Ok(match at {
            At::Result => result.to_string(),
            At::Pod => self.pod_link()?,
            At::Routes => {
                let name = self.pod.netns.rsplit('/').next().unwrap_or_default();
                run(&format!("ip -n {name} route show table all"))?
                    + &run(&format!("ip -6 -n {name} route show table all"))?
            }
            At::Vf => {
                let pf = Links::open()?.find(&self.pf.0)?;
                pf.vfs.get(self.pf.1).context("the PF does not show the VF")?.to_string()
            }
            At::Rates => {
                let rates = Devlink::open()?.rates()?;
                rates.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            At::Ovs(table) => self.rows(table)?,
            At::Info(path) => fs::read_to_string(path)?,
            At::Bridge => {
                let port = &self.representor;
                run(&format!("bridge vlan show dev {port}"))?
                    + &run(&format!("bridge -d link show dev {port}"))?
                    + &run(&format!("bridge fdb show dev {port}"))?
            }
        })
    }

    fn pod_link(&self) -> anyhow::Result<String> {
        let netns = File::open(&self.pod.netns)?;
        let mut links = Links::open_in(netns.as_fd())?;
        let link = links.find(&self.pod.ifname)?;
        let addresses = links.addresses(link.ifindex)?;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Ok(format!("{link} {}", addresses.join(" ")))
    }

    fn rows(&self, table: &str) -> anyhow::Result<String> {
        let remote = self.database.as_ref().context("there is no database")?;
        let mut client = Client::connect(remote)?;
        let ours = match table {
            "Port" | "Interface" => vec![Condition::is("name", self.representor.as_str())],
            _ => Vec::new(),
        };
        let columns = match table {
            "Port" => {
                &["name", "tag", "trunks", "vlan_mode", "external_ids", "other_config", "qos"][..]
            }
            "Interface" => &[
                "name",
                "ofport",
                "external_ids",
                "ingress_policing_rate",
                "ingress_policing_burst",
                "mtu",
            ],
            "Mirror" => &["name", "select_src_port", "select_dst_port"],
            _ => &["external_ids", "other_config"],
        };
        let found =
            client.transact(&Transaction::on(OPEN_VSWITCH).select(table, &ours, columns))?;
        Ok(Value::Array(found.rows(0).to_vec()).to_string())
    }
}

/// host-local has a file for each address that somebody has, beside a lock and the last one that it gave.
pub(super) fn no_address_is_kept() -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(Path::new(IPAM_DIR).join(NETWORK)) else { return Ok(()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<anyhow::Result<Vec<_>>>()?;
    let kept: Vec<&String> = names.iter().filter(|name| name.parse::<IpAddr>().is_ok()).collect();
    ensure!(kept.is_empty(), "IPAM still has {kept:?}");
    Ok(())
}

/// The base with more keys; one that is null is left out.
pub(super) fn merged(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
        all.retain(|_, value| !value.is_null());
    }
    all
}
