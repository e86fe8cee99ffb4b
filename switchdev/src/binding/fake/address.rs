//! Who decides on a VF's MAC address: its PF, and how its driver takes that.

use rustix::io::Errno;
use tc_filter::Mac;

use super::{FakeVf, refused};
use crate::binding::VfState;
use crate::error::CardError;

const NONE: Mac = Mac([0; 6]);

impl FakeVf {
    /// The PF's administrator sets it.
    pub(super) fn set_on_pf(&mut self, mac: Mac) {
        let Some(legacy) = &mut self.state.legacy else { return };
        legacy.mac = mac;
        self.pinned = mac != NONE;
        if !is_igb(&self.state) {
            take_mac(&mut self.state);
        }
    }

    /// The VF's user sets it, and may be refused.
    pub(super) fn set_on_vf(&mut self, mac: Mac) -> Result<(), CardError> {
        if self.refuses(mac) {
            return Err(refused(Errno::ADDRNOTAVAIL));
        }
        let igb = is_igb(&self.state);
        let netdev = self.state.netdev.as_mut().ok_or_else(|| refused(Errno::NODEV))?;
        netdev.mac = mac;
        // igb shows what the VF has, whoever chose it.
        if let Some(legacy) = self.state.legacy.as_mut().filter(|_| igb) {
            legacy.mac = mac;
        }
        Ok(())
    }

    fn refuses(&self, mac: Mac) -> bool {
        let Some(legacy) = &self.state.legacy else { return false };
        let other = legacy.mac != NONE && legacy.mac != mac;
        legacy.trust != Some(true) && if is_igb(&self.state) { self.pinned } else { other }
    }

    /// igbvf resets when its netdev goes down, and asks its PF for the address.
    pub(super) fn reset(&mut self) {
        if is_igb(&self.state) {
            take_mac(&mut self.state);
            if let Some(netdev) = &mut self.state.netdev {
                netdev.permanent = Some(netdev.mac);
            }
        }
    }
}

fn is_igb(state: &VfState) -> bool {
    state.driver.as_deref() == Some("igbvf")
}

/// The VF takes the address that it is given.
pub(super) fn take_mac(state: &mut VfState) {
    let given = state.legacy.as_ref().map(|legacy| legacy.mac);
    let given = given.or_else(|| state.function.as_ref().and_then(|function| function.mac));
    let given = given.filter(|mac| *mac != NONE);
    if let Some((netdev, mac)) = state.netdev.as_mut().zip(given) {
        netdev.mac = mac;
    }
}
