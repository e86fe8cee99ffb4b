//! Planning the way to the pod: from what is observed and wished, the changes that are left to do.

use super::Change;
use super::address::own_address;
use super::change::{Side, temporary_name};
use super::error::WishError;
use super::host::Observed;
use super::state::{FunctionState, LegacyState, NetdevState, RepresentorState};
use crate::devlink::{Rate, RateChange};
use crate::eswitch::EswitchMode;
use crate::link::{LinkChange, VfChange, VfLinkState, VfVlan};
use tc_filter::Mac;

/// What is wished of a VF in a pod. What is `None` stays as it is, but for the safe defaults of
/// `spoof_check` and `trust`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The MAC address.
    pub mac: Option<Mac>,
    /// The largest packet, of the VF and its representor.
    pub mtu: Option<u32>,
    /// The VLAN its packets are put into. Legacy mode only: in switchdev mode the bridge tags.
    pub vlan: Option<VlanWish>,
    /// The spoof check. On where the driver has one, in legacy mode.
    pub spoof_check: Option<bool>,
    /// The trust. Off where the driver knows it, in legacy mode.
    pub trust: Option<bool>,
    /// Whether the VF's link follows the PF's. Legacy mode only.
    pub link_state: Option<VfLinkState>,
    /// What it gets for sure, in Mbit/s.
    pub min_tx_rate: Option<u32>,
    /// The most it gets, in Mbit/s; 0 is no limit.
    pub max_tx_rate: Option<u32>,
}

/// A VLAN, or none for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanWish {
    /// No VLAN, whatever was set before.
    Untagged,
    /// This one.
    Tagged(VfVlan),
}

/// A Mbit/s of `ip link`, in devlink's bytes a second.
const BYTES_PER_MBIT: u64 = 1_000_000 / 8;

/// The drivers that give a function to user space; those of the vfio family are known by their names.
const USER_SPACE_DRIVERS: [&str; 2] = ["uio_pci_generic", "igb_uio"];

/// The changes that are left to do, in order; none where all is as wished.
///
/// # Errors
/// [`WishError`] for what cannot be, before anything is changed.
pub fn plan(observed: &Observed, ifname: &str, wish: &Wish) -> Result<Vec<Change>, WishError> {
    check(observed, ifname, wish)?;
    let state = &observed.state;
    let mut changes = Vec::new();
    if let Some(legacy) = &state.legacy {
        changes.extend(legacy_changes(observed, legacy, wish)?);
    }
    if let Some(function) = &state.function {
        changes.extend(function_changes(function, wish)?);
    }
    changes.extend(state.representor.iter().flat_map(|r| representor_changes(r, wish)));
    if let Some(netdev) = &state.netdev {
        changes.extend(netdev_changes(observed, netdev, ifname, wish));
    }
    if observed.rdma_exclusive {
        changes.extend(state.rdma.iter().map(|device| Change::Rdma(device.clone(), Side::Pod)));
    }
    Ok(changes)
}

fn check(observed: &Observed, ifname: &str, wish: &Wish) -> Result<(), WishError> {
    let vf = observed.vf;
    if observed.name_taken {
        return Err(WishError::NameTaken { vf, ifname: ifname.to_owned() });
    }
    if !observed.uppers.is_empty() {
        return Err(WishError::InUse { vf, by: observed.uppers.join(", ") });
    }
    check_driver(observed)?;
    match observed.place.mode {
        EswitchMode::Switchdev => check_switchdev(observed, wish),
        EswitchMode::Legacy => Ok(()),
    }
}

fn check_driver(observed: &Observed) -> Result<(), WishError> {
    let vf = observed.vf;
    match (&observed.state.netdev, &observed.state.driver) {
        (_, None) => Err(WishError::NoDriver { vf }),
        (None, Some(driver)) if !is_for_user_space(driver) => {
            Err(WishError::NoNetdev { vf, driver: driver.clone() })
        }
        (Some(_), _) if !observed.pod => Err(WishError::NoPod { vf }),
        _ => Ok(()),
    }
}

fn is_for_user_space(driver: &str) -> bool {
    driver.contains("vfio") || USER_SPACE_DRIVERS.contains(&driver)
}

fn check_switchdev(observed: &Observed, wish: &Wish) -> Result<(), WishError> {
    let legacy_only = [
        ("vlan", wish.vlan.is_some(), "the bridge port's tag takes its place"),
        ("spoof check", wish.spoof_check.is_some(), "rules of the bridge take its place"),
        ("trust", wish.trust.is_some(), "rules of the bridge take its place"),
        ("link state", wish.link_state.is_some(), "the link follows the representor's"),
    ];
    match legacy_only.into_iter().find(|(_, wished, _)| *wished) {
        Some((setting, _, instead)) => {
            Err(WishError::LegacyOnly { pf: observed.place.pf, setting, instead })
        }
        None if observed.state.representor.is_none() => {
            Err(WishError::NoRepresentor { vf: observed.vf })
        }
        None => Ok(()),
    }
}

