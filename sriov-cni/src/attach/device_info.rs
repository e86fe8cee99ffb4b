//! The device-info file of an attachment (Device Information Specification 1.1.0): what the runtime tells the pod of its
//! VF. The device plugin writes it, the runtime copies it here; we hold the VF against it and add the representor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use switchdev::PciAddress;

/// The file of one attachment, as it will be and as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The file.
    pub path: PathBuf,
    /// What it shall hold.
    pub content: String,
    /// What it held; `None` where there was no file.
    pub before: Option<String>,
}

/// What is wrong with a device-info file.
#[derive(Debug, thiserror::Error)]
pub enum DeviceInfoError {
    /// It cannot be read or written.
    #[error("runtimeConfig.CNIDeviceInfoFile {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is of another VF.
    #[error("the runtime gives VF {asked}, and the device-info {path} is of {found}: two attachments got each other's VF; look at the NetworkAttachmentDefinitions' resourceName", path = path.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// `deviceID`.
        asked: PciAddress,
        /// The file's.
        found: String,
    },
}

impl DeviceInfo {
    /// Reads the file, holds the VF against it, and plans what it shall say.
    ///
    /// # Errors
    /// [`DeviceInfoError`].
    pub fn plan(
        path: &Path,
        vf: PciAddress,
        pf: PciAddress,
        representor: Option<&str>,
    ) -> Result<Self, DeviceInfoError> {
        let before = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => {
                Some(read.map_err(|source| DeviceInfoError::Io { path: path.to_owned(), source })?)
            }
        };
        let info: Option<Value> = before.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let found = info.as_ref().and_then(pci_address);
        if let Some(found) = found.filter(|found| *found != vf.to_string()) {
            return Err(DeviceInfoError::Another { path: path.to_owned(), asked: vf, found });
        }
        let content = described(info, vf, pf, representor).to_string();
        Ok(Self { path: path.to_owned(), content, before })
    }

    pub(crate) fn write(&self) -> Result<(), DeviceInfoError> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(|source| self.io(source))?;
        }
        fs::write(&self.path, &self.content).map_err(|source| self.io(source))
    }

    /// The file as it was. A runtime that has removed it meanwhile does not want it back.
    pub(crate) fn restore(&self) -> Result<(), DeviceInfoError> {
        let there = self.path.exists();
        let restored = match &self.before {
            _ if !there => Ok(()),
            Some(before) => fs::write(&self.path, before),
            None => fs::remove_file(&self.path),
        };
        restored.map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> DeviceInfoError {
        DeviceInfoError::Io { path: self.path.clone(), source }
    }
}

fn pci_address(info: &Value) -> Option<String> {
    let devices =
        ["pci", "vdpa"].into_iter().filter_map(|kind| info.get(kind)?.get("pci-address")?.as_str());
    devices.map(str::to_owned).next()
}

fn described(
    info: Option<Value>,
    vf: PciAddress,
    pf: PciAddress,
    representor: Option<&str>,
) -> Value {
    let mut info =
        info.filter(Value::is_object).unwrap_or_else(|| json!({"type": "pci", "pci": {}}));
    info["version"] = json!("1.1.0");
    if let Some(pci) = info.get_mut("pci").and_then(Value::as_object_mut) {
        pci.insert("pci-address".to_owned(), json!(vf.to_string()));
        pci.insert("pf-pci-address".to_owned(), json!(pf.to_string()));
        pci.extend(representor.map(|name| ("representor-device".to_owned(), json!(name))));
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vf(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    #[test]
    fn the_representor_is_added_and_taken_out_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = r#"{"type":"pci","version":"1.0.0","pci":{"pci-address":"0000:01:10.0","rdma-device":"r0"}}"#;
        fs::write(file.path(), before).unwrap();
        let info =
            DeviceInfo::plan(file.path(), vf("0000:01:10.0"), vf("0000:01:00.0"), Some("np0r0"))
                .unwrap();
        info.write().unwrap();
        let now: Value = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
        assert_eq!(now["version"], json!("1.1.0"));
        assert_eq!(
            now["pci"],
            json!({"pci-address": "0000:01:10.0", "pf-pci-address": "0000:01:00.0",
            "representor-device": "np0r0", "rdma-device": "r0"})
        );
        info.restore().unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), before);
    }

    #[test]
    fn anothers_vf_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"{"type":"pci","pci":{"pci-address":"0000:01:10.2"}}"#).unwrap();
        let plan = DeviceInfo::plan(file.path(), vf("0000:01:10.0"), vf("0000:01:00.0"), None);
        let error = plan.unwrap_err().to_string();
        assert!(
            error.contains("gives VF 0000:01:10.0") && error.contains("is of 0000:01:10.2"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_was_not_there_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("net1.json");
        let info = DeviceInfo::plan(&path, vf("0000:01:10.0"), vf("0000:01:00.0"), None).unwrap();
        info.write().unwrap();
        assert!(path.exists());
        info.restore().unwrap();
        assert!(!path.exists());
        info.restore().unwrap();
    }
}
