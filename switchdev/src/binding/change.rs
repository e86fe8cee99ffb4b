//! The changes that take a VF to a pod and back, in words that operators know.

use std::fmt;

use tc_filter::Mac;

use crate::devlink::RateChange;
use crate::driver;
use crate::link::{Address, LinkChange, VfChange};
use crate::pci::PciAddress;
use crate::rdma::RdmaDevice;

/// One change to a VF or its representor. Each is one request to the kernel, but for a driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A setting on the PF, in legacy mode.
    Vf(VfChange),
    /// The MAC address of the port function, in switchdev mode.
    FunctionMac(Mac),
    /// The rate leaf, in switchdev mode.
    Rate(RateChange),
    /// The representor.
    Representor(LinkChange),
    /// The VF's netdev, on the side where it is.
    Netdev(LinkChange),
    /// The VF's netdev to the other side. It is down when it arrives, and has lost its addresses.
    Move(Side),
    /// An address of the VF's netdev on the host.
    Address(Address),
    /// An RDMA device of the VF to the other side.
    Rdma(RdmaDevice, Side),
    /// The VF's driver.
    Driver(driver::Binding),
}

/// A side of the way between host and pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The network namespace of this program.
    Host,
    /// The pod's.
    Pod,
}

/// The name a VF's netdev has on its way, which no other netdev has: `lr` and the PCI address without
/// its punctuation, 15 characters at most, as the kernel allows.
#[must_use]
pub fn temporary_name(vf: PciAddress) -> String {
    let digits = vf.to_string().replace([':', '.'], "");
    format!("lr{digits}")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vf(change) => write!(f, "set {change} of the VF on its PF"),
            Self::FunctionMac(mac) => write!(f, "set hw_addr {mac} of the port function"),
            Self::Rate(change) => write!(f, "set {change} of the port function's rate"),
            Self::Representor(change) => write!(f, "set the representor {change}"),
            Self::Netdev(change) => write!(f, "set the VF's netdev {change}"),
            Self::Move(to) => write!(f, "move the VF's netdev to {to}"),
            Self::Address(address) => write!(f, "give the VF's netdev the address {address}"),
            Self::Rdma(device, to) => write!(f, "move RDMA device {device} to {to}"),
            Self::Driver(driver::Binding::Unbound) => write!(f, "unbind the VF from its driver"),
            Self::Driver(binding) => write!(f, "bind the VF to {binding}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host",
            Self::Pod => "the pod",
        })
    }
}
