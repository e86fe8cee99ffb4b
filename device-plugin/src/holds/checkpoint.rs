//! Kubelet's checkpoint: the file it remembers its allocations in, for where its pod-resources socket is
//! not mounted.
//!
//! Its directory is that of the device plugins' sockets, so it is always there. The format is kubelet's
//! own business and has changed before; what cannot be read counts nothing, and says so.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Counted, Holder};
use crate::device::DeviceId;

/// Its name in the directory of device plugins.
pub const FILE: &str = "kubelet_internal_checkpoint";

/// A checkpoint that counts nothing.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("kubelet's checkpoint {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what kubelet writes.
    #[error(
        "kubelet's checkpoint {}: {source}; kubelet writes it anew with the next allocation, mount its \
         pod-resources socket to do without it", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default)]
    pod_device_entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PodUID")]
    pod: String,
    #[serde(rename = "ResourceName")]
    resource: String,
    #[serde(rename = "DeviceIDs", default)]
    devices: Option<Devices>,
}

/// By NUMA node since Kubernetes 1.20; a plain list before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Devices {
    ByNode(BTreeMap<String, Vec<String>>),
    Plain(Vec<String>),
}

/// Reads a checkpoint; one that is not there knows nothing.
///
/// # Errors
/// When it is there and cannot be used.
pub fn read(path: &Path) -> Result<Option<Counted>, CheckpointError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CheckpointError::Unreadable { path: path.to_owned(), source }),
    };
    let checkpoint: Checkpoint = serde_json::from_slice(&text)
        .map_err(|source| CheckpointError::Malformed { path: path.to_owned(), source })?;
    let entries = checkpoint.data.pod_device_entries.into_iter().flatten();
    Ok(Some(entries.flat_map(counted).collect()))
}

fn counted(entry: Entry) -> Counted {
    let Ok(resource) = entry.resource.parse::<crate::config::ResourceName>() else {
        return Counted::new();
    };
    let holder = Holder(format!("the pod with UID {}", entry.pod));
    let devices = match entry.devices {
        Some(Devices::ByNode(nodes)) => nodes.into_values().flatten().collect(),
        Some(Devices::Plain(devices)) => devices,
        None => Vec::new(),
    };
    let with_holder =
        |id: String| (DeviceId::from(id.as_str()), (resource.clone(), holder.clone()));
    devices.into_iter().map(with_holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOUND: &str = r#"{"Data":{"PodDeviceEntries":[{"PodUID":"7f0c","ContainerName":"web",
        "ResourceName":"intel.com/a","DeviceIDs":{"-1":["0000:01:10.0"],"1":["0000:01:10.2"]},"AllocResp":"CgA="},
        {"PodUID":"80","ContainerName":"c","ResourceName":"nvidia.com/gpu","DeviceIDs":["GPU-0"],"AllocResp":""}],
        "RegisteredDevices":{"intel.com/a":["0000:01:10.0"]}},"Checksum":1234}"#;

    fn read_text(text: &str) -> Result<Option<Counted>, CheckpointError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn both_layouts_of_devices_are_read() {
        let counted = read_text(SOUND).unwrap().unwrap();
        let names: Vec<&str> = counted.keys().map(DeviceId::as_str).collect();
        assert_eq!(names, ["0000:01:10.0", "0000:01:10.2", "GPU-0"]);
        let (resource, holder) = &counted[&DeviceId::from("0000:01:10.2")];
        assert_eq!(
            (resource.to_string().as_str(), holder.0.as_str()),
            ("intel.com/a", "the pod with UID 7f0c")
        );
    }

    #[test]
    fn none_knows_nothing_and_a_torn_one_says_so() {
        assert_eq!(read(Path::new("/no/such/file")).unwrap(), None);
        let error = read_text(&SOUND[..90]).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("EOF"), "{error}");
    }

    proptest! {
        #[test]
        fn a_corrupted_one_counts_no_device_that_is_not_in_it(at in 0..SOUND.len(), with: u8) {
            let mut bytes = SOUND.as_bytes().to_vec();
            bytes[at] = with;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for device in read_text(&text).ok().flatten().unwrap_or_default().keys() {
                prop_assert!(text.contains(device.as_str()) || text.contains('\\'));
            }
        }
    }
}
