//! A node in memory, for tests: one VF, and the kernel's rules that a binding must respect.
//!
//! A name that is taken cannot be given; a link that is up takes no new name and no MAC address; a VF that
//! is not trusted takes no MAC address but the PF's, and with igb not even that; a netdev that moves arrives down
//! and without its addresses; a representor has a carrier while the VF's netdev is up, and IPv6 from then until it
//! goes down; and when a pod dies its VF comes back under the pod's name for it, or another where
//! that is taken.

mod address;

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;

use self::address::take_mac;
use super::{Change, Host, Node, Observed, Side, VfPlace, VfState};
use crate::devlink::RateChange;
use crate::driver::Binding;
use crate::error::CardError;
use crate::ledger::Holder;
use crate::link::{LinkChange, VfChange};
use crate::netlink::NetlinkError;
use crate::pci::PciAddress;

/// A VF in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeVf {
    /// Its address.
    pub vf: PciAddress,
    /// Where it is on its card.
    pub place: VfPlace,
    /// Its state, with its netdev on whichever side it is.
    pub state: VfState,
    /// Where its netdev is.
    pub side: Side,
    /// Whether RDMA devices are moved.
    pub rdma_exclusive: bool,
    /// Whether its MAC address was set on the PF, which the kernel does not show.
    pub pinned: bool,
}

/// A node with that VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeNode {
    /// The VF; `None` when it has been pulled.
    pub vf: Option<FakeVf>,
    /// Names of other netdevs on the host.
    pub host_names: BTreeSet<String>,
    /// Names of other netdevs in the pod.
    pub pod_names: BTreeSet<String>,
    /// Whether the pod's network namespace is there.
    pub pod: bool,
    /// Which boot this is.
    pub boot: String,
    /// RDMA devices of the VF that are in the pod.
    pub pod_rdma: Vec<crate::rdma::RdmaDevice>,
    /// Whether a name may be given to a link that is up, as from Linux 6.2 on.
    pub renames_while_up: bool,
}

impl FakeNode {
    /// A node with `vf`, and a pod.
    #[must_use]
    pub fn new(vf: FakeVf) -> Self {
        Self {
            vf: Some(vf),
            host_names: BTreeSet::new(),
            pod_names: BTreeSet::from(["lo".to_owned(), "eth0".to_owned()]),
            pod: true,
            boot: "a boot".to_owned(),
            pod_rdma: Vec::new(),
            renames_while_up: true,
        }
    }

    /// The pod's namespace goes, and gives its VF back to the host (`default_device_exit_net()` in
    /// `net/core/dev.c`).
    pub fn pod_dies(&mut self) {
        self.pod = false;
        let rdma = std::mem::take(&mut self.pod_rdma);
        let Some(vf) = &mut self.vf else { return };
        vf.state.rdma.extend(rdma);
        vf.state.rdma.sort();
        if vf.side == Side::Pod {
            arrive(vf, Side::Host);
            let Some(netdev) = &mut vf.state.netdev else { return };
            if self.host_names.contains(&netdev.name) {
                netdev.name = "dev42".to_owned();
            }
        }
    }
}

fn arrive(vf: &mut FakeVf, side: Side) {
    vf.side = side;
    if let Some(netdev) = &mut vf.state.netdev {
        netdev.up = false;
        netdev.addresses.clear();
    }
}

impl Node for FakeNode {
    fn open(&mut self, _: PciAddress, holder: &Holder) -> Result<Box<dyn Host + '_>, CardError> {
        Ok(Box::new(FakeHost { ifname: holder.ifname.clone(), node: self }))
    }

    fn is_alive(&mut self, _: &Holder) -> io::Result<bool> {
        Ok(self.pod)
    }

    fn identify(&mut self, holder: Holder) -> io::Result<Holder> {
        Ok(holder)
    }

    fn boot(&mut self) -> io::Result<String> {
        Ok(self.boot.clone())
    }
}

struct FakeHost<'a> {
    ifname: String,
    node: &'a mut FakeNode,
}

impl FakeHost<'_> {
    fn vf(&mut self) -> Result<&mut FakeVf, CardError> {
        self.node.vf.as_mut().ok_or_else(|| refused(Errno::NODEV))
    }

    fn names(&self, side: Side) -> &BTreeSet<String> {
        match side {
            Side::Host => &self.node.host_names,
            Side::Pod => &self.node.pod_names,
        }
    }

    fn change_netdev(&mut self, change: &LinkChange) -> Result<(), CardError> {
        let side = self.vf()?.side;
        let taken = matches!(change, LinkChange::Name(name) if self.names(side).contains(name));
        if taken {
            return Err(refused(Errno::EXIST));
        }
        let while_up = self.node.renames_while_up;
        let vf = self.vf()?;
        let netdev = vf.state.netdev.as_mut().ok_or_else(|| refused(Errno::NODEV))?;
        match change {
            LinkChange::Name(_) if netdev.up && !while_up => return Err(refused(Errno::BUSY)),
            LinkChange::Address(_) if netdev.up => return Err(refused(Errno::BUSY)),
            LinkChange::Address(mac) => vf.set_on_vf(*mac)?,
            LinkChange::Up => netdev.up = true,
            LinkChange::Down => {
                netdev.up = false;
                vf.reset();
            }
            LinkChange::Mtu(mtu) => netdev.mtu = *mtu,
            LinkChange::Name(name) => netdev.name.clone_from(name),
            LinkChange::Alias(alias) => {
                netdev.alias = Some(alias.clone()).filter(|alias| !alias.is_empty());
            }
        }
        Ok(())
    }

    fn move_netdev(&mut self, to: Side) -> Result<(), CardError> {
        if !self.node.pod {
            return Err(refused(Errno::INVAL));
        }
        let name = self.vf()?.state.netdev.as_ref().map(|netdev| netdev.name.clone());
        let name = name.ok_or_else(|| refused(Errno::NODEV))?;
        if self.names(to).contains(&name) {
            return Err(refused(Errno::EXIST));
        }
        arrive(self.vf()?, to);
        Ok(())
    }

    fn move_rdma(&mut self, index: u32, to: Side) -> Result<(), CardError> {
        let FakeNode { vf: Some(vf), pod_rdma, .. } = &mut *self.node else {
            return Err(refused(Errno::NODEV));
        };
        let (from, to) = match to {
            Side::Host => (pod_rdma, &mut vf.state.rdma),
            Side::Pod => (&mut vf.state.rdma, pod_rdma),
        };
        let at = from.iter().position(|device| device.index == index);
        to.push(from.remove(at.ok_or_else(|| refused(Errno::NODEV))?));
        to.sort();
        Ok(())
    }
}

