//! The devices of this node, as sysfs and netlink show them.
//!
//! Sysfs lists the functions and what hangs on them; [`Kernel`] holds what only netlink says: e-switch
//! modes, health, representors by devlink port, default routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustix::io::Errno;
use switchdev::auxiliary::{self, AuxiliaryDevice};
use switchdev::devlink::{Devlink, Handle, Health};
use switchdev::eswitch::EswitchMode;
use switchdev::inventory::{self, LinkState, PciFunction, Pf, Vf};
use switchdev::netlink::NetlinkError;
use switchdev::representor::PortMap;
use switchdev::route::Carriers;
use switchdev::userspace::Userspace;
use switchdev::{CardError, IfIndex, Inventory, PciAddress, Sysfs, route};

use super::{Barred, Device, DeviceId, Devices, Port, Role};

/// What sysfs does not know.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// The modes of the PFs' e-switches, as far as they are known.
    pub eswitches: BTreeMap<PciAddress, EswitchMode>,
    /// Whether we may not ask for them.
    pub denied: bool,
    /// Which netdevs stand for which VFs.
    pub representors: PortMap,
    /// The health reporters in error of each function's devlink instance, as sentences.
    pub faults: BTreeMap<String, Vec<String>>,
    /// The netdevs that default routes leave by.
    pub default_routes: BTreeSet<IfIndex>,
    /// The Intel DDP profiles, by devlink instance.
    pub ddp_profiles: BTreeMap<PciAddress, String>,
}

/// What is only read when a pool asks for it, because it is dear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Intel DDP profiles, which the firmware must be asked for.
    pub ddp_profiles: bool,
}

/// A door to the kernel that is kept open between two looks.
#[derive(Debug)]
pub struct Reader {
    sysfs: Sysfs,
    netlink: Netlink,
    /// Whether it was said that e-switches may not be asked.
    said_denied: bool,
}

/// Whether netlink speaks of the same node as the sysfs tree does.
#[derive(Debug)]
enum Netlink {
    /// It does, and the kernel has devlink or has not.
    Live(Option<Devlink>),
    /// The tree is not this kernel's.
    Elsewhere,
}

