//! What a PCI function gives to programs in user space: VFIO, UIO, RDMA and vDPA device files.
//!
//! A pod that drives its card itself needs these files, and nothing else in the inventory knows them.
//! One listing of the function's directory says which there are, so that a plain VF costs one read.

use std::path::Path;

use serde::Serialize;

use crate::error::CardError;
use crate::pci::PciAddress;
use crate::sysfs::{self, Sysfs, SysfsError};

/// The handles of a function for user space. Names are file names below `/dev` unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Userspace {
    /// The number that firmware gave the function (`acpi_index`), as text, as configurations write it.
    pub acpi_index: Option<String>,
    /// The link layer of its first netdev.
    pub link_layer: Option<LinkLayer>,
    /// Its VFIO group, where it has an IOMMU group.
    pub vfio: Option<VfioGroup>,
    /// `uio0`, where a UIO driver has it.
    pub uio: Option<String>,
    /// `infiniband/uverbs0` and its like.
    pub rdma_files: Vec<String>,
    /// The partition key of its first RDMA device's first port, `0xffff` say.
    pub pkey: Option<String>,
    /// Its vDPA device, the first where there are several.
    pub vdpa: Option<VdpaDevice>,
}

/// What kind of link a netdev is (`ARPHRD_*` in `linux/if_arp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkLayer {
    /// Ethernet.
    Ether,
    /// `InfiniBand`.
    Infiniband,
}

/// A VFIO group: its number, and whether the host has no IOMMU to guard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VfioGroup {
    /// The number.
    pub number: u32,
    /// Without an IOMMU the host calls the file `noiommu-N`, and programs still look for `N`.
    pub no_iommu: bool,
}

/// A device of the vDPA bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VdpaDevice {
    /// `vdpa0`.
    pub name: String,
    /// Who has it.
    pub driver: Option<VdpaDriver>,
    /// `vhost-vdpa-0`, where `vhost_vdpa` has it.
    pub vhost: Option<String>,
}

/// The drivers of the vDPA bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VdpaDriver {
    /// `vhost_vdpa`: a device file for user space.
    Vhost,
    /// `virtio_vdpa`: a virtio netdev on the host.
    Virtio,
}

const ARPHRD_ETHER: u32 = 1;
const ARPHRD_INFINIBAND: u32 = 32;
/// The name of a VFIO group that stands for no IOMMU (`vfio_noiommu_group_alloc()` in `drivers/vfio`).
const NO_IOMMU: &str = "vfio-noiommu";

impl Userspace {
    /// Reads what the function at `address` gives to user space; nothing where there is no such function.
    ///
    /// # Errors
    /// [`CardError::Sysfs`] where a file holds what the kernel does not write there.
    pub fn read(sysfs: &Sysfs, address: PciAddress) -> Result<Self, CardError> {
        let dir = sysfs.pci_device(address);
        let entries = sysfs::list(&dir)?;
        let has = |name: &str| entries.iter().any(|entry| entry == name);
        let mut found = Self { vdpa: vdpa(&dir, &entries)?, ..Self::default() };
        if has("acpi_index") {
            found.acpi_index = sysfs::read(&dir.join("acpi_index"))?;
        }
        if has("net") {
            found.link_layer = link_layer(&dir.join("net"))?;
        }
        if has("iommu_group") {
            found.vfio = vfio_group(&dir)?;
        }
        if has("uio") {
            found.uio = sysfs::list(&dir.join("uio"))?.into_iter().next();
        }
        if has("infiniband") {
            found.pkey = pkey(&dir.join("infiniband"))?;
            found.rdma_files = rdma_files(&dir)?;
        }
        Ok(found)
    }
}

/// The link layer of the first netdev in the directory `net`.
pub(crate) fn link_layer(net: &Path) -> Result<Option<LinkLayer>, SysfsError> {
    let Some(first) = sysfs::list(net)?.into_iter().next() else { return Ok(None) };
    Ok(match sysfs::read_as(&net.join(first).join("type"), "a link layer's number")? {
        Some(ARPHRD_ETHER) => Some(LinkLayer::Ether),
        Some(ARPHRD_INFINIBAND) => Some(LinkLayer::Infiniband),
        _ => None,
    })
}

