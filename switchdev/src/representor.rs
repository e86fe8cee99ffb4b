//! Representors: which netdev on the host stands for which VF.
//!
//! devlink is asked first: its ports say controller, PF and VF in numbers, and the netdev of each.
//! Drivers without devlink ports are known by the `phys_port_name` and `phys_switch_id` of their
//! netdevs. Where several ports fit (two PFs of one card may share a switch id), the netdev whose
//! PCI parent is the PF wins, then the one that names the PF by its PCI function number, which is
//! how drivers number the PFs of a card.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use tc_filter::IfIndex;

use crate::devlink::{Devlink, Flavour, Handle, Port};
use crate::error::CardError;
use crate::inventory::{Netdev, Pf, all_netdevs};
use crate::pci::PciAddress;
use crate::phys_port::{Controller, PfNumber, VfIndex};
use crate::sysfs::Sysfs;

/// The netdev that stands for a VF in this network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Representor {
    /// The PF.
    pub pf: PciAddress,
    /// The VF of it.
    pub vf: VfIndex,
    /// The representor's number.
    #[serde(serialize_with = "plain_number")]
    pub ifindex: IfIndex,
    /// The representor's name.
    pub name: String,
}

/// Why a VF has no representor here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRepresentor {
    /// No VF of the card has one.
    #[error(
        "no VF of this card has one, so the e-switch is in legacy mode; change it to switchdev \
         first"
    )]
    Legacy,
    /// devlink knows the port, and not its netdev.
    #[error(
        "devlink shows its port without a netdev; it is in another network namespace, or not made yet"
    )]
    Elsewhere,
    /// Nothing names it.
    #[error(
        "no devlink port and no netdev's phys_port_name is this VF's; the driver may not have made it yet"
    )]
    Unknown,
}

/// What devlink and sysfs say of all ports and netdevs, taken at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortMap {
    ports: Vec<Port>,
    netdevs: Vec<PlacedNetdev>,
}

/// A netdev and the PCI function it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedNetdev {
    /// The netdev.
    pub netdev: Netdev,
    /// The PCI function that sysfs shows as its device.
    pub parent: Option<PciAddress>,
}

impl PortMap {
    /// Reads all netdevs of this network namespace, and all ports where there is devlink.
    ///
    /// # Errors
    /// [`CardError::Sysfs`], [`CardError::Netlink`].
    pub fn read(sysfs: &Sysfs, devlink: Option<&mut Devlink>) -> Result<Self, CardError> {
        let ports = devlink.map(Devlink::ports).transpose()?.unwrap_or_default();
        Ok(Self::new(ports, all_netdevs(sysfs)?))
    }

    /// A map of what was read elsewhere.
    #[must_use]
    pub fn new(ports: Vec<Port>, netdevs: Vec<PlacedNetdev>) -> Self {
        Self { ports, netdevs }
    }

    /// The representor of a VF.
    ///
    /// # Errors
    /// [`CardError::NoSuchVf`], or [`CardError::NoRepresentor`] with the reason.
    pub fn representor(&self, pf: &Pf, vf: VfIndex) -> Result<Representor, CardError> {
        if !pf.vfs().iter().any(|present| present.index == vf) {
            let present = pf.vfs().len();
            return Err(CardError::NoSuchVf { pf: pf.short_name(), vf, present });
        }
        self.lookup(pf, vf).map_err(|why| CardError::NoRepresentor { pf: pf.short_name(), vf, why })
    }

    /// The representors of all VFs of a PF; those that have none are left out.
    #[must_use]
    pub fn representors(&self, pf: &Pf) -> BTreeMap<VfIndex, Representor> {
        let vfs = pf.vfs().iter().map(|vf| vf.index);
        vfs.filter_map(|vf| self.lookup(pf, vf).ok().map(|found| (vf, found))).collect()
    }