impl Reader {
    /// This node's.
    ///
    /// # Errors
    /// [`CardError::Netlink`] where there is no netlink.
    pub fn live() -> Result<Self, CardError> {
        let devlink = match Devlink::open() {
            Ok(devlink) => Some(devlink),
            Err(NetlinkError::NoFamily { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { sysfs: Sysfs::default(), netlink: Netlink::Live(devlink), said_denied: false })
    }

    /// A tree that was copied or made, of which no kernel can be asked.
    #[must_use]
    pub fn of_tree(sysfs: Sysfs) -> Self {
        Self { sysfs, netlink: Netlink::Elsewhere, said_denied: false }
    }

    /// All devices.
    ///
    /// # Errors
    /// [`CardError`] where sysfs or netlink does not answer as it should.
    pub fn devices(&mut self, wanted: Wanted) -> Result<Devices, CardError> {
        let inventory = Inventory::scan(&self.sysfs)?;
        let kernel = match &mut self.netlink {
            Netlink::Live(devlink) => {
                Kernel::ask(&self.sysfs, devlink.as_mut(), &inventory, wanted)?
            }
            Netlink::Elsewhere => Kernel::of_tree(&self.sysfs)?,
        };
        if kernel.denied && !self.said_denied {
            tracing::warn!(
                "e-switch modes are not known: reading them needs CAP_NET_ADMIN; eswitchMode selects nothing"
            );
            self.said_denied = true;
        }
        devices(&self.sysfs, &inventory, &kernel)
    }
}

impl Kernel {
    /// Asks netlink about the functions of `inventory`.
    ///
    /// # Errors
    /// [`CardError`] where it does not answer as it should.
    pub fn ask(
        sysfs: &Sysfs,
        mut devlink: Option<&mut Devlink>,
        inventory: &Inventory,
        wanted: Wanted,
    ) -> Result<Self, CardError> {
        let mut kernel = Self {
            representors: representors(sysfs, devlink.as_deref_mut())?,
            default_routes: route::default_route_netdevs()?,
            ..Self::default()
        };
        let Some(devlink) = devlink else {
            // A kernel without devlink has no e-switch that could be anything else.
            let legacy = |pf: &Pf| (pf.function.address, EswitchMode::Legacy);
            kernel.eswitches = inventory.pfs.iter().map(legacy).collect();
            return Ok(kernel);
        };
        kernel.faults = faults(devlink)?;
        kernel.ask_eswitches(devlink, inventory);
        if wanted.ddp_profiles {
            kernel.ask_ddp_profiles(devlink, inventory);
        }
        Ok(kernel)
    }

    /// What a tree alone tells: representors by the names of netdevs.
    ///
    /// # Errors
    /// [`CardError::Sysfs`].
    pub fn of_tree(sysfs: &Sysfs) -> Result<Self, CardError> {
        Ok(Self { representors: PortMap::read(sysfs, None)?, ..Self::default() })
    }

    /// `DEVLINK_CMD_ESWITCH_GET` is for `CAP_NET_ADMIN` only, other than all else we ask. A card that does
    /// not answer is at fault, and no reason to know nothing of the others.
    fn ask_eswitches(&mut self, devlink: &mut Devlink, inventory: &Inventory) {
        for pf in &inventory.pfs {
            let address = pf.function.address;
            match devlink.eswitch_if_any(&Handle::from(address)) {
                Err(error) if error.is(Errno::PERM) => self.denied = true,
                Err(error) => {
                    let faults = self.faults.entry(Handle::from(address).to_string()).or_default();
                    faults.push(format!("e-switch ({error})"));
                }
                Ok(eswitch) => {
                    let mode = eswitch.and_then(|eswitch| eswitch.mode);
                    self.eswitches.insert(address, mode.unwrap_or(EswitchMode::Legacy));
                }
            }
        }
    }

    /// A card without devlink, or whose firmware does not answer, has no profile.
    fn ask_ddp_profiles(&mut self, devlink: &mut Devlink, inventory: &Inventory) {
        for pf in &inventory.pfs {
            let address = pf.function.address;
            let info = devlink.info(&Handle::from(address)).unwrap_or_default();
            let name = info.running.get(DDP_PROFILE).cloned();
            self.ddp_profiles.extend(name.map(|name| (address, name)));
        }
    }

    fn faults_of(&self, function: PciAddress) -> Vec<String> {
        self.faults.get(&Handle::from(function).to_string()).cloned().unwrap_or_default()
    }
}

/// The version that the ice driver reports the DDP package's name under.
const DDP_PROFILE: &str = "fw.app.name";

/// By devlink's ports, or, where a card's firmware does not tell them, by the names of the netdevs.
fn representors(sysfs: &Sysfs, devlink: Option<&mut Devlink>) -> Result<PortMap, CardError> {
    match PortMap::read(sysfs, devlink) {
        Err(CardError::Netlink(error)) => {
            tracing::debug!("representors are looked for by name: {error}");
            PortMap::read(sysfs, None)
        }
        ports => ports,
    }
}

/// The reporters in error, by devlink instance. A reporter of one port is about that port's queues, not
/// about the devices on the card.
fn faults(devlink: &mut Devlink) -> Result<BTreeMap<String, Vec<String>>, CardError> {
    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reporter in devlink.health()? {
        if reporter.state == Health::Error && reporter.port.is_none() {
            faults.entry(reporter.card.to_string()).or_default().push(reporter.name);
        }
    }
    Ok(faults)
}

/// The devices of `inventory`, with what `kernel` adds.
///
/// # Errors
/// [`CardError::Sysfs`] where a file holds what the kernel does not write there.
pub fn devices(
    sysfs: &Sysfs,
    inventory: &Inventory,
    kernel: &Kernel,
) -> Result<Devices, CardError> {
    let mut all = Vec::new();
    let auxiliary = auxiliary::scan(sysfs)?;
    let routed = route::carriers(sysfs, &kernel.default_routes)?;
    for pf in &inventory.pfs {
        let on_pf = OnPf::new(sysfs, kernel, &routed, pf)?;
        all.push(on_pf.pf_itself());
        for vf in pf.vfs() {
            all.push(on_pf.vf(vf)?);
        }
        let parts = auxiliary.iter().filter(|part| part.parent == pf.function.address);
        all.extend(parts.map(|part| on_pf.auxiliary(part)));
    }
    for function in inventory::accelerators(sysfs)? {
        all.push(accelerator(sysfs, &function)?);
    }
    Ok(all.into_iter().map(|device| (device.id.clone(), Arc::new(device))).collect())
}

/// Reads the devices of one PF.
struct OnPf<'a> {
    sysfs: &'a Sysfs,
    kernel: &'a Kernel,
    /// What default routes leave by.
    routed: &'a Carriers,
    pf: &'a Pf,
    userspace: Userspace,
    representors: BTreeMap<u32, String>,
    port: Arc<Port>,
}

impl<'a> OnPf<'a> {
    fn new(
        sysfs: &'a Sysfs,
        kernel: &'a Kernel,
        routed: &'a Carriers,
        pf: &'a Pf,
    ) -> Result<Self, CardError> {
        let representors = kernel.representors.representors(pf).into_iter();
        Ok(Self {
            sysfs,
            kernel,
            routed,
            pf,
            userspace: Userspace::read(sysfs, pf.function.address)?,
            representors: representors.map(|(vf, found)| (u32::from(vf.0), found.name)).collect(),
            port: Arc::new(port(kernel, pf)),
        })
    }

