//! Connection tracking, as `act_ct` takes it.

use std::net::IpAddr;

use tc_filter::action::{Ct, CtNat, CtTrack, NatAddresses, NatPorts, NatRange};
use tc_filter::{CtZone, Masked};

use crate::compile::ir::CtStep;
use crate::openflow::{Nat, NatDirection};

pub(super) fn track(asked: &CtStep) -> Ct {
    let word = |bits: u128| u32::try_from(bits).unwrap_or(u32::MAX);
    Ct::Track(CtTrack {
        zone: CtZone(asked.zone),
        commit: asked.commit,
        force: asked.force,
        mark: asked.mark.map(|mark| Masked::new(word(mark.value), word(mark.mask))),
        label: asked.label.map(|label| Masked::new(label.value, label.mask)),
        nat: asked.nat.map(nat),
    })
}

fn nat(nat: Nat) -> CtNat {
    match nat.direction {
        None => CtNat::Committed,
        Some(NatDirection::Src) => CtNat::Src(range(nat)),
        Some(NatDirection::Dst) => CtNat::Dst(range(nat)),
    }
}

fn range(nat: Nat) -> NatRange {
    let ports = nat.port_min.map(|min| NatPorts { min, max: nat.port_max.unwrap_or(min) });
    NatRange { addresses: addresses(nat), ports }
}

fn addresses(nat: Nat) -> Option<NatAddresses> {
    match (nat.addr_min?, nat.addr_max.or(nat.addr_min)?) {
        (IpAddr::V4(min), IpAddr::V4(max)) => Some(NatAddresses::V4 { min, max }),
        (IpAddr::V6(min), IpAddr::V6(max)) => Some(NatAddresses::V6 { min, max }),
        _ => None,
    }
}