    fn lookup(&self, pf: &Pf, vf: VfIndex) -> Result<Representor, NoRepresentor> {
        let address = pf.function.address;
        let found = match self.port_of(address, vf) {
            Some(port) => {
                let netdev = port.netdev.as_ref().ok_or(NoRepresentor::Elsewhere)?;
                (netdev.ifindex, netdev.name.clone())
            }
            None => {
                let netdev = self.netdev_of(pf, vf).ok_or_else(|| self.why_not(pf))?;
                (netdev.ifindex, netdev.name.clone())
            }
        };
        let (ifindex, name) = found;
        Ok(Representor { pf: address, vf, ifindex, name })
    }

    /// The port of this host's VF on the PF's devlink instance. Where the instance has ports of
    /// several PFs, those of the PF's number are its own.
    fn port_of(&self, pf: PciAddress, vf: VfIndex) -> Option<&Port> {
        let card = Handle::from(pf);
        let of_card = self.ports.iter().filter(|port| port.card == card);
        let mut ports: Vec<_> = of_card.filter_map(local_vf).collect();
        narrow(&mut ports, |(number, _, _)| *number == pf_number(pf));
        ports.into_iter().find(|(_, found, _)| *found == vf).map(|(_, _, port)| port)
    }

    /// The netdev on the PF's switch whose name is this host's VF. A netdev on another function is
    /// only taken when it names the PF: two PFs may share a switch, and ours may be late.
    fn netdev_of(&self, pf: &Pf, vf: VfIndex) -> Option<&Netdev> {
        let address = pf.function.address;
        let number = Some(pf_number(address));
        let switch = pf.uplink()?.phys_switch_id.as_ref()?;
        let names = |placed: &PlacedNetdev, pf| {
            placed.netdev.phys_port_name.as_ref().is_some_and(|name| name.is_local_vf(pf, vf))
        };
        let on_switch =
            self.netdevs.iter().filter(|p| p.netdev.phys_switch_id.as_ref() == Some(switch));
        let mut netdevs: Vec<&PlacedNetdev> = on_switch
            .filter(|placed| names(placed, None))
            .filter(|placed| placed.parent == Some(address) || names(placed, number))
            .collect();
        narrow(&mut netdevs, |placed| placed.parent == Some(address));
        narrow(&mut netdevs, |placed| names(placed, number));
        netdevs.first().map(|placed| &placed.netdev)
    }

    /// An uplink may have a switch id in legacy mode too; representors there are none then.
    fn why_not(&self, pf: &Pf) -> NoRepresentor {
        let vfs = pf.vfs().iter().map(|vf| vf.index);
        let any = vfs.into_iter().any(|vf| {
            self.port_of(pf.function.address, vf).is_some() || self.netdev_of(pf, vf).is_some()
        });
        if any { NoRepresentor::Unknown } else { NoRepresentor::Legacy }
    }
}

/// The PF's number and the VF's, where the port is that of one of this host's VFs.
fn local_vf(port: &Port) -> Option<(PfNumber, VfIndex, &Port)> {
    match port.flavour {
        Flavour::PciVf { controller: Controller(0), pf, vf } => Some((pf, vf, port)),
        _ => None,
    }
}

/// How drivers number the PFs of a card.
fn pf_number(pf: PciAddress) -> PfNumber {
    PfNumber(pf.function().into())
}

/// Of several that fit, keeps those that fit better, where there are any.
fn narrow<T>(candidates: &mut Vec<T>, better: impl Fn(&T) -> bool) {
    if candidates.len() > 1 && candidates.iter().any(&better) {
        candidates.retain(better);
    }
}

impl fmt::Display for Representor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for VF {} of {}", self.name, self.vf, self.pf)
    }
}

