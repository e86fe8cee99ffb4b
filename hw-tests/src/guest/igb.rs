//! The second PF, which stays with igb and knows legacy SR-IOV only: its VFs, for one case.

use anyhow::Context;
use switchdev::Sysfs;
use switchdev::sriov::{set_drivers_autoprobe, set_vf_count};

/// The PF that igb drives.
pub const PF: &str = "0000:02:00.0";

/// VFs of it that no driver has bound, until dropped.
#[derive(Debug)]
pub struct IgbVfs(());

impl IgbVfs {
    /// So many of them.
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

impl Drop for IgbVfs {
    fn drop(&mut self) {
        if let Err(error) = Self::remove() {
            eprintln!("{error:#}");
        }
    }
}
