//! Kubelet's checkpoint: the file it remembers its allocations in, for where its pod-resources socket is
//! not mounted.
//!
//! Its directory is that of the device plugins' sockets, so it is always there. The format is kubelet's
//! own business and has changed before; what cannot be read counts nothing, and says so. The same holds of
//! a file that contradicts itself: it also lists which resource offers which devices, so that a device
//! counted by mistake is noticed before it is put into another resource's pool.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Counted, Holder};
use crate::config::ResourceName;
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
    /// Two places in it cannot both be true.
    #[error(
        "kubelet's checkpoint {}: {device} is counted as one of {counted} and offered as one of {offered}; \
         kubelet writes it anew with the next allocation, mount its pod-resources socket to do without it",
        path.display()
    )]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The device.
        device: DeviceId,
        /// The resource it was given out as.
        counted: ResourceName,
        /// The resource whose plugin lists it.
        offered: String,
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
    #[serde(default)]
    registered_devices: Option<BTreeMap<String, Vec<String>>>,
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
    let counted: Counted = entries.flat_map(counted).collect();
    check(path, &counted, &checkpoint.data.registered_devices.unwrap_or_default())?;
    Ok(Some(counted))
}

/// Only what is healthy is registered, so a device that is in no list is no contradiction. Names that are
/// no PCI addresses, `0` say, may be in several plugins' lists.
fn check(
    path: &Path,
    counted: &Counted,
    registered: &BTreeMap<String, Vec<String>>,
) -> Result<(), CheckpointError> {
    for (offered, id) in
        registered.iter().flat_map(|(name, ids)| ids.iter().map(move |id| (name, id)))
    {
        let device = DeviceId::from(id.as_str());
        let Some((resource, _)) = counted.get(&device) else { continue };
        if device.address().is_some() && resource.to_string() != *offered {
            let (path, counted, offered) = (path.to_owned(), resource.clone(), offered.clone());
            return Err(CheckpointError::Contradiction { path, device, counted, offered });
        }
    }
    Ok(())
}

fn counted(entry: Entry) -> Counted {
    let Ok(resource) = entry.resource.parse::<ResourceName>() else {
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

    #[test]
    fn one_that_contradicts_itself_counts_nothing() {
        let twice = SOUND
            .replace(r#"{"intel.com/a":["0000:01:10.0"]}"#, r#"{"intel.com/b":["0000:01:10.0"]}"#);
        let error = read_text(&twice).unwrap_err().to_string();
        let wanted =
            "0000:01:10.0 is counted as one of intel.com/a and offered as one of intel.com/b";
        assert!(error.contains(wanted), "{error}");
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