    fn pf_itself(&self) -> Device {
        let mut device = self.device(&self.pf.function, Role::Pf, self.userspace.clone());
        if let Some(enabled) = self.pf.sriov.as_ref().map(|sriov| sriov.enabled).filter(|n| *n > 0)
        {
            device.barred = Some(Barred::HasVfs(enabled));
        }
        // What the whole card reports is in its port already.
        device.faults.clear();
        device
    }

    fn vf(&self, vf: &Vf) -> Result<Device, CardError> {
        let index = u32::from(vf.index.0);
        let userspace = Userspace::read(self.sysfs, vf.function.address)?;
        let mut device = self.device(&vf.function, Role::Vf { index }, userspace);
        device.link_layer = device.link_layer.or(self.userspace.link_layer);
        device.representor = self.representors.get(&index).cloned();
        Ok(device)
    }

    /// A part of the PF has the PF's numbers, and its own name, netdev and RDMA device.
    fn auxiliary(&self, part: &AuxiliaryDevice) -> Device {
        let role = Role::Auxiliary { kind: part.kind.clone(), number: part.sf_number };
        let rdma_files = part.rdma_files.clone();
        let userspace = Userspace { rdma_files, ..Userspace::default() };
        let routed = part.netdevs.iter().any(|netdev| self.routed.netdevs.contains(netdev));
        let pf = self.device(&self.pf.function, role, userspace);
        Device {
            id: DeviceId::from(part.name.as_str()),
            netdevs: part.netdevs.clone(),
            link_layer: part.link_layer.or(self.userspace.link_layer),
            rdma_devices: part.rdma_devices.clone(),
            faults: Vec::new(),
            barred: routed.then_some(Barred::DefaultRoute),
            ..pf
        }
    }

    fn device(&self, function: &PciFunction, role: Role, userspace: Userspace) -> Device {
        let routed = self.routed.functions.contains(&function.address);
        Device {
            port: Some(Arc::clone(&self.port)),
            ddp_profile: self.kernel.ddp_profiles.get(&self.port.address).cloned(),
            faults: self.kernel.faults_of(function.address),
            barred: routed.then_some(Barred::DefaultRoute),
            ..plain(function, role, userspace)
        }
    }
}

fn port(kernel: &Kernel, pf: &Pf) -> Port {
    let address = pf.function.address;
    Port {
        address,
        netdev: pf.uplink().map(|netdev| netdev.name.clone()),
        carrier: pf.uplink().map(|netdev| has_carrier(netdev.link_state)),
        eswitch: kernel.eswitches.get(&address).copied(),
        faults: kernel.faults_of(address),
    }
}

/// A driver that keeps no operational state says "unknown" and has carrier.
fn has_carrier(state: LinkState) -> bool {
    matches!(state, LinkState::Up | LinkState::Unknown | LinkState::Dormant)
}

fn accelerator(sysfs: &Sysfs, function: &PciFunction) -> Result<Device, CardError> {
    Ok(plain(function, Role::Accelerator, Userspace::read(sysfs, function.address)?))
}

/// What there is to say of any function.
fn plain(function: &PciFunction, role: Role, userspace: Userspace) -> Device {
    Device {
        id: function.address.into(),
        role,
        address: function.address,
        vendor: function.vendor.id,
        product: function.device.id,
        driver: function.driver.clone(),
        numa_node: function.numa_node,
        netdevs: function.netdevs.iter().map(|netdev| netdev.name.clone()).collect(),
        link_layer: userspace.link_layer,
        rdma_devices: function.rdma_devices.clone(),
        userspace,
        port: None,
        representor: None,
        ddp_profile: None,
        faults: Vec::new(),
        barred: None,
    }
}
