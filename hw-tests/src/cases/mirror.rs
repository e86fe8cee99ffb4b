//! The agent keeps the card as Open vSwitch has it: through changes of rules and ports, crashes and refusals, and without a
//! packet going astray.

mod site;

use std::time::Duration;

use anyhow::{Context, ensure};
use switchdev::tc::{Kernel, Observed, Tc};
use tc_filter::{Attach, IfIndex};

use self::site::{POD_IPS, Site, TWO_WAYS, rep};
use super::{Case, Ctx, Kernels};
use crate::guest::frame::{Marker, Udp};
use crate::guest::nicsim;
use crate::guest::tool::{json, run};
use crate::guest::traffic::{self, Capture};
use crate::guest::udp;

pub(super) const CASES: &[Case] = &[
    Case { name: "mirror/follows-rules-and-ports", kernels: Kernels::All, run: follows },
    Case {
        name: "mirror/flush-takes-ours-and-leaves-others",
        kernels: Kernels::All,
        run: flush_leaves_others,
    },
    Case {
        name: "mirror/killed-in-the-middle-converges-when-restarted",
        kernels: Kernels::All,
        run: killed_and_restarted,
    },
    Case {
        name: "mirror/keeps-forwarding-while-ovs-restarts",
        kernels: Kernels::All,
        run: ovs_restarts,
    },
    Case {
        name: "mirror/a-refusal-is-told-in-the-cards-words",
        kernels: Kernels::All,
        run: refusal,
    },
    Case {
        name: "mirror/the-same-bytes-arrive-with-and-without",
        kernels: Kernels::All,
        run: same_bytes,
    },
];

/// Rules come, change and go, and so do ports; the card follows.
fn follows(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::up(ctx, "")?;
    let mut agent = site.setup.start()?;
    site.add_rules(&TWO_WAYS)?;
    agent.wait_for_rules(TWO_WAYS.len())?;
    site.goes_through_the_card()?;

    let before = agent.status()?.reconciles.ops;
    site.ofctl("mod-flows", &format!("ip,in_port={},actions=drop", rep(0)))?;
    agent.wait("the drop in the card", |status| status.synced && status.reconciles.ops > before)?;
    ensure!(site.is_cut()?, "the rule drops, and packets still arrive");

    site.ofctl("del-flows", &format!("ip,in_port={}", rep(0)))?;
    agent.wait_for_rules(TWO_WAYS.len() - 1)?;
    site.add_rules(&TWO_WAYS)?;
    agent.wait_for_rules(TWO_WAYS.len())?;
    site.goes_through_the_card()?;

    site.ovs.vsctl(&format!("del-port {}", rep(1)))?;
    agent.wait("the port's filters to go", |status| {
        status.synced && status.ports.iter().all(|port| port.name != rep(1))
    })?;
    ensure!(ours(&rep(1))?.is_empty(), "a port left the bridge and has filters still");
    site.ovs.vsctl(&format!("add-port {} {}", site::BRIDGE, rep(1)))?;
    site.ofctl("del-flows", "")?;
    site.add_rules(&TWO_WAYS)?;
    agent.wait("the rules with the port's new number", |status| {
        status.synced && status.rules.iter().filter(|rule| rule.outcome == "hardware").count() == 4
    })?;
    site.goes_through_the_card()
}

/// `flush` takes our filters and the qdisc that we made; what others put there stays.
fn flush_leaves_others(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::up(ctx, "")?;
    run(&format!("tc qdisc add dev {} clsact", rep(0)))?;
    run(&format!(
        "tc filter add dev {} ingress prio 3 protocol ip flower skip_hw dst_mac 02:00:00:00:00:99 action drop",
        rep(0)
    ))?;
    site.add_rules(&TWO_WAYS)?;
    let mut agent = site.setup.start()?;
    let status = agent.wait_for_rules(TWO_WAYS.len())?;
    ensure!(status.foreign.len() == 1, "the foreign filter is not reported: {:?}", status.foreign);
    let refused = site.setup.flush();
    ensure!(refused.is_err(), "flush under a running daemon would not last, and was not refused");

    agent.stop()?;
    ensure!(!ours(&rep(0))?.is_empty(), "the filters went with the daemon");
    site.goes_through_the_card()?;
    site.setup.flush()?;
    ensure!(ours(&rep(0))?.is_empty() && ours(&rep(1))?.is_empty(), "flush left filters of ours");
    let left = json(&format!("tc -j filter show dev {} ingress", rep(0)))?.to_string();
    ensure!(left.contains("02:00:00:00:00:99"), "flush took a filter that is not ours: {left}");
    let qdiscs = |index| run(&format!("tc qdisc show dev {}", rep(index)));
    ensure!(qdiscs(0)?.contains("clsact"), "flush took a qdisc that somebody uses");
    ensure!(!qdiscs(1)?.contains("clsact"), "flush left the qdisc that we made");
    Ok(())
}

