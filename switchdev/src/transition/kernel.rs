//! The real card: sysfs, devlink, ethtool and rtnetlink.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Card, Change, Observed, OffloadPort};
use crate::devlink::{Devlink, EswitchChange, Handle};
use crate::driver;
use crate::error::CardError;
use crate::eswitch::{Eswitch, EswitchMode};
use crate::ethtool::Ethtool;
use crate::inventory::{Inventory, Pf};
use crate::netlink::NetlinkError;
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::representor::{PortMap, Representor};
use crate::route;
use crate::sriov;
use crate::sysfs::{self, Sysfs};

/// How long a driver may take to make a representor, unless [`KernelCard::wait_at_most`] says
/// otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait between two looks for a representor.
const POLL: Duration = Duration::from_millis(50);

/// A card of this machine. All calls block; see [`crate::netlink`].
#[derive(Debug)]
pub struct KernelCard {
    sysfs: Sysfs,
    pf: PciAddress,
    devlink: Option<Devlink>,
    ethtool: Ethtool,
    patience: Duration,
}

impl KernelCard {
    /// The card of `pf`, a PCI address or the PF's netdev, as this thread's network namespace
    /// shows it.
    ///
    /// # Errors
    /// [`CardError::NoSuchPf`], [`CardError::IsVf`].
    pub fn open(sysfs: Sysfs, pf: &str) -> Result<Self, CardError> {
        let pf = Inventory::scan(&sysfs)?.find(pf)?.function.address;
        let devlink = match Devlink::open() {
            Err(NetlinkError::NoFamily { .. }) => None,
            devlink => Some(devlink?),
        };
        Ok(Self { sysfs, pf, devlink, ethtool: Ethtool::open()?, patience: PATIENCE })
    }

