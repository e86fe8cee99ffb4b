//! What somebody changes of an attachment is told by CHECK: of the VF, of its place on the bridge, of what is in the pod.
//!
//! What the database of Open vSwitch has of a port is tried column by column in `sriov-cni/tests/ovs.rs`.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::netconf;
use super::site::{BRIDGE, FRESH, LINUX_BRIDGE, Site};
use super::table::{Bench, merged};
use crate::cases::Ctx;
use crate::guest::igb::{self, IgbVfs};
use crate::guest::netns::Netns;
use crate::guest::tool::run;

const MAC: &str = "02:00:00:00:00:55";

/// What somebody does, what brings it back, and what CHECK says meanwhile. Nothing need bring back the last one.
struct Change {
    done: String,
    undone: Option<String>,
    told: &'static str,
}

fn change(done: impl Into<String>, undone: &'static str, told: &'static str) -> Change {
    Change { done: done.into(), undone: Some(undone.to_owned()), told }
}

fn last(done: impl Into<String>, told: &'static str) -> Change {
    Change { done: done.into(), undone: None, told }
}

pub(super) fn is_told(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    let bench = site.bench(FRESH)?;
    let ipam = json!({"type": "static", "addresses": [{"address": "10.77.0.9/24", "gateway": "10.77.0.1"}],
        "routes": [{"dst": "10.88.0.0/16"}]});
    let more = json!({"mac": MAC, "mtu": 1400, "max_tx_rate": 100, "ipam": ipam});
    told(&bench, &merged(&site.on_ovs(), &more), &in_the_pod())?;
    let gone = [last(del_port(&site), "np0r1 is no port of bridge br0 any more")];
    told(&bench, &site.on_ovs(), &gone)?;
    let on_linux = json!({"bridge": LINUX_BRIDGE, "vlan": 100, "mac": MAC});
    told(&bench, &on_linux, &on_a_linux_bridge())?;
    drop(site);

    let vfs = IgbVfs::bound(1)?;
    let pf = igb::netdev_up()?;
    let _pod = Netns::new("pod")?;
    let bench = Bench::legacy(vfs.address(0)?, &pf)?;
    let result = told(&bench, &json!({"vlan": 100, "mac": MAC}), &on_the_pf(&pf));
    run(&format!("ip link set {pf} down"))?;
    result
}

fn told(bench: &Bench, more: &Value, changes: &[Change]) -> anyhow::Result<()> {
    let mut conf = netconf(&bench.device, more);
    let result = bench.pod.call("ADD", &conf)?;
    conf["prevResult"] = result;
    let looked = changes
        .iter()
        .try_for_each(|change| told_of(bench, &conf, change).with_context(|| change.done.clone()));
    let deleted = bench.pod.call("DEL", &conf).map(drop);
    looked.and(deleted)
}

fn told_of(bench: &Bench, conf: &Value, change: &Change) -> anyhow::Result<()> {
    bench.pod.call("CHECK", conf).context("before it")?;
    run(&change.done)?;
    let error = bench.pod.call("CHECK", conf).err().context("CHECK saw nothing")?;
    ensure!(format!("{error:#}").contains(change.told), "not {:?}: {error:#}", change.told);
    change.undone.as_ref().map_or(Ok(()), |undone| run(undone).map(drop))
}

fn in_the_pod() -> Vec<Change> {
    vec![
        change(
            "ip -n pod link set net1 mtu 1300",
            "ip -n pod link set net1 mtu 1400",
            "set the VF's netdev mtu 1400",
        ),
        change(
            "ip -n pod link set net1 name mine",
            "ip -n pod link set mine name net1",
            "set the VF's netdev name net1",
        ),
        change(
            "ip link set np0r1 mtu 1350",
            "ip link set np0r1 mtu 1400",
            "set the representor mtu 1400",
        ),
        change(
            "ip -n pod route del 10.88.0.0/16",
            "ip -n pod route add 10.88.0.0/16 via 10.77.0.1",
            "has not its route 10.88.0.0/16 via 10.77.0.1",
        ),
        last("ip -n pod address del 10.77.0.9/24 dev net1", "has not its address 10.77.0.9/24"),
    ]
}

fn del_port(site: &Site) -> String {
    let database = site.ovs.dir().join("db.sock");
    format!("ovs-vsctl --timeout=60 --db=unix:{} del-port {BRIDGE} np0r1", database.display())
}

fn on_a_linux_bridge() -> Vec<Change> {
    vec![
        change(
            "bridge vlan add dev np0r1 vid 200",
            "bridge vlan del dev np0r1 vid 200",
            "its VLANs are 100 untagged, 200, not 100 untagged",
        ),
        change(
            "bridge link set dev np0r1 locked off",
            "bridge link set dev np0r1 locked on",
            "np0r1 is not locked to 02:00:00:00:00:55 any more",
        ),
        change(
            format!("bridge fdb del {MAC} dev np0r1 master vlan 100"),
            "bridge fdb add 02:00:00:00:00:55 dev np0r1 master static vlan 100",
            "bridge lbr0 does not know 02:00:00:00:00:55 at np0r1",
        ),
        last("ip link set np0r1 nomaster", "np0r1 is not on bridge lbr0 any more"),
    ]
}

/// As the PF would let it, so that the pod is in another VLAN, or may be anybody.
fn on_the_pf(pf: &str) -> Vec<Change> {
    let set = |what: &str| format!("ip link set {pf} vf 0 {what}");
    vec![
        Change {
            undone: Some(set("trust off")),
            ..last(set("trust on"), "set trust off of the VF on its PF")
        },
        Change {
            undone: Some(set("spoofchk on")),
            ..last(set("spoofchk off"), "set spoofchk on of the VF on its PF")
        },
        last(set("vlan 7"), "set vlan 100 qos 0 proto 802.1Q of the VF on its PF"),
    ]
}
