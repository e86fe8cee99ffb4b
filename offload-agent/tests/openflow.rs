//! The OpenFlow client against a real Open vSwitch: what comes by wire is what `ovs-ofctl` prints.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::collections::BTreeMap;
use std::time::Duration;

use flow_compiler::openflow::text::{Names, parse_rules};
use flow_compiler::openflow::{BridgeRules, Rule, RuleFlags, RuleKey};
use offload_agent::ovs::{BridgeEvent, OfConn, OfError};
use private_ovs::PrivateOvs;
use tokio::time::timeout;

/// Longer than the switch ever takes, so that a lost change is a failure and not a hang.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);
/// Rules with every match field that OVS 3.1 takes, and with every action.
const MATCHES: &str =
    include_str!("../compiler/tests/data/rulesets/features/matches.flows.of15.txt");
const ACTIONS: &str =
    include_str!("../compiler/tests/data/rulesets/features/actions.flows.of15.txt");
const TUNNEL_OPTIONS: &str = "{class=0x102,type=0x80,len=4}->tun_metadata0,\
                              {class=0x103,type=0x1,len=8}->tun_metadata1,{class=0x104,type=0x1,len=0}->tun_metadata2";

/// A bridge with what the rules above need.
fn bridge() -> Option<PrivateOvs> {
    let ovs = PrivateOvs::with_bridge()?;
    ovs.ofctl(&["add-tlv-map", "br0", TUNNEL_OPTIONS]);
    ovs.ofctl(&["add-group", "br0", "group_id=1,type=all,bucket=output:1"]);
    ovs.ofctl(&["add-meter", "br0", "meter=3,kbps,band=type=drop,rate=1000"]);
    Some(ovs)
}

fn by_key(rules: Vec<Rule>) -> BTreeMap<RuleKey, Rule> {
    BridgeRules::from_iter(rules).rules
}

/// What the flow monitor tells of a rule.
fn as_monitored(rule: Rule) -> Rule {
    Rule { flags: RuleFlags::default(), importance: 0, ..rule }
}

async fn check_same_by_text_and_wire(rules: &str) {
    let Some(ovs) = bridge() else { return };
    ovs.add_flows("br0", rules);
    let printed = parse_rules(&ovs.ofctl(&["dump-flows", "br0"]), &Names::default()).unwrap();
    let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
    let dumped = conn.rules().await.unwrap();
    for (key, rule) in by_key(dumped) {
        let printed = printed.iter().find(|printed| printed.key() == key);
        assert_eq!(Some(&rule), printed, "by wire, by text: {rule}");
    }
    let watched = conn.watch().await.unwrap();
    assert_eq!(watched.rules, by_key(printed.into_iter().map(as_monitored).collect()));
}

#[tokio::test]
async fn every_match_is_the_same_by_text_and_by_wire() {
    check_same_by_text_and_wire(MATCHES).await;
}

#[tokio::test]
async fn every_action_is_the_same_by_text_and_by_wire() {
    check_same_by_text_and_wire(ACTIONS).await;
}

#[tokio::test]
async fn a_change_of_a_watched_bridge_is_told_until_the_rules_are_the_same_again() {
    let Some(ovs) = bridge() else { return };
    let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
    let mut rules = conn.watch().await.unwrap();
    assert!(rules.rules.is_empty() && rules.groups.len() == 1 && rules.meters.len() == 1);
    assert_eq!(
        rules.tunnel_options.get(&0).map(|option| (option.class, option.length)),
        Some((0x102, 4))
    );

    ovs.add_flows("br0", "priority=1,ip,actions=output:1\npriority=2,arp,actions=drop\n");
    ovs.ofctl(&["mod-flows", "br0", "ip,actions=output:2"]);
    ovs.ofctl(&["del-flows", "br0", "arp"]);
    wait_until(&mut conn, &mut rules, |rules| texts(rules) == ["priority=1,ip actions=output:2"])
        .await;
}

