//! Which established traffic of real nodes is finished by filters: what an operator gets from `compile --traffic`, and from the
//! classes of `--output json`.
//!
//! The rulesets of whole OVN nodes lie beside the repository; `traffic/NODE.yaml` has the packets for each. A packet that stays in OVS must have
//! the fact in its line that forbids it: `#forbidden: FACT` behind its name in the file.

#![expect(clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::unwrap_used, reason = "a test that cannot run the command fails")]

mod nodes;

use std::fs;
use std::path::{Path, PathBuf};

use nodes::{compile, files};
use serde_json::Value;

const PROFILES: [&str; 2] = ["nicsim", "software"];

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn ask(node_name: &str, bridges: &[&str], profile: &str) -> String {
    let mut arguments = files(node_name, bridges, profile);
    let traffic = here("traffic").join(format!("{node_name}.yaml"));
    arguments.extend(["--traffic".to_owned(), traffic.display().to_string()]);
    let output = compile(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{errors}");
    text
}

/// Each packet's name, and the fact that forbids filters for it.
fn expected(node_name: &str) -> Vec<(String, Option<String>)> {
    let text = fs::read_to_string(here("traffic").join(format!("{node_name}.yaml"))).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("- name: "));
    names
        .map(|line| match line.split_once(" #forbidden: ") {
            Some((name, fact)) => (name.to_owned(), Some(fact.to_owned())),
            None => (line.to_owned(), None),
        })
        .collect()
}

fn check(node_name: &str, bridges: &[&str]) {
    for profile in PROFILES {
        let table = ask(node_name, bridges, profile);
        let expected = expected(node_name);
        assert!(!expected.is_empty());
        for (name, fact) in expected {
            let line = table.lines().find(|line| line.strip_prefix(&name).is_some_and(is_column));
            let line = line.unwrap_or_else(|| panic!("no line for {name}:\n{table}"));
            match fact {
                None => assert!(line.contains("  tc   "), "{node_name}, {profile}: {line}"),
                Some(fact) => assert!(
                    line.contains("  ovs  ") && line.contains(&fact),
                    "{node_name}, {profile}: not `{fact}`, but {line}"
                ),
            }
        }
    }
}

/// What follows a name in the table.
fn is_column(rest: &str) -> bool {
    rest.starts_with("  ")
}

#[test]
fn pods_behind_ovn_with_tunnels() {
    check("overlay-small", &["br-int"]);
}

#[test]
fn pods_behind_ovn_with_policies() {
    check("acl-conjunction", &["br-int"]);
}

#[test]
fn a_packet_that_no_rule_says_a_reason_for_has_one() {
    let table = ask("overlay-small", &["br-int"], "ice");
    let rows = table.lines().filter_map(|line| line.split_once("  ovs  "));
    let reasons: Vec<&str> = rows.map(|(_, reason)| reason.trim()).collect();
    assert!(reasons.len() > 8 && reasons.iter().all(|reason| !reason.is_empty()), "{table}");
}

#[test]
fn no_rule_that_packets_go_by_is_said_to_match_none() {
    for (node_name, profile) in [("acl-conjunction", "nicsim"), ("overlay-small", "software")] {
        let mut arguments = files(node_name, &["br-int"], profile);
        arguments.extend(["--output".to_owned(), "summary".to_owned()]);
        let text = String::from_utf8(compile(&arguments).stdout).unwrap();
        // Where filters that lead to it are given up, or the walk ends before it, its packets are OVS's.
        assert!(text.contains("left_before") || node_name != "acl-conjunction", "{text}");
        assert!(!text.contains("never_matches"), "{node_name} on {profile}: {text}");
    }
}

#[test]
fn pods_on_the_underlay() {
    check("underlay-vlan", &["br-int", "br-provider"]);
}

/// What `--output json` says of the packets of a port.
fn class(port: &Value, traffic: &str) -> Value {
    let classes = port["classes"].as_array().unwrap();
    let found = classes.iter().find(|one| one["lane"] == "untagged" && one["traffic"] == traffic);
    found.unwrap_or_else(|| panic!("{} has no {traffic}", port["ports"])).clone()
}

/// Established connections of pods go everywhere by filters, and what nobody tracks goes nowhere.
#[test]
fn classes_of_packets_of_pods_behind_ovn() {
    for (profile, whole) in [("nicsim", "hardware"), ("software", "software")] {
        let mut arguments = files("overlay-small", &["br-int"], profile);
        arguments.extend(["--output", "json"].map(str::to_owned));
        let json: Value = serde_json::from_slice(&compile(&arguments).stdout).unwrap();
        let ports = json["ports"].as_array().unwrap();
        let pods: Vec<&Value> =
            ports.iter().filter(|port| port["dev"].as_str().unwrap().starts_with("pod")).collect();
        assert_eq!(pods.len(), 6);
        for pod in pods {
            let established = class(pod, "IPv4 TCP established");
            assert_eq!(established["outcome"], "split");
            let to: Vec<String> = established["to"]
                .as_array()
                .unwrap()
                .iter()
                .map(|to| to["dev"].to_string())
                .collect();
            for end in ["pod0_h", "pod5_h", "genev_sys_6081"] {
                assert!(to.iter().any(|dev| dev.contains(end)), "{end} is not in {to:?}");
            }
            let icmp = class(pod, "IPv4 ICMP");
            assert_eq!(icmp["outcome"], "ovs");
            assert_eq!(icmp["without_a_filter"][0]["reason"], "not_tracked");
            let outcomes = pod["classes"].as_array().unwrap().iter().map(|one| &one["outcome"]);
            let whole_ones = outcomes
                .filter(|outcome| ["hardware", "software"].contains(&outcome.as_str().unwrap()));
            let mut whole_ones = whole_ones.peekable();
            assert!(whole_ones.peek().is_some() && whole_ones.all(|outcome| outcome == whole));
        }
        let tunnel = ports.iter().find(|port| port["dev"] == "genev_sys_6081").unwrap();
        let lanes: Vec<&Value> =
            tunnel["classes"].as_array().unwrap().iter().map(|one| &one["lane"]).collect();
        assert!(lanes.iter().any(|lane| *lane == "key 1 untagged"), "{lanes:?}");
    }
}