fn vfio_group(dir: &Path) -> Result<Option<VfioGroup>, SysfsError> {
    let Some(link) = sysfs::link_name(&dir.join("iommu_group"))? else { return Ok(None) };
    let Ok(number) = link.parse() else { return Ok(None) };
    let name = sysfs::read(&dir.join("iommu_group/name"))?;
    Ok(Some(VfioGroup { number, no_iommu: name.as_deref() == Some(NO_IOMMU) }))
}

/// The verbs and management files of all RDMA devices of a function: the kernel shows each class of
/// them as a directory of the function.
pub(crate) fn rdma_files(dir: &Path) -> Result<Vec<String>, SysfsError> {
    let mut files = Vec::new();
    for class in ["infiniband_mad", "infiniband_verbs"] {
        let names = sysfs::list(&dir.join(class))?;
        files.extend(names.into_iter().map(|name| format!("infiniband/{name}")));
    }
    Ok(files)
}

fn pkey(infiniband: &Path) -> Result<Option<String>, SysfsError> {
    let Some(device) = sysfs::list(infiniband)?.into_iter().next() else { return Ok(None) };
    sysfs::read(&infiniband.join(device).join("ports/1/pkeys/0"))
}

fn vdpa(dir: &Path, entries: &[String]) -> Result<Option<VdpaDevice>, SysfsError> {
    let is_vdpa = |name: &&String| {
        name.strip_prefix("vdpa")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let Some(name) = entries.iter().find(is_vdpa) else { return Ok(None) };
    let device = dir.join(name);
    let driver = match sysfs::link_name(&device.join("driver"))?.as_deref() {
        Some("vhost_vdpa") => Some(VdpaDriver::Vhost),
        Some("virtio_vdpa") => Some(VdpaDriver::Virtio),
        _ => None,
    };
    let vhost = sysfs::list(&device)?.into_iter().find(|file| file.starts_with("vhost-vdpa-"));
    Ok(Some(VdpaDevice { name: name.clone(), driver, vhost }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tree::Tree;

    fn read(tree: &Tree) -> Userspace {
        Userspace::read(&tree.sysfs(), "0000:01:10.0".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_plain_function_has_its_link_layer_only() {
        let tree = Tree::new();
        tree.function("0000:01:10.0").netdev("eth0", 2);
        let plain = Userspace { link_layer: Some(LinkLayer::Ether), ..Userspace::default() };
        assert_eq!(read(&tree), plain);
    }

    #[test]
    fn what_is_not_there_gives_nothing() {
        assert_eq!(read(&Tree::new()), Userspace::default());
    }

    #[test]
    fn groups_without_an_iommu_are_told_apart() {
        let tree = Tree::new();
        let group = tree.dir("kernel/iommu_groups/12");
        tree.function("0000:01:10.0").link("iommu_group", group.path());
        assert_eq!(read(&tree).vfio, Some(VfioGroup { number: 12, no_iommu: false }));
        group.file("name", "vfio-noiommu");
        assert_eq!(read(&tree).vfio, Some(VfioGroup { number: 12, no_iommu: true }));
    }

    #[test]
    fn rdma_files_and_the_partition_key_are_found() {
        let tree = Tree::new();
        let function = tree.function("0000:01:10.0").file("acpi_index", "101");
        function.join("infiniband/mlx5_2/ports/1/pkeys").file("0", "0x8001");
        function.join("infiniband_verbs/uverbs2");
        function.join("infiniband_mad/umad2");
        function.join("infiniband_mad/issm2");
        let found = read(&tree);
        let files = ["infiniband/issm2", "infiniband/umad2", "infiniband/uverbs2"];
        assert_eq!(found.rdma_files, files);
        assert_eq!(
            (found.pkey.as_deref(), found.acpi_index.as_deref()),
            (Some("0x8001"), Some("101"))
        );
    }

    #[test]
    fn a_vdpa_device_is_known_by_its_driver() {
        let tree = Tree::new();
        let vdpa = tree.function("0000:01:10.0").join("vdpa3");
        vdpa.join("vhost-vdpa-3");
        vdpa.driver("vhost_vdpa");
        let found = read(&tree).vdpa.unwrap();
        assert_eq!((found.name.as_str(), found.driver), ("vdpa3", Some(VdpaDriver::Vhost)));
        assert_eq!(found.vhost.as_deref(), Some("vhost-vdpa-3"));
    }
}
