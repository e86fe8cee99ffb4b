use std::fs;

use super::tree::Tree;
use super::*;

fn pf_address() -> PciAddress {
    "0000:01:00.0".parse().unwrap()
}

/// A card in switchdev mode with two VFs, the second given to vfio-pci.
fn switchdev_card() -> Tree {
    let tree = Tree::new();
    let pf = tree.pf("0000:01:00.0", 7).driver("nicsim").file("numa_node", "1");
    let pf = pf.link("iommu_group", tree.dir("kernel/iommu_groups/12").path());
    pf.join("infiniband/rdma0");
    pf.netdev("np0", 5).file("phys_port_name", "p0").file("phys_switch_id", "0a0b");
    pf.netdev("np0r1", 7).file("phys_port_name", "pf0vf1").file("phys_switch_id", "0a0b");
    tree.vf(&pf, 0, "0000:01:10.0").driver("nicsim").netdev("np0v0", 6).file("operstate", "down");
    tree.vf(&pf, 1, "0000:01:10.2").driver("vfio-pci").file("driver_override", "vfio-pci");
    tree
}

fn scan(tree: &Tree) -> Inventory {
    Inventory::scan(&tree.sysfs()).unwrap()
}

#[test]
fn a_card_is_shown_with_all_its_parts() {
    assert_eq!(
        scan(&switchdev_card()).to_string(),
        "0000:01:00.0 Intel Corporation [8086] 82576 Gigabit Network Connection [10c9], driver nicsim, NUMA node 1, \
         IOMMU group 12, np0 up mtu 1500 25000 Mbit/s port p0 switch 0a0b, \
         np0r1 up mtu 1500 25000 Mbit/s port pf0vf1 switch 0a0b, RDMA rdma0, 2 of 7 VFs\n\
         \x20 vf 0 0000:01:10.0 Intel Corporation [8086] 82576 Virtual Function [10ca], driver nicsim, \
         np0v0 down mtu 1500 25000 Mbit/s\n\
         \x20 vf 1 0000:01:10.2 Intel Corporation [8086] 82576 Virtual Function [10ca], driver vfio-pci\n"
    );
}

#[test]
fn the_uplink_is_told_from_representors_on_the_same_function() {
    let inventory = scan(&switchdev_card());
    assert_eq!(inventory.pfs[0].uplink().unwrap().name, "np0");
}

#[test]
fn a_pf_is_found_by_address_and_by_netdev() {
    let inventory = scan(&switchdev_card());
    assert_eq!(inventory.find("01:00.0").unwrap().function.address, pf_address());
    assert_eq!(inventory.find("np0").unwrap().function.address, pf_address());
}

#[test]
fn an_unknown_pf_is_answered_with_those_there_are() {
    let inventory = scan(&switchdev_card());
    let error = inventory.find("0000:05:00.0").unwrap_err().to_string();
    assert_eq!(error, "no PF \"0000:05:00.0\" on this node: name one of 0000:01:00.0 (np0)");
    let error = scan(&Tree::new()).find("eth9").unwrap_err().to_string();
    assert_eq!(error, "no PF \"eth9\" on this node: it has no network PF");
}

#[test]
fn a_vf_in_the_place_of_a_pf_is_answered_with_its_pf() {
    let error = scan(&switchdev_card()).find("0000:01:10.2").unwrap_err().to_string();
    assert_eq!(error, "0000:01:10.2 is VF 1 of PF 0000:01:00.0: name the PF instead");
}

#[test]
fn a_pf_without_sriov_is_listed_and_says_so() {
    let tree = Tree::new();
    tree.function("0000:03:00.0").netdev("eth0", 2);
    let inventory = scan(&tree);
    let error = inventory.find("eth0").unwrap().require_sriov().unwrap_err().to_string();
    assert!(error.starts_with("PF 0000:03:00.0 (eth0) has no SR-IOV"), "{error}");
}

#[test]
fn other_pci_functions_are_left_out() {
    let tree = Tree::new();
    tree.function("0000:00:1f.2").file("class", "0x010601");
    assert_eq!(scan(&tree), Inventory::default());
}

