//! A table of NetConfs: what each adds to the base, and what must then be seen where.

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::{Context, ensure};
use serde_json::Value;
use switchdev::link::Links;

use super::pod::{Pod, netconf};
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
}

/// One NetConf.
pub(super) struct Row {
    /// The keys it adds to the base.
    pub(super) more: Value,
    /// What must be seen, as parts of text; with a `!` before it, what must not.
    pub(super) seen: Vec<(At, &'static str)>,
}

/// A row of the table.
pub(super) fn row(more: Value, seen: &[(At, &'static str)]) -> Row {
    Row { more, seen: seen.to_vec() }
}

/// The VF that the table is about, and where it is looked at.
pub(super) struct Bench {
    /// Its PCI address.
    pub(super) device: String,
    /// The PF's netdev, and the VF's number.
    pub(super) pf: (String, usize),
    /// The pod.
    pub(super) pod: Pod,
    /// What must be as it was.
    pub(super) scope: Scope,
}

impl Bench {
    /// Runs all rows, one after another.
    pub(super) fn run(&self, base: &Value, rows: &[Row]) -> anyhow::Result<()> {
        let before = self.scope.settled()?;
        for row in rows {
            self.run_row(base, row, &before)
                .with_context(|| format!("NetConf with {}", row.more))?;
        }
        eprintln!("{} NetConfs", rows.len());
        Ok(())
    }

    fn run_row(&self, base: &Value, row: &Row, before: &NodeState) -> anyhow::Result<()> {
        let conf = netconf(&self.device, &merged(base, &row.more));
        let pod = &self.pod;
        let result = pod.call("ADD", &conf)?;
        let looked = self.look(row, &result).and_then(|()| self.checks(pod, &conf, &result));
        let deleted = pod.call("DEL", &conf).map(drop);
        looked.and(deleted)?;
        pod.call("DEL", &conf).context("a second DEL")?;
        self.scope.ensure_is(before)
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
}

fn merged(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
        all.retain(|_, value| !value.is_null());
    }
    all
}
