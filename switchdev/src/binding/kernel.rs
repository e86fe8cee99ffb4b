//! The real node: sysfs, rtnetlink on both sides, devlink, RDMA.

mod observe;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use tc_filter::IfIndex;

use super::{Change, Host, Node, Observed, Side};
use crate::devlink::{Devlink, Handle, PortFunctionChange, PortIndex, RateTarget};
use crate::driver;
use crate::error::CardError;
use crate::ledger::Holder;
use crate::link::{LinkChange, Links};
use crate::netlink::NetlinkError;
use crate::netns;
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::rdma::Rdma;
use crate::sysfs::Sysfs;

/// This machine, from the network namespace of the thread that opens a VF.
#[derive(Debug, Clone)]
pub struct KernelNode {
    sysfs: Sysfs,
}

impl KernelNode {
    /// The machine whose sysfs this is.
    #[must_use]
    pub fn new(sysfs: Sysfs) -> Self {
        Self { sysfs }
    }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Node for KernelNode {
    fn open(&mut self, vf: PciAddress, holder: &Holder) -> Result<Box<dyn Host + '_>, CardError> {
        Ok(Box::new(KernelHost::open(self.sysfs.clone(), vf, holder)?))
    }

    fn is_alive(&mut self, holder: &Holder) -> io::Result<bool> {
        let Some(file) = netns::open(&holder.netns)? else { return Ok(false) };
        let found = netns::id(&file)?;
        Ok(holder.netns_id.is_none_or(|id| id == found))
    }

    fn identify(&mut self, holder: Holder) -> io::Result<Holder> {
        let file = netns::open(&holder.netns)?;
        let netns_id = file.as_ref().map(netns::id).transpose()?;
        Ok(Holder { netns_id, ..holder })
    }

    fn boot(&mut self) -> io::Result<String> {
        Ok(std::fs::read_to_string(BOOT_ID)?.trim().to_owned())
    }
}

/// One VF of this machine.
#[derive(Debug)]
pub struct KernelHost {
    sysfs: Sysfs,
    vf: PciAddress,
    ifname: String,
    home: Ground,
    pod: Option<Ground>,
    devlink: Option<Devlink>,
    found: Found,
}

/// A network namespace and its links.
#[derive(Debug)]
struct Ground {
    netns: File,
    links: Links,
}

/// Where what can be changed was last seen.
#[derive(Debug, Default)]
struct Found {
    netdev: Option<(Side, IfIndex)>,
    uplink: Option<IfIndex>,
    representor: Option<IfIndex>,
    port: Option<(Handle, PortIndex)>,
    index: Option<VfIndex>,
}

impl KernelHost {
    /// Opens the sockets on both sides.
    ///
    /// # Errors
    /// [`CardError::Netlink`].
    pub fn open(sysfs: Sysfs, vf: PciAddress, holder: &Holder) -> Result<Self, CardError> {
        let unreadable = |source| NetlinkError::Socket {
            request: format!("opening network namespace {}", holder.netns.display()),
            source,
        };
        let home = Ground { netns: netns::own().map_err(unreadable)?, links: Links::open()? };
        let pod = netns::find(&holder.netns, holder.netns_id).map_err(unreadable)?;
        let devlink = match Devlink::open() {
            Err(NetlinkError::NoFamily { .. }) => None,
            devlink => Some(devlink?),
        };
        Ok(Self {
            sysfs,
            vf,
            ifname: holder.ifname.clone(),
            home,
            pod: pod.map(Ground::open).transpose()?,
            devlink,
            found: Found::default(),
        })
    }

    fn ground(&mut self, side: Side) -> Result<&mut Ground, CardError> {
        match side {
            Side::Host => Ok(&mut self.home),
            Side::Pod => self.pod.as_mut().ok_or_else(|| missing("the pod's network namespace")),
        }
    }

    fn change_netdev(&mut self, change: &LinkChange) -> Result<(), CardError> {
        let (side, ifindex) = self.found.netdev.ok_or_else(|| missing("the VF's netdev"))?;
        Ok(self.ground(side)?.links.change(ifindex, change)?)
    }

    /// Its number may be another afterwards, where that one is taken.
    fn move_netdev(&mut self, to: Side) -> Result<(), CardError> {
        let (from, ifindex) = self.found.netdev.ok_or_else(|| missing("the VF's netdev"))?;
        if from == to {
            return Ok(());
        }
        let target = self.ground(to)?.netns.try_clone().map_err(|source| NetlinkError::Socket {
            request: "keeping a network namespace open".to_owned(),
            source,
        })?;
        self.ground(from)?.links.move_to_netns(ifindex, target.as_fd(), None)?;
        self.found.netdev = self.find_netdev()?.map(|(side, link)| (side, link.ifindex));
        Ok(())
    }

    fn move_rdma(&mut self, device: u32, to: Side) -> Result<(), CardError> {
        let from = match to {
            Side::Host => Side::Pod,
            Side::Pod => Side::Host,
        };
        let source = self.ground(from)?.netns.as_fd();
        let rdma = Rdma::open_in(source)?;
        let mut rdma = rdma.ok_or_else(|| missing("the RDMA subsystem"))?;
        Ok(rdma.move_to_netns(device, self.ground(to)?.netns.as_fd())?)
    }

    fn devlink(&mut self) -> Result<(&mut Devlink, Handle, PortIndex), CardError> {
        let port = self.found.port.clone();
        let (card, port) = port.ok_or_else(|| missing("the VF's devlink port"))?;
        let devlink = self.devlink.as_mut().ok_or_else(|| missing("devlink"))?;
        Ok((devlink, card, port))
    }
}

impl Ground {
    fn open(netns: File) -> Result<Self, CardError> {
        let links = Links::open_in(netns.as_fd())?;
        Ok(Self { netns, links })
    }
}

impl Host for KernelHost {
    fn observe(&mut self) -> Result<Option<Observed>, CardError> {
        self.read()
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        match change {
            Change::Vf(change) => {
                let uplink = self.found.uplink.ok_or_else(|| missing("the PF's netdev"))?;
                let index = self.found.index.ok_or_else(|| missing("the VF's number"))?;
                self.home.links.set_vf(uplink, index, *change)
            }
            Change::FunctionMac(mac) => {
                let (devlink, card, port) = self.devlink()?;
                Ok(devlink.set_port_function(&card, port, PortFunctionChange::HwAddr(*mac))?)
            }
            Change::Rate(change) => {
                let (devlink, card, port) = self.devlink()?;
                Ok(devlink.set_rate(&card, &RateTarget::Leaf(port), change)?)
            }
            Change::Representor(change) => {
                let representor =
                    self.found.representor.ok_or_else(|| missing("the representor"))?;
                Ok(self.home.links.change(representor, change)?)
            }
            Change::Netdev(change) => self.change_netdev(change),
            Change::Move(to) => self.move_netdev(*to),
            Change::Address(address) => match self.found.netdev {
                Some((Side::Host, ifindex)) => Ok(self.home.links.add_address(ifindex, address)?),
                _ => Err(missing("the VF's netdev on the host")),
            },
            Change::Rdma(device, to) => self.move_rdma(device.index, *to),
            Change::Driver(binding) => driver::bind(&self.sysfs, self.vf, binding),
        }
    }
}

/// What was to be changed is not there (any more).
fn missing(what: &str) -> CardError {
    CardError::Netlink(NetlinkError::Refused {
        request: format!("changing {what}"),
        errno: Errno::NODEV.raw_os_error(),
        sentence: None,
    })
}
