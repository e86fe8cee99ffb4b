//! All of a VF that a binding may change, as it is at one time.
//!
//! Captured before the first step it is what the VF is given back to; captured again afterwards it
//! is the proof.

use std::fmt;

use serde::{Deserialize, Serialize};
use tc_filter::Mac;

use crate::devlink::{PortIndex, Rate};
use crate::eswitch::EswitchMode;
use crate::link::{Address, VfLinkState, VfVlan};
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::rdma::RdmaDevice;
use crate::text;

/// Where a VF is on its card. This does not change while the VF exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VfPlace {
    /// Its PF.
    pub pf: PciAddress,
    /// Its number there.
    pub index: VfIndex,
    /// How the PF's e-switch forwards.
    pub mode: EswitchMode,
}

/// What can be changed of a VF.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VfState {
    /// The driver bound to it.
    pub driver: Option<String>,
    /// The only driver it may be bound to, where one was set.
    pub driver_override: Option<String>,
    /// Its netdev; a VF with a driver for user space has none.
    pub netdev: Option<NetdevState>,
    /// Its settings on the PF, in legacy mode.
    pub legacy: Option<LegacyState>,
    /// What devlink has of the function, in switchdev mode.
    pub function: Option<FunctionState>,
    /// Its representor, in switchdev mode.
    pub representor: Option<RepresentorState>,
    /// Its RDMA devices in this network namespace.
    #[serde(default)]
    pub rdma: Vec<RdmaDevice>,
}

/// A VF's netdev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetdevState {
    /// Its name on the host.
    pub name: String,
    /// Its MAC address.
    #[serde(with = "text")]
    pub mac: Mac,
    /// The MAC address that its driver took at its last reset, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::option")]
    pub permanent: Option<Mac>,
    /// The largest packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// The text for people.
    pub alias: Option<String>,
    /// The addresses that somebody gave it; those the kernel makes by itself are not among them.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// A VF's settings on its PF in legacy mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegacyState {
    /// The MAC address it must use; all zeros where it may choose.
    #[serde(with = "text")]
    pub mac: Mac,
    /// The VLAN its packets are put into.
    #[serde(with = "text::option")]
    pub vlan: Option<VfVlan>,
    /// The spoof check, where the driver says.
    pub spoof_check: Option<bool>,
    /// The trust, where the driver says.
    pub trust: Option<bool>,
    /// What it gets for sure, in Mbit/s.
    pub min_tx_rate: u32,
    /// The most it gets, in Mbit/s; 0 is no limit.
    pub max_tx_rate: u32,
    /// Whether its link follows the PF's.
    pub link_state: VfLinkState,
}

/// What devlink has of a VF in switchdev mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionState {
    /// Its port on the e-switch.
    pub port: PortIndex,
    /// The MAC address it is given, where the driver has such a setting.
    #[serde(with = "text::option")]
    pub mac: Option<Mac>,
    /// Its rates, where the driver has any.
    pub rate: Option<RateState>,
}

/// A VF's leaf in devlink's tree of rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateState {
    /// What it gets for sure.
    pub tx_share: Rate,
    /// The most it gets; 0 is no limit.
    pub tx_max: Rate,
    /// The group it is in.
    pub parent: Option<String>,
}

/// A VF's representor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepresentorState {
    /// Its name.
    pub name: String,
    /// The largest packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether IPv6 has begun on it, which puts addresses and routes there ([`Link::ipv6`](crate::link::Link::ipv6)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
}

impl fmt::Display for VfPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VF {} of PF {}", self.index, self.pf)
    }
}
