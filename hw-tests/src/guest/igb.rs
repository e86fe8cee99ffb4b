//! The second PF, which stays with igb and knows legacy SR-IOV only: its VFs, for one case.

use anyhow::Context;
use std::path::Path;
use std::time::{Duration, Instant};

use switchdev::Sysfs;
use switchdev::phys_port::VfIndex;
use switchdev::sriov::{set_drivers_autoprobe, set_vf_count, wait_for_netdevs};

use super::nicsim::wait_for_carrier;
use super::tool::run;

/// The PF that igb drives.
pub const PF: &str = "0000:02:00.0";

/// For igbvf to make its netdevs.
const APPEAR_LIMIT: Duration = Duration::from_secs(60);

/// VFs of it, until dropped.
#[derive(Debug)]
pub struct IgbVfs(());

impl IgbVfs {
    /// So many of them, with the kernel's igbvf.
    pub fn bound(count: u16) -> anyhow::Result<Self> {
        let vfs = Self(());
        load("igbvf")?;
        set_vf_count(&Sysfs::default(), PF.parse()?, count)?;
        let all: Vec<VfIndex> = (0..count).map(VfIndex).collect();
        wait_for_netdevs(&Sysfs::default(), PF.parse()?, &all, Instant::now() + APPEAR_LIMIT)?;
        Ok(vfs)
    }

    /// So many of them, without a driver.
    pub fn new(count: u16) -> anyhow::Result<Self> {
        let vfs = Self(());
        set_drivers_autoprobe(&Sysfs::default(), PF.parse()?, false)?;
        set_vf_count(&Sysfs::default(), PF.parse()?, count)?;
        Ok(vfs)
    }

    /// The PCI address of one.
    pub fn address(&self, index: u16) -> anyhow::Result<String> {
        let link = std::fs::read_link(format!("/sys/bus/pci/devices/{PF}/virtfn{index}"))?;
        Ok(link.file_name().context("a VF's address")?.to_string_lossy().into_owned())
    }

    fn remove() -> anyhow::Result<()> {
        set_vf_count(&Sysfs::default(), PF.parse()?, 0)?;
        Ok(set_drivers_autoprobe(&Sysfs::default(), PF.parse()?, true)?)
    }
}

/// Its netdev.
pub fn netdev() -> anyhow::Result<String> {
    let mut names = std::fs::read_dir(format!("/sys/bus/pci/devices/{PF}/net"))?;
    let name = names.next().context("the igb PF has no netdev")??;
    Ok(name.file_name().to_string_lossy().into_owned())
}

/// Its netdev, up and with carrier: igb tells of that seconds later, and an address comes with it.
pub fn netdev_up() -> anyhow::Result<String> {
    let name = netdev()?;
    run(&format!("ip link set {name} up"))?;
    wait_for_carrier(&name)?;
    Ok(name)
}

/// Loads a driver, which may be part of the kernel.
pub fn load(driver: &str) -> anyhow::Result<()> {
    if Path::new("/sys/bus/pci/drivers").join(driver).exists() {
        return Ok(());
    }
    run(&format!("modprobe {driver}")).map(drop)
}

impl Drop for IgbVfs {
    fn drop(&mut self) {
        if let Err(error) = Self::remove() {
            eprintln!("{error:#}");
        }
    }
}
