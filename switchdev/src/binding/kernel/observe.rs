//! Reading all of a VF's state, in as few requests as it takes.

use tc_filter::IfIndex;

use super::super::{
    FunctionState, LegacyState, NetdevState, Observed, RateState, RepresentorState, Side, VfPlace,
    VfState,
};
use super::KernelHost;
use crate::devlink::{Flavour, Handle, Port};
use crate::error::CardError;
use crate::eswitch::EswitchMode;
use crate::inventory::{all_netdevs, read_override, scan_pf};
use crate::link::{Link, VfSettings};
use crate::pci::PciAddress;
use crate::phys_port::{Controller, PhysPortName, VfIndex};
use crate::rdma::{Rdma, RdmaDevice};
use crate::representor::PortMap;
use crate::sysfs::{self, SysfsError};

/// Names that sysfs shows and rtnetlink does not know any more, for udev has just renamed the netdev.
const RENAME_ATTEMPTS: u32 = 5;

impl KernelHost {
    pub(super) fn read(&mut self) -> Result<Option<Observed>, CardError> {
        let Some((pf, index)) = self.locate()? else { return Ok(None) };
        self.found.index = Some(index);
        let mode = self.mode(pf)?;
        let place = VfPlace { pf, index, mode };
        let dir = self.sysfs.pci_device(self.vf);
        let (driver, driver_override) =
            (sysfs::link_name(&dir.join("driver"))?, read_override(&dir)?);
        let netdev = self.find_netdev()?;
        self.found.netdev = netdev.as_ref().map(|(side, link)| (*side, link.ifindex));
        let side = netdev.as_ref().map(|(side, _)| *side);
        let uppers = self.uppers(netdev.as_ref())?;
        let name_taken = self.name_taken()?;
        let (rdma, rdma_exclusive) = self.rdma()?;
        let (function, representor) = self.switchdev_side(&place)?;
        let carrier = representor.as_ref().is_some_and(|link| link.carrier);
        let state = VfState {
            driver,
            driver_override,
            netdev: netdev.map(|(side, link)| self.netdev_state(side, link)).transpose()?,
            legacy: self.legacy(&place)?,
            function,
            representor: representor.map(RepresentorState::from),
            rdma,
        };
        let (vf, pod) = (self.vf, self.pod.is_some());
        Ok(Some(Observed {
            vf,
            place,
            state,
            side,
            carrier,
            rdma_exclusive,
            uppers,
            pod,
            name_taken,
        }))
    }

    /// The VF's PF and its number there; `None` where there is no such VF.
    fn locate(&self) -> Result<Option<(PciAddress, VfIndex)>, CardError> {
        let pf = sysfs::link_name(&self.sysfs.pci_device(self.vf).join("physfn"))?;
        let Some(pf) = pf.and_then(|name| name.parse().ok()) else { return Ok(None) };
        let dir = self.sysfs.pci_device(pf);
        let name = self.vf.to_string();
        for entry in sysfs::list(&dir)? {
            let Some(index) = entry.strip_prefix("virtfn").and_then(|n| n.parse().ok()) else {
                continue;
            };
            if sysfs::link_name(&dir.join(&entry))?.as_ref() == Some(&name) {
                return Ok(Some((pf, VfIndex(index))));
            }
        }
        Ok(None)
    }

    fn mode(&mut self, pf: PciAddress) -> Result<EswitchMode, CardError> {
        let Some(devlink) = &mut self.devlink else { return Ok(EswitchMode::Legacy) };
        let eswitch = devlink.eswitch_if_any(&Handle::from(pf))?;
        Ok(eswitch.and_then(|eswitch| eswitch.mode).unwrap_or(EswitchMode::Legacy))
    }

    /// The VF's netdev, on either side: known by its PCI function, whatever it is called.
    pub(super) fn find_netdev(&mut self) -> Result<Option<(Side, Link)>, CardError> {
        for _ in 0..RENAME_ATTEMPTS {
            let names = sysfs::list(&self.sysfs.pci_device(self.vf).join("net"))?;
            let Some(name) = names.first() else { break };
            match self.home.links.find(name) {
                Err(CardError::NoSuchNetdev { .. }) => {}
                link => return Ok(Some((Side::Host, link?))),
            }
        }
        let Some(pod) = &mut self.pod else { return Ok(None) };
        let found = pod.links.all()?.into_iter().find(|link| link.pci_parent == Some(self.vf));
        Ok(found.map(|link| (Side::Pod, link)))
    }

    fn netdev_state(&mut self, side: Side, link: Link) -> Result<NetdevState, CardError> {
        let addresses = match side {
            Side::Host => self.home.links.addresses(link.ifindex)?,
            // The pod's own business.
            Side::Pod => Vec::new(),
        };
        Ok(NetdevState {
            name: link.name,
            mac: link.address.unwrap_or(tc_filter::Mac([0; 6])),
            permanent: link.permanent,
            mtu: link.mtu,
            up: link.up,
            alias: link.alias,
            addresses,
        })
    }

    fn uppers(&self, netdev: Option<&(Side, Link)>) -> Result<Vec<String>, SysfsError> {
        let Some((Side::Host, link)) = netdev else { return Ok(Vec::new()) };
        let entries = sysfs::list(&self.sysfs.net_device(&link.name))?;
        Ok(entries.iter().filter_map(|e| e.strip_prefix("upper_").map(str::to_owned)).collect())
    }

