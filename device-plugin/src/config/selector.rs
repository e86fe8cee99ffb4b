//! What a pool asks of a device: each key a list of which one must fit, all keys together.

use switchdev::PciAddress;
use switchdev::eswitch::EswitchMode;

use super::FunctionRange;

/// One entry of `selectors`. An empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// PCI vendor numbers.
    pub vendors: Vec<u16>,
    /// PCI device numbers.
    pub devices: Vec<u16>,
    /// Names of kernel drivers.
    pub drivers: Vec<String>,
    /// PCI addresses.
    pub pci_addresses: Vec<PciAddress>,
    /// Numbers given by firmware, as text.
    pub acpi_indexes: Vec<String>,
    /// PFs by the name of their netdev.
    pub pf_names: Vec<FunctionRange<String>>,
    /// PFs by PCI address.
    pub root_devices: Vec<FunctionRange<PciAddress>>,
    /// Link layers.
    pub link_types: Vec<LinkType>,
    /// Names of Intel DDP profiles.
    pub ddp_profiles: Vec<String>,
    /// InfiniBand partition keys, as the kernel prints them.
    pub p_keys: Vec<String>,
    /// Only devices with RDMA, whose files the pod gets.
    pub is_rdma: bool,
    /// The pod gets vhost-net's files.
    pub need_vhost_net: bool,
    /// Only devices with a vDPA device of this kind.
    pub vdpa_type: Option<VdpaType>,
    /// Kinds of auxiliary device.
    pub aux_types: Vec<String>,
    /// The mode that the PF's e-switch must be in.
    pub eswitch_mode: Option<EswitchMode>,
    /// Whether there must be a representor, or must be none.
    pub representor: Option<bool>,
}

/// A link layer, in the words of `ip link`.
pub type LinkType = switchdev::userspace::LinkLayer;
/// A kind of vDPA device, by the driver it is bound to.
pub type VdpaType = switchdev::userspace::VdpaDriver;
