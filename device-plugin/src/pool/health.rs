//! Why a device in a pool must not be given to a pod.
//!
//! That a device's netdev is inside a pod is no fault, so whatever goes by the netdev is not asked of a
//! device that is held.

use std::fmt;
use std::time::Duration;

use switchdev::eswitch::EswitchMode;

use super::select::{Key, Mismatch};
use crate::config::{PoolConfig, Selector};
use crate::device::{Device, Role};
use crate::holds::{Hold, State};

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The PCI function or auxiliary device is not there.
    Gone,
    /// No driver, or another than the pool wants.
    Driver(Mismatch),
    /// A VF without a driver cannot be used in any way.
    NoDriver,
    /// The PF's e-switch is not in the mode the pool wants.
    EswitchMode(Mismatch),
    /// The card is in switchdev mode, or the pool asks for one, and the device has none.
    NoRepresentor,
    /// It fits the pool's selectors no more.
    Selector(Mismatch),
    /// No pool may have it any more.
    Barred(crate::device::Barred),
    /// It has a kernel driver, no pod has it, and it has no netdev here.
    NoNetdev,
    /// The PF has no carrier.
    NoCarrier {
        /// The PF's netdev.
        netdev: String,
    },
    /// A devlink health reporter of the device or its card is in error.
    Fault {
        /// The reporter.
        reporter: String,
    },
    /// The ledger's entry for it cannot be read.
    Ledger(String),
}

impl Cause {
    /// The short name that metrics count it under.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Driver(_) | Self::NoDriver => "driver",
            Self::EswitchMode(_) => "eswitch_mode",
            Self::NoRepresentor => "representor",
            Self::Selector(_) => "selector",
            Self::Barred(_) => "barred",
            Self::NoNetdev => "netdev",
            Self::NoCarrier { .. } => "carrier",
            Self::Fault { .. } => "devlink_health",
            Self::Ledger(_) => "ledger",
        }
    }

    /// The cause that a selector's key stands for.
    fn of(mismatch: Mismatch) -> Self {
        match mismatch.key {
            Key::Drivers => Self::Driver(mismatch),
            Key::EswitchMode => Self::EswitchMode(mismatch),
            Key::Representor => Self::NoRepresentor,
            _ => Self::Selector(mismatch),
        }
    }
}

/// All that is wrong with a device that is there. `selector` is the one it came by.
#[must_use]
pub fn causes(
    pool: &PoolConfig,
    selector: &Selector,
    device: &Device,
    hold: Option<&Hold>,
) -> Vec<Cause> {
    let held = hold.is_some_and(Hold::is_held);
    let mut causes: Vec<Cause> = ledger(hold).into_iter().collect();
    causes.extend(misfit(selector, device, held));
    causes.extend(
        parts(selector, device, held)
            .into_iter()
            .filter(|cause| !causes.contains(cause))
            .collect::<Vec<_>>(),
    );
    if pool.require_carrier {
        causes.extend(no_carrier(device));
    }
    causes.extend(faults(device));
    causes
}

fn ledger(hold: Option<&Hold>) -> Option<Cause> {
    match &hold?.state {
        State::Unknown(why) => Some(Cause::Ledger(why.clone())),
        State::Reserved | State::Counted(_) | State::Bound(_) => None,
    }
}

/// A key that fits no more. In a pod, a device has lost its netdev and with it what some keys go by.
fn misfit(selector: &Selector, device: &Device, held: bool) -> Option<Cause> {
    if !held {
        let barred = device.barred.map(Cause::Barred);
        return barred.or_else(|| super::select::mismatch(selector, device).map(Cause::of));
    }
    let lasting = Selector {
        drivers: selector.drivers.clone(),
        eswitch_mode: selector.eswitch_mode,
        representor: selector.representor,
        ..Selector::default()
    };
    super::select::mismatch(&lasting, device).map(Cause::of)
}

/// What a device needs whether or not the pool asks for it.
fn parts(selector: &Selector, device: &Device, held: bool) -> Vec<Cause> {
    if !matches!(device.role, Role::Vf { .. }) {
        return Vec::new();
    }
    let mut causes = Vec::new();
    if device.driver.is_none() && selector.drivers.is_empty() {
        causes.push(Cause::NoDriver);
    }
    let in_switchdev =
        device.port.as_ref().is_some_and(|port| port.eswitch == Some(EswitchMode::Switchdev));
    if in_switchdev && device.representor.is_none() && selector.representor != Some(false) {
        causes.push(Cause::NoRepresentor);
    }
    let by_kernel = device.driver.is_some() && device.userspace_driver().is_none();
    if by_kernel && !held && device.netdevs.is_empty() && device.userspace.vdpa.is_none() {
        causes.push(Cause::NoNetdev);
    }
    causes
}

fn no_carrier(device: &Device) -> Option<Cause> {
    let port = device.port.as_ref()?;
    let netdev = port.netdev.clone().unwrap_or_default();
    (port.carrier == Some(false)).then_some(Cause::NoCarrier { netdev })
}

fn faults(device: &Device) -> impl Iterator<Item = Cause> {
    let of_port = device.port.iter().flat_map(|port| &port.faults);
    let all = device.faults.iter().chain(of_port);
    all.map(|reporter| Cause::Fault { reporter: reporter.clone() })
}

/// How long a device that has gone is kept, unhealthy, for the case that it comes back: as long as
/// kubelet itself waits for a plugin.
pub const FORGET_AFTER: Duration = Duration::from_secs(300);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is not there any more"),
            Self::Driver(mismatch) | Self::EswitchMode(mismatch) | Self::Selector(mismatch) => {
                write!(f, "{mismatch}")
            }
            Self::NoDriver => f.write_str("no driver is bound to it"),
            Self::NoRepresentor => f.write_str("it has no representor"),
            Self::Barred(barred) => write!(f, "{barred}"),
            Self::NoNetdev => f.write_str(
                "its driver has made no netdev, or some namespace has it that no pod is known for",
            ),
            Self::NoCarrier { netdev } => write!(f, "its PF {netdev} has no carrier"),
            Self::Fault { reporter } => {
                write!(f, "the devlink health reporter {reporter} is in error")
            }
            Self::Ledger(why) => f.write_str(why),
        }
    }
}
