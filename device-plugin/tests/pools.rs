//! Which devices each selector selects, on one inventory, and what makes a device unhealthy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use device_plugin::config::Config;
use device_plugin::device::read::{Kernel, devices};
use device_plugin::device::{DeviceId, Devices};
use device_plugin::holds::{Hold, Holder, Holds, State};
use device_plugin::pool::Pools;
use device_plugin::pool::assign::Look;
use device_plugin::pool::changes::sentence;
use device_plugin::pool::health::FORGET_AFTER;
use plugin_testkit::Tree;
use plugin_testkit::tree::Dir;
use switchdev::eswitch::EswitchMode;
use switchdev::{IfIndex, Inventory, PciAddress, Sysfs};

/// A node with a card of every kind.
///
/// | function | is |
/// | --- | --- |
/// | 03:00.0 | mlx5 PF `eth0` in switchdev mode, four VFs 03:00.2 to .5 with representors, RDMA; a sub-function 88 |
/// | 05:00.0 | i40e PF `eth1` with the VFs 05:02.0 (iavf) and 05:02.1 (vfio-pci), a DDP profile |
/// | 06:00.0 | an Intel card `eth2` without VFs, whose firmware numbers it 101 |
/// | 07:00.0 | `eth3`: the default route leaves by it |
/// | 08:00.0 | an IPoIB PF `ib0` with the VFs 08:00.1 (pkey 0x8001) and 08:00.2 (vDPA, vhost) |
/// | 09:00.0 | an accelerator |
struct Node {
    tree: Tree,
    kernel: Kernel,
}

impl Node {
    fn new() -> Self {
        let tree = Tree::new().unwrap();
        mellanox(&tree);
        intel(&tree);
        plain(&tree);
        infiniband(&tree);
        tree.function("0000:09:00.0", "0x120000", "8086:0d5c").unwrap().driver("vfio-pci").unwrap();
        let mut kernel = Kernel::of_tree(&Sysfs::at(tree.path())).unwrap();
        kernel.eswitches.insert(pci("0000:03:00.0"), EswitchMode::Switchdev);
        kernel.eswitches.insert(pci("0000:05:00.0"), EswitchMode::Legacy);
        kernel.ddp_profiles.insert(pci("0000:05:00.0"), "GTPv1-C/U IPv4/IPv6 payload".to_owned());
        kernel.default_routes.insert(IfIndex(99));
        Self { tree, kernel }
    }

    fn devices(&self) -> Devices {
        let sysfs = Sysfs::at(self.tree.path());
        devices(&sysfs, &Inventory::scan(&sysfs).unwrap(), &self.kernel).unwrap()
    }

    fn pools(&self, config: &Config, holds: &Holds, before: &Pools) -> Pools {
        Look { config, devices: &self.devices(), holds, now: Instant::now() }.assign(before)
    }
}

fn mellanox(tree: &Tree) {
    let pf = tree.pf("0000:03:00.0", "15b3:101d", "mlx5_core", "eth0", 8).unwrap();
    let uplink = pf.join("net/eth0").unwrap();
    uplink.file("phys_port_name", "p0").unwrap().file("phys_switch_id", "0a0b").unwrap();
    pf.join("infiniband/mlx5_0").unwrap();
    for index in 0..4 {
        let vf = tree
            .vf(&pf, index, &format!("0000:03:00.{}", index + 2), "15b3:101e")
            .unwrap()
            .driver("mlx5_core")
            .unwrap();
        vf.netdev(&format!("eth0v{index}")).unwrap();
        let rep = pf.netdev(&format!("eth0_{index}")).unwrap();
        rep.file("phys_port_name", &format!("pf0vf{index}"))
            .unwrap()
            .file("phys_switch_id", "0a0b")
            .unwrap();
        if index < 2 {
            vf.join(&format!("infiniband/mlx5_{}", index + 2)).unwrap();
            vf.join(&format!("infiniband_verbs/uverbs{}", index + 2)).unwrap();
        }
    }
    let sf = tree.auxiliary(&pf, "mlx5_core.sf.4").unwrap().file("sfnum", "88").unwrap();
    sf.driver("mlx5_core.sf").unwrap().join("net/en3f0pf0sf88").unwrap().file("type", "1").unwrap();
    tree.auxiliary(&pf, "mlx5_core.eth.0").unwrap();
}

fn intel(tree: &Tree) {
    let pf = tree.pf("0000:05:00.0", "8086:1572", "i40e", "eth1", 64).unwrap();
    let vf = tree.vf(&pf, 0, "0000:05:02.0", "8086:154c").unwrap().driver("iavf").unwrap();
    vf.netdev("eth1v0").unwrap();
    let vf = tree.vf(&pf, 1, "0000:05:02.1", "8086:154c").unwrap().driver("vfio-pci").unwrap();
    vf.iommu_group(7).unwrap();
}

fn plain(tree: &Tree) {
    let card = |address: &str, netdev: &str| -> Dir {
        let card =
            tree.function(address, "0x020000", "8086:10fb").unwrap().driver("ixgbe").unwrap();
        card.netdev(netdev).unwrap();
        card
    };
    card("0000:06:00.0", "eth2").file("acpi_index", "101").unwrap();
    card("0000:07:00.0", "eth3").join("net/eth3").unwrap().file("ifindex", "99").unwrap();
}

fn infiniband(tree: &Tree) {
    let pf = tree.pf("0000:08:00.0", "15b3:101b", "mlx5_core", "ib0", 8).unwrap();
    pf.join("net/ib0").unwrap().file("type", "32").unwrap();
    let vf = tree.vf(&pf, 0, "0000:08:00.1", "15b3:101c").unwrap().driver("mlx5_core").unwrap();
    vf.netdev("ib0v0").unwrap().file("type", "32").unwrap();
    vf.join("infiniband/mlx5_9/ports/1/pkeys").unwrap().file("0", "0x8001").unwrap();
    let vf = tree.vf(&pf, 1, "0000:08:00.2", "15b3:101c").unwrap().driver("mlx5_core").unwrap();
    let vdpa = vf.join("vdpa0").unwrap().driver("vhost_vdpa").unwrap();
    vdpa.join("vhost-vdpa-0").unwrap();
}

fn pci(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn config(pools: &str) -> Config {
    Config::parse(&format!(r#"{{"resourceList": [{pools}]}}"#), "intel.com").unwrap()
}

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
