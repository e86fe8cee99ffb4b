//! `device-plugin check`: what an operator reads before a configuration is used.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cards;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use cards::{Node, config};
use device_plugin::cli::check::{report, text};
use device_plugin::holds::{Hold, Holds, State};

const POOLS: &str = r#"
    {"resourceName": "dpdk", "selectors": {"vendors": ["8086"], "drivers": ["vfio-pci"]}},
    {"resourceName": "fast", "selectors": [{"pfNames": ["eth0#0"]}, {"pfNames": ["eth0#1"], "linkTypes": ["infiniband"]}]}"#;

fn told(pools: &str, holds: &Holds) -> String {
    text(&report(&config(pools), &Node::new().devices(), holds))
}

#[test]
fn each_pools_devices_are_told_and_every_other_device_with_the_reason() {
    let told = told(POOLS, &Holds::default());
    let wanted = "\
pool intel.com/dpdk: 1 device, 1 healthy
  0000:05:02.1  8086:154c vfio-pci eth1#1
pool intel.com/fast: 1 device, 1 healthy
  0000:03:00.2  15b3:101e mlx5_core eth0#0 eth0v0 representor eth0_0
in no pool:
  0000:03:00.0
    intel.com/dpdk: it is a PF with 4 VFs, and these are given away, not the PF
    intel.com/fast: it is a PF with 4 VFs, and these are given away, not the PF
  0000:03:00.3
    intel.com/dpdk: selectors[0].vendors wants 8086, the device has 15b3
    intel.com/fast: selectors[1].linkTypes wants infiniband, the device has ether
";
    assert!(told.starts_with(wanted), "{told}");
    let of_others = [
        "0000:05:02.0\n    intel.com/dpdk: selectors[0].drivers wants vfio-pci, the device has iavf",
        "0000:07:00.0\n    intel.com/dpdk: the node's default route leaves by it",
        "0000:09:00.0\n    no pool is for this type of device",
    ];
    for wanted in of_others {
        assert!(told.contains(wanted), "{wanted}:\n{told}");
    }
}

#[test]
fn who_has_a_device_is_told() {
    let held = |resource: &str| {
        let hold = Hold { resource: resource.parse().ok(), state: State::Reserved };
        told(POOLS, &Holds::new([("0000:03:00.2".into(), hold)].into(), BTreeMap::new()))
    };
    let told = held("intel.com/fast");
    assert!(told.contains("eth0#0 eth0v0 representor eth0_0  (allocated by kubelet)"), "{told}");
    let told = held("intel.com/gone");
    assert!(
        told.contains("0000:03:00.2\n    intel.com/gone: a pod has it from this pool"),
        "{told}"
    );
}

fn check(file: &str, more: &[&str]) -> Output {
    let node = Node::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pools");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_device-plugin"));
    command.args(["check", "--ledger-dir", "/no/such/ledger", "--sysfs"]).arg(node.tree.path());
    command.arg("--config").arg(&path).args(more).output().unwrap()
}

#[test]
fn the_shell_is_told_whether_the_file_can_be_used() {
    let good = check("resourceList: [{resourceName: a, selectors: {pfNames: [eth0]}}]", &[]);
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8(good.stdout).unwrap().starts_with("pool intel.com/a: 4 devices"));

    let wrong = "resourceList:\n- resourceName: a\n  selectors: {pfName: [eth0]}\n";
    let bad = check(wrong, &[]);
    assert_eq!((bad.status.code(), bad.stdout.len()), (Some(2), 0));
    let said = String::from_utf8(bad.stderr).unwrap();
    let wanted = r#"device-plugin: configuration: resourceList[0].selectors.pfName (pool "a"): "#;
    assert!(said.starts_with(wanted) && said.contains("unknown field `pfName`"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn programs_read_the_same_as_json() {
    let file = format!(r#"{{"resourceList": [{POOLS}]}}"#);
    let json = check(&file, &["--output", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let fast = &json["pools"]["intel.com/fast"]["0000:03:00.2"];
    assert_eq!((&fast["healthy"], &fast["held"]), (&true.into(), &serde_json::Value::Null));
    let reason = &json["left_out"]["0000:09:00.0"];
    assert_eq!(*reason, serde_json::json!({}));
}
