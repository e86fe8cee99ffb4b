//! The PCI side: what sysfs shows, and who drives a function.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::present;
use crate::cases::Ctx;
use crate::guest::nicsim::{self, Nicsim, PF, read, write};
use crate::guest::tool;

const IGB_PF: &str = "0000:02:00.0";

fn device(address: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address)
}

/// The last part of what a link in a device's directory points to: its driver, its IOMMU group.
fn link(address: &str, name: &str) -> Option<String> {
    let target = fs::read_link(device(address).join(name)).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn driver(address: &str) -> Option<String> {
    link(address, "driver")
}

/// The PF's netdev is the PF's in sysfs; the wire is no PCI device's.
pub(super) fn pf_appears(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    ensure!(driver(PF).as_deref() == Some("nicsim"), "{PF} is driven by {:?}", driver(PF));
    ensure!(nic.sysfs("net/np0").exists(), "np0 is not a netdev of {PF}");
    ensure!(present("np0w"), "there is no wire");
    ensure!(!nic.sysfs("net/np0w").exists(), "the wire claims to be a netdev of {PF}");
    ensure!(read(nic.sysfs("sriov_totalvfs"))? == "7", "the PF does not offer 7 VFs");
    drop(nic);
    ensure!(!present("np0") && !present("np0w"), "netdevs outlive the module");
    Ok(())
}

/// Each VF has its own function, driver, IOMMU group and netdev.
pub(super) fn vfs_by_numvfs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(4)?;
    let mut groups = BTreeSet::new();
    for index in 0..4 {
        let address = nic.vf_address(index)?;
        ensure!(driver(&address).as_deref() == Some("nicsim"), "VF {index} is not bound");
        let netdev = device(&address).join(format!("net/np0v{index}"));
        ensure!(netdev.exists(), "VF {index} has no {}", netdev.display());
        groups.insert(link(&address, "iommu_group").context("a VF has no IOMMU group")?);
    }
    ensure!(groups.len() == 4, "VFs share IOMMU groups: {groups:?}");
    nic.set_vfs(0)?;
    ensure!(!present("np0v0") && nic.vf_address(0).is_err(), "VFs outlive sriov_numvfs 0");
    Ok(())
}

/// More than there are, and a new number while there are some.
pub(super) fn wrong_numvfs_is_refused(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    ensure!(nic.set_vfs(8).is_err(), "8 VFs were accepted of 7");
    nic.set_vfs(2)?;
    ensure!(nic.set_vfs(3).is_err(), "2 VFs became 3 without going through 0");
    ensure!(read(nic.sysfs("sriov_numvfs"))? == "2", "a refused number changed something");
    Ok(())
}

/// `sriov_drivers_autoprobe` 0 leaves VFs to whoever probes them.
pub(super) fn autoprobe_off(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    write(nic.sysfs("sriov_drivers_autoprobe"), "0")?;
    let result = unbound_until_probed(&nic);
    write(nic.sysfs("sriov_drivers_autoprobe"), "1")?;
    result
}

fn unbound_until_probed(nic: &Nicsim) -> anyhow::Result<()> {
    nic.set_vfs(2)?;
    let address = nic.vf_address(0)?;
    ensure!(driver(&address).is_none(), "VF 0 was bound to {:?}", driver(&address));
    write(PathBuf::from("/sys/bus/pci/drivers_probe"), &address)?;
    ensure!(driver(&address).as_deref() == Some("nicsim"), "probing gave {:?}", driver(&address));
    ensure!(present("np0v0") && !present("np0v1"), "the wrong VF was probed");
    Ok(())
}

/// A VF given away keeps its representor.
pub(super) fn vf_to_vfio_and_back(ctx: &mut Ctx) -> anyhow::Result<()> {
    tool::run("modprobe vfio-pci")?;
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    nic.set_mode("switchdev")?;
    let address = nic.vf_address(1)?;
    give(&address, "vfio-pci")?;
    ensure!(driver(&address).as_deref() == Some("vfio-pci"), "vfio-pci did not take the VF");
    ensure!(!present("np0v1") && present("np0r1"), "the netdev goes, the representor stays");
    give(&address, "nicsim")?;
    ensure!(present("np0v1"), "the VF's netdev did not come back");
    Ok(())
}

fn give(address: &str, to: &str) -> anyhow::Result<()> {
    write(device(address).join("driver/unbind"), address)?;
    write(device(address).join("driver_override"), to)?;
    write(PathBuf::from("/sys/bus/pci/drivers_probe"), address)
}

/// The card is pulled with VFs in switchdev mode, and put back.
pub(super) fn hot_unplug(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(3)?;
    nic.set_mode("switchdev")?;
    write(nic.sysfs("remove"), "1")?;
    let gone = !present("np0") && !present("np0w") && !present("np0r0") && !present("np0v0");
    write(PathBuf::from("/sys/bus/pci/rescan"), "1")?;
    nicsim::bind()?;
    ensure!(gone, "netdevs outlive their card");
    ensure!(present("np0"), "the card does not work after it was put back");
    nic.set_vfs(1)?;
    ensure!(present("np0v0"), "no VFs after the card was put back");
    Ok(())
}

/// An igb PF next to ours, and its VFs, are none of nicsim's business.
pub(super) fn second_pf_stays_with_igb(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let total = device(IGB_PF).join("sriov_numvfs");
    write(total.clone(), "1")?;
    let vf = link(IGB_PF, "virtfn0").and_then(|vf| driver(&vf));
    write(total, "0")?;
    ensure!(driver(IGB_PF).as_deref() == Some("igb"), "igb lost its PF");
    ensure!(vf.as_deref() != Some("nicsim"), "nicsim took a VF of igb");
    Ok(())
}
