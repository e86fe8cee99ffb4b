//! The verbs, on a VF in memory that has a driver for user space.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sriov_cni::protocol::{Call, CniError};
use sriov_cni::verbs::{Machine, answer};
use switchdev::binding::{FakeNode, FakeVf, LegacyState, NoExternal, Side, VfPlace, VfState};
use switchdev::eswitch::EswitchMode;
use switchdev::link::VfLinkState;
use switchdev::phys_port::VfIndex;

const VF: &str = "0000:01:10.0";
const MAC: &str = "02:00:00:00:00:09";

/// A machine with a VF whose settings on the PF are these.
fn machine(dir: &Path, mac: &str, vlan: Option<&str>) -> Machine {
    let legacy = LegacyState {
        mac: mac.parse().unwrap(),
        vlan: vlan.map(|vlan| vlan.parse().unwrap()),
        spoof_check: Some(true),
        trust: Some(false),
        min_tx_rate: 0,
        max_tx_rate: 0,
        link_state: VfLinkState::Auto,
    };
    let driver = Some("vfio-pci".to_owned());
    let state = VfState {
        driver: driver.clone(),
        driver_override: driver,
        legacy: Some(legacy),
        ..VfState::default()
    };
    let place = VfPlace {
        pf: "0000:01:00.0".parse().unwrap(),
        index: VfIndex(0),
        mode: EswitchMode::Legacy,
    };
    let vf = FakeVf {
        vf: VF.parse().unwrap(),
        place,
        state,
        side: Side::Host,
        rdma_exclusive: false,
        pinned: false,
    };
    Machine {
        ledger: dir.to_owned(),
        node: Box::new(FakeNode::new(vf)),
        external: Box::new(NoExternal),
        ..Machine::default()
    }
}

/// As nobody has it.
fn free(dir: &Path) -> Machine {
    machine(dir, "00:00:00:00:00:00", None)
}

fn conf(more: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "n", "type": "sriov-cni", "deviceID": VF, "mac": MAC, "vlan": 100});
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

fn call(machine: &mut Machine, verb: &str, netns: &str, more: &Value) -> Result<Value, CniError> {
    let variables = BTreeMap::from([
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "net1"),
        ("CNI_NETNS", netns),
    ]);
    let call = Call::read(|name| variables.get(name).map(|value| (*value).to_owned())).unwrap();
    let answered = answer(&call, conf(more).to_string().as_bytes(), machine);
    answered.map(Option::unwrap_or_default).map_err(|(error, _)| error)
}

const POD: &str = "/run/netns/pod";

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn del_needs_no_namespace_and_may_come_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = free(dir.path());
    call(&mut machine, "ADD", POD, &json!({})).unwrap();
    assert!(!is_empty(dir.path()));
    for _ in 0..2 {
        call(&mut machine, "DEL", "", &json!({})).unwrap();
        assert!(is_empty(dir.path()));
    }
}

#[test]
fn check_tells_what_was_changed_on_the_pf() {
    let dir = tempfile::tempdir().unwrap();
    let mut added = free(dir.path());
    call(&mut added, "ADD", POD, &json!({})).unwrap();
    call(&mut added, "CHECK", POD, &json!({})).unwrap();
    for (mac, vlan, told) in [
        (MAC, None, "set vlan 100"),
        (MAC, Some("7 qos 0"), "set vlan 100"),
        ("02:00:00:00:00:0a", Some("100 qos 0"), "set mac 02:00:00:00:00:09"),
    ] {
        let mut changed = machine(dir.path(), mac, vlan);
        let error = call(&mut changed, "CHECK", POD, &json!({})).unwrap_err();
        assert_eq!(error.code, 103);
        assert!(error.to_string().contains(told), "{error}");
    }
    call(&mut machine(dir.path(), MAC, Some("100 qos 0")), "CHECK", POD, &json!({})).unwrap();
}

#[test]
fn gc_takes_nobodys_vf_for_a_list_that_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = free(dir.path());
    call(&mut machine, "ADD", POD, &json!({})).unwrap();
    let listed = json!([{"containerID": "c1", "ifname": "net1"}]);
    call(&mut machine, "GC", POD, &json!({"cni.dev/attachments": listed})).unwrap();
    let unreadable = json!({"cni.dev/valid-attachments": [{"containerID": "c1"}]});
    assert_eq!(call(&mut machine, "GC", POD, &unreadable).unwrap_err().code, 7);
    assert_eq!(call(&mut machine, "GC", POD, &json!({})).unwrap_err().code, 7);
    call(&mut machine, "CHECK", POD, &json!({})).unwrap();
    call(&mut machine, "GC", POD, &json!({"cni.dev/valid-attachments": null})).unwrap();
    assert!(is_empty(dir.path()));
}

#[test]
fn every_version_is_answered_in_itself() {
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = free(dir.path());
        let conf = json!({"cniVersion": version});
        let result = call(&mut machine, "ADD", POD, &conf).unwrap();
        assert_eq!(result["cniVersion"], version);
        let pci = result["interfaces"][0].get("pciID");
        assert_eq!(pci.is_some(), version == "1.1.0", "{result}");
        call(&mut machine, "DEL", POD, &conf).unwrap();
    }
}
