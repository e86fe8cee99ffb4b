//! Configurations of the kinds that `sriov-network-device-plugin`'s documentation shows, and the pools that they
//! make on one node. The members are what that plugin's selection gives, worked out by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::time::Instant;

use device_plugin::config::Config;
use device_plugin::device::read::{Kernel, devices};
use device_plugin::holds::Holds;
use device_plugin::pool::Pools;
use device_plugin::pool::assign::Look;
use plugin_testkit::Tree;
use plugin_testkit::tree::Dir;
use switchdev::{Inventory, Sysfs};

/// A node with the cards that the documentation speaks of.
///
/// | PF | VFs and others |
/// | --- | --- |
/// | 02:00.0 X710 `enp0s0f0`, DDP profile GTP | 02:02.0, .1 iavf, 02:02.2, .3 vfio-pci |
/// | 02:00.1 X710 `enp2s2f1` | 02:0a.0 iavf, 02:0a.1 vfio-pci |
/// | 02:00.2 X710 `enp3s0f0`, DDP profile PPPoE | 02:0e.0 vfio-pci |
/// | 03:00.0 ConnectX-4 `mlx4` | 03:00.2 (15b3:1016) with RDMA |
/// | 04:00.0 ConnectX-5 `mlx5` | 04:00.2 (15b3:1018) with RDMA, 04:00.3 without |
/// | 05:00.0 ConnectX-6 Dx `cx6` | 05:00.2 vDPA vhost, 05:00.3 vDPA virtio, 05:00.4 plain (15b3:101e) |
/// | 06:00.0 `ib0`, InfiniBand | 06:00.1 with RDMA, key 0x8001 |
/// | 07:00.0 BlueField-2 `p0` (15b3:a2d6) | sub-functions 1, 5 and 6 |
/// | 08:00.0 Broadcom `bnxt` | 08:00.1 (14e4:1750) |
/// | | 00:07.0 to 00:0a.0: VFs as a virtual machine has them, vfio-pci |
/// | | 09:00.0, an FPGA |
fn tree() -> Tree {
    let tree = Tree::new().unwrap();
    intel(&tree);
    mellanox(&tree);
    let bnxt = tree.pf("0000:08:00.0", "14e4:1751", "bnxt_en", "bnxt", 8).unwrap();
    vf(&tree, &bnxt, 0, "0000:08:00.1", "14e4:1750", "bnxt_en");
    for device in ["07", "08", "09", "0a"] {
        let function =
            tree.function(&format!("0000:00:{device}.0"), "0x020000", "8086:154c").unwrap();
        function.driver("vfio-pci").unwrap();
    }
    tree.function("0000:09:00.0", "0x120000", "8086:0d90").unwrap().driver("dfl-pci").unwrap();
    tree
}

fn intel(tree: &Tree) {
    let x710 = |function: u8, netdev: &str| {
        tree.pf(&format!("0000:02:00.{function}"), "8086:1572", "i40e", netdev, 32).unwrap()
    };
    let first = x710(0, "enp0s0f0");
    for (index, driver) in [(0, "iavf"), (1, "iavf"), (2, "vfio-pci"), (3, "vfio-pci")] {
        vf(tree, &first, index, &format!("0000:02:02.{index}"), "8086:154c", driver);
    }
    let second = x710(1, "enp2s2f1");
    vf(tree, &second, 0, "0000:02:0a.0", "8086:154c", "iavf");
    vf(tree, &second, 1, "0000:02:0a.1", "8086:154c", "vfio-pci");
    vf(tree, &x710(2, "enp3s0f0"), 0, "0000:02:0e.0", "8086:154c", "vfio-pci");
}

fn mellanox(tree: &Tree) {
    let mlx = |bus: u8, ids: &str, netdev: &str| {
        tree.pf(&format!("0000:{bus:02x}:00.0"), ids, "mlx5_core", netdev, 16).unwrap()
    };
    let cx4 = mlx(3, "15b3:1015", "mlx4");
    vf(tree, &cx4, 0, "0000:03:00.2", "15b3:1016", "mlx5_core").join("infiniband/mlx5_1").unwrap();
    let cx5 = mlx(4, "15b3:1017", "mlx5");
    vf(tree, &cx5, 0, "0000:04:00.2", "15b3:1018", "mlx5_core").join("infiniband/mlx5_2").unwrap();
    vf(tree, &cx5, 1, "0000:04:00.3", "15b3:1018", "mlx5_core");
    let cx6 = mlx(5, "15b3:101d", "cx6");
    for (index, driver) in [(0, "vhost_vdpa"), (1, "virtio_vdpa")] {
        let vf =
            vf(tree, &cx6, index, &format!("0000:05:00.{}", index + 2), "15b3:101e", "mlx5_core");
        vf.join(&format!("vdpa{index}")).unwrap().driver(driver).unwrap();
    }
    vf(tree, &cx6, 2, "0000:05:00.4", "15b3:101e", "mlx5_core");
    let ib = mlx(6, "15b3:101b", "ib0");
    ib.join("net/ib0").unwrap().file("type", "32").unwrap();
    let ib = vf(tree, &ib, 0, "0000:06:00.1", "15b3:101c", "mlx5_core");
    ib.join("net/n06:00.1").unwrap().file("type", "32").unwrap();
    ib.join("infiniband/mlx5_6/ports/1/pkeys").unwrap().file("0", "0x8001").unwrap();
    let bf2 = mlx(7, "15b3:a2d6", "p0");
    for number in ["1", "5", "6"] {
        let sf = tree.auxiliary(&bf2, &format!("mlx5_core.sf.{number}")).unwrap();
        sf.file("sfnum", number).unwrap().driver("mlx5_core.sf").unwrap();
    }
}

