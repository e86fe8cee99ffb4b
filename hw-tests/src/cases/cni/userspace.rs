//! A VF with a driver for user space: no netdev moves, all settings on the PF and IPAM all the same.

use std::path::PathBuf;

use serde_json::json;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::legacy::{IgbVfs, igb_netdev, igb_vf};
use super::pod::{Pod, host_local};
use super::table::{At, Bench, row};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::node_state::Scope;
use crate::guest::tool::run;

pub(super) fn netconfs(_: &mut Ctx) -> anyhow::Result<()> {
    let _vfs = IgbVfs::new(1)?;
    run("modprobe vfio-pci").map(drop).or_else(|error| {
        if std::path::Path::new("/sys/bus/pci/drivers/vfio-pci").exists() {
            Ok(())
        } else {
            Err(error)
        }
    })?;
    let device = igb_vf(0)?;
    bind(&Sysfs::default(), device.parse()?, &Binding::Only("vfio-pci".to_owned()))?;
    let pf = igb_netdev()?;
    let _pod = Netns::new("pod")?;
    std::fs::create_dir_all("/var/lib/linerate/ledger")?;
    let bench = Bench {
        device,
        pf: (pf, 0),
        pod: Pod::new("dpdk", "/run/netns/pod"),
        scope: Scope { files: vec![PathBuf::from("/var/lib/linerate")], ovs: None },
    };
    use At::{Result, Vf};
    bench.run(
        &json!({}),
        &[
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
        ],
    )
}
