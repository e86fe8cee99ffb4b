//! The device files a container needs: VFIO, UIO, RDMA, vhost and vDPA.

use std::path::Path;

use super::Given;
use crate::config::VdpaType;
use crate::device::UserspaceDriver;

/// A device file: where the host has it, and where the container finds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceFile {
    /// On the host.
    pub host: String,
    /// In the container; the same but for VFIO without an IOMMU.
    pub container: String,
}

/// The file that opens any VFIO group.
pub const VFIO_CONTROL: &str = "/dev/vfio/vfio";
/// The connection manager of all RDMA devices.
pub const RDMA_CM: &str = "/dev/infiniband/rdma_cm";
/// The accelerator of virtio networking.
pub const VHOST_NET: &str = "/dev/vhost-net";
/// The tun and tap control file.
pub const TUN: &str = "/dev/net/tun";

/// What this host's `/dev` has of the files that belong to no device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// [`RDMA_CM`].
    pub rdma_cm: bool,
    /// [`VHOST_NET`] and [`TUN`].
    pub vhost_net: bool,
}

impl HostFiles {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let there = |path: &str| Path::new(path).exists();
        Self { rdma_cm: there(RDMA_CM), vhost_net: there(VHOST_NET) && there(TUN) }
    }
}

/// The files of one device, each once.
#[must_use]
pub fn of(given: Given<'_>, host: HostFiles) -> Vec<DeviceFile> {
    let parts = [driver(given), rdma(given, host), vhost_net(given, host), vdpa(given)];
    let mut files = Vec::new();
    for file in parts.into_iter().flatten() {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

fn driver(given: Given<'_>) -> Vec<DeviceFile> {
    match given.device.userspace_driver() {
        Some(UserspaceDriver::Vfio) => vfio(given),
        Some(UserspaceDriver::Uio) => {
            given.device.userspace.uio.iter().map(|uio| same(&format!("/dev/{uio}"))).collect()
        }
        None => Vec::new(),
    }
}

fn vfio(given: Given<'_>) -> Vec<DeviceFile> {
    let control = same(VFIO_CONTROL);
    let group = given.device.userspace.vfio.map(|group| {
        let prefix = if group.no_iommu { "noiommu-" } else { "" };
        let number = group.number;
        DeviceFile {
            host: format!("/dev/vfio/{prefix}{number}"),
            container: format!("/dev/vfio/{number}"),
        }
    });
    [control].into_iter().chain(group).collect()
}

fn rdma(given: Given<'_>, host: HostFiles) -> Vec<DeviceFile> {
    let own = &given.device.userspace.rdma_files;
    if !given.selector.is_rdma || own.is_empty() {
        return Vec::new();
    }
    let manager = host.rdma_cm.then(|| same(RDMA_CM));
    own.iter().map(|file| same(&format!("/dev/{file}"))).chain(manager).collect()
}

fn vhost_net(given: Given<'_>, host: HostFiles) -> Vec<DeviceFile> {
    let wanted = given.selector.need_vhost_net && host.vhost_net;
    if wanted { vec![same(VHOST_NET), same(TUN)] } else { Vec::new() }
}

/// A virtio device is the kernel's own, and has no file.
fn vdpa(given: Given<'_>) -> Vec<DeviceFile> {
    let wanted = given.selector.vdpa_type == Some(VdpaType::Vhost);
    let vdpa = given.device.userspace.vdpa.as_ref().filter(|_| wanted);
    let vhost = vdpa.and_then(|vdpa| vdpa.vhost.as_ref());
    vhost.iter().map(|file| same(&format!("/dev/{file}"))).collect()
}

fn same(path: &str) -> DeviceFile {
    DeviceFile { host: path.to_owned(), container: path.to_owned() }
}
