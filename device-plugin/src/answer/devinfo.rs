//! The device-info file, version 1.1: what Multus hands to the CNI about a device.
//!
//! It is written when kubelet allocates a device, and stays for as long as a pod has it, restarts of this
//! program included.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::{Given, WriteError, write};
use crate::config::{DeviceType, ResourceName, VdpaType};
use crate::device::DeviceId;

/// Where the files are looked for.
pub const DEFAULT_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";
/// The version of the specification.
const VERSION: &str = "1.1.0";
/// Everybody may read it, and nobody is to change it.
const MODE: u32 = 0o444;
const SUFFIX: &str = "-device.json";

#[derive(Debug, Serialize)]
struct File {
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci: Option<Pci>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vdpa: Option<Vdpa>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pci {
    pci_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost_net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rdma_device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pf_pci_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    representor_device: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Vdpa {
    parent_device: String,
    driver: VdpaType,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    pci_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pf_pci_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    representor_device: Option<String>,
}

/// The directory of these files.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    dir: PathBuf,
    /// Held while a file is written: an allocation and a look may write the same one.
    writing: Arc<Mutex<()>>,
}

impl DeviceInfo {
    /// The files in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, writing: Arc::default() }
    }

    /// The file of one device: the slash of the resource's name is a dash in it.
    #[must_use]
    pub fn path(&self, resource: &ResourceName, device: &DeviceId) -> PathBuf {
        self.dir.join(format!("{}-{device}{SUFFIX}", resource.file_stem()))
    }

    /// Writes the file of a network device; the specification knows no other kind.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn save(&self, given: Given<'_>) -> Result<(), WriteError> {
        if given.device.device_type() != DeviceType::NetDevice {
            return Ok(());
        }
        // A struct of texts is always JSON.
        let bytes = serde_json::to_vec(&file(given)).unwrap_or_default();
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write::atomically(&self.path(&given.pool.name, &given.device.id), &bytes, MODE)
    }

    /// The devices of a resource that have a file.
    ///
    /// # Errors
    /// When the directory cannot be read; one that is not there has no files.
    pub fn devices(&self, resource: &ResourceName) -> Result<Vec<DeviceId>, WriteError> {
        let prefix = format!("{}-", resource.file_stem());
        let device = |name: &String| {
            let id = DeviceId::from(name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?);
            // Another resource's name may begin as this one's does; an address does not.
            id.address().is_some().then_some(id)
        };
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let names: Vec<String> = write::entries(&self.dir)?.into_iter().filter_map(name).collect();
        Ok(names.iter().filter_map(device).collect())
    }

    /// Removes the file of a device.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn remove(&self, resource: &ResourceName, device: &DeviceId) -> Result<(), WriteError> {
        write::remove(&self.path(resource, device))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn file(given: Given<'_>) -> File {
    match vdpa(given) {
        Some(vdpa) => File { kind: "vdpa", version: VERSION, pci: None, vdpa: Some(vdpa) },
        None => File { kind: "pci", version: VERSION, pci: Some(pci(given)), vdpa: None },
    }
}

fn pci(given: Given<'_>) -> Pci {
    let rdma = given.selector.is_rdma && !given.device.rdma_devices.is_empty();
    Pci {
        pci_address: given.device.address.to_string(),
        vhost_net: given.selector.need_vhost_net.then(|| super::files::VHOST_NET.to_owned()),
        rdma_device: rdma.then(|| given.device.rdma_devices.join(",")),
        pf_pci_address: pf(given),
        representor_device: given.device.representor.clone(),
    }
}

fn vdpa(given: Given<'_>) -> Option<Vdpa> {
    let driver = given.selector.vdpa_type?;
    let vdpa = given.device.userspace.vdpa.as_ref()?;
    Some(Vdpa {
        parent_device: vdpa.name.clone(),
        driver,
        path: vdpa.vhost.as_ref().map(|file| format!("/dev/{file}")),
        pci_address: given.device.address.to_string(),
        pf_pci_address: pf(given),
        representor_device: given.device.representor.clone(),
    })
}

fn pf(given: Given<'_>) -> Option<String> {
    given.device.on().map(|port| port.address.to_string())
}