/// Rules enough to be killed among.
const MANY: usize = 500;
/// So slow a card that there is a middle to be killed in, in microseconds a filter.
const SLOW_CARD: u32 = 4000;

/// `kill -9` while filters go in; the next agent completes the work and does nothing twice.
fn killed_and_restarted(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::up(ctx, "")?;
    site.add_rules(&TWO_WAYS)?;
    site.add_many(MANY)?;
    site.card.set("insert_latency_us", SLOW_CARD)?;
    let agent = site.setup.start()?;
    let killed_at = wait_for_filters(&rep(0), MANY / 5)?;
    agent.kill()?;
    ensure!(killed_at < MANY, "the agent was done before it could be killed");
    ensure!(site.exchange()? == site::BURST, "packets are lost between two agents");

    site.card.set("insert_latency_us", 0)?;
    let mut agent = site.setup.start()?;
    let rules = MANY + TWO_WAYS.len();
    let status = agent.wait_for_rules(rules)?;
    ensure!(status.filters.installed == status.filters.in_hw, "{:?}", status.filters);
    let ops = usize::try_from(status.reconciles.ops)?;
    ensure!(
        ops + killed_at <= status.filters.installed,
        "{killed_at} filters of {} were there, and {ops} operations followed",
        status.filters.installed
    );
    site.goes_through_the_card()?;
    agent.stop()
}

/// Waits until a device has that many filters of ours, and says how many it has.
fn wait_for_filters(device: &str, count: usize) -> anyhow::Result<usize> {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let there = ours(device)?.len();
        if there >= count {
            return Ok(there);
        }
        ensure!(std::time::Instant::now() < end, "{there} filters of {count} after a minute");
    }
}

/// While ovs-vswitchd is away, and until its controller has put the rules back, the card forwards as before.
fn ovs_restarts(ctx: &mut Ctx) -> anyhow::Result<()> {
    let mut site = Site::up(ctx, "")?;
    site.add_rules(&TWO_WAYS)?;
    let mut agent = site.setup.start()?;
    agent.wait_for_rules(TWO_WAYS.len())?;
    site.ovs.vsctl("set Open_vSwitch . other_config:flow-restore-wait=true")?;
    site.ovs.stop_vswitchd()?;
    agent.wait("the agent to notice", |status| !status.synced)?;
    site.goes_through_the_card()?;

    site.ovs.start_vswitchd()?;
    site.ovs.wait_for_bridge(site::BRIDGE)?;
    site.goes_through_the_card()?;
    site.add_rules(&TWO_WAYS)?;
    site.ovs.vsctl("remove Open_vSwitch . other_config flow-restore-wait")?;
    agent.wait_for_rules(TWO_WAYS.len())?;
    site.goes_through_the_card()?;
    agent.stop()
}

