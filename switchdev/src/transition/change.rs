//! The changes a plan is made of, in words that operators know.

use std::fmt;

use crate::devlink::EswitchChange;
use crate::driver::Binding;
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;

/// One change to a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Whether the kernel offers new VFs to its drivers.
    DriversAutoprobe(bool),
    /// The number of VFs. From a number that is not 0 only 0 can be reached, which destroys them.
    VfCount(u16),
    /// What a VF is bound to.
    VfBinding(VfIndex, Binding),
    /// A setting of the e-switch.
    Eswitch(EswitchChange),
    /// `hw-tc-offload` of a port.
    HwTcOffload(OffloadPort, bool),
}

/// A port of the e-switch whose netdev takes filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffloadPort {
    /// The PF's netdev.
    Uplink,
    /// A VF's representor.
    Representor(VfIndex),
}

/// A change, and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The change.
    pub change: Change,
    /// What takes it back; `None` where taking back an earlier step does.
    pub undo: Option<Change>,
}

/// The steps that take a card to what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The card.
    pub pf: PciAddress,
    /// The PF's name in errors.
    pub pf_name: String,
    /// The steps, in order; none where the card is as wanted.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    /// A line for the card, and one for each step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return writeln!(f, "PF {}: nothing to do", self.pf_name);
        }
        writeln!(f, "PF {}:", self.pf_name)?;
        (1..).zip(&self.steps).try_for_each(|(n, step)| writeln!(f, "  {n}. {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change.fmt(f)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DriversAutoprobe(true) => write!(f, "offer new VFs to the kernel's drivers"),
            Self::DriversAutoprobe(false) => write!(f, "keep new VFs from the kernel's drivers"),
            Self::VfCount(0) => write!(f, "remove all VFs"),
            Self::VfCount(1) => write!(f, "create 1 VF"),
            Self::VfCount(count) => write!(f, "create {count} VFs"),
            Self::VfBinding(vf, Binding::Unbound) => write!(f, "unbind VF {vf} from its driver"),
            Self::VfBinding(vf, binding) => write!(f, "bind VF {vf} to {binding}"),
            Self::Eswitch(change) => write!(f, "set the e-switch to {change}"),
            Self::HwTcOffload(port, on) => {
                write!(f, "switch {} hw-tc-offload of {port}", if *on { "on" } else { "off" })
            }
        }
    }
}

impl fmt::Display for OffloadPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uplink => write!(f, "the uplink"),
            Self::Representor(vf) => write!(f, "the representor of VF {vf}"),
        }
    }
}
