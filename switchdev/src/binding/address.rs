//! Giving a VF's netdev its MAC address, past what its PF's driver allows.
//!
//! Whoever sets the address on the PF forbids a VF that is not trusted to take another. i40e, ice and
//! ixgbe then still take the same address from the VF, and mlx5 asks nobody. igb refuses that, too.

use tc_filter::Mac;

use super::Change;
use super::state::NetdevState;
use crate::link::{LinkChange, VfChange};

/// VF drivers whose PF refuses every address once one was set there (`igb_set_vf_mac_addr()`), and
/// which take over the PF's only when they reset (`e1000_rar_set_vf()` in igbvf).
const REFUSED_EVEN_THE_SAME: [&str; 1] = ["igbvf"];

/// Whether the netdev, which has its address again, must go up and down to forget the one of its last
/// reset, which it shows as its permanent one. Only where that was its address can it become so again.
pub(super) fn needs_reset(driver: Option<&str>, was: &NetdevState, now: &NetdevState) -> bool {
    let resets = driver.is_some_and(|driver| REFUSED_EVEN_THE_SAME.contains(&driver));
    resets && was.permanent == Some(was.mac) && now.permanent != was.permanent
}

const NONE: Mac = Mac([0; 6]);

/// The changes that give the VF's netdev, which is down, this address. `on_pf` is what the PF shall say
/// of the VF, where it has a say; no address leaves the choice to the VF.
pub(super) fn own_address(driver: Option<&str>, mac: Mac, on_pf: Option<Mac>) -> Vec<Change> {
    let change = Change::Netdev(LinkChange::Address(mac));
    let refused = driver.is_some_and(|driver| REFUSED_EVEN_THE_SAME.contains(&driver));
    let Some(on_pf) = on_pf.filter(|_| refused) else { return vec![change] };
    let mut changes = vec![Change::Vf(VfChange::Mac(NONE)), change];
    changes.extend((on_pf != NONE).then_some(Change::Vf(VfChange::Mac(on_pf))));
    changes
}
