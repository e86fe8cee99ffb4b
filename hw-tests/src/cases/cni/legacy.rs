//! Legacy SR-IOV, as sriov-cni does it: nicsim in legacy mode has all settings, igb is a driver of the kernel's own.

use std::time::{Duration, Instant};

use serde_json::json;
use switchdev::Sysfs;
use switchdev::phys_port::VfIndex;
use switchdev::sriov::wait_for_netdevs;

use super::bridges::{FLAT_FILE, NEW_INFO, write_flat_file};
use super::pod::host_local;
use super::table::{At, Bench, Row, row};
use crate::cases::Ctx;
use crate::guest::igb::{self, IgbVfs};
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, PF, UPLINK};
use crate::guest::tool::run;

const MAC: &str = "02:00:00:00:00:55";

pub(super) fn netconfs_on_nicsim(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let soon = Instant::now() + Duration::from_secs(30);
    wait_for_netdevs(&Sysfs::default(), PF.parse()?, &[VfIndex(0), VfIndex(1)], soon)?;
    let _pod = Netns::new("pod")?;
    Bench::legacy(nic.vf_address(0)?, UPLINK)?.run(&json!({}), &nicsim_rows())
}

pub(super) fn netconfs_on_igb(_: &mut Ctx) -> anyhow::Result<()> {
    let vfs = IgbVfs::bound(1)?;
    let pf = igb::netdev_up()?;
    let _pod = Netns::new("pod")?;
    write_flat_file()?;
    let device = vfs.address(0)?;
    let rows = igb_rows(&device);
    let result = Bench::legacy(device, &pf)?.run(&json!({}), &rows);
    run(&format!("ip link set {pf} down"))?;
    result
}

/// What every card can do.
pub(super) fn common_rows() -> Vec<Row> {
    use At::{Pod, Result, Routes, Vf};
    vec![
        row(json!({}), &[(Pod, "up"), (Vf, "spoof checking on"), (Vf, "trust off")]),
        row(json!({"cniVersion": "0.3.1"}), &[(Result, "\"0.3.1\"")]),
        row(json!({"vlan": 100}), &[(Vf, "vlan 100")]),
        row(json!({"vlan": 100, "vlanQoS": 3}), &[(Vf, "vlan 100 qos 3")]),
        row(json!({"vlan": 100, "vlanProto": "802.1q"}), &[(Vf, "vlan 100")]),
        row(json!({"vlan": 0}), &[(Vf, "!vlan")]),
        row(json!({"mac": MAC}), &[(Pod, MAC), (Vf, MAC), (Result, MAC)]),
        row(json!({"runtimeConfig": {"mac": MAC}}), &[(Vf, MAC)]),
        row(json!({"spoofchk": "off"}), &[(Vf, "spoof checking off")]),
        row(json!({"spoofchk": "on"}), &[(Vf, "spoof checking on")]),
        row(json!({"trust": "on"}), &[(Vf, "trust on")]),
        row(json!({"trust": "off"}), &[(Vf, "trust off")]),
        row(json!({"mtu": 1400}), &[(Pod, "mtu 1400")]),
        row(
            json!({"ipam": host_local()}),
            &[(Pod, "10.77.0."), (Pod, "fd77::"), (Routes, "10.88.0.0/16 via 10.77.0.1")],
        ),
    ]
}

/// igb has a limit of what a VF sends, and neither a least rate nor a link state of its own.
pub(super) fn igb_rows(device: &str) -> Vec<Row> {
    use At::{Info, Pod, Result, Vf};
    let mut rows = common_rows();
    rows.extend([
        row(json!({"max_tx_rate": 100}), &[(Vf, "max_tx_rate 100")]),
        row(
            json!({"min_tx_rate": 0, "max_tx_rate": 0, "link_state": "auto"}),
            &[(Vf, "!max_tx_rate"), (Vf, "link-state auto")],
        ),
        row(
            json!({"args": {"cni": {"mac_address.net1": MAC, "vlan_id": "9"}}}),
            &[(Vf, MAC), (Vf, "vlan 9")],
        ),
        row(json!({"configuration_path": FLAT_FILE}), &[(Pod, "mtu 1300"), (Vf, "vlan 9")]),
        said_by_the_runtime(device, &[(Pod, MAC), (Pod, "10.77.0.33/24")]),
        row(
            json!({"cniVersion": "0.4.0", "resourceName": "linerate.dev/any", "pciBusID": device,
                "dns": {"nameservers": ["10.0.0.2"]}, "logFile": "/run/cni-test.log", "logLevel": "debug"}),
            &[(Result, "10.0.0.2"), (Result, "\"0.4.0\"")],
        ),
        row(
            json!({"cniVersion": "1.0.0", "runtimeConfig": {"CNIDeviceInfoFile": NEW_INFO}}),
            &[(Info(NEW_INFO), "\"pf-pci-address\":\"0000:02:00.0\"")],
        ),
    ]);
    rows
}

/// All capabilities at once.
pub(super) fn said_by_the_runtime(device: &str, seen: &[(At, &'static str)]) -> Row {
    let capabilities = json!({"mac": true, "ips": true, "deviceID": true});
    let runtime = json!({"mac": MAC, "ips": ["10.77.0.33/24"], "deviceID": device});
    row(
        json!({"deviceID": null, "capabilities": capabilities, "runtimeConfig": runtime, "ipam": {"type": "static"}}),
        seen,
    )
}

/// All there is.
pub(super) fn nicsim_rows() -> Vec<Row> {
    use At::Vf;
    let mut rows = common_rows();
    rows.extend([
        row(json!({"vlan": 100, "vlanQoS": 5, "vlanProto": "802.1ad"}), &[(Vf, "proto 802.1ad")]),
        row(json!({"max_tx_rate": 100}), &[(Vf, "max_tx_rate 100")]),
        row(json!({"min_tx_rate": 10, "max_tx_rate": 100}), &[(Vf, "min_tx_rate 10")]),
        row(json!({"link_state": "enable"}), &[(Vf, "link-state enable")]),
        row(json!({"link_state": "disable"}), &[(Vf, "link-state disable")]),
        row(json!({"link_state": "auto"}), &[(Vf, "link-state auto")]),
    ]);
    rows
}