fn vf(tree: &Tree, pf: &Dir, index: u16, address: &str, ids: &str, driver: &str) -> Dir {
    let vf = tree.vf(pf, index, address, ids).unwrap().driver(driver).unwrap();
    if driver != "vfio-pci" {
        vf.netdev(&format!("n{}", &address[5..])).unwrap();
    }
    vf
}

/// The members of each pool, shortened: `03:00.2`.
fn pools(text: &str) -> BTreeMap<String, Vec<String>> {
    let tree = tree();
    let sysfs = Sysfs::at(tree.path());
    let mut kernel = Kernel::of_tree(&sysfs).unwrap();
    for (pf, profile) in [
        ("0000:02:00.0", "GTPv1-C/U IPv4/IPv6 payload"),
        ("0000:02:00.2", "E710 PPPoE and PPPoL2TPv2"),
    ] {
        kernel.ddp_profiles.insert(pf.parse().unwrap(), profile.to_owned());
    }
    let devices = devices(&sysfs, &Inventory::scan(&sysfs).unwrap(), &kernel).unwrap();
    let config = Config::parse(text, "intel.com").unwrap();
    let look =
        Look { config: &config, devices: &devices, holds: &Holds::default(), now: Instant::now() };
    let pools = look.assign(&Pools::new()).into_iter();
    let short =
        |id: &device_plugin::device::DeviceId| id.as_str().trim_start_matches("0000:").to_owned();
    pools.map(|(name, pool)| (name.to_string(), pool.members.keys().map(short).collect())).collect()
}

