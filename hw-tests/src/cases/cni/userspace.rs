//! A VF with a driver for user space: no netdev moves, all settings on the PF and IPAM all the same; in switchdev mode the
//! representor goes to the bridge.

use serde_json::json;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::bridges::{FLAT_FILE, NEW_INFO, write_flat_file};
use super::legacy::said_by_the_runtime;
use super::pod::host_local;
use super::site::{READY, Site};
use super::table::{At, Bench, Row, row};
use crate::cases::Ctx;
use crate::guest::igb::{self, IgbVfs};
use crate::guest::netns::Netns;

const MAC: &str = "02:00:00:00:00:55";
const DRIVER: &str = "vfio-pci";

pub(super) fn netconfs(_: &mut Ctx) -> anyhow::Result<()> {
    let vfs = IgbVfs::new(1)?;
    igb::load(DRIVER)?;
    let device = vfs.address(0)?;
    bind(&Sysfs::default(), device.parse()?, &Binding::Only(DRIVER.to_owned()))?;
    // igb limits a VF's rate by the speed of its link.
    let pf = igb::netdev_up()?;
    let _pod = Netns::new("pod")?;
    write_flat_file()?;
    let rows = rows(&device);
    let result = Bench::legacy(device, &pf)?.run(&json!({}), &rows);
    crate::guest::tool::run(&format!("ip link set {pf} down"))?;
    result
}

pub(super) fn in_switchdev_mode(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    igb::load(DRIVER)?;
    let bench = site.bench(READY)?;
    bind(&Sysfs::default(), bench.device.parse()?, &Binding::Only(DRIVER.to_owned()))?;
    let result = bench.run(&site.on_ovs(), &switchdev_rows());
    bind(&Sysfs::default(), bench.device.parse()?, &Binding::Matched)?;
    result
}

pub(super) fn rows(device: &str) -> Vec<Row> {
    use At::{Info, Result, Vf};
    vec![
        row(json!({}), &[(Result, "net1"), (Result, "pciID"), (Vf, "spoof checking on")]),
        row(json!({"mac": MAC}), &[(Vf, MAC), (Result, MAC)]),
        row(json!({"vlan": 9, "vlanQoS": 2, "vlanProto": "802.1q"}), &[(Vf, "vlan 9 qos 2")]),
        row(
            json!({"spoofchk": "off", "trust": "on"}),
            &[(Vf, "spoof checking off"), (Vf, "trust on")],
        ),
        row(json!({"ipam": host_local()}), &[(Result, "10.77.0.")]),
        row(
            json!({"min_tx_rate": 0, "max_tx_rate": 100, "link_state": "auto", "mtu": 1400}),
            &[(Vf, "max_tx_rate 100")],
        ),
        row(json!({"configuration_path": FLAT_FILE}), &[(Vf, "vlan 9")]),
        said_by_the_runtime(device, &[(Vf, MAC), (Result, "10.77.0.33/24")]),
        row(json!({"args": {"cni": {"mac": MAC, "vlan_id": 9}}}), &[(Vf, MAC), (Vf, "vlan 9")]),
        row(
            json!({"cniVersion": "0.3.1", "resourceName": "linerate.dev/any", "pciBusID": device,
                "dns": {"nameservers": ["10.0.0.2"]}, "logFile": "/run/cni-test.log", "logLevel": "debug"}),
            &[(Result, "10.0.0.2"), (Result, "\"0.3.1\"")],
        ),
        row(
            json!({"runtimeConfig": {"CNIDeviceInfoFile": NEW_INFO}}),
            &[(Info(NEW_INFO), "\"pf-pci-address\":\"0000:02:00.0\"")],
        ),
    ]
}

/// On an OVS bridge, which must know the address that it holds the pod to.
pub(super) fn switchdev_rows() -> Vec<Row> {
    use At::{Ovs, Rates, Result};
    vec![
        row(
            json!({"mac": MAC, "vlan": 100, "mtu": 1400, "ipam": host_local()}),
            &[
                (Result, MAC),
                (Result, "10.77.0."),
                (Ovs("Port"), "\"tag\":100"),
                (Ovs("Interface"), "[\"attached-mac\",\"02:00:00:00:00:55\"]"),
            ],
        ),
        row(
            json!({"spoofchk": "off", "max_tx_rate": 100}),
            &[(Result, "np0r0"), (Rates, "tx_max 100mbit")],
        ),
    ]
}
