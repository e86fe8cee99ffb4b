//! What devlink calls a card: its bus and its name there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::uapi;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::pci::PciAddress;

/// A devlink instance: `pci/0000:01:00.0`, or `auxiliary/mlx5_core.sf.4` for a sub-function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Handle {
    bus: String,
    device: String,
}

/// The text is no devlink handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("devlink handle {0:?} is not bus/device, for example pci/0000:01:00.0")]
pub struct InvalidHandle(pub String);

impl Handle {
    /// The PCI address, where it is on the PCI bus.
    #[must_use]
    pub fn pci_address(&self) -> Option<PciAddress> {
        if self.bus == "pci" { self.device.parse().ok() } else { None }
    }

    /// The attributes that every request to this card starts with.
    pub(super) fn write(&self) -> Writer {
        Writer::default().string(uapi::BUS_NAME, &self.bus).string(uapi::DEV_NAME, &self.device)
    }
}

pub(super) fn parse(attributes: &Attributes<'_>) -> Result<Handle, AttrError> {
    Ok(Handle {
        bus: attributes.require_string(uapi::BUS_NAME, "the bus")?,
        device: attributes.require_string(uapi::DEV_NAME, "the device's name on the bus")?,
    })
}

impl From<PciAddress> for Handle {
    fn from(address: PciAddress) -> Self {
        Self { bus: "pci".to_owned(), device: address.to_string() }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bus, self.device)
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((bus, device)) if !bus.is_empty() && !device.is_empty() => {
                Ok(Self { bus: bus.to_owned(), device: device.to_owned() })
            }
            _ => Err(InvalidHandle(text.to_owned())),
        }
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.to_string()
    }
}

impl TryFrom<String> for Handle {
    type Error = InvalidHandle;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