    fn name_taken(&mut self) -> Result<bool, CardError> {
        let (vf, ifname) = (self.vf, self.ifname.clone());
        let Some(pod) = &mut self.pod else { return Ok(false) };
        match pod.links.find(&ifname) {
            Err(CardError::NoSuchNetdev { .. }) => Ok(false),
            link => Ok(link?.pci_parent != Some(vf)),
        }
    }

    /// What the PF's link says of the VF. In switchdev mode it is the representor's and devlink's.
    fn legacy(&mut self, place: &VfPlace) -> Result<Option<LegacyState>, CardError> {
        self.found.uplink = None;
        if place.mode == EswitchMode::Switchdev {
            return Ok(None);
        }
        let Some(uplink) = self.uplink(place.pf)? else {
            return Err(CardError::NoUplink { pf: place.pf });
        };
        let link = self.home.links.find(&uplink)?;
        self.found.uplink = Some(link.ifindex);
        Ok(link.vfs.into_iter().find(|vf| vf.vf == place.index).map(LegacyState::from))
    }

    /// The PF's own netdev, not a representor that some drivers put beside it.
    fn uplink(&self, pf: PciAddress) -> Result<Option<String>, SysfsError> {
        let net = self.sysfs.pci_device(pf).join("net");
        let mut unnamed = None;
        for name in sysfs::list(&net)? {
            let port = sysfs::read(&net.join(&name).join("phys_port_name"))?;
            match port.filter(|port| !port.is_empty()).map(|port| port.parse::<PhysPortName>()) {
                Some(Ok(port)) if port.is_uplink() => return Ok(Some(name)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => unnamed = unnamed.or(Some(name)),
            }
        }
        Ok(unnamed)
    }

    fn switchdev_side(
        &mut self,
        place: &VfPlace,
    ) -> Result<(Option<FunctionState>, Option<Link>), CardError> {
        (self.found.port, self.found.representor) = (None, None);
        if place.mode == EswitchMode::Legacy {
            return Ok((None, None));
        }
        let card = Handle::from(place.pf);
        let ports = self.devlink.as_mut().map_or_else(|| Ok(Vec::new()), |d| d.ports())?;
        let port = ports.iter().find(|port| port.card == card && is_of(port, place)).cloned();
        let representor = self.representor_number(place, port.as_ref(), ports)?;
        self.found.representor = representor;
        let representor = representor.map(|number| self.home.links.get_by_index(number));
        let representor = representor.transpose()?;
        let Some(port) = port else { return Ok((None, representor)) };
        self.found.port = Some((card.clone(), port.index));
        let rate = self.devlink.as_mut().map(|d| d.rate_leaf(&card, port.index)).transpose()?;
        let rate = rate.flatten().map(|leaf| RateState {
            tx_share: leaf.tx_share,
            tx_max: leaf.tx_max,
            parent: leaf.parent,
        });
        let mac = port.function.and_then(|function| function.hw_addr);
        Ok((Some(FunctionState { port: port.index, mac, rate }), representor))
    }

    /// devlink's word, and where it has none, that of the netdevs' port names.
    fn representor_number(
        &self,
        place: &VfPlace,
        port: Option<&Port>,
        ports: Vec<Port>,
    ) -> Result<Option<IfIndex>, CardError> {
        if let Some(port) = port {
            return Ok(port.netdev.as_ref().map(|netdev| netdev.ifindex));
        }
        let Some(pf) = scan_pf(&self.sysfs, place.pf)? else { return Ok(None) };
        match PortMap::new(ports, all_netdevs(&self.sysfs)?).representor(&pf, place.index) {
            Err(CardError::NoRepresentor { .. }) => Ok(None),
            found => found.map(|representor| Some(representor.ifindex)),
        }
    }

    /// The VF's RDMA devices on the host, and whether they are in one namespace only.
    fn rdma(&self) -> Result<(Vec<RdmaDevice>, bool), CardError> {
        let names = sysfs::list(&self.sysfs.pci_device(self.vf).join("infiniband"))?;
        if names.is_empty() {
            return Ok((Vec::new(), false));
        }
        let Some(mut rdma) = Rdma::open()? else { return Ok((Vec::new(), false)) };
        let devices = rdma.devices()?.into_iter().filter(|device| names.contains(&device.name));
        Ok((devices.collect(), rdma.is_exclusive()?))
    }
}

fn is_of(port: &Port, place: &VfPlace) -> bool {
    match port.flavour {
        Flavour::PciVf { controller, vf, pf } => {
            controller == Controller(0)
                && vf == place.index
                && pf.0 == u16::from(place.pf.function())
        }
        _ => false,
    }
}

impl From<VfSettings> for LegacyState {
    fn from(settings: VfSettings) -> Self {
        Self {
            mac: settings.mac,
            vlan: settings.vlan,
            spoof_check: settings.spoof_check,
            trust: settings.trust,
            min_tx_rate: settings.min_tx_rate,
            max_tx_rate: settings.max_tx_rate,
            link_state: settings.link_state,
        }
    }
}

impl From<Link> for RepresentorState {
    fn from(link: Link) -> Self {
        Self { name: link.name, mtu: link.mtu, up: link.up, ipv6: link.ipv6 }
    }
}