/// The MAC address comes before what is checked against it.
fn legacy_changes(
    observed: &Observed,
    legacy: &LegacyState,
    wish: &Wish,
) -> Result<Vec<Change>, WishError> {
    let mut changes = Vec::new();
    changes.extend(pinned_mac(observed, legacy, wish).map(VfChange::Mac));
    let vlan = wish.vlan.map(|wish| match wish {
        VlanWish::Untagged => None,
        VlanWish::Tagged(vlan) => Some(vlan),
    });
    changes.extend(vlan.filter(|vlan| *vlan != legacy.vlan).map(VfChange::Vlan));
    let spoof_check = flag(observed, "spoof check", legacy.spoof_check, wish.spoof_check, true)?;
    changes.extend(spoof_check.map(VfChange::SpoofCheck));
    let trust = flag(observed, "trust", legacy.trust, wish.trust, false)?;
    changes.extend(trust.map(VfChange::Trust));
    let (min, max) = (legacy.min_tx_rate, legacy.max_tx_rate);
    let rate = (wish.min_tx_rate.unwrap_or(min), wish.max_tx_rate.unwrap_or(max));
    changes.extend((rate != (min, max)).then_some(VfChange::Rate { min: rate.0, max: rate.1 }));
    let link_state = wish.link_state.filter(|state| *state != legacy.link_state);
    changes.extend(link_state.map(VfChange::LinkState));
    Ok(changes.into_iter().map(Change::Vf).collect())
}

/// The address is set on the PF even where it is the same: only one that was set there keeps a VF
/// that is not trusted from taking another (`igb_set_vf_mac_addr()` in the kernel's igb).
fn pinned_mac(observed: &Observed, legacy: &LegacyState, wish: &Wish) -> Option<Mac> {
    let still_here = observed.side == Some(Side::Host);
    let own = observed.state.netdev.as_ref().map(|netdev| netdev.mac);
    match wish.mac {
        Some(mac) => (still_here || legacy.mac != mac).then_some(mac),
        None => own.filter(|_| still_here && wish.trust != Some(true)),
    }
}

/// The value to set, where it is not so already. A driver without the setting is an error only where
/// it was wished for.
fn flag(
    observed: &Observed,
    setting: &'static str,
    now: Option<bool>,
    wish: Option<bool>,
    default: bool,
) -> Result<Option<bool>, WishError> {
    match (now, wish) {
        (None, Some(_)) => Err(WishError::NotSupported { vf: observed.vf, setting }),
        (None, None) => Ok(None),
        (Some(now), wish) => Ok(Some(wish.unwrap_or(default)).filter(|wanted| *wanted != now)),
    }
}

fn function_changes(function: &FunctionState, wish: &Wish) -> Result<Vec<Change>, WishError> {
    let mut changes = Vec::new();
    let mac = wish.mac.filter(|mac| function.mac.is_some_and(|now| now != *mac));
    changes.extend(mac.map(Change::FunctionMac));
    let Some(rate) = &function.rate else {
        let wished = wish.min_tx_rate.unwrap_or(0) != 0 || wish.max_tx_rate.unwrap_or(0) != 0;
        return if wished { Err(WishError::NoRates { port: function.port }) } else { Ok(changes) };
    };
    let max = wish.max_tx_rate.map(mbit).filter(|max| *max != rate.tx_max);
    changes.extend(max.map(|max| Change::Rate(RateChange::TxMax(max))));
    let share = wish.min_tx_rate.map(mbit).filter(|share| *share != rate.tx_share);
    changes.extend(share.map(|share| Change::Rate(RateChange::TxShare(share))));
    Ok(changes)
}

fn mbit(mbit: u32) -> Rate {
    Rate { bytes_per_second: u64::from(mbit) * BYTES_PER_MBIT }
}

fn representor_changes(representor: &RepresentorState, wish: &Wish) -> Vec<Change> {
    let mtu = wish.mtu.filter(|mtu| *mtu != representor.mtu).map(LinkChange::Mtu);
    let up = (!representor.up).then_some(LinkChange::Up);
    mtu.into_iter().chain(up).map(Change::Representor).collect()
}

/// A link must be down for a new name before Linux 6.2, and for a new MAC address with most drivers.
fn netdev_changes(
    observed: &Observed,
    netdev: &NetdevState,
    ifname: &str,
    wish: &Wish,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let at_home = observed.side == Some(Side::Host);
    if at_home {
        changes.extend(leave(observed, netdev));
    }
    let down = at_home || !netdev.up;
    let mut inside = Vec::new();
    let named = at_home || netdev.name != ifname;
    inside.extend(named.then(|| Change::Netdev(LinkChange::Name(ifname.to_owned()))));
    if let Some(mac) = wish.mac.filter(|mac| *mac != netdev.mac) {
        let on_pf = observed.state.legacy.as_ref().map(|_| mac);
        inside.extend(own_address(observed.state.driver.as_deref(), mac, on_pf));
    }
    let mtu = wish.mtu.filter(|mtu| *mtu != netdev.mtu);
    inside.extend(mtu.map(|mtu| Change::Netdev(LinkChange::Mtu(mtu))));
    if !down && !inside.is_empty() {
        inside.insert(0, Change::Netdev(LinkChange::Down));
    }
    if down || !inside.is_empty() {
        inside.push(Change::Netdev(LinkChange::Up));
    }
    changes.extend(inside);
    changes
}

/// The alias tells whoever finds the VF without its entry what it was called.
fn leave(observed: &Observed, netdev: &NetdevState) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(netdev.up.then_some(Change::Netdev(LinkChange::Down)));
    let temporary = temporary_name(observed.vf);
    changes.push(Change::Netdev(LinkChange::Alias(alias(&netdev.name))));
    if netdev.name != temporary {
        changes.push(Change::Netdev(LinkChange::Name(temporary)));
    }
    changes.push(Change::Move(Side::Pod));
    changes
}

const ALIAS_PREFIX: &str = "linerate:";

fn alias(name: &str) -> String {
    format!("{ALIAS_PREFIX}{name}")
}

/// The name that a VF had on the host, from the mark on its netdev.
pub(super) fn name_in_alias(alias: Option<&str>) -> Option<&str> {
    alias?.strip_prefix(ALIAS_PREFIX)
}