fn plain_number<S: serde::Serializer>(ifindex: &IfIndex, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(ifindex.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devlink::{PortIndex, PortNetdev};
    use crate::inventory::Inventory;
    use crate::inventory::tree::{Dir, Tree};

    fn netdev(pf: &Dir, name: &str, ifindex: u32, port: &str) {
        let netdev = pf.netdev(name, ifindex).file("phys_port_name", port);
        netdev.file("phys_switch_id", "0a").link("device", pf.path());
    }

    /// A card of two PFs that share a switch id, each with VFs 0 and 1 and their representors.
    fn two_pfs() -> Tree {
        let tree = Tree::new();
        for function in 0..2_u32 {
            let pf = tree.pf(&format!("0000:01:00.{function}"), 4);
            let at = 10 * (function + 1);
            netdev(&pf, &format!("np{function}"), at, &format!("p{function}"));
            for vf in 0..2 {
                tree.vf(&pf, vf, &format!("0000:01:1{function}.{vf}"));
                let name = format!("np{function}r{vf}");
                netdev(&pf, &name, at + 1 + u32::from(vf), &format!("pf{function}vf{vf}"));
            }
        }
        tree
    }

    fn find(tree: &Tree, ports: Vec<Port>, pf: usize, vf: u16) -> Result<String, String> {
        let inventory = Inventory::scan(&tree.sysfs()).unwrap();
        let map = PortMap::new(ports, all_netdevs(&tree.sysfs()).unwrap());
        let found = map.representor(&inventory.pfs[pf], VfIndex(vf));
        found.map(|representor| representor.name).map_err(|error| error.to_string())
    }

    fn port(controller: u32, pf: u16, vf: u16, netdev: Option<&str>) -> Port {
        let (controller, pf, vf) = (Controller(controller), PfNumber(pf), VfIndex(vf));
        Port {
            card: Handle::from("0000:01:00.0".parse::<PciAddress>().unwrap()),
            index: PortIndex(1),
            flavour: Flavour::PciVf { controller, pf, vf },
            netdev: netdev.map(|name| PortNetdev { ifindex: IfIndex(77), name: name.to_owned() }),
            external: controller.0 != 0,
            function: None,
        }
    }

    #[test]
    fn the_name_of_the_port_finds_it_among_two_pfs() {
        assert_eq!(find(&two_pfs(), vec![], 0, 1), Ok("np0r1".to_owned()));
        assert_eq!(find(&two_pfs(), vec![], 1, 1), Ok("np1r1".to_owned()));
    }

    #[test]
    fn devlink_comes_before_names() {
        let ports = vec![port(0, 0, 1, Some("renamed"))];
        assert_eq!(find(&two_pfs(), ports, 0, 1), Ok("renamed".to_owned()));
    }

    #[test]
    fn a_port_of_another_host_is_passed_over() {
        let ports = vec![port(1, 0, 1, Some("other_host"))];
        assert_eq!(find(&two_pfs(), ports, 0, 1), Ok("np0r1".to_owned()));
    }

    #[test]
    fn the_port_that_names_the_pfs_number_wins() {
        let ports = vec![port(0, 1, 1, Some("of_pf1")), port(0, 0, 1, Some("of_pf0"))];
        assert_eq!(find(&two_pfs(), ports, 0, 1), Ok("of_pf0".to_owned()));
    }

    #[test]
    fn an_old_driver_gives_the_bare_number() {
        let tree = Tree::new();
        let pf = tree.pf("0000:01:00.0", 4);
        netdev(&pf, "eth0", 1, "p0");
        netdev(&pf, "eth1", 2, "0");
        tree.vf(&pf, 0, "0000:01:10.0");
        assert_eq!(find(&tree, vec![], 0, 0), Ok("eth1".to_owned()));
    }

    #[test]
    fn each_way_of_having_none_is_told_apart() {
        let gone = find(&two_pfs(), vec![port(0, 0, 1, None)], 0, 1).unwrap_err();
        assert!(gone.contains("VF 1 has no representor: devlink shows its port without"), "{gone}");
        let no_vf = find(&two_pfs(), vec![], 0, 3).unwrap_err();
        assert_eq!(no_vf, "PF 0000:01:00.0 (np0) has no VF 3: it has VFs 0 to 1");
        let tree = Tree::new();
        let pf = tree.pf("0000:01:00.0", 4);
        pf.netdev("eth0", 1);
        tree.vf(&pf, 0, "0000:01:10.0");
        let legacy = find(&tree, vec![], 0, 0).unwrap_err();
        assert!(legacy.contains("the e-switch is in legacy mode"), "{legacy}");
        let tree = two_pfs();
        std::fs::remove_file(tree.dir("class/net").path().join("np0r1")).unwrap();
        let late = find(&tree, vec![], 0, 1).unwrap_err();
        assert!(late.contains("the driver may not have made it yet"), "{late}");
    }
}
