//! The story, as it runs in the guest: each step says what a user would type.

use std::process::ExitCode;

use anyhow::ensure;
use switchdev::ethtool::Ethtool;

use super::stage::{RACK_IP, Stage};
use super::table::{self, Path, Row};
use super::traffic;
use crate::cases::Ctx;
use crate::guest::agent::{Agent, Setup, Status};
use crate::guest::counters::counter;
use crate::guest::netns::Netns;

/// Packets of each kind.
const PACKETS: u32 = 1000;

/// Says what is about to happen.
pub(super) fn step(what: &str) {
    println!("\n== {what}");
}

/// Shows what is done or seen.
pub(super) fn say(text: &str) {
    text.lines().for_each(|line| println!("   {line}"));
}

/// Tells the story; fails if a packet was lost or went the wrong way.
pub fn run() -> anyhow::Result<ExitCode> {
    let ctx = Ctx::from_env()?;
    let (stage, setup, mut agent) = Stage::set(&ctx)?;
    let rules = stage.rules()?;

    step("The agent has mirrored the rules into the card");
    let status = agent.wait_for_rules(rules)?;
    say("offload-agent status");
    say(&without_port_rules(&setup.tool(&["status"])?));
    ensure!(status.filters.in_hw > 0, "no filter is in hardware: {status:#?}");

    step(&format!("{PACKETS} packets from pod to pod, and {PACKETS} to the wire in VLAN 100"));
    let offloaded = send(&stage, &mut agent)?;
    say(&table::render(&offloaded));
    say("");
    say(&verdicts(&status));

    step("The same without hardware: hw-tc-offload off on representors and uplink");
    switch_off(&stage, &setup, agent)?;
    let mut agent = setup.start()?;
    agent.wait_for_rules(rules)?;
    let slow = send(&stage, &mut agent)?;
    say(&table::render(&slow));
    agent.stop()?;
    setup.flush()?;

    step("The pods end");
    stage.end_pods()?;
    judge(&offloaded, &slow)
}

/// Stops the agent as a user would; the card lets go of `hw-tc-offload` only without filters.
fn switch_off(stage: &Stage, setup: &Setup, agent: Agent) -> anyhow::Result<()> {
    say("kill %1; offload-agent flush");
    agent.stop()?;
    say(&setup.flush()?);
    let mut ethtool = Ethtool::open()?;
    for port in stage.ports() {
        say(&format!("ethtool -K {port} hw-tc-offload off"));
        ethtool.set_hw_tc_offload(port, false)?;
    }
    say("offload-agent run --config offload-agent.yaml &");
    Ok(())
}

/// Both kinds of traffic.
fn send(stage: &Stage, agent: &mut Agent) -> anyhow::Result<[Row; 2]> {
    let [one, two] = &stage.pods;
    Ok([
        count(stage, agent, "VF to VF", (&one.netns, &two.netns, &two.ip))?,
        count(stage, agent, "VF to wire, VLAN 100", (&one.netns, &stage.rack, RACK_IP))?,
    ])
}

fn count(
    stage: &Stage,
    agent: &mut Agent,
    name: &'static str,
    (from, to, address): (&Netns, &Netns, &str),
) -> anyhow::Result<Row> {
    let before = (slow_path(stage)?, in_hardware(agent, address)?);
    let received = traffic::send(from, to, address, PACKETS)?;
    let after = (slow_path(stage)?, in_hardware(agent, address)?);
    Ok(Row {
        name,
        sent: u64::from(PACKETS),
        received: u64::from(received),
        slow: after.0 - before.0,
        hardware: after.1 - before.1,
    })
}

/// What representors and uplink received: packets that the card did not forward.
fn slow_path(stage: &Stage) -> anyhow::Result<u64> {
    stage.ports().into_iter().map(|port| counter(port, "rx_packets")).sum()
}

/// What filters in hardware counted for the rules that lead to an address. The agent is asked for a fresh look: the first
/// that ends from now on may have begun before.
fn in_hardware(agent: &mut Agent, address: &str) -> anyhow::Result<u64> {
    let seen = agent.status()?.reconciles.total;
    let status = agent.wait("a fresh look at the counters", |status| {
        status.synced && status.reconciles.total > seen + 1
    })?;
    let wanted = format!("nw_dst={address}");
    let rules =
        status.rules.iter().filter(|rule| rule.rule.split(',').any(|part| part.trim() == wanted));
    Ok(rules.map(|rule| rule.hardware.packets).sum())
}

/// The status without the many rules that hold the pods to their MAC addresses; they are only counted.
fn without_port_rules(status: &str) -> String {
    let (port_rules, others): (Vec<&str>, Vec<&str>) =
        status.lines().partition(|line| line.contains("priority=65535"));
    let offloaded = port_rules.iter().filter(|line| line.starts_with("hardware")).count();
    let counted = format!(
        "and {} rules of sriov-cni that drop what is not from the pods' own addresses, {offloaded} in hardware",
        port_rules.len()
    );
    [others, vec![&counted]].concat().join("\n")
}

/// How many rules are in hardware, and why the others are not.
fn verdicts(status: &Status) -> String {
    let offloaded = |outcome: &str| ["hardware", "split"].contains(&outcome);
    let (in_hw, others): (Vec<_>, Vec<_>) =
        status.rules.iter().partition(|rule| offloaded(&rule.outcome));
    let mut lines =
        vec![format!("OpenFlow rules offloaded: {} of {}", in_hw.len(), status.rules.len())];
    for rule in others {
        let why = rule.sentence.as_deref().unwrap_or("no reason given");
        lines.push(format!("not offloaded: {}\n    because {why}", rule.rule));
    }
    lines.join("\n")
}

fn judge(offloaded: &[Row], slow: &[Row]) -> anyhow::Result<ExitCode> {
    let mut faults = table::faults(offloaded, Path::Hardware);
    faults.extend(table::faults(slow, Path::Software));
    if faults.is_empty() {
        step("Every packet arrived: through the card with offload, through Open vSwitch without");
        return Ok(ExitCode::SUCCESS);
    }
    step("Not as it should be");
    faults.iter().for_each(|fault| say(fault));
    Ok(ExitCode::FAILURE)
}