fn change_vf(vf: &mut FakeVf, change: VfChange) -> Result<(), CardError> {
    let legacy = vf.state.legacy.as_mut().ok_or_else(|| refused(Errno::OPNOTSUPP))?;
    match change {
        VfChange::Mac(mac) => vf.set_on_pf(mac),
        VfChange::Vlan(vlan) => legacy.vlan = vlan,
        VfChange::SpoofCheck(on) => legacy.spoof_check = Some(on),
        VfChange::Trust(on) => legacy.trust = Some(on),
        VfChange::Rate { min, max } => (legacy.min_tx_rate, legacy.max_tx_rate) = (min, max),
        VfChange::LinkState(state) => legacy.link_state = state,
    }
    Ok(())
}

fn change_rate(vf: &mut FakeVf, change: &RateChange) -> Result<(), CardError> {
    let rate = vf.state.function.as_mut().and_then(|function| function.rate.as_mut());
    let rate = rate.ok_or_else(|| refused(Errno::OPNOTSUPP))?;
    match change {
        RateChange::TxShare(share) => rate.tx_share = *share,
        RateChange::TxMax(max) => rate.tx_max = *max,
        RateChange::Parent(parent) => rate.parent.clone_from(parent),
    }
    Ok(())
}

fn change_representor(vf: &mut FakeVf, change: &LinkChange) -> Result<(), CardError> {
    let representor = vf.state.representor.as_mut().ok_or_else(|| refused(Errno::NODEV))?;
    match change {
        LinkChange::Up => representor.up = true,
        LinkChange::Down => (representor.up, representor.ipv6) = (false, false),
        LinkChange::Mtu(mtu) => representor.mtu = *mtu,
        LinkChange::Name(_) | LinkChange::Address(_) | LinkChange::Alias(_) => {
            return Err(refused(Errno::OPNOTSUPP));
        }
    }
    Ok(())
}

impl Host for FakeHost<'_> {
    fn observe(&mut self) -> Result<Option<Observed>, CardError> {
        let Some(vf) = self.node.vf.clone() else { return Ok(None) };
        let has_it = vf.side == Side::Pod
            && vf.state.netdev.as_ref().is_some_and(|netdev| netdev.name == self.ifname);
        Ok(Some(Observed {
            vf: vf.vf,
            place: vf.place,
            side: vf.state.netdev.as_ref().map(|_| vf.side),
            carrier: has_carrier(&vf.state),
            state: vf.state,
            rdma_exclusive: vf.rdma_exclusive,
            uppers: Vec::new(),
            pod: self.node.pod,
            name_taken: !has_it && self.node.pod && self.node.pod_names.contains(&self.ifname),
        }))
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        self.make(change)?;
        self.node.vf.iter_mut().for_each(begin_ipv6);
        Ok(())
    }
}

impl FakeHost<'_> {
    fn make(&mut self, change: &Change) -> Result<(), CardError> {
        match change {
            Change::Vf(change) => change_vf(self.vf()?, *change),
            Change::FunctionMac(mac) => {
                let state = &mut self.vf()?.state;
                let function = state.function.as_mut().ok_or_else(|| refused(Errno::OPNOTSUPP))?;
                function.mac = Some(*mac);
                take_mac(state);
                Ok(())
            }
            Change::Rate(change) => change_rate(self.vf()?, change),
            Change::Representor(change) => change_representor(self.vf()?, change),
            Change::Netdev(change) => self.change_netdev(change),
            Change::Move(to) => self.move_netdev(*to),
            Change::Address(address) => {
                let netdev = self.vf()?.state.netdev.as_mut();
                let netdev = netdev.ok_or_else(|| refused(Errno::NODEV))?;
                netdev.addresses.push(address.clone());
                netdev.addresses.sort();
                netdev.addresses.dedup();
                Ok(())
            }
            Change::Rdma(device, to) => self.move_rdma(device.index, *to),
            Change::Driver(Binding::Only(driver)) => {
                self.vf()?.state.driver = Some(driver.clone());
                self.vf()?.state.driver_override = Some(driver.clone());
                Ok(())
            }
            Change::Driver(_) => Err(refused(Errno::OPNOTSUPP)),
        }
    }
}

fn has_carrier(state: &VfState) -> bool {
    let up = state.representor.as_ref().is_some_and(|representor| representor.up);
    up && state.netdev.as_ref().is_some_and(|netdev| netdev.up)
}

fn begin_ipv6(vf: &mut FakeVf) {
    let carrier = has_carrier(&vf.state);
    if let Some(representor) = &mut vf.state.representor {
        representor.ipv6 |= carrier;
    }
}

fn refused(errno: Errno) -> CardError {
    CardError::Netlink(NetlinkError::Refused {
        request: "the VF in memory".to_owned(),
        errno: errno.raw_os_error(),
        sentence: None,
    })
}
