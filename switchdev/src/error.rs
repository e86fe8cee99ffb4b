//! What can go wrong with a card, said so that an operator knows what to change.
//!
//! Each variant names the thing asked for, what was found, and the remedy. What the kernel or a
//! driver says for itself (an errno, an extended-acknowledgement sentence) is kept word for word.

use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::sysfs::SysfsError;

/// An answer from the card's side of this crate that is not the one asked for.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// Sysfs could not be read or written.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// No PF has this address or netdev.
    #[error("no PF {asked:?} on this node: {}", choices(.known))]
    NoSuchPf {
        /// The address or netdev asked for.
        asked: String,
        /// The PFs there are.
        known: Vec<String>,
    },
    /// The address is a VF's, where a PF is needed.
    #[error("{address} is VF {index} of PF {pf}: name the PF instead")]
    IsVf {
        /// The address asked for.
        address: PciAddress,
        /// Which VF it is.
        index: VfIndex,
        /// Its PF.
        pf: PciAddress,
    },
    /// The PF cannot have VFs.
    #[error(
        "PF {pf} has no SR-IOV (no sriov_totalvfs in sysfs): switch SR-IOV on in the card's \
         firmware and the machine's BIOS, or name another PF"
    )]
    NoSriov {
        /// The PF.
        pf: String,
    },
}

fn choices(known: &[String]) -> String {
    if known.is_empty() {
        return "it has no network PF".to_owned();
    }
    format!("name one of {}", known.join(", "))
}
