//! What is known of a device that could be given to a pod: plain values, taken at one time.
//!
//! [`read`] fills them; the pools, their health and what a pod is told are computed from them and from
//! nothing else.

pub mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use switchdev::PciAddress;
use switchdev::eswitch::EswitchMode;
use switchdev::userspace::{LinkLayer, Userspace};

use crate::config::DeviceType;

/// What kubelet calls a device: its PCI address, or an auxiliary device's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeviceId(String);

impl DeviceId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The PCI function it names; none for an auxiliary device.
    #[must_use]
    pub fn address(&self) -> Option<PciAddress> {
        self.0.parse().ok()
    }
}

impl From<PciAddress> for DeviceId {
    fn from(address: PciAddress) -> Self {
        Self(address.to_string())
    }
}

impl From<&str> for DeviceId {
    /// Kubelet and its files may say anything; what is no device is found in no pool.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All devices of a node, whatever pool they are in.
pub type Devices = BTreeMap<DeviceId, Arc<Device>>;

/// A device that could be given to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What kubelet calls it.
    pub id: DeviceId,
    /// What it is.
    pub role: Role,
    /// The PCI function it is, or is a part of.
    pub address: PciAddress,
    /// PCI vendor number.
    pub vendor: u16,
    /// PCI device number.
    pub product: u16,
    /// The kernel driver bound to it.
    pub driver: Option<String>,
    /// The memory node it is near to.
    pub numa_node: Option<u16>,
    /// The names of its netdevs in this network namespace.
    pub netdevs: Vec<String>,
    /// Its link layer; its PF's while it has no netdev here.
    pub link_layer: Option<LinkLayer>,
    /// Its RDMA devices.
    pub rdma_devices: Vec<String>,
    /// Its files for user space.
    pub userspace: Userspace,
    /// The PF it is, or is on; none for an accelerator.
    pub port: Option<Arc<Port>>,
    /// The netdev that stands for it on its card's switch.
    pub representor: Option<String>,
    /// The Intel DDP profile, where one was asked for.
    pub ddp_profile: Option<String>,
    /// Health reporters of its own that are in error.
    pub faults: Vec<String>,
    /// Why no pool may have it.
    pub barred: Option<Barred>,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A physical function.
    Pf,
    /// A virtual function of a PF.
    Vf {
        /// Its number among those of the PF.
        index: u32,
    },
    /// A device of the auxiliary bus.
    Auxiliary {
        /// `sf` and others.
        kind: String,
        /// The operator's number for it.
        number: Option<u32>,
    },
    /// A function that computes.
    Accelerator,
}

/// A PF, as far as it matters to the devices on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Where it sits.
    pub address: PciAddress,
    /// Its netdev, the uplink in switchdev mode.
    pub netdev: Option<String>,
    /// Whether it has carrier; none where it has no netdev here.
    pub carrier: Option<bool>,
    /// The mode of its e-switch; none where that is not known, because we may not ask or got no answer. A card
    /// that has none is a legacy one.
    pub eswitch: Option<EswitchMode>,
    /// Health reporters of the card that are in error.
    pub faults: Vec<String>,
}

/// Why no pool may have a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// Its VFs are what pods get.
    #[error("it is a PF with {0} VFs, and these are given away, not the PF")]
    HasVfs(u16),
    /// The node would lose its network.
    #[error("the node's default route leaves by it")]
    DefaultRoute,
}

impl Device {
    /// The kind of pool it can be in.
    #[must_use]
    pub fn device_type(&self) -> DeviceType {
        match self.role {
            Role::Pf | Role::Vf { .. } => DeviceType::NetDevice,
            Role::Auxiliary { .. } => DeviceType::AuxNetDevice,
            Role::Accelerator => DeviceType::Accelerator,
        }
    }

    /// The PF that the device is on; a PF is on none.
    #[must_use]
    pub fn on(&self) -> Option<&Port> {
        match self.role {
            Role::Vf { .. } | Role::Auxiliary { .. } => self.port.as_deref(),
            Role::Pf | Role::Accelerator => None,
        }
    }

    /// Its number on that PF.
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        match self.role {
            Role::Vf { index } => Some(index),
            Role::Auxiliary { number, .. } => number,
            Role::Pf | Role::Accelerator => None,
        }
    }

    /// How user space drives it, where the kernel does not.
    #[must_use]
    pub fn userspace_driver(&self) -> Option<UserspaceDriver> {
        match self.driver.as_deref()? {
            "vfio-pci" => Some(UserspaceDriver::Vfio),
            "uio" | "igb_uio" | "uio_pci_generic" => Some(UserspaceDriver::Uio),
            _ => None,
        }
    }
}

/// The ways for user space to drive a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserspaceDriver {
    /// Behind an IOMMU.
    Vfio,
    /// Without one.
    Uio,
}