/// The pools' entries of a file, and each pool's members.
type Example = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const EXAMPLES: &[Example] = &[
    // A pool for the kernel's drivers, one for DPDK on two of three PFs, and one whose driver no VF has.
    (
        r#"{"resourceName": "net", "selectors": {"vendors": ["8086"], "devices": ["154c", "10ed", "1889"], "drivers": ["i40evf", "iavf", "ixgbevf"]}},
           {"resourceName": "dpdk", "selectors": {"vendors": ["8086"], "devices": ["154c", "10ed", "1889"], "drivers": ["vfio-pci"],
             "pfNames": ["enp0s0f0", "enp2s2f1"], "needVhostNet": true}},
           {"resourceName": "rdma", "resourcePrefix": "mellanox.com", "selectors": {"vendors": ["15b3"], "devices": ["1018"], "drivers": ["mlx5_ib"], "isRdma": true}},
           {"resourceName": "bnxt", "resourcePrefix": "broadcom.com", "selectors": [{"vendors": ["14e4"], "devices": ["1750"], "drivers": ["bnxt_en"]}]}"#,
        &[
            ("broadcom.com/bnxt", &["08:00.1"]),
            ("intel.com/dpdk", &["02:02.2", "02:02.3", "02:0a.1"]),
            ("intel.com/net", &["02:02.0", "02:02.1", "02:0a.0"]),
            ("mellanox.com/rdma", &[]),
        ],
    ),
    // Every kind of card for DPDK in one pool, each by a selector of its own.
    (
        r#"{"resourcePrefix": "dpdk.org", "resourceName": "nic", "selectors": [
             {"vendors": ["15b3"], "devices": ["1016"], "drivers": ["mlx5_core"], "isRdma": true},
             {"vendors": ["15b3"], "devices": ["1018"], "drivers": ["mlx5_core"], "isRdma": true},
             {"vendors": ["8086"], "devices": ["154c"], "drivers": ["vfio-pci"]}]}"#,
        &[(
            "dpdk.org/nic",
            &[
                "00:07.0", "00:08.0", "00:09.0", "00:0a.0", "02:02.2", "02:02.3", "02:0a.1",
                "02:0e.0", "03:00.2", "04:00.2",
            ],
        )],
    ),
    // In a virtual machine, where no VF knows its PF, by address.
    (
        r#"{"resourceName": "downlink", "selectors": [{"drivers": ["vfio-pci"], "pciAddresses": ["0000:00:09.0", "0000:00:0a.0"]}]},
           {"resourceName": "uplink", "selectors": [{"drivers": ["vfio-pci"], "pciAddresses": ["0000:00:07.0", "0000:00:08.0", "0000:02:02.0"]}]}"#,
        &[
            ("intel.com/downlink", &["00:09.0", "00:0a.0"]),
            ("intel.com/uplink", &["00:07.0", "00:08.0"]),
        ],
    ),
    // RDMA by card, and one that no card of the node is.
    (
        r#"{"resourceName": "cx4", "resourcePrefix": "mellanox.com", "selectors": {"vendors": ["15b3"], "devices": ["1016"], "drivers": ["mlx5_core"], "isRdma": true}},
           {"resourceName": "cx5", "resourcePrefix": "mellanox.com", "selectors": {"vendors": ["15b3"], "devices": ["1018"], "drivers": ["mlx5_core"], "isRdma": true}},
           {"resourceName": "e810", "selectors": {"vendors": ["8086"], "devices": ["1889"], "drivers": ["iavf"], "isRdma": true}}"#,
        &[
            ("intel.com/e810", &[]),
            ("mellanox.com/cx4", &["03:00.2"]),
            ("mellanox.com/cx5", &["04:00.2"]),
        ],
    ),
    (
        r#"{"resourceName": "virtio", "selectors": [{"vendors": ["15b3"], "devices": ["101e"], "drivers": ["mlx5_core"], "vdpaType": "virtio"}]},
           {"resourceName": "vhost", "selectors": [{"vendors": ["15b3"], "devices": ["101e"], "drivers": ["mlx5_core"], "vdpaType": "vhost"}]}"#,
        &[("intel.com/vhost", &["05:00.2"]), ("intel.com/virtio", &["05:00.3"])],
    ),
    (
        r#"{"resourceName": "gtp", "selectors": [{"vendors": ["8086"], "devices": ["154c"], "ddpProfiles": ["GTPv1-C/U IPv4/IPv6 payload"]}]},
           {"resourceName": "pppoe", "selectors": [{"vendors": ["8086"], "devices": ["154c"], "ddpProfiles": ["E710 PPPoE and PPPoL2TPv2"]}]}"#,
        &[
            ("intel.com/gtp", &["02:02.0", "02:02.1", "02:02.2", "02:02.3"]),
            ("intel.com/pppoe", &["02:0e.0"]),
        ],
    ),
    (
        r#"{"resourceName": "ib", "selectors": [{"linkTypes": ["infiniband"], "isRdma": true, "pKeys": ["0x8001"]}]},
           {"resourceName": "fpga", "deviceType": "accelerator", "selectors": [{"vendors": ["8086"], "devices": ["0d90"]}]},
           {"resourceName": "sf", "resourcePrefix": "nvidia.com", "deviceType": "auxNetDevice", "selectors": [
             {"vendors": ["15b3"], "devices": ["a2d6"], "pfNames": ["p0#1-5"], "auxTypes": ["sf"]}]}"#,
        &[
            ("intel.com/fpga", &["09:00.0"]),
            ("intel.com/ib", &["06:00.1"]),
            ("nvidia.com/sf", &["mlx5_core.sf.1", "mlx5_core.sf.5"]),
        ],
    ),
    // A later pool that asks for the same is left with nothing, and one that asks for more with the rest.
    (
        r#"{"resourceName": "first", "selectors": [{"vendors": ["8086"], "drivers": ["iavf"]}]},
           {"resourceName": "same", "selectors": {"vendors": ["8086"], "drivers": ["iavf"]}, "additionalInfo": {"*": {"token": "3e49"}}},
           {"resourceName": "vfs", "selectors": [{"pfNames": ["enp0s0f0#0-2", "enp2s2f1"]}]},
           {"resourceName": "root", "selectors": [{"rootDevices": ["0000:02:00.0#3", "0000:02:00.2"]}]}"#,
        &[
            ("intel.com/first", &["02:02.0", "02:02.1", "02:0a.0"]),
            ("intel.com/root", &["02:02.3", "02:0e.0"]),
            ("intel.com/same", &[]),
            ("intel.com/vfs", &["02:02.2", "02:0a.1"]),
        ],
    ),
];

#[test]
fn each_example_makes_the_pools_that_it_makes_elsewhere() {
    for (entries, wanted) in EXAMPLES {
        let found = pools(&format!(r#"{{"resourceList": [{entries}]}}"#));
        let wanted: BTreeMap<String, Vec<String>> = wanted
            .iter()
            .map(|(name, ids)| {
                ((*name).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())
            })
            .collect();
        assert_eq!(found, wanted, "{entries}");
    }
}