/// A card that cannot match ARP's fields: the rule is in OVS, its packets arrive, and the rule below does not get them.
fn refusal(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::up(ctx, "profile=mlx5")?;
    site.add_rules(&TWO_WAYS)?;
    site.ofctl(
        "add-flow",
        &format!("priority=90,arp,in_port={},arp_op=1,actions=output:{}", rep(0), rep(1)),
    )?;
    let mut agent = site.setup.start()?;
    let status = agent.wait_for_rules(TWO_WAYS.len() + 1)?;
    let rule = status.rules.iter().find(|rule| rule.rule.contains("arp_op=1"));
    let rule = rule.context("the rule is not in the status")?;
    ensure!(
        rule.outcome == "ovs",
        "the card cannot match arp_op, and the rule is in {}",
        rule.outcome
    );
    let words = rule.sentence.clone().unwrap_or_default();
    ensure!(words.contains("the card refused it"), "no words of the card: {words}");
    ensure!(status.filters.withheld > 0, "{:?}", status.filters);
    // The first datagram asks for its address by ARP, which is the refused rule's.
    ensure!(site.exchange()? == site::BURST, "packets of the refused rule are lost");
    site.goes_through_the_card()?;
    let again =
        agent.wait("another look", |next| next.reconciles.total > status.reconciles.total)?;
    ensure!(again.reconciles.last_ops == 0, "a refused filter is tried again at every look");
    agent.stop()
}

/// What arrives at the end of the wire, tag and all, does not tell whether the card or Open vSwitch forwarded it.
fn same_bytes(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::up(ctx, "")?;
    run("ip link set np0 up")?;
    site.ovs.vsctl(&format!("add-port {} np0", site::BRIDGE))?;
    site.ofctl("add-flow", &format!("priority=10,ip,in_port={},actions=push_vlan:0x8100,set_field:4196->vlan_vid,output:np0", rep(0)))?;
    let mut agent = site.setup.start()?;
    let status = agent.wait("the rule in the card", |status| {
        status.synced && status.rules.iter().any(|rule| rule.outcome == "hardware")
    })?;
    ensure!(status.filters.in_hw > 0, "{:?}", status.filters);
    let with = tagged(&site)?;
    agent.stop()?;
    site.setup.flush()?;
    let without = tagged(&site)?;
    ensure!(!with.is_empty() && with == without, "with: {with:02x?}\nwithout: {without:02x?}");
    Ok(())
}

/// Sends frames from the first pod and gives what comes out of the wire, markers blotted out.
fn tagged(site: &Site) -> anyhow::Result<Vec<Vec<u8>>> {
    let marker = Marker::fresh();
    let capture = Capture::start(&site.rack, "np0w", marker)?;
    let frames: anyhow::Result<Vec<_>> = (1..=10).map(|port| packet(port).bytes(marker)).collect();
    traffic::send(&site.pods[0], &nicsim::vf(0), &frames?)?;
    let mut arrived = capture.expect(10);
    arrived.iter_mut().for_each(|frame| frame.truncate(frame.len() - MARKER_AND_CHECKSUM));
    arrived.sort();
    Ok(arrived)
}

/// The marker at the end of a frame, and the checksum of UDP and the rest of its header before it, which covers the marker.
const MARKER_AND_CHECKSUM: usize = 8 + 2;

fn packet(port: u16) -> Udp {
    Udp {
        mac: ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]),
        vlan: None,
        ip: (POD_IPS[0], [10, 0, 0, 77].into()),
        port: (5000, port),
    }
}

/// The filters of ours on a device.
fn ours(device: &str) -> anyhow::Result<Vec<Observed>> {
    let index: u32 = nicsim::read(format!("/sys/class/net/{device}/ifindex"))?.parse()?;
    let dump = Kernel::open()?.dump(Attach::Ingress(IfIndex(index)))?;
    Ok(dump.filters.into_iter().filter(Observed::is_ours).collect())
}

impl Site {
    /// Datagrams from the first pod to the second; how many arrive.
    fn exchange(&self) -> anyhow::Result<u32> {
        udp::exchange(&self.pods[0], &self.pods[1], &POD_IPS[1].to_string(), site::BURST)
    }

    fn is_cut(&self) -> anyhow::Result<bool> {
        udp::is_cut(&self.pods[0], &self.pods[1], &POD_IPS[1].to_string())
    }

    /// All datagrams arrive, and no representor sees one.
    fn goes_through_the_card(&self) -> anyhow::Result<()> {
        let before = self.slow_path()?;
        let arrived = self.exchange()?;
        let slow = self.slow_path()? - before;
        ensure!(arrived == site::BURST, "{arrived} of {} packets arrived", site::BURST);
        ensure!(slow == 0, "representors saw {slow} packets");
        Ok(())
    }
}