#[test]
fn vfs_are_in_the_order_of_their_numbers_not_of_their_names() {
    let tree = Tree::new();
    let pf = tree.pf("0000:01:00.0", 16);
    (0..11).for_each(|i| drop(tree.vf(&pf, i, &format!("0000:02:{:02x}.{:x}", i / 8, i % 8))));
    let indexes: Vec<u16> = scan(&tree).pfs[0].vfs().iter().map(|vf| vf.index.0).collect();
    assert_eq!(indexes, (0..11).collect::<Vec<_>>());
}

#[test]
fn values_that_mean_unknown_are_none() {
    let tree = Tree::new();
    let pf = tree.pf("0000:01:00.0", 7).file("numa_node", "-1").file("driver_override", "(null)");
    pf.netdev("eth0", 2).file("speed", "-1").file("phys_port_name", "").file("phys_switch_id", "");
    let inventory = scan(&tree);
    let function = &inventory.pfs[0].function;
    assert_eq!((function.numa_node, function.driver_override.as_deref()), (None, None));
    let netdev = &function.netdevs[0];
    assert_eq!(
        (netdev.speed, &netdev.phys_port_name, &netdev.phys_switch_id),
        (None, &None, &None)
    );
}

#[test]
fn nonsense_in_sysfs_is_one_error_with_path_value_and_what_is_right() {
    let tree = Tree::new();
    let pf = tree.pf("0000:01:00.0", 7).file("sriov_totalvfs", "seven");
    let error = Inventory::scan(&tree.sysfs()).unwrap_err().to_string();
    let path = tree.sysfs().pci_device(pf_address()).join("sriov_totalvfs");
    let wanted =
        format!("{} holds \"seven\": expected a number of VFs, 0 to 65535", path.display());
    assert_eq!(error, wanted);
    pf.file("sriov_totalvfs", "7").file("vendor", "8086");
    let error = Inventory::scan(&tree.sysfs()).unwrap_err().to_string();
    assert!(error.ends_with("/vendor holds \"8086\": expected a PCI id such as 0x8086"), "{error}");
}

#[test]
fn a_function_that_is_gone_when_its_link_is_followed_is_left_out() {
    let tree = switchdev_card();
    // The VF's directory goes, its links stay: what a scan meets when it races with hot unplug.
    fs::remove_dir_all(tree.dir("devices/pci0000:00/0000:01:10.2").path()).unwrap();
    let inventory = scan(&tree);
    assert_eq!(inventory.pfs[0].vfs().len(), 1);
}

#[test]
fn the_inventory_is_json_with_the_numbers_in_the_fields_spelling() {
    let json = serde_json::to_value(scan(&switchdev_card())).unwrap();
    let pf = &json["pfs"][0];
    assert_eq!(pf["address"], "0000:01:00.0");
    assert_eq!(pf["vendor"]["id"], "8086");
    assert_eq!(pf["netdevs"][1]["phys_port_name"], "pf0vf1");
    assert_eq!(pf["netdevs"][0]["link_state"], "up");
    assert_eq!(pf["sriov"]["vfs"][1]["index"], 1);
    assert_eq!(pf["sriov"]["vfs"][1]["driver"], "vfio-pci");
}

#[test]
fn a_netdev_whose_files_are_going_is_left_out() {
    let tree = switchdev_card();
    let netdev = tree.sysfs().net_device("np0r1");
    fs::remove_file(netdev.join("mtu")).unwrap();
    assert_eq!(scan(&tree).pfs[0].function.netdevs.len(), 1);
}

#[test]
fn what_is_not_ethernet_has_no_mac_address() {
    let tree = Tree::new();
    let pf = tree.pf("0000:01:00.0", 7);
    pf.netdev("gre0", 3).file("type", "778").file("address", "00:00:00:00");
    pf.netdev("np0", 2);
    let netdevs = &scan(&tree).pfs[0].function.netdevs;
    assert_eq!(netdevs[0].address, None);
    assert_eq!(netdevs[1].address, Some("02:00:00:00:00:01".parse().unwrap()));
}
