//! Which devices each selector selects, on one inventory, and what makes a device unhealthy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod cards;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cards::{Node, config, pci};
use device_plugin::device::read::Kernel;
use device_plugin::device::{Barred, DeviceId};
use device_plugin::holds::{Hold, Holder, Holds, State};
use device_plugin::pool::Pools;
use device_plugin::pool::assign::Look;
use device_plugin::pool::changes::sentence;
use device_plugin::pool::health::FORGET_AFTER;
use plugin_testkit::Tree;
use switchdev::eswitch::EswitchMode;
use switchdev::{IfIndex, Sysfs};

/// The members of each pool, shortened: `03:00.2`.
fn members(pools: &Pools) -> BTreeMap<String, Vec<String>> {
    let short = |id: &DeviceId| id.as_str().trim_start_matches("0000:").to_owned();
    pools
        .iter()
        .map(|(name, pool)| (name.name().to_owned(), pool.members.keys().map(short).collect()))
        .collect()
}

fn selected(node: &Node, pool: &str) -> Vec<String> {
    let config = config(pool);
    members(&node.pools(&config, &Holds::default(), &Pools::new())).into_values().next().unwrap()
}

#[test]
fn each_selector_selects_what_it_does_elsewhere() {
    const VFS: [&str; 4] = ["03:00.2", "03:00.3", "03:00.4", "03:00.5"];
    const ALL: [&str; 9] = [
        "03:00.2", "03:00.3", "03:00.4", "03:00.5", "05:02.0", "05:02.1", "06:00.0", "08:00.1",
        "08:00.2",
    ];
    let cases: &[(&str, &[&str])] = &[
        // No PF that has VFs, and not the card of the default route.
        ("{}", &ALL),
        (r#"{"vendors": ["8086"]}"#, &["05:02.0", "05:02.1", "06:00.0"]),
        (r#"{"vendors": ["8086", "15b3"]}"#, &ALL),
        (r#"{"devices": ["154c", "10fb"]}"#, &["05:02.0", "05:02.1", "06:00.0"]),
        (r#"{"drivers": ["vfio-pci"]}"#, &["05:02.1"]),
        (r#"{"vendors": ["8086"], "drivers": ["iavf", "mlx5_core"]}"#, &["05:02.0"]),
        (
            r#"{"pciAddresses": ["0000:03:00.3", "0000:06:00.0", "0000:99:00.0"]}"#,
            &["03:00.3", "06:00.0"],
        ),
        (r#"{"acpiIndexes": ["101"]}"#, &["06:00.0"]),
        (r#"{"pfNames": ["eth0"]}"#, &VFS),
        (r#"{"pfNames": ["ETH0#0-1,3"]}"#, &["03:00.2", "03:00.3", "03:00.5"]),
        // Of two entries for one PF the first counts.
        (r#"{"pfNames": ["eth0#0", "eth0#1", "eth1#1"]}"#, &["03:00.2", "05:02.1"]),
        // A card that is no VF is on no PF.
        (r#"{"pfNames": ["eth2"]}"#, &[]),
        (r#"{"rootDevices": ["0000:05:00.0"]}"#, &["05:02.0", "05:02.1"]),
        (
            r#"{"rootDevices": ["0000:05:00.0#1", "0000:03:00.0#2-9"]}"#,
            &["03:00.4", "03:00.5", "05:02.1"],
        ),
        (r#"{"linkTypes": ["infiniband"]}"#, &["08:00.1", "08:00.2"]),
        // The VF without a netdev has the link type of its PF.
        (r#"{"linkTypes": ["ether"], "pfNames": ["eth1"]}"#, &["05:02.0", "05:02.1"]),
        (r#"{"ddpProfiles": ["GTPv1-C/U IPv4/IPv6 payload"]}"#, &["05:02.0", "05:02.1"]),
        (r#"{"ddpProfiles": ["L2TPv3oIP"]}"#, &[]),
        (r#"{"pKeys": ["0x8001"]}"#, &["08:00.1"]),
        (r#"{"isRdma": true}"#, &["03:00.2", "03:00.3", "08:00.1"]),
        (r#"{"needVhostNet": true, "vendors": ["8086"]}"#, &["05:02.0", "05:02.1", "06:00.0"]),
        (r#"{"vdpaType": "vhost"}"#, &["08:00.2"]),
        (r#"{"vdpaType": "virtio"}"#, &[]),
        (r#"{"eswitchMode": "switchdev"}"#, &VFS),
        (r#"{"eswitchMode": "legacy", "vendors": ["8086"]}"#, &["05:02.0", "05:02.1", "06:00.0"]),
        (r#"{"representor": true}"#, &VFS),
        (r#"{"representor": false, "vendors": ["15b3"]}"#, &["08:00.1", "08:00.2"]),
        // A list: either will do.
        (r#"[{"drivers": ["vfio-pci"]}, {"pfNames": ["eth0#3"]}]"#, &["03:00.5", "05:02.1"]),
    ];
    let node = Node::new();
    for (selectors, wanted) in cases {
        let pool = format!(r#"{{"resourceName": "a", "selectors": {selectors}}}"#);
        assert_eq!(selected(&node, &pool), *wanted, "{selectors}");
    }
}

/// Without `CAP_NET_ADMIN` nobody is told an e-switch's mode: a guess would give a pod the wrong kind of VF.
#[test]
fn an_eswitch_whose_mode_is_not_known_is_in_neither_mode() {
    let mut node = Node::new();
    node.kernel.eswitches.clear();
    for mode in ["legacy", "switchdev"] {
        let pool = format!(r#"{{"resourceName": "a", "selectors": {{"eswitchMode": "{mode}"}}}}"#);
        assert_eq!(selected(&node, &pool), [""; 0], "{mode}");
    }
}

/// A bond's ports and a virtio card have the route's netdev not in their own directory; a sub-function's is in its PF's.
#[test]
fn what_the_default_route_goes_by_is_in_no_pool() {
    let barred = |ifindex: u32| {
        let mut node = Node::new();
        stacked(&node.tree);
        node.kernel.default_routes = [IfIndex(ifindex)].into();
        let barred = node.devices();
        let barred = barred.values().filter(|d| d.barred == Some(Barred::DefaultRoute));
        barred.map(|d| d.id.as_str().trim_start_matches("0000:").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(barred(99), ["07:00.0"]);
    assert_eq!(barred(100), ["06:00.0", "07:00.0"], "bond0");
    assert_eq!(barred(101), ["0a:00.0"], "virtio");
    assert_eq!(barred(102), ["mlx5_core.sf.4"], "a sub-function, whose PF has VFs besides");
    assert_eq!(barred(1), [""; 0]);
}

/// A bond of `eth2` and `eth3`, and a virtio card.
fn stacked(tree: &Tree) {
    let net = tree.path().join("class/net");
    let bond = net.join("bond0");
    std::fs::create_dir(&bond).unwrap();
    std::fs::write(bond.join("ifindex"), "100\n").unwrap();
    for port in ["eth2", "eth3"] {
        std::os::unix::fs::symlink(net.join(port), bond.join(format!("lower_{port}"))).unwrap();
    }
    let card = tree.function("0000:0a:00.0", "0x020000", "1af4:1041").unwrap();
    let netdevs = [
        (card.join("virtio2/net/eth9").unwrap(), "101"),
        (tree.device("0000:03:00.0").join("mlx5_core.sf.4/net/en3f0pf0sf88").unwrap(), "102"),
    ];
    for (netdev, ifindex) in netdevs {
        netdev.file("ifindex", ifindex).unwrap();
        let name = netdev.path().file_name().unwrap();
        std::os::unix::fs::symlink(netdev.path(), net.join(name)).unwrap();
    }
}

#[test]
fn other_types_have_their_own_devices() {
    let node = Node::new();
    let cases: &[(&str, &str, &[&str])] = &[
        ("accelerator", "{}", &["09:00.0"]),
        ("accelerator", r#"{"drivers": ["vfio-pci"], "vendors": ["8086"]}"#, &["09:00.0"]),
        ("accelerator", r#"{"devices": ["0000"]}"#, &[]),
        ("auxNetDevice", r#"{"auxTypes": ["sf"]}"#, &["mlx5_core.sf.4"]),
        (
            "auxNetDevice",
            r#"{"auxTypes": ["sf"], "pfNames": ["eth0#80-90"], "linkTypes": ["ether"]}"#,
            &["mlx5_core.sf.4"],
        ),
        ("auxNetDevice", r#"{"auxTypes": ["sf"], "rootDevices": ["0000:03:00.0#0-9"]}"#, &[]),
        ("auxNetDevice", r#"{"auxTypes": ["sf"], "isRdma": true}"#, &[]),
    ];
    for (kind, selectors, wanted) in cases {
        let pool =
            format!(r#"{{"resourceName": "a", "deviceType": "{kind}", "selectors": {selectors}}}"#);
        assert_eq!(selected(&node, &pool), *wanted, "{kind} {selectors}");
    }
}

#[test]
fn a_device_goes_to_the_first_pool_that_wants_it() {
    let config = config(
        r#"{"resourceName": "dpdk", "selectors": {"drivers": ["vfio-pci"]}},
           {"resourceName": "eth1", "selectors": {"pfNames": ["eth1"]}},
           {"resourceName": "rest"}"#,
    );
    let node = Node::new();
    let members = members(&node.pools(&config, &Holds::default(), &Pools::new()));
    assert_eq!(members["dpdk"], ["05:02.1"]);
    assert_eq!(members["eth1"], ["05:02.0"]);
    assert_eq!(members["rest"].len(), 7);
}

/// What is wrong with each device of the one pool, shortened; nothing where all are well.
fn causes(pools: &Pools) -> Vec<(String, String)> {
    let members =
        pools.values().flat_map(|pool| pool.members.values()).filter(|member| !member.is_healthy());
    members
        .map(|m| (m.device.id.as_str().trim_start_matches("0000:").to_owned(), sentence(&m.causes)))
        .collect()
}

/// A pool with the VFs of `eth0`, all well; then something happens to the node, and what is wrong is told.
fn after(change: impl FnOnce(&mut Node), keys: &str) -> Vec<(String, String)> {
    let mut node = Node::new();
    let config = config(&format!(r#"{{"resourceName": "a", {keys}, "requireCarrier": true}}"#));
    let before = node.pools(&config, &Holds::default(), &Pools::new());
    assert_eq!(before.values().next().unwrap().members.len(), 4);
    assert_eq!(causes(&before), []);
    change(&mut node);
    let pools = node.pools(&config, &Holds::default(), &before);
    assert_eq!(pools.values().next().unwrap().members.len(), 4, "a device has left the pool");
    causes(&pools)
}

const ON_ETH0: &str =
    r#""selectors": {"pfNames": ["eth0"], "drivers": ["mlx5_core"], "eswitchMode": "switchdev"}"#;

fn vf(node: &Node, function: u8) -> std::path::PathBuf {
    node.tree.path().join(format!("devices/pci0000:00/0000:03:00.{function}"))
}

#[test]
fn each_fault_is_told_with_its_cause() {
    let gone = after(|node| node.tree.unplug("0000:03:00.2").unwrap(), ON_ETH0);
    assert_eq!(gone, [("03:00.2".to_owned(), "it is not there any more".to_owned())]);

    let unbound = after(|node| std::fs::remove_file(vf(node, 3).join("driver")).unwrap(), ON_ETH0);
    assert_eq!(unbound[0].1, "drivers wants mlx5_core, the device has none");

    let legacy = after(
        |node| node.kernel.eswitches = [(pci("0000:03:00.0"), EswitchMode::Legacy)].into(),
        ON_ETH0,
    );
    assert_eq!(legacy.len(), 4);
    assert_eq!(legacy[0].1, "eswitchMode wants switchdev, the device has legacy");

    let carrier = after(
        |node| std::fs::write(node.tree.path().join("class/net/eth0/operstate"), "down\n").unwrap(),
        ON_ETH0,
    );
    assert_eq!((carrier.len(), carrier[0].1.as_str()), (4, "its PF eth0 has no carrier"));

    let fault = after(
        |node| {
            drop(
                node.kernel
                    .faults
                    .insert("pci/0000:03:00.0".to_owned(), vec!["fw_fatal".to_owned()]),
            )
        },
        ON_ETH0,
    );
    assert_eq!(
        (fault.len(), fault[0].1.as_str()),
        (4, "the devlink health reporter fw_fatal is in error")
    );
}

#[test]
fn a_representor_that_is_missing_is_a_fault_in_switchdev_mode() {
    let without = |node: &mut Node| {
        std::fs::remove_file(node.tree.path().join("class/net/eth0_1")).unwrap();
        node.kernel.representors =
            Kernel::of_tree(&Sysfs::at(node.tree.path())).unwrap().representors;
    };
    let missing = ("03:00.3".to_owned(), "it has no representor".to_owned());
    assert_eq!(after(without, ON_ETH0), std::slice::from_ref(&missing));
    assert_eq!(
        after(without, r#""selectors": {"pfNames": ["eth0"], "representor": true}"#),
        [missing]
    );
}

#[test]
fn a_netdev_that_is_away_is_a_fault_only_while_no_pod_has_the_device() {
    let node = Node::new();
    let config = config(r#"{"resourceName": "a", "selectors": {"pfNames": ["eth0"]}}"#);
    std::fs::remove_file(node.tree.path().join("class/net/eth0v0")).unwrap();
    std::fs::remove_dir_all(vf(&node, 2).join("net")).unwrap();
    let alone = node.pools(&config, &Holds::default(), &Pools::new());
    assert!(causes(&alone)[0].1.contains("its driver has made no netdev"), "{:?}", causes(&alone));
    for state in [State::Reserved, State::Bound(Holder("pod a/b".to_owned()))] {
        let hold = Hold { resource: "intel.com/a".parse().ok(), state };
        let holds = Holds::new([("0000:03:00.2".into(), hold)].into(), BTreeMap::new());
        assert_eq!(causes(&node.pools(&config, &holds, &Pools::new())), []);
    }
}

#[test]
fn what_heals_is_healthy_again_and_what_moves_to_another_pool_leaves() {
    let mut node = Node::new();
    let config = config(
        r#"{"resourceName": "kernel", "selectors": {"drivers": ["iavf"]}},
           {"resourceName": "user", "selectors": {"drivers": ["vfio-pci"]}}"#,
    );
    let driver = node.tree.path().join("devices/pci0000:00/0000:05:02.0/driver");
    let first = node.pools(&config, &Holds::default(), &Pools::new());
    std::fs::remove_file(&driver).unwrap();
    let broken = node.pools(&config, &Holds::default(), &first);
    assert_eq!((causes(&broken).len(), members(&broken)["kernel"].len()), (1, 1));
    std::os::unix::fs::symlink(node.tree.path().join("bus/pci/drivers/iavf"), &driver).unwrap();
    assert_eq!(causes(&node.pools(&config, &Holds::default(), &broken)), []);
    std::fs::remove_file(&driver).unwrap();
    std::os::unix::fs::symlink(node.tree.path().join("bus/pci/drivers/vfio-pci"), &driver).unwrap();
    let moved = node.pools(&config, &Holds::default(), &broken);
    assert_eq!(members(&moved)["user"], ["05:02.0", "05:02.1"]);
    node.kernel.eswitches.clear();
}

/// As when the file changes while a pod has the VF, with and without a restart: it stays where it was
/// given out, is well, and is in no other pool.
#[test]
fn what_a_pod_has_stays_in_its_pool_whatever_becomes_of_the_pool() {
    const ETH0: &str = r#"{"resourceName": "a", "selectors": {"pfNames": ["eth0"]}}"#;
    let node = Node::new();
    let before = node.pools(&config(ETH0), &Holds::default(), &Pools::new());
    let hold = Hold { resource: "intel.com/a".parse().ok(), state: State::Reserved };
    let held = Holds::new([("0000:03:00.2".into(), hold)].into(), BTreeMap::new());
    let homes = |file: &str, before: &Pools| {
        let pools = node.pools(&config(file), &held, before);
        let has = |member: &String| member == "03:00.2";
        let homes = members(&pools).into_iter().filter(|(_, ids)| ids.iter().any(has));
        (homes.map(|(name, _)| name).collect::<Vec<_>>(), causes(&pools))
    };
    let changes = [
        r#"{"resourceName": "a", "selectors": {"pfNames": ["eth1"]}}"#,
        r#"{"resourceName": "a", "deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"]}}"#,
        &format!(r#"{{"resourceName": "first"}}, {ETH0}"#),
    ];
    for changed in changes {
        for before in [&before, &Pools::new()] {
            assert_eq!(homes(changed, before), (vec!["a".to_owned()], vec![]), "{changed}");
        }
    }
    let without = r#"{"resourceName": "another"}"#;
    assert_eq!(homes(without, &before), (vec!["a".to_owned()], vec![]));
    assert_eq!(homes(without, &Pools::new()), (vec![], vec![]));
}

/// A restart has no pools before, and a pod's device has no RDMA device here that would tell by which of two
/// selectors it came.
#[test]
fn what_a_pod_has_is_well_after_a_restart_by_the_selector_that_comes_nearest() {
    let node = Node::new();
    let two = r#"{"resourceName": "a", "selectors": [{"drivers": ["vfio-pci"]}, {"drivers": ["mlx5_core"], "isRdma": true}]}"#;
    let hold = Hold { resource: "intel.com/a".parse().ok(), state: State::Reserved };
    let held = Holds::new([("0000:03:00.2".into(), hold)].into(), BTreeMap::new());
    std::fs::remove_dir_all(vf(&node, 2).join("infiniband")).unwrap();
    let pools = node.pools(&config(two), &held, &Pools::new());
    let member = &pools.values().next().unwrap().members[&"0000:03:00.2".into()];
    assert_eq!((member.selector, causes(&pools)), (1, vec![]));
}

#[test]
fn a_device_that_is_gone_for_good_is_forgotten_unless_a_pod_has_it() {
    let node = Node::new();
    let config = config(r#"{"resourceName": "a", "selectors": {"pfNames": ["eth0"]}}"#);
    let before = node.pools(&config, &Holds::default(), &Pools::new());
    node.tree.unplug("0000:03:00.2").unwrap();
    let gone = node.pools(&config, &Holds::default(), &before);
    let hold = Hold { resource: "intel.com/a".parse().ok(), state: State::Reserved };
    let held = Holds::new([("0000:03:00.2".into(), hold)].into(), BTreeMap::new());
    let look = |holds: &Holds, after: Duration| {
        let look =
            Look { config: &config, devices: &node.devices(), holds, now: Instant::now() + after };
        members(&look.assign(&gone))["a"].len()
    };
    assert_eq!(look(&Holds::default(), FORGET_AFTER / 2), 4);
    assert_eq!(look(&Holds::default(), FORGET_AFTER), 3);
    assert_eq!(look(&held, FORGET_AFTER), 4);
}
