//! The network cards of a node as sysfs shows them: PFs, their VFs, and the netdevs of both.
//!
//! A scan reads and never writes. It lists every PCI function of the network class that is not a VF,
//! also those without SR-IOV, so that "this PF has no SR-IOV" and "there is no such PF" are two
//! answers. A function that is pulled while the scan runs is left out.

mod netdev;
#[cfg(test)]
pub(crate) mod tree;

use std::fmt;
use std::path::Path;

use serde::Serialize;

pub(crate) use netdev::all as all_netdevs;
pub use netdev::{LinkState, Netdev};

use crate::devlink::{Devlink, Handle};
use crate::error::CardError;
use crate::eswitch::Eswitch;
use crate::pci::{Named, PciAddress};
use crate::phys_port::VfIndex;
use crate::sysfs::{self, Sysfs, SysfsError};

/// All network PFs of a node, in the order of their PCI addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// The PFs, with SR-IOV or without.
    pub pfs: Vec<Pf>,
}

/// A physical function: a port of a card as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pf {
    /// What it has in common with a VF.
    #[serde(flatten)]
    pub function: PciFunction,
    /// Its VFs, where it has the SR-IOV capability.
    pub sriov: Option<Sriov>,
    /// What devlink says of its e-switch; sysfs does not know, see [`Inventory::with_eswitches`].
    pub eswitch: Option<Eswitch>,
}

/// What a PF says of its virtual functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sriov {
    /// How many VFs there can be (`sriov_totalvfs`).
    pub total: u16,
    /// How many are switched on (`sriov_numvfs`).
    pub enabled: u16,
    /// Whether the kernel offers new VFs to its drivers (`sriov_drivers_autoprobe`).
    pub drivers_autoprobe: bool,
    /// Those that are present, by index.
    pub vfs: Vec<Vf>,
}

/// A virtual function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vf {
    /// Its number among those of its PF.
    pub index: VfIndex,
    /// What it has in common with a PF.
    #[serde(flatten)]
    pub function: PciFunction,
}

/// What PFs and VFs have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PciFunction {
    /// Where it sits.
    pub address: PciAddress,
    /// Who made it.
    pub vendor: Named,
    /// What it is.
    pub device: Named,
    /// The driver bound to it.
    pub driver: Option<String>,
    /// The only driver it may be bound to, if one was set.
    pub driver_override: Option<String>,
    /// The memory node it is near to; `None` on a machine with one.
    pub numa_node: Option<u16>,
    /// The IOMMU group, where the IOMMU is on.
    pub iommu_group: Option<u32>,
    /// Its netdevs in this network namespace. In switchdev mode the representors of some drivers are
    /// among those of the PF.
    pub netdevs: Vec<Netdev>,
    /// Its RDMA devices.
    pub rdma_devices: Vec<String>,
}

/// All netdevs of this network namespace, by name, whatever they are on.
///
/// # Errors
/// [`SysfsError`] where a file holds what the kernel does not write there.
pub fn netdevs(sysfs: &Sysfs) -> Result<Vec<Netdev>, SysfsError> {
    netdev::scan(&sysfs.net_devices())
}

/// The PCI functions that compute rather than forward: class `12xxxx`, FPGAs and the like.
///
/// # Errors
/// [`CardError::Sysfs`] where a file holds what the kernel does not write there.
pub fn accelerators(sysfs: &Sysfs) -> Result<Vec<PciFunction>, CardError> {
    let mut functions = Vec::new();
    for name in sysfs::list(&sysfs.pci_devices())? {
        let Ok(address) = name.parse() else { continue };
        let dir = sysfs.pci_device(address);
        if has_class(&dir, ACCELERATOR_CLASS)? {
            functions.extend(unless_gone(&dir, scan_function(&dir, address).map(Some))?);
        }
    }
    Ok(functions)
}

impl Inventory {
    /// Reads the tree. It needs no privilege.
    ///
    /// # Errors
    /// [`CardError::Sysfs`] where a file holds what the kernel does not write there.
    pub fn scan(sysfs: &Sysfs) -> Result<Self, CardError> {
        let mut pfs = Vec::new();
        for name in sysfs::list(&sysfs.pci_devices())? {
            // Other buses' names do not occur here, and a name that is no address is no function.
            let Ok(address) = name.parse() else { continue };
            pfs.extend(scan_pf(sysfs, address)?);
        }
        pfs.sort_by_key(|pf| pf.function.address);
        Ok(Self { pfs })
    }

    /// Adds what devlink says of the PFs' e-switches, which sysfs does not know.
    ///
    /// # Errors
    /// [`CardError::Netlink`].
    pub fn with_eswitches(mut self, devlink: &mut Devlink) -> Result<Self, CardError> {
        for pf in &mut self.pfs {
            pf.eswitch = devlink.eswitch_if_any(&Handle::from(pf.function.address))?;
        }
        Ok(self)
    }