#[tokio::test]
async fn another_controllers_groups_and_ports_are_told() {
    let Some(ovs) = bridge() else { return };
    let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
    let mut rules = conn.watch().await.unwrap();
    ovs.ofctl(&[
        "add-group",
        "br0",
        "group_id=2,type=select,selection_method=hash,fields=ip_src,bucket=weight:5,output:1",
    ]);
    wait_until(&mut conn, &mut rules, |rules| rules.groups.len() == 2).await;
    ovs.vsctl("add-port br0 p9 -- set interface p9 type=dummy ofport_request=9");
    let port = loop {
        if let BridgeEvent::Port(_, port) = next_event(&mut conn).await {
            break port;
        }
    };
    assert_eq!((port.name.as_str(), port.port.0), ("p9", 9));
}

/// 20,000 rules in one go are more than OVS keeps ready for a slow reader, so it pauses and resumes.
#[tokio::test]
async fn a_burst_that_makes_the_switch_pause_loses_nothing() {
    let Some(ovs) = bridge() else { return };
    let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
    let mut rules = conn.watch().await.unwrap();
    let burst: String = (0..20_000)
        .map(|n| {
            format!(
                "priority=5,ip,nw_dst=10.{}.{}.1,actions=mod_dl_dst:02:00:00:00:00:01,output:{}\n",
                n / 200,
                n % 200,
                n % 4 + 1
            )
        })
        .collect();
    ovs.add_flows("br0", &burst);
    wait_until(&mut conn, &mut rules, |rules| rules.rules.len() == 20_000).await;
    ovs.ofctl(&["del-flows", "br0"]);
    wait_until(&mut conn, &mut rules, |rules| rules.rules.is_empty()).await;
}

#[tokio::test]
async fn a_bridge_that_may_not_speak_our_version_says_what_to_do() {
    let Some(ovs) = bridge() else { return };
    ovs.vsctl("set bridge br0 protocols=OpenFlow10,OpenFlow13");
    let error = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap_err();
    assert!(matches!(error, OfError::Version { version: 4, .. }), "{error}");
    assert!(error.to_string().contains("protocols OpenFlow15"), "{error}");
}

#[tokio::test]
async fn a_bridge_that_is_not_there_says_so() {
    let error = OfConn::connect("/nowhere/br0.mgmt".as_ref()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to /nowhere/br0.mgmt"), "{error}");
}

async fn wait_until(
    conn: &mut OfConn,
    bridge: &mut BridgeRules,
    done: impl Fn(&BridgeRules) -> bool,
) {
    while !done(bridge) {
        match next_event(conn).await {
            BridgeEvent::Rules(updates) => bridge.apply_all(updates),
            BridgeEvent::GroupsOrMeters => conn.refresh_groups_and_meters(bridge).await.unwrap(),
            BridgeEvent::Port(..) => false,
        };
    }
}

async fn next_event(conn: &mut OfConn) -> BridgeEvent {
    timeout(EVENT_TIMEOUT, conn.next_event())
        .await
        .unwrap_or_else(|_| panic!("the change was not told"))
        .unwrap()
}

fn texts(bridge: &BridgeRules) -> Vec<String> {
    bridge.rules.values().map(Rule::to_string).collect()
}

/// How long the first dump of a large bridge takes; run with `--ignored --nocapture` for the figure.
#[tokio::test]
#[ignore = "prints a figure, asserts nothing about time"]
async fn the_first_dump_of_twenty_thousand_rules() {
    let Some(ovs) = bridge() else { return };
    let rules: String = (0..20_000)
        .map(|n| format!("table={},priority=5,tcp,reg14={n},nw_dst=10.0.{}.1,tp_dst=80,actions=ct(table=9,zone=NXM_NX_REG13[0..15],nat)\n", n % 50, n % 200))
        .collect();
    ovs.add_flows("br0", &rules);
    let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
    let started = std::time::Instant::now();
    let bridge = conn.watch().await.unwrap();
    eprintln!("{} rules, groups and meters in {:?}", bridge.rules.len(), started.elapsed());
    assert_eq!(bridge.rules.len(), 20_000);
}
