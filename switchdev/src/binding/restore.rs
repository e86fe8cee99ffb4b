//! Planning the way back: from what a VF was and what is observed of it, the changes that are left.
//!
//! A netdev in the pod is first brought home and a driver first bound, for only then can the rest be
//! seen; so this is asked again after each round, until there is nothing left to do.

use super::Change;
use super::address::{needs_reset, own_address};
use super::change::{Side, temporary_name};
use super::host::Observed;
use super::state::{FunctionState, LegacyState, NetdevState, RepresentorState, VfState};
use crate::devlink::RateChange;
use crate::driver::Binding;
use crate::link::{LinkChange, VfChange};
use crate::rdma::RdmaDevice;

/// The next changes on the way to `original`; none where the VF is as it was.
#[must_use]
pub fn restore(original: &VfState, observed: &Observed) -> Vec<Change> {
    if let Some(netdev) =
        observed.state.netdev.as_ref().filter(|_| observed.side == Some(Side::Pod))
    {
        return come_home(original, observed, netdev);
    }
    if let Some(binding) = driver(original, &observed.state) {
        return vec![Change::Driver(binding)];
    }
    let now = &observed.state;
    let mut changes: Vec<Change> = rdma_home(original, now).collect();
    // The PF's word on the MAC address comes first: a VF that is not trusted may take no other.
    changes.extend(both(&original.legacy, &now.legacy, legacy));
    changes.extend(both(&original.function, &now.function, function));
    changes.extend(both(&original.netdev, &now.netdev, |was, now| netdev(original, was, now)));
    changes.extend(both(&original.representor, &now.representor, |was, now| {
        representor(was, now, observed.carrier)
    }));
    changes
}

/// A part that either side lacks is of another mode or driver, and nothing to compare.
fn both<T>(
    original: &Option<T>,
    now: &Option<T>,
    changes: impl Fn(&T, &T) -> Vec<Change>,
) -> Vec<Change> {
    original.as_ref().zip(now.as_ref()).map(|(was, now)| changes(was, now)).unwrap_or_default()
}

/// Under the temporary name, which is free on the host whatever the pod called it.
fn come_home(original: &VfState, observed: &Observed, netdev: &NetdevState) -> Vec<Change> {
    let mut changes: Vec<Change> = rdma_home(original, &observed.state).collect();
    changes.extend(netdev.up.then_some(Change::Netdev(LinkChange::Down)));
    let temporary = temporary_name(observed.vf);
    if netdev.name != temporary {
        changes.push(Change::Netdev(LinkChange::Name(temporary)));
    }
    changes.push(Change::Move(Side::Host));
    changes
}

fn rdma_home<'a>(original: &'a VfState, now: &'a VfState) -> impl Iterator<Item = Change> + 'a {
    let is_home = |device: &RdmaDevice| now.rdma.iter().any(|home| home.index == device.index);
    let away = original.rdma.iter().filter(move |device| !is_home(device));
    away.map(|device| Change::Rdma(device.clone(), Side::Host))
}

fn driver(original: &VfState, now: &VfState) -> Option<Binding> {
    let same = original.driver == now.driver && original.driver_override == now.driver_override;
    if same {
        return None;
    }
    Some(match (&original.driver, &original.driver_override) {
        (None, _) => Binding::Unbound,
        (Some(driver), Some(only)) if driver == only => Binding::Only(driver.clone()),
        (Some(_), _) => Binding::Matched,
    })
}

fn legacy(was: &LegacyState, now: &LegacyState) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend((was.mac != now.mac).then_some(VfChange::Mac(was.mac)));
    changes.extend((was.vlan != now.vlan).then_some(VfChange::Vlan(was.vlan)));
    let differs = |was: Option<bool>, now| was.filter(|_| was != now);
    changes.extend(differs(was.spoof_check, now.spoof_check).map(VfChange::SpoofCheck));
    changes.extend(differs(was.trust, now.trust).map(VfChange::Trust));
    let rate = (was.min_tx_rate, was.max_tx_rate);
    let same_rate = rate == (now.min_tx_rate, now.max_tx_rate);
    changes.extend((!same_rate).then_some(VfChange::Rate { min: rate.0, max: rate.1 }));
    let same_state = was.link_state == now.link_state;
    changes.extend((!same_state).then_some(VfChange::LinkState(was.link_state)));
    changes.into_iter().map(Change::Vf).collect()
}

fn function(was: &FunctionState, now: &FunctionState) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(was.mac.filter(|_| was.mac != now.mac).map(Change::FunctionMac));
    let Some((was, now)) = was.rate.as_ref().zip(now.rate.as_ref()) else { return changes };
    let rate = [
        (was.tx_max != now.tx_max).then_some(RateChange::TxMax(was.tx_max)),
        (was.tx_share != now.tx_share).then_some(RateChange::TxShare(was.tx_share)),
        (was.parent != now.parent).then(|| RateChange::Parent(was.parent.clone())),
    ];
    changes.extend(rate.into_iter().flatten().map(Change::Rate));
    changes
}

/// The pod's side gave it a carrier, and with that the kernel began IPv6 on it: a link-local address and routes, which
/// stay when the carrier goes. They go when the link goes down. Where there is a carrier all the same, it is not the
/// pod's, and so is what came with it.
fn representor(was: &RepresentorState, now: &RepresentorState, carrier: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let began_for_the_pod = was.up && now.up && !was.ipv6 && now.ipv6 && !carrier;
    if began_for_the_pod {
        changes.extend([LinkChange::Down, LinkChange::Up]);
    }
    changes.extend((was.mtu != now.mtu).then_some(LinkChange::Mtu(was.mtu)));
    changes.extend((was.up != now.up).then_some(if was.up {
        LinkChange::Up
    } else {
        LinkChange::Down
    }));
    changes.into_iter().map(Change::Representor).collect()
}

/// Down for the new name and address, and its addresses last: a link that goes down loses those of
/// IPv6.
fn netdev(original: &VfState, was: &NetdevState, now: &NetdevState) -> Vec<Change> {
    let mut changes = Vec::new();
    if was.mac != now.mac {
        let on_pf = original.legacy.as_ref().map(|legacy| legacy.mac);
        changes.extend(own_address(original.driver.as_deref(), was.mac, on_pf));
    }
    let mut links = Vec::new();
    links.extend((was.mtu != now.mtu).then_some(LinkChange::Mtu(was.mtu)));
    links.extend((was.name != now.name).then(|| LinkChange::Name(was.name.clone())));
    changes.extend(links.into_iter().map(Change::Netdev));
    if needs_reset(original.driver.as_deref(), was, now) {
        changes.extend([LinkChange::Up, LinkChange::Down].map(Change::Netdev));
    }
    let restless = now.up && (!changes.is_empty() || !was.up);
    if restless {
        changes.insert(0, Change::Netdev(LinkChange::Down));
    }
    let alias = was.alias.clone().unwrap_or_default();
    let renamed = (was.alias != now.alias).then_some(LinkChange::Alias(alias));
    let up = (was.up && (restless || !now.up)).then_some(LinkChange::Up);
    changes.extend(renamed.into_iter().chain(up).map(Change::Netdev));
    let lost = was.addresses.iter().filter(|address| restless || !now.addresses.contains(address));
    changes.extend(lost.cloned().map(Change::Address));
    changes
}
