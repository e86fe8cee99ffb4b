//! A VF with a driver for user space: no netdev moves, all settings on the PF and IPAM all the same.

use serde_json::json;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::pod::host_local;
use super::table::{At, Bench, Row, row};
use crate::cases::Ctx;
use crate::guest::igb::{self, IgbVfs};
use crate::guest::netns::Netns;

pub(super) fn netconfs(_: &mut Ctx) -> anyhow::Result<()> {
    let vfs = IgbVfs::new(1)?;
    igb::load("vfio-pci")?;
    let device = vfs.address(0)?;
    bind(&Sysfs::default(), device.parse()?, &Binding::Only("vfio-pci".to_owned()))?;
    let pf = igb::netdev()?;
    let _pod = Netns::new("pod")?;
    Bench::legacy(device, &pf)?.run(&json!({}), &rows())
}

pub(super) fn rows() -> Vec<Row> {
    use At::{Result, Vf};
    vec![
        row(json!({}), &[(Result, "net1"), (Result, "pciID"), (Vf, "spoof checking on")]),
        row(
            json!({"mac": "02:00:00:00:00:55"}),
            &[(Vf, "02:00:00:00:00:55"), (Result, "02:00:00:00:00:55")],
        ),
        row(json!({"vlan": 9, "vlanQoS": 2}), &[(Vf, "vlan 9 qos 2")]),
        row(
            json!({"spoofchk": "off", "trust": "on"}),
            &[(Vf, "spoof checking off"), (Vf, "trust on")],
        ),
        row(json!({"ipam": host_local()}), &[(Result, "10.77.0.")]),
    ]
}
