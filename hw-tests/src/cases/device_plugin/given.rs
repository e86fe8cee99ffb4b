//! What a pod is given of VFs in either mode, and that it can be used.

use std::fs::File;

use anyhow::{Context, ensure};
use plugin_testkit::kubelet::Registration;
use serde_json::Value;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::lab::{Lab, POOL};
use crate::cases::Ctx;
use crate::guest::igb::{IgbVfs, PF as IGB};
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::tool::run;

/// Selected by PF, mode and representor; the device-info names both ends.
pub(super) fn switchdev_vfs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(4)?;
    let keys = r#""selectors": [{"pfNames": ["np0#1-2"], "eswitchMode": "switchdev", "representor": true}]"#;
    let mut lab = Lab::new(ctx, Registration::Watcher, keys)?;
    let _plugin = lab.start()?;
    lab.healthy(2)?;
    let given = lab.kubelet.admit("web", POOL, 1)?;
    ensure!(given.devices == [nic.vf_address(1)?], "{:?} were given", given.devices);
    let info = lab.device_info(&given.devices[0])?;
    let expected = serde_json::json!({
        "type": "pci", "version": "1.1.0",
        "pci": {
            "pci-address": given.devices[0], "pf-pci-address": nicsim::PF,
            "representor-device": nicsim::representor(1),
        },
    });
    ensure!(info == expected, "the device-info is {info}");
    let other = nic.vf_address(2)?;
    let both = [given.devices[0].clone(), other.clone()];
    let preferred = lab.kubelet.prefer(POOL, &both, std::slice::from_ref(&other), 1)?;
    ensure!(preferred == [other], "{preferred:?} was preferred");
    comes_back(&mut lab)
}

/// The socket is deleted, then kubelet restarts, which deletes it and makes its own anew.
fn comes_back(lab: &mut Lab) -> anyhow::Result<()> {
    let registered = lab.kubelet.registrations();
    let endpoint = lab.kubelet.known(POOL).context("no pool")?.endpoint;
    std::fs::remove_file(&endpoint)?;
    lab.until("a registration anew", |lab| lab.kubelet.registrations() > registered)?;
    lab.healthy(2)?;
    lab.kubelet.restart()?;
    lab.healthy(2).map(drop)
}

/// Registered the old way; the group's file is there and opens.
pub(super) fn legacy_vfs_to_vfio(ctx: &mut Ctx) -> anyhow::Result<()> {
    run("modprobe vfio-pci").map(drop).or_else(|error| {
        ensure!(std::path::Path::new("/sys/bus/pci/drivers/vfio-pci").exists(), error);
        Ok(())
    })?;
    let vfs = IgbVfs::new(3)?;
    for index in 0..2 {
        let vf = vfs.address(index)?.parse()?;
        bind(&Sysfs::default(), vf, &Binding::Only("vfio-pci".to_owned()))?;
    }
    let keys = format!(
        r#""selectors": [{{"rootDevices": ["{IGB}"], "drivers": ["vfio-pci"], "eswitchMode": "legacy"}}]"#
    );
    let mut lab = Lab::new(ctx, Registration::Legacy, &keys)?;
    let _plugin = lab.start()?;
    lab.healthy(2)?;
    let given = lab.kubelet.admit("dpdk", POOL, 2)?;
    for spec in &given.response.devices {
        File::open(&spec.host_path).with_context(|| format!("cannot open {}", spec.host_path))?;
    }
    let paths =
        given.response.devices.iter().filter(|spec| spec.host_path.starts_with("/dev/vfio/"));
    ensure!(paths.count() == 3, "the device files are {:?}", given.response.devices);
    let info: Value = serde_json::from_str(&given.response.envs["PCIDEVICE_INTEL_COM_NET_INFO"])?;
    let group = &info[&given.devices[0]]["vfio"]["dev-mount"];
    let link =
        std::fs::read_link(format!("/sys/bus/pci/devices/{}/iommu_group", given.devices[0]))?;
    let number = link.file_name().context("a group")?.to_string_lossy();
    ensure!(*group == format!("/dev/vfio/{number}"), "the group is {group}, not {number}");
    comes_back(&mut lab)
}
