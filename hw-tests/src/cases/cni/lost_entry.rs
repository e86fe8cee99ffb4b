//! A ledger entry that was lost: DEL takes the representor off its bridge all the same, and does not say that it did where it cannot know.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::{host_local, netconf};
use super::site::{FRESH, LINUX_BRIDGE, Site};
use super::table::{Bench, merged};
use crate::cases::Ctx;
use crate::guest::tool::run;

pub(super) fn nothing_stays_on_a_bridge(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    let bench = site.bench(FRESH)?;
    let on_linux = json!({"bridge": LINUX_BRIDGE, "vlan": 100});
    let on_ovs =
        merged(&site.on_ovs(), &json!({"vlan": 100, "ipam": host_local(), "egress_rate": 20}));
    for more in [on_linux, on_ovs] {
        let before = site.rules()?;
        let conf = lose(&bench, &more)?;
        if conf.get("socket_file").is_some() {
            not_while_the_database_is_away(&bench, &conf)?;
        }
        bench.pod.call("DEL", &conf)?;
        ensure!(!is_on_a_bridge(&bench), "{} is still on a bridge, {more}", bench.representor);
        let queues = run(&format!("tc qdisc show dev {}", bench.representor))?;
        ensure!(!queues.contains("ingress"), "its policing is still there: {queues}");
        ensure!(site.rules()? == before, "the bridge keeps rules of the pod's, {more}");
        ensure!(site.netns.ip("link show net1").is_err(), "the pod still has its VF, {more}");
        super::table::no_address_is_kept()?;
        bench.pod.call("DEL", &conf).context("a second DEL")?;
    }
    a_late_del(&bench)
}

/// An attachment whose entry is gone, as its configuration.
fn lose(bench: &Bench, more: &Value) -> anyhow::Result<Value> {
    let conf = netconf(&bench.device, more);
    bench.pod.call("ADD", &conf)?;
    ensure!(is_on_a_bridge(bench), "{} is on no bridge", bench.representor);
    fs::remove_file(entry(bench))?;
    Ok(conf)
}

fn entry(bench: &Bench) -> String {
    format!("/var/lib/linerate/ledger/{}.json", bench.device)
}

fn is_on_a_bridge(bench: &Bench) -> bool {
    Path::new("/sys/class/net").join(&bench.representor).join("master").exists()
}

fn not_while_the_database_is_away(bench: &Bench, conf: &Value) -> anyhow::Result<()> {
    let away = json!({"socket_file": "unix:/nowhere", "link_state_check_retries": 1});
    let answer = bench.pod.call("DEL", &merged(conf, &away));
    let error = answer.err().context("DEL succeeded with the port still there")?;
    ensure!(format!("{error:#}").contains("is still on a bridge"), "{error:#}");
    Ok(())
}

/// Another pod has the VF by now, and keeps it.
fn a_late_del(bench: &Bench) -> anyhow::Result<()> {
    let conf = netconf(&bench.device, &json!({"bridge": LINUX_BRIDGE}));
    bench.pod.call("ADD", &conf)?;
    let late = super::pod::Pod { container: "c-late".to_owned(), ..bench.pod.clone() };
    late.call("DEL", &conf)?;
    let checked = bench.pod.call("CHECK", &conf).map(drop);
    bench.pod.call("DEL", &conf)?;
    checked.context("a late DEL of another pod's took something")
}
