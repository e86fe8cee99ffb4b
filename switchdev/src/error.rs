//! What can go wrong with a card, said so that an operator knows what to change.
//!
//! Each variant names the thing asked for, what was found, and the remedy. What the kernel or a
//! driver says for itself (an errno, an extended-acknowledgement sentence) is kept word for word.

use crate::netlink::NetlinkError;
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::representor::NoRepresentor;
use crate::sysfs::SysfsError;

/// An answer from the card's side of this crate that is not the one asked for.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// Sysfs could not be read or written.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// The kernel or the driver refused a netlink request.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No link has this name or number.
    #[error("no netdev {netdev:?} in this network namespace: ip link lists those there are")]
    NoSuchNetdev {
        /// The name asked for.
        netdev: String,
    },
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
    /// More VFs than the PF can have.
    #[error(
        "PF {pf}: {wanted} VFs were asked for, it can have {total} (sriov_totalvfs): ask for at \
         most {total}, or raise the limit in the card's firmware"
    )]
    TooManyVfs {
        /// The PF.
        pf: String,
        /// How many were asked for.
        wanted: u16,
        /// How many there can be.
        total: u16,
    },
    /// The card has no e-switch to change.
    #[error(
        "PF {pf} has no e-switch that devlink shows ({}): ask for legacy mode, or name a PF of a \
         card with switchdev mode", driven_by(.driver.as_deref())
    )]
    NoEswitch {
        /// The PF.
        pf: String,
        /// Its driver.
        driver: Option<String>,
    },
    /// The e-switch cannot be changed now.
    #[error(
        "the e-switch of PF {pf} is busy and stays at {now} ({wanted} was asked for): {sentence}; \
         remove its filters, unbind its VFs, wait for other changes to end, and try again"
    )]
    EswitchBusy {
        /// The PF.
        pf: PciAddress,
        /// The setting asked for.
        wanted: String,
        /// What it is set to.
        now: String,
        /// The driver's own sentence.
        sentence: String,
    },
    /// The PF carries the node's default route.
    #[error(
        "PF {pf} carries the node's default route (over {netdev}), a change may cut the node off: \
         accept that explicitly, or name another PF"
    )]
    CarriesDefaultRoute {
        /// The PF.
        pf: String,
        /// The netdev the route leaves by.
        netdev: String,
    },
    /// The PF has no netdev.
    #[error(
        "PF {pf} has no netdev in this network namespace: see whether it is bound to a network \
         driver"
    )]
    NoUplink {
        /// The PF.
        pf: PciAddress,
    },
    /// A VF whose netdev did not appear in time.
    #[error(
        "VF {vf} of PF {pf} has no netdev yet: see whether it is bound to a network driver, and \
         whether its netdev is in another network namespace"
    )]
    NoVfNetdev {
        /// The PF.
        pf: PciAddress,
        /// The VF.
        vf: VfIndex,
    },
    /// The kernel has no such driver loaded.
    #[error("{function}: no PCI driver {driver} is loaded: modprobe {driver}")]
    NoSuchDriver {
        /// The function that was to be bound.
        function: PciAddress,
        /// The driver.
        driver: String,
    },
    /// The kernel took a change, and what is read back is something else.
    #[error(
        "{what} was to be {wanted}, and is {found}: see the kernel log for the driver's reason"
    )]
    NotApplied {
        /// What was changed.
        what: String,
        /// The value written.
        wanted: String,
        /// The value read back.
        found: String,
    },
    /// The PF has fewer VFs.
    #[error("PF {pf} has no VF {vf}: {}", vfs_present(*.present))]
    NoSuchVf {
        /// The PF.
        pf: String,
        /// The VF asked for.
        vf: VfIndex,
        /// How many there are.
        present: usize,
    },
    /// A VF has no representor in this network namespace.
    #[error("PF {pf}: VF {vf} has no representor: {why}")]
    NoRepresentor {
        /// The PF.
        pf: String,
        /// The VF.
        vf: VfIndex,
        /// Why.
        why: NoRepresentor,
    },
    /// The kernel took a VF's setting and the driver reports another.
    #[error("{pf}: VF {vf} was to be set to {wanted}, and the driver reports {found}")]
    VfNotApplied {
        /// The PF.
        pf: String,
        /// The VF.
        vf: VfIndex,
        /// The setting.
        wanted: String,
        /// What the driver reports.
        found: String,
    },
    /// A netdev's feature that the driver cannot switch.
    #[error(
        "{netdev}: {feature} is fixed, it cannot be switched {wanted}: the driver does not \
         support it, or not in this e-switch mode"
    )]
    FeatureFixed {
        /// The netdev.
        netdev: String,
        /// The feature.
        feature: String,
        /// `on` or `off`.
        wanted: &'static str,
    },
    /// The kernel took a netdev's feature and the driver did not switch it.
    #[error(
        "{netdev}: {feature} was to be switched {wanted}, the kernel said yes and the driver did \
         not do it: remove the filters that are offloaded, and see the kernel log"
    )]
    FeatureNotApplied {
        /// The netdev.
        netdev: String,
        /// The feature.
        feature: String,
        /// `on` or `off`.
        wanted: &'static str,
    },
}

impl CardError {
    pub(crate) fn not_applied(what: String, wanted: impl ToString, found: impl ToString) -> Self {
        Self::NotApplied { what, wanted: wanted.to_string(), found: found.to_string() }
    }
}

fn vfs_present(present: usize) -> String {
    match present {
        0 => "it has none, create them first".to_owned(),
        1 => "it has only VF 0".to_owned(),
        n => format!("it has VFs 0 to {}", n - 1),
    }
}

fn driven_by(driver: Option<&str>) -> String {
    driver.map_or_else(|| "it has no driver".to_owned(), |driver| format!("driver {driver}"))
}

fn choices(known: &[String]) -> String {
    if known.is_empty() {
        return "it has no network PF".to_owned();
    }
    format!("name one of {}", known.join(", "))
}
