//! A node with a card of every kind, as a made sysfs tree, for the tests that compute pools from it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Instant;

use device_plugin::config::Config;
use device_plugin::device::Devices;
use device_plugin::device::read::{Kernel, devices};
use device_plugin::holds::Holds;
use device_plugin::pool::Pools;
use device_plugin::pool::assign::Look;
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
pub(crate) struct Node {
    pub(crate) tree: Tree,
    pub(crate) kernel: Kernel,
}

impl Node {
    pub(crate) fn new() -> Self {
        let tree = Tree::new().unwrap();
        mellanox(&tree);
        intel(&tree);
        plain(&tree);
        infiniband(&tree);
        tree.function("0000:09:00.0", "0x120000", "8086:0d5c").unwrap().driver("vfio-pci").unwrap();
        let mut kernel = Kernel::of_tree(&Sysfs::at(tree.path())).unwrap();
        kernel.eswitches.insert(pci("0000:03:00.0"), EswitchMode::Switchdev);
        for legacy in ["0000:05:00.0", "0000:06:00.0", "0000:07:00.0", "0000:08:00.0"] {
            kernel.eswitches.insert(pci(legacy), EswitchMode::Legacy);
        }
        kernel.ddp_profiles.insert(pci("0000:05:00.0"), "GTPv1-C/U IPv4/IPv6 payload".to_owned());
        kernel.default_routes.insert(IfIndex(99));
        Self { tree, kernel }
    }

    pub(crate) fn devices(&self) -> Devices {
        let sysfs = Sysfs::at(self.tree.path());
        devices(&sysfs, &Inventory::scan(&sysfs).unwrap(), &self.kernel).unwrap()
    }

    pub(crate) fn pools(&self, config: &Config, holds: &Holds, before: &Pools) -> Pools {
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

pub(crate) fn pci(text: &str) -> PciAddress {
    text.parse().unwrap()
}

pub(crate) fn config(pools: &str) -> Config {
    Config::parse(&format!(r#"{{"resourceList": [{pools}]}}"#), "intel.com").unwrap()
}
