//! A representor's port on a bridge of the kernel's own, with VLAN filtering.
//!
//! Held to its own MAC address the port is *locked*: the kernel drops what comes from an address that the bridge does not
//! know to be there, learns none, and the pod's is put there for good (Linux 5.18). All of it goes when the port leaves
//! the bridge, so leaving is all there is to undo.

use serde::{Deserialize, Serialize};
use switchdev::Sysfs;
use switchdev::bridge::{Bridges, PortVlan, default_vlan, filters_vlans, master};
use switchdev::link::Links;
use tc_filter::Mac;

use super::ovs::Tagging;

/// A representor's port on a Linux bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The bridge.
    pub bridge: String,
    /// The representor.
    pub netdev: String,
    /// The VLANs.
    pub tagging: Tagging,
    /// The only MAC address that may come from the pod.
    pub only: Option<String>,
}

/// What went wrong on a Linux bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The kernel refused.
    #[error(transparent)]
    Card(#[from] switchdev::CardError),
    /// sysfs could not be read.
    #[error(transparent)]
    Sysfs(#[from] switchdev::sysfs::SysfsError),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] switchdev::netlink::NetlinkError),
    /// The bridge does not look at tags.
    #[error(
        "bridge {0} does not filter VLANs; switch it on: ip link set {0} type bridge vlan_filtering 1"
    )]
    NoFiltering(String),
    /// Somebody else put the representor on a bridge or into a bond.
    #[error(
        "representor {netdev} is already part of {master}; take it out: ip link set {netdev} nomaster"
    )]
    Foreign {
        /// The representor.
        netdev: String,
        /// What it is part of.
        master: String,
    },
}

impl BridgePort {
    /// Puts it there.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn attach(&self, sysfs: &Sysfs) -> Result<(), BridgeError> {
        let mut links = Links::open()?;
        let (bridge, port) = (links.find(&self.bridge)?.ifindex, links.find(&self.netdev)?.ifindex);
        if self.tagging != Tagging::All && !filters_vlans(sysfs, &self.bridge)? {
            return Err(BridgeError::NoFiltering(self.bridge.clone()));
        }
        match master(sysfs, &self.netdev)? {
            Some(master) if master != self.bridge => {
                return Err(BridgeError::Foreign { netdev: self.netdev.clone(), master });
            }
            _ => {}
        }
        let mut bridges = Bridges::open()?;
        bridges.join(port, bridge)?;
        self.set_vlans(&mut bridges, port, default_vlan(sysfs, &self.bridge)?)?;
        if let Some(mac) = self.only() {
            bridges.allow_only(port, mac, self.vlan())?;
        }
        Ok(())
    }

    /// Takes it away; a representor that is not there, or on no bridge of ours, is left alone.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn detach(&self, sysfs: &Sysfs) -> Result<(), BridgeError> {
        if master(sysfs, &self.netdev)?.as_deref() != Some(&self.bridge) {
            return Ok(());
        }
        let port = Links::open()?.find(&self.netdev)?.ifindex;
        Ok(Bridges::open()?.leave(port)?)
    }

    /// What is wrong with the port; `None` when it is as it was made.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn check(&self, sysfs: &Sysfs) -> Result<Option<String>, BridgeError> {
        match master(sysfs, &self.netdev)? {
            Some(master) if master == self.bridge => {}
            Some(master) => {
                return Ok(Some(format!(
                    "{} is part of {master}, not of bridge {}",
                    self.netdev, self.bridge
                )));
            }
            None => {
                return Ok(Some(format!(
                    "{} is not on bridge {} any more",
                    self.netdev, self.bridge
                )));
            }
        }
        let port = Links::open()?.find(&self.netdev)?.ifindex;
        let mut bridges = Bridges::open()?;
        let Some(state) = bridges.port(port)? else {
            return Ok(Some(format!("bridge {} does not know {}", self.bridge, self.netdev)));
        };
        let vlans = self.wanted_vlans().filter(|wanted| *wanted != state.vlans);
        if let Some(wanted) = vlans {
            let (is, wanted) = (shown(&state.vlans), shown(&wanted));
            return Ok(Some(format!("{}: its VLANs are {is}, not {wanted}", self.netdev)));
        }
        let Some(mac) = self.only() else { return Ok(None) };
        if !state.locked {
            return Ok(Some(format!("{} is not locked to {mac} any more", self.netdev)));
        }
        let known = bridges.knows(port, mac, self.vlan())?;
        let lost = format!("bridge {} does not know {mac} at {}", self.bridge, self.netdev);
        Ok((!known).then_some(lost))
    }

    /// By number; `None` where the bridge decides.
    fn wanted_vlans(&self) -> Option<Vec<PortVlan>> {
        match &self.tagging {
            Tagging::All => None,
            Tagging::Access(vlan) | Tagging::Tunnel(vlan) => {
                Some(vec![PortVlan { vlan: *vlan, untagged: true }])
            }
            Tagging::Trunk(vlans) => {
                let tagged = |vlan: &u16| PortVlan { vlan: *vlan, untagged: false };
                Some(vlans.iter().map(tagged).collect())
            }
        }
    }

    fn only(&self) -> Option<Mac> {
        self.only.as_ref()?.parse().ok()
    }

    fn vlan(&self) -> Option<u16> {
        match self.tagging {
            Tagging::Access(vlan) => Some(vlan),
            _ => None,
        }
    }

    fn set_vlans(
        &self,
        bridges: &mut Bridges,
        port: tc_filter::IfIndex,
        default: Option<u16>,
    ) -> Result<(), BridgeError> {
        let Some(wanted) = self.wanted_vlans() else { return Ok(()) };
        for vlan in &wanted {
            bridges.add_vlan(port, *vlan)?;
        }
        let unwanted = default.filter(|default| wanted.iter().all(|vlan| vlan.vlan != *default));
        unwanted.map_or(Ok(()), |vlan| Ok(bridges.remove_vlan(port, vlan)?))
    }
}

/// `100 untagged, 200`.
fn shown(vlans: &[PortVlan]) -> String {
    let one =
        |vlan: &PortVlan| format!("{}{}", vlan.vlan, if vlan.untagged { " untagged" } else { "" });
    vlans.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whether there is a Linux bridge of this name.
pub(crate) fn is_bridge(sysfs: &Sysfs, name: &str) -> bool {
    sysfs.net_device(name).join("bridge").is_dir()
}
