//! The auxiliary bus: sub-functions, and other parts of a card that are no PCI functions.
//!
//! A device there is called `mlx5_core.sf.4`: who made it, what kind it is, and a number. Its directory
//! is below that of the PCI function that it is a part of.

use std::path::Path;

use serde::Serialize;

use crate::error::CardError;
use crate::pci::PciAddress;
use crate::sysfs::{self, Sysfs, SysfsError};
use crate::userspace::{LinkLayer, link_layer, rdma_files};

/// A device of the auxiliary bus that is part of a PCI function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuxiliaryDevice {
    /// Its whole name.
    pub name: String,
    /// The middle of the name: `sf`, `eth`, `rdma`.
    pub kind: String,
    /// The PCI function it is a part of.
    pub parent: PciAddress,
    /// The number that the operator gave a sub-function.
    pub sf_number: Option<u32>,
    /// The driver bound to it.
    pub driver: Option<String>,
    /// Its netdevs in this network namespace.
    pub netdevs: Vec<String>,
    /// The link layer of the first of them.
    pub link_layer: Option<LinkLayer>,
    /// Its RDMA devices.
    pub rdma_devices: Vec<String>,
    /// Their files below `/dev`.
    pub rdma_files: Vec<String>,
}

/// All of them, by name.
///
/// # Errors
/// [`CardError::Sysfs`] where a file holds what the kernel does not write there.
pub fn scan(sysfs: &Sysfs) -> Result<Vec<AuxiliaryDevice>, CardError> {
    let bus = sysfs.path("bus/auxiliary/devices");
    let mut devices = Vec::new();
    for name in sysfs::list(&bus)? {
        devices.extend(read(&bus.join(&name), name)?);
    }
    Ok(devices)
}

fn read(link: &Path, name: String) -> Result<Option<AuxiliaryDevice>, SysfsError> {
    let (Some(kind), Some(parent)) = (kind(&name), parent(link)) else { return Ok(None) };
    Ok(Some(AuxiliaryDevice {
        kind: kind.to_owned(),
        parent,
        sf_number: sysfs::read_as(&link.join("sfnum"), "a sub-function's number")?,
        driver: sysfs::link_name(&link.join("driver"))?,
        netdevs: sysfs::list(&link.join("net"))?,
        link_layer: link_layer(&link.join("net"))?,
        rdma_devices: sysfs::list(&link.join("infiniband"))?,
        rdma_files: rdma_files(link)?,
        name,
    }))
}

fn kind(name: &str) -> Option<&str> {
    let mut parts = name.split('.');
    let (_, kind, number) = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && number.parse::<u32>().is_ok()).then_some(kind)
}

/// The last PCI function on the way to the device; a device that has just gone has none.
fn parent(link: &Path) -> Option<PciAddress> {
    let path = link.canonicalize().ok()?;
    let parts = path.iter().rev().skip(1);
    parts.filter_map(|part| part.to_str()).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    #[test]
    fn a_sub_function_is_read_with_its_parent() {
        let tree = Tree::new();
        let pf = tree.pf("0000:03:00.0", 8);
        let sf = pf.join("mlx5_core.sf.4").file("sfnum", "88");
        sf.join("net/enp3s0f0s88").file("type", "1");
        tree.dir("bus/auxiliary/devices").link("mlx5_core.sf.4", sf.path());
        let found = scan(&tree.sysfs()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind.as_str(), found[0].sf_number), ("sf", Some(88)));
        assert_eq!(found[0].parent.to_string(), "0000:03:00.0");
        assert_eq!(found[0].netdevs, ["enp3s0f0s88"]);
        assert_eq!(found[0].link_layer, Some(LinkLayer::Ether));
    }

    #[test]
    fn what_is_below_no_pci_function_is_left_out() {
        let tree = Tree::new();
        let device = tree.dir("devices/platform/snd.audio.1");
        tree.dir("bus/auxiliary/devices").link("snd.audio.1", device.path());
        assert_eq!(scan(&tree.sysfs()).unwrap(), []);
    }
}