    /// Sets how long a driver may take to make a representor.
    #[must_use]
    pub fn wait_at_most(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The representors of all VFs that have one.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn representors(&mut self) -> Result<BTreeMap<VfIndex, Representor>, CardError> {
        let pf = self.read_pf()?;
        Ok(PortMap::read(&self.sysfs, self.devlink.as_mut())?.representors(&pf))
    }

    fn read_pf(&self) -> Result<Pf, CardError> {
        Ok(Inventory::scan(&self.sysfs)?.pf(self.pf)?.clone())
    }

    /// `None` where the card has no e-switch, or the kernel no devlink.
    fn read_eswitch(&mut self) -> Result<Option<Eswitch>, CardError> {
        let Some(devlink) = &mut self.devlink else { return Ok(None) };
        Ok(devlink.eswitch_if_any(&Handle::from(self.pf))?)
    }

    fn read_offload(&mut self, pf: &Pf) -> Result<BTreeMap<OffloadPort, bool>, CardError> {
        let mut offload = BTreeMap::new();
        if pf.eswitch.and_then(|eswitch| eswitch.mode) != Some(EswitchMode::Switchdev) {
            return Ok(offload);
        }
        if let Some(uplink) = pf.uplink() {
            offload.insert(OffloadPort::Uplink, self.ethtool.hw_tc_offload(&uplink.name)?);
        }
        for (vf, representor) in self.representors()? {
            let on = self.ethtool.hw_tc_offload(&representor.name)?;
            offload.insert(OffloadPort::Representor(vf), on);
        }
        Ok(offload)
    }

    /// The uplink, or the first device stacked on it, a bond or a bridge say, by which a default
    /// route leaves.
    fn read_default_route(&self, pf: &Pf) -> Result<Option<String>, CardError> {
        let routes = route::default_route_netdevs()?;
        let mut names: Vec<String> =
            pf.uplink().map(|uplink| uplink.name.clone()).into_iter().collect();
        let mut next = 0;
        while let Some(name) = names.get(next).cloned() {
            let dir = self.sysfs.net_device(&name);
            let ifindex = sysfs::read_as(&dir.join("ifindex"), "an interface number")?;
            if ifindex.is_some_and(|ifindex| routes.contains(&tc_filter::IfIndex(ifindex))) {
                return Ok(Some(name));
            }
            let uppers = sysfs::list(&dir)?.into_iter();
            let uppers = uppers.filter_map(|entry| entry.strip_prefix("upper_").map(str::to_owned));
            // A device seen already is not looked at again.
            let new: Vec<String> = uppers.filter(|upper| !names.contains(upper)).collect();
            names.extend(new);
            next += 1;
        }
        Ok(None)
    }

    fn set_autoprobe(&self, on: bool) -> Result<(), CardError> {
        if self.read_pf()?.require_sriov()?.drivers_autoprobe == on {
            return Ok(());
        }
        sriov::set_drivers_autoprobe(&self.sysfs, self.pf, on)
    }

    fn bind_vf(&self, vf: VfIndex, binding: &driver::Binding) -> Result<(), CardError> {
        let pf = self.read_pf()?;
        let found = pf.vfs().iter().find(|present| present.index == vf);
        let Some(found) = found else {
            let present = pf.vfs().len();
            return Err(CardError::NoSuchVf { pf: pf.short_name(), vf, present });
        };
        driver::bind(&self.sysfs, found.function.address, binding)
    }

    fn set_eswitch(&mut self, change: EswitchChange) -> Result<(), CardError> {
        let before = self.read_eswitch()?.unwrap_or_default();
        if before.has(change) {
            return Ok(());
        }
        if let Some(devlink) = &mut self.devlink {
            let set = devlink.set_eswitch(&Handle::from(self.pf), change);
            set.map_err(|error| self.eswitch_refused(change, before, error))?;
        }
        let after = self.read_eswitch()?.unwrap_or_default();
        if after.has(change) {
            return Ok(());
        }
        let what = format!("the e-switch of PF {}", self.pf);
        Err(CardError::not_applied(what, change, after))
    }

    fn eswitch_refused(
        &self,
        wanted: EswitchChange,
        now: Eswitch,
        error: NetlinkError,
    ) -> CardError {
        if !error.is(Errno::BUSY) {
            return error.into();
        }
        CardError::EswitchBusy {
            pf: self.pf,
            wanted: wanted.to_string(),
            now: now.to_string(),
            sentence: error.sentence().unwrap_or("the driver gives no reason").to_owned(),
        }
    }

    fn set_offload(&mut self, port: OffloadPort, on: bool) -> Result<(), CardError> {
        let netdev = match port {
            OffloadPort::Uplink => self.uplink()?,
            OffloadPort::Representor(vf) => self.wait_for_representor(vf)?.name,
        };
        self.ethtool.set_hw_tc_offload(&netdev, on)
    }

    fn uplink(&self) -> Result<String, CardError> {
        let pf = self.read_pf()?;
        let uplink = pf.uplink().map(|uplink| uplink.name.clone());
        uplink.ok_or(CardError::NoUplink { pf: self.pf })
    }

    fn wait_for_representor(&mut self, vf: VfIndex) -> Result<Representor, CardError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let pf = self.read_pf()?;
            let ports = PortMap::read(&self.sysfs, self.devlink.as_mut())?;
            match ports.representor(&pf, vf) {
                Err(CardError::NoRepresentor { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(POLL);
                }
                found => return found,
            }
        }
    }
}

impl Card for KernelCard {
    fn observe(&mut self) -> Result<Observed, CardError> {
        let pf = Pf { eswitch: self.read_eswitch()?, ..self.read_pf()? };
        let hw_tc_offload = self.read_offload(&pf)?;
        let default_route = self.read_default_route(&pf)?;
        Ok(Observed { pf, hw_tc_offload, default_route })
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        match change {
            Change::DriversAutoprobe(on) => self.set_autoprobe(*on),
            Change::VfCount(count) => sriov::set_vf_count(&self.sysfs, self.pf, *count),
            Change::VfBinding(vf, binding) => self.bind_vf(*vf, binding),
            Change::Eswitch(setting) => self.set_eswitch(*setting),
            Change::HwTcOffload(port, on) => self.set_offload(*port, *on),
        }
    }
}