    /// The PF at `address`, or the VF's or nothing's sentence.
    ///
    /// # Errors
    /// [`CardError::NoSuchPf`] naming the PFs there are.
    pub fn pf(&self, address: PciAddress) -> Result<&Pf, CardError> {
        if let Some(pf) = self.pfs.iter().find(|pf| pf.function.address == address) {
            return Ok(pf);
        }
        match self.pf_of_vf(address) {
            Some((pf, vf)) => {
                Err(CardError::IsVf { address, index: vf.index, pf: pf.function.address })
            }
            None => Err(self.no_such_pf(&address.to_string())),
        }
    }

    /// The PF that `name` stands for: a PCI address or the name of one of its netdevs.
    ///
    /// # Errors
    /// As [`Inventory::pf`].
    pub fn find(&self, name: &str) -> Result<&Pf, CardError> {
        if let Ok(address) = name.parse() {
            return self.pf(address);
        }
        let has_netdev = |pf: &&Pf| pf.function.netdevs.iter().any(|netdev| netdev.name == name);
        self.pfs.iter().find(has_netdev).ok_or_else(|| self.no_such_pf(name))
    }

    /// The VF at `address` with its PF.
    #[must_use]
    pub fn pf_of_vf(&self, address: PciAddress) -> Option<(&Pf, &Vf)> {
        let with_pf = |pf| Pf::vfs(pf).iter().map(move |vf| (pf, vf));
        self.pfs.iter().flat_map(with_pf).find(|(_, vf)| vf.function.address == address)
    }

    /// The PFs with SR-IOV.
    pub fn sriov_pfs(&self) -> impl Iterator<Item = (&Pf, &Sriov)> {
        self.pfs.iter().filter_map(|pf| pf.sriov.as_ref().map(|sriov| (pf, sriov)))
    }

    fn no_such_pf(&self, asked: &str) -> CardError {
        let known = self.pfs.iter().map(Pf::short_name).collect();
        CardError::NoSuchPf { asked: asked.to_owned(), known }
    }
}

impl Pf {
    /// The VFs present.
    #[must_use]
    pub fn vfs(&self) -> &[Vf] {
        self.sriov.as_ref().map_or(&[], |sriov| &sriov.vfs)
    }

    /// The netdev of the PF itself, which is the uplink in switchdev mode: not a representor.
    #[must_use]
    pub fn uplink(&self) -> Option<&Netdev> {
        let netdevs = &self.function.netdevs;
        let named =
            netdevs.iter().find(|n| n.phys_port_name.as_ref().is_some_and(|p| p.is_uplink()));
        named.or_else(|| netdevs.iter().find(|n| n.phys_port_name.is_none()))
    }

    /// The SR-IOV capability.
    ///
    /// # Errors
    /// [`CardError::NoSriov`] where the PF has none.
    pub fn require_sriov(&self) -> Result<&Sriov, CardError> {
        self.sriov.as_ref().ok_or_else(|| CardError::NoSriov { pf: self.short_name() })
    }

    /// `0000:01:00.0 (np0)`: how errors and logs speak of it.
    #[must_use]
    pub fn short_name(&self) -> String {
        let address = self.function.address;
        self.uplink().map_or_else(|| address.to_string(), |n| format!("{address} ({})", n.name))
    }
}

/// The PF at `address`; `None` for a VF, for what is no network card, and for what has just gone.
pub(crate) fn scan_pf(sysfs: &Sysfs, address: PciAddress) -> Result<Option<Pf>, SysfsError> {
    let dir = sysfs.pci_device(address);
    if !has_class(&dir, NETWORK_CLASS)? || sysfs::link_name(&dir.join("physfn"))?.is_some() {
        return Ok(None);
    }
    let read = scan_function(&dir, address).and_then(|function| {
        Ok(Some(Pf { function, sriov: scan_sriov(sysfs, &dir)?, eswitch: None }))
    });
    unless_gone(&dir, read)
}

/// `0x020000` is Ethernet, `0x020700` InfiniBand.
const NETWORK_CLASS: &str = "0x02";
const ACCELERATOR_CLASS: &str = "0x12";

fn has_class(dir: &Path, prefix: &str) -> Result<bool, SysfsError> {
    let class = sysfs::read(&dir.join("class"))?;
    Ok(class.is_some_and(|class| class.starts_with(prefix)))
}

fn scan_sriov(sysfs: &Sysfs, dir: &Path) -> Result<Option<Sriov>, SysfsError> {
    let Some(total) = sysfs::read_as(&dir.join("sriov_totalvfs"), VF_COUNT)? else {
        return Ok(None);
    };
    Ok(Some(Sriov {
        total,
        enabled: sysfs::require(&dir.join("sriov_numvfs"), VF_COUNT)?,
        drivers_autoprobe: read_flag(&dir.join("sriov_drivers_autoprobe"))?.unwrap_or(true),
        vfs: scan_vfs(sysfs, dir)?,
    }))
}

