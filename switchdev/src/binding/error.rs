//! What can go wrong while a VF is given to a pod or taken back.

use std::fmt;

use crate::devlink::PortIndex;
use crate::error::CardError;
use crate::ledger::{Holder, LedgerError};
use crate::pci::PciAddress;

use super::ExternalError;

/// A wish that the VF cannot fulfil; nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// The interface's name is taken in the pod.
    #[error("VF {vf}: the pod has an interface {ifname} already: choose another name")]
    NameTaken {
        /// The VF.
        vf: PciAddress,
        /// The name.
        ifname: String,
    },
    /// The host uses the VF.
    #[error(
        "VF {vf}: its netdev is part of {by} on the host: take it out, or keep the VF out of the \
         device plugin's pools"
    )]
    InUse {
        /// The VF.
        vf: PciAddress,
        /// What the netdev is part of.
        by: String,
    },
    /// The VF has no driver.
    #[error("VF {vf} has no driver: bind one for network or for user space (vfio-pci) to it")]
    NoDriver {
        /// The VF.
        vf: PciAddress,
    },
    /// The VF's driver is no user-space one, and there is no netdev.
    #[error(
        "VF {vf} (driver {driver}) has no netdev in this network namespace: it may still be with \
         another pod, or its driver may not have made it yet"
    )]
    NoNetdev {
        /// The VF.
        vf: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The pod has no network namespace.
    #[error("VF {vf}: the pod's network namespace is gone: nothing can be moved there")]
    NoPod {
        /// The VF.
        vf: PciAddress,
    },
    /// The setting does not exist in switchdev mode.
    #[error("PF {pf} is in switchdev mode, where a VF has no {setting}: leave it out, {instead}")]
    LegacyOnly {
        /// The PF.
        pf: PciAddress,
        /// The setting.
        setting: &'static str,
        /// What there is instead.
        instead: &'static str,
    },
    /// The VF has no representor.
    #[error("VF {vf} has no representor: see whether the driver has made it (devlink port show)")]
    NoRepresentor {
        /// The VF.
        vf: PciAddress,
    },
    /// The driver has no such setting.
    #[error("VF {vf}: its PF's driver has no {setting}: leave it out")]
    NotSupported {
        /// The VF.
        vf: PciAddress,
        /// The setting.
        setting: &'static str,
    },
    /// The card has no rates.
    #[error("devlink port {port} has no rate leaf: leave min and max rate out, or set 0")]
    NoRates {
        /// The port function's port.
        port: PortIndex,
    },
}

/// A VF that was not given to a pod.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such VF.
    #[error("there is no VF {vf} on this node: see whether the device plugin's list is up to date")]
    NoSuchVf {
        /// The VF.
        vf: PciAddress,
    },
    /// Another has it.
    #[error("VF {vf} is {phase} {holder}, which is still there: try again when it is gone")]
    Held {
        /// The VF.
        vf: PciAddress,
        /// How far that is.
        phase: crate::ledger::Phase,
        /// Who.
        holder: Box<Holder>,
    },
    /// The one who had it before is gone, and it could not be taken back.
    #[error("VF {vf}: it could not be taken back from {holder}: {source}")]
    Predecessor {
        /// The VF.
        vf: PciAddress,
        /// Who had it.
        holder: Box<Holder>,
        /// Why not.
        source: Box<ReleaseError>,
    },
    /// The state of the VF could not be read.
    #[error("VF {vf}: {source}")]
    Look {
        /// The VF.
        vf: PciAddress,
        /// Why not.
        source: Box<CardError>,
    },
    /// Something about the node could not be read.
    #[error("VF {vf}: {source}")]
    Node {
        /// The VF.
        vf: PciAddress,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// It cannot be as wished.
    #[error(transparent)]
    Wish(#[from] WishError),
    /// The other program could not plan its part.
    #[error("VF {vf}: {source}")]
    External {
        /// The VF.
        vf: PciAddress,
        /// Why not.
        source: ExternalError,
    },
    /// A step failed.
    #[error("VF {vf}: step {number} of {of} ({step}) failed: {source}; {undo}")]
    Step {
        /// The VF.
        vf: PciAddress,
        /// The step's number, from 1.
        number: usize,
        /// How many there were.
        of: usize,
        /// The step, in words.
        step: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What became of those before it.
        undo: UndoReport,
    },
    /// All steps were taken, and the VF is not as wished.
    #[error("VF {vf} is not as wished after all steps: {left}; {undo}")]
    NotAsWished {
        /// The VF.
        vf: PciAddress,
        /// What is amiss.
        left: String,
        /// What became of the steps.
        undo: UndoReport,
    },
    /// All steps were taken, and that could not be recorded.
    #[error("VF {vf}: {source}; {undo}")]
    Unrecorded {
        /// The VF.
        vf: PciAddress,
        /// Why not.
        source: LedgerError,
        /// What became of the steps.
        undo: UndoReport,
    },
}

/// Whether a failed binding left something behind.
#[derive(Debug)]
pub struct UndoReport(pub Result<(), Box<ReleaseError>>);

impl fmt::Display for UndoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(()) => f.write_str("what was done has been taken back"),
            Err(error) => write!(f, "not all could be taken back: {error}"),
        }
    }
}

/// A VF that is not as it was before. Its entry stays, and giving it back may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Something about the node could not be read.
    #[error("VF {vf}: {source}")]
    Node {
        /// The VF.
        vf: PciAddress,
        /// What the kernel answered.
        source: std::io::Error,
    },
    /// Something is left.
    #[error("VF {vf} is not given back yet: {}: try again, or let the agent do it", .left.join("; "))]
    Left {
        /// The VF.
        vf: PciAddress,
        /// What is left, and why, a sentence each.
        left: Vec<String>,
    },
}
