//! What an operator reads: plans, and refusals.

use super::super::*;
use super::scene::*;
use crate::eswitch::EswitchMode;
use crate::ledger::Ledger;

fn steps(vf: FakeVf, wish: &Wish) -> Vec<String> {
    let mut node = FakeNode::new(vf);
    let observed = node.open(super::scene::vf(), &holder()).unwrap().observe().unwrap().unwrap();
    plan(&observed, "net1", wish).unwrap().iter().map(Change::to_string).collect()
}

#[test]
fn the_way_to_the_pod_in_switchdev_mode() {
    assert_eq!(
        steps(switchdev_vf(), &full_wish(EswitchMode::Switchdev)),
        [
            "set hw_addr 02:00:00:00:00:09 of the port function",
            "set tx_max 500mbit of the port function's rate",
            "set tx_share 100mbit of the port function's rate",
            "set the representor mtu 9000",
            "set the representor up",
            "set the VF's netdev down",
            "set the VF's netdev alias \"linerate:np0v0\"",
            "set the VF's netdev name lr000001100",
            "move the VF's netdev to the pod",
            "set the VF's netdev name net1",
            "set the VF's netdev address 02:00:00:00:00:09",
            "set the VF's netdev mtu 9000",
            "set the VF's netdev up",
            "move RDMA device mlx5_3 to the pod",
        ]
    );
}

/// Nothing is wished, and the pod may use no MAC address but the VF's own.
#[test]
fn the_safe_defaults_in_legacy_mode() {
    let mut vf = legacy_vf();
    let legacy = vf.state.legacy.as_mut().unwrap();
    (legacy.spoof_check, legacy.trust) = (Some(false), Some(true));
    assert_eq!(
        steps(vf, &Wish::default())[..3],
        [
            "set mac 02:00:00:00:00:01 of the VF on its PF",
            "set spoofchk on of the VF on its PF",
            "set trust off of the VF on its PF",
        ]
    );
}

/// igb refuses an address that it set itself, so its word is taken back for a moment.
#[test]
fn igb_lets_a_vf_have_its_address_before_it_holds_it_to_it() {
    let wish = Wish { mac: full_wish(EswitchMode::Legacy).mac, ..Wish::default() };
    assert_eq!(
        steps(igb_vf(), &wish)[6..],
        [
            "set mac 00:00:00:00:00:00 of the VF on its PF",
            "set the VF's netdev address 02:00:00:00:00:09",
            "set mac 02:00:00:00:00:09 of the VF on its PF",
            "set the VF's netdev up",
        ]
    );
}

#[test]
fn a_vf_for_user_space_gets_its_settings_only() {
    let wish = Wish { mac: full_wish(EswitchMode::Legacy).mac, ..Wish::default() };
    assert_eq!(steps(vfio_vf(), &wish), ["set mac 02:00:00:00:00:09 of the VF on its PF"]);
}

fn refusal(change: impl FnOnce(&mut FakeNode, &mut Wish)) -> String {
    let mut node = FakeNode::new(legacy_vf());
    let mut wish = Wish::default();
    change(&mut node, &mut wish);
    let mut world = World::new(node);
    let before = world.state();
    let error = world.bind(&wish, &never()).unwrap_err().to_string();
    assert_eq!(world.state(), before, "{error}");
    error
}

fn check_refusal(change: impl FnOnce(&mut FakeNode, &mut Wish), sentence: &str) {
    let error = refusal(change);
    assert!(error.contains(sentence), "{error}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_changed() {
    check_refusal(
        |node, _| node.pod_names.extend(["net1".to_owned()]),
        "the pod has an interface net1 already: choose another name",
    );
    check_refusal(
        |node, _| node.vf.as_mut().unwrap().state.driver = None,
        "has no driver: bind one for network or for user space",
    );
    check_refusal(
        |node, _| node.vf.as_mut().unwrap().state.netdev = None,
        "(driver mlx5_core) has no netdev in this network namespace",
    );
    check_refusal(
        |node, wish| {
            node.vf.as_mut().unwrap().state.legacy.as_mut().unwrap().trust = None;
            wish.trust = Some(true);
        },
        "its PF's driver has no trust: leave it out",
    );
    check_refusal(|node, _| node.vf = None, "there is no VF 0000:01:10.0 on this node");
    check_refusal(|node, _| node.pod = false, "the pod's network namespace is gone");
}

#[test]
fn legacy_settings_are_refused_in_switchdev_mode() {
    let trust = Wish { trust: Some(true), ..Wish::default() };
    check_refusal(
        |node, wish| (*node, *wish) = (FakeNode::new(switchdev_vf()), trust),
        "is in switchdev mode, where a VF has no trust: leave it out",
    );
    check_refusal(
        |node, wish| {
            *node = FakeNode::new(switchdev_vf());
            node.vf.as_mut().unwrap().state.function.as_mut().unwrap().rate = None;
            wish.max_tx_rate = Some(1);
        },
        "devlink port 1 has no rate leaf",
    );
}

/// The longest PCI address that there is still makes a name the kernel takes.
#[test]
fn a_temporary_name_fits() {
    let longest = "ffffffff:ff:1f.7".parse().unwrap();
    assert_eq!(temporary_name(longest), "lrffffffffff1f7");
    assert_eq!(temporary_name(longest).len(), 15);
}

#[test]
fn a_locked_vf_is_said_to_be_worked_on() {
    let mut world = World::new(FakeNode::new(legacy_vf()));
    let ledger = Ledger::open(world.dir.path()).unwrap();
    let locked = ledger.lock(vf(), std::time::Duration::ZERO).unwrap();
    let error = world.bind(&Wish::default(), &never()).unwrap_err().to_string();
    assert!(error.contains("is being worked on by "), "{error}");
    assert!(world.collect().is_empty(), "the collector leaves it to them");
    drop(locked);
    world.bind(&Wish::default(), &never()).unwrap();
}
