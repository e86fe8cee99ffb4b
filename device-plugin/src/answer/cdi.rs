//! CDI: the runtime is told a name, and finds in a spec file which device files that means.
//!
//! One spec for each pool. A device without files is in none, as CDI allows no empty device.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::files::{DeviceFile, HostFiles};
use super::{Given, WriteError, files, write};
use crate::config::{DeviceType, ResourceName};
use crate::device::DeviceId;

/// Where specs that come and go are looked for.
pub const DEFAULT_DIR: &str = "/var/run/cdi";
/// The first version whose keys are all we use.
const VERSION: &str = "0.5.0";
const MODE: u32 = 0o644;
/// What the names of all specs begin with, in `sriov-network-device-plugin` too.
const OURS: &str = "sriov-dp-";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: &'static str,
    kind: String,
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Edits,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Edits {
    device_nodes: Vec<DeviceNode>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    host_path: String,
    permissions: &'static str,
}

/// The directory of specs.
#[derive(Debug, Clone)]
pub struct Cdi {
    dir: PathBuf,
}

impl Cdi {
    /// The specs in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The spec of a pool, named as `sriov-network-device-plugin` names it.
    #[must_use]
    pub fn path(&self, resource: &ResourceName, device_type: DeviceType) -> PathBuf {
        let (prefix, class, name) = (resource.prefix(), class(device_type), resource.name());
        self.dir.join(format!("{OURS}{prefix}-{class}-{name}.json"))
    }

    /// Writes the spec of a pool with these devices; a pool whose devices have no files has none.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn save(
        &self,
        resource: &ResourceName,
        device_type: DeviceType,
        devices: &[Given<'_>],
        host: HostFiles,
    ) -> Result<(), WriteError> {
        let path = self.path(resource, device_type);
        let devices: Vec<Device> =
            devices.iter().filter_map(|given| device(*given, host)).collect();
        if devices.is_empty() {
            return write::remove(&path);
        }
        let spec = Spec { cdi_version: VERSION, kind: kind(resource, device_type), devices };
        // A struct of texts is always JSON.
        write::atomically(&path, &serde_json::to_vec(&spec).unwrap_or_default(), MODE)
    }

    /// Removes the specs of pools that are no more, those of a program before this one included: two specs
    /// that both have a device are an error to the runtime, and no container gets it.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn remove_others(&self, pools: &BTreeSet<PathBuf>) -> Result<(), WriteError> {
        let is_ours = |path: &PathBuf| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(OURS))
        };
        let others = write::entries(&self.dir)?.into_iter().filter(is_ours);
        others.filter(|path| !pools.contains(path)).try_for_each(|path| write::remove(&path))
    }
}

/// The annotation that names a container's devices to the runtime; none where no device has files. Its key
/// is the pool's own: of two pools' annotations with one key kubelet would pass on the first alone.
#[must_use]
pub fn annotation(
    resource: &ResourceName,
    device_type: DeviceType,
    devices: &[Given<'_>],
    host: HostFiles,
) -> Option<(String, String)> {
    let kind = kind(resource, device_type);
    let with_files = devices.iter().filter(|given| !files::of(**given, host).is_empty());
    let names: Vec<String> = with_files.map(|given| qualified(&kind, &given.device.id)).collect();
    let key = format!("cdi.k8s.io/{}_{}", kind.replace('/', "_"), resource.name());
    (!names.is_empty()).then(|| (key, names.join(",")))
}

fn qualified(kind: &str, device: &DeviceId) -> String {
    format!("{kind}={device}")
}

fn kind(resource: &ResourceName, device_type: DeviceType) -> String {
    format!("{}/{}", resource.prefix(), class(device_type))
}

fn class(device_type: DeviceType) -> &'static str {
    match device_type {
        DeviceType::NetDevice => "net-pci",
        DeviceType::AuxNetDevice => "net-sf",
        DeviceType::Accelerator => "net-accel",
    }
}

fn device(given: Given<'_>, host: HostFiles) -> Option<Device> {
    let device_nodes: Vec<DeviceNode> = files::of(given, host).into_iter().map(node).collect();
    let name = given.device.id.to_string();
    (!device_nodes.is_empty()).then_some(Device { name, container_edits: Edits { device_nodes } })
}

fn node(file: DeviceFile) -> DeviceNode {
    DeviceNode { path: file.container, host_path: file.host, permissions: "rw" }
}