fn scan_vfs(sysfs: &Sysfs, dir: &Path) -> Result<Vec<Vf>, SysfsError> {
    let mut vfs = Vec::new();
    for name in sysfs::list(dir)? {
        let Some(index) = name.strip_prefix("virtfn").and_then(|n| n.parse().ok()) else {
            continue;
        };
        vfs.extend(scan_vf(sysfs, &dir.join(name), VfIndex(index))?);
    }
    vfs.sort_by_key(|vf| vf.index);
    Ok(vfs)
}

fn scan_vf(sysfs: &Sysfs, link: &Path, index: VfIndex) -> Result<Option<Vf>, SysfsError> {
    let Some(target) = sysfs::link_name(link)? else { return Ok(None) };
    let Ok(address) = target.parse() else {
        return Err(SysfsError::Malformed {
            path: link.to_owned(),
            value: target,
            wanted: "a link to a PCI function",
        });
    };
    let dir = sysfs.pci_device(address);
    let function = unless_gone(&dir, scan_function(&dir, address).map(Some))?;
    Ok(function.map(|function| Vf { index, function }))
}

fn scan_function(dir: &Path, address: PciAddress) -> Result<PciFunction, SysfsError> {
    let HexId(vendor) = sysfs::require(&dir.join("vendor"), HEX_ID)?;
    let HexId(device) = sysfs::require(&dir.join("device"), HEX_ID)?;
    Ok(PciFunction {
        address,
        vendor: Named::vendor(vendor),
        device: Named::device(vendor, device),
        driver: sysfs::link_name(&dir.join("driver"))?,
        driver_override: read_override(dir)?,
        numa_node: read_numa_node(dir)?,
        iommu_group: read_iommu_group(dir)?,
        netdevs: netdev::scan(&dir.join("net"))?,
        rdma_devices: sysfs::list(&dir.join("infiniband"))?,
    })
}

const VF_COUNT: &str = "a number of VFs, 0 to 65535";
const HEX_ID: &str = "a PCI id such as 0x8086";

/// The kernel prints a `driver_override` that is not set as `(null)`.
pub(crate) fn read_override(dir: &Path) -> Result<Option<String>, SysfsError> {
    let value = sysfs::read(&dir.join("driver_override"))?;
    Ok(value.filter(|value| !value.is_empty() && value != "(null)"))
}

/// -1 is the kernel's word for a machine whose firmware names no node.
fn read_numa_node(dir: &Path) -> Result<Option<u16>, SysfsError> {
    let node = sysfs::read_as::<i32>(&dir.join("numa_node"), "a NUMA node number, or -1")?;
    Ok(node.and_then(|node| u16::try_from(node).ok()))
}

fn read_iommu_group(dir: &Path) -> Result<Option<u32>, SysfsError> {
    let link = dir.join("iommu_group");
    let Some(value) = sysfs::link_name(&link)? else { return Ok(None) };
    let wanted = "a link to a numbered group";
    value.parse().map(Some).map_err(|_| SysfsError::Malformed { path: link, value, wanted })
}

fn read_flag(path: &Path) -> Result<Option<bool>, SysfsError> {
    Ok(sysfs::read_as::<u8>(path, "0 or 1")?.map(|flag| flag != 0))
}

/// A PCI id as sysfs prints it, `0x15b3`.
struct HexId(u16);

impl std::str::FromStr for HexId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("0x").filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.and_then(|d| u16::from_str_radix(d, 16).ok()).map(Self).ok_or(())
    }
}

/// Hot unplug and `sriov_numvfs` may take a function away between two reads: an error about a
/// function that is no longer there is no error. Its files go before its directory does, and none is
/// ever without those that must be there.
fn unless_gone<T>(
    dir: &Path,
    read: Result<Option<T>, SysfsError>,
) -> Result<Option<T>, SysfsError> {
    match read {
        Err(SysfsError::Missing { .. }) => Ok(None),
        Err(_) if !dir.exists() => Ok(None),
        read => read,
    }
}

impl fmt::Display for Inventory {
    /// A line for every PF, and below it one, indented, for each of its VFs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pf in &self.pfs {
            writeln!(f, "{pf}")?;
            pf.vfs().iter().try_for_each(|vf| writeln!(f, "  {vf}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Pf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.function)?;
        match &self.sriov {
            Some(sriov) => write!(f, ", {} of {} VFs", sriov.enabled, sriov.total)?,
            None => write!(f, ", no SR-IOV")?,
        }
        self.eswitch.iter().try_for_each(|eswitch| write!(f, ", eswitch {eswitch}"))
    }
}

impl fmt::Display for Vf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vf {} {}", self.index, self.function)
    }
}

impl fmt::Display for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.address, self.vendor, self.device)?;
        write!(f, ", driver {}", self.driver.as_deref().unwrap_or("none"))?;
        self.numa_node.iter().try_for_each(|node| write!(f, ", NUMA node {node}"))?;
        self.iommu_group.iter().try_for_each(|group| write!(f, ", IOMMU group {group}"))?;
        self.netdevs.iter().try_for_each(|netdev| write!(f, ", {netdev}"))?;
        self.rdma_devices.iter().try_for_each(|device| write!(f, ", RDMA {device}"))
    }
}

#[cfg(test)]
mod tests;
