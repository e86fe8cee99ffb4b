//! Which driver a PCI function is bound to, and how that is changed.
//!
//! A function is given to a driver of our choice by `driver_override`, which keeps all others off
//! it, and a write to `drivers_probe`. The driver's own id table is left alone, so that no other
//! function changes hands.

use std::fmt;

use crate::error::CardError;
use crate::inventory::{PciFunction, read_override};
use crate::pci::PciAddress;
use crate::sysfs::{self, Sysfs};

/// What a function is bound to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// No driver.
    Unbound,
    /// The driver that the kernel picks by its id tables, if it has one. For a VF it picks none
    /// while its PF's `sriov_drivers_autoprobe` is off (`pci_device_can_probe()` in
    /// `drivers/pci/pci-driver.c`).
    Matched,
    /// This driver and no other.
    Only(String),
}

impl Binding {
    /// How a function of the inventory is bound.
    #[must_use]
    pub fn of(function: &PciFunction) -> Self {
        match (&function.driver, &function.driver_override) {
            (None, _) => Self::Unbound,
            (Some(driver), Some(only)) if driver == only => Self::Only(driver.clone()),
            (Some(_), _) => Self::Matched,
        }
    }
}

/// Binds a function as told, and checks that it is so.
///
/// # Errors
/// [`CardError::NoSuchDriver`] before anything is changed; [`CardError::NotApplied`] where the
/// driver did not take the function (its reason is in the kernel log).
pub fn bind(sysfs: &Sysfs, function: PciAddress, binding: &Binding) -> Result<(), CardError> {
    match binding {
        Binding::Unbound => unbind(sysfs, function),
        Binding::Matched => match_driver(sysfs, function),
        Binding::Only(driver) => bind_only(sysfs, function, driver),
    }
}

fn unbind(sysfs: &Sysfs, function: PciAddress) -> Result<(), CardError> {
    let Some(bound) = driver_of(sysfs, function)? else { return Ok(()) };
    sysfs::write(&sysfs.pci_device(function).join("driver/unbind"), &function.to_string())?;
    match driver_of(sysfs, function)? {
        None => Ok(()),
        Some(still) => Err(CardError::not_applied(
            format!("{function}: unbinding from {bound}"),
            "no driver",
            still,
        )),
    }
}

/// A driver that is bound already may stay: it is what an earlier match gave.
fn match_driver(sysfs: &Sysfs, function: PciAddress) -> Result<(), CardError> {
    let dir = sysfs.pci_device(function);
    if read_override(&dir)?.is_some() {
        unbind(sysfs, function)?;
        // A lone newline is the kernel's word for "no override" (`driver_set_override()`).
        sysfs::write(&dir.join("driver_override"), "\n")?;
    }
    if driver_of(sysfs, function)?.is_none() {
        probe(sysfs, function)?;
    }
    Ok(())
}

fn bind_only(sysfs: &Sysfs, function: PciAddress, driver: &str) -> Result<(), CardError> {
    if !sysfs.path("bus/pci/drivers").join(driver).exists() {
        return Err(CardError::NoSuchDriver { function, driver: driver.to_owned() });
    }
    sysfs::write(&sysfs.pci_device(function).join("driver_override"), driver)?;
    let bound = driver_of(sysfs, function)?;
    if bound.as_deref() == Some(driver) {
        return Ok(());
    }
    unbind(sysfs, function)?;
    probe(sysfs, function)?;
    match driver_of(sysfs, function)? {
        Some(bound) if bound == driver => Ok(()),
        other => {
            let found = other.unwrap_or_else(|| "none".to_owned());
            Err(CardError::not_applied(format!("{function}: the driver"), driver, found))
        }
    }
}

fn probe(sysfs: &Sysfs, function: PciAddress) -> Result<(), CardError> {
    Ok(sysfs::write(&sysfs.path("bus/pci/drivers_probe"), &function.to_string())?)
}

fn driver_of(sysfs: &Sysfs, function: PciAddress) -> Result<Option<String>, CardError> {
    Ok(sysfs::link_name(&sysfs.pci_device(function).join("driver"))?)
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbound => f.write_str("no driver"),
            Self::Matched => f.write_str("the kernel's choice of driver"),
            Self::Only(driver) => write!(f, "driver {driver}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::inventory::tree::Tree;

    fn address() -> PciAddress {
        "0000:01:10.0".parse().unwrap()
    }

    #[test]
    fn a_driver_that_is_not_loaded_is_refused_before_anything_is_written() {
        let tree = Tree::new();
        tree.function("0000:01:10.0").file("driver_override", "(null)");
        let only = Binding::Only("vfio-pci".to_owned());
        let error = bind(&tree.sysfs(), address(), &only).unwrap_err().to_string();
        assert_eq!(error, "0000:01:10.0: no PCI driver vfio-pci is loaded: modprobe vfio-pci");
        let path = tree.sysfs().pci_device(address()).join("driver_override");
        assert_eq!(fs::read_to_string(path).unwrap(), "(null)\n");
    }

    #[test]
    fn a_driver_that_does_not_take_the_function_is_an_error() {
        let tree = Tree::new();
        tree.function("0000:01:10.0").file("driver_override", "(null)");
        tree.dir("bus/pci/drivers/vfio-pci");
        tree.dir("bus/pci").file("drivers_probe", "");
        let only = Binding::Only("vfio-pci".to_owned());
        let error = bind(&tree.sysfs(), address(), &only).unwrap_err().to_string();
        assert!(
            error.starts_with("0000:01:10.0: the driver was to be vfio-pci, and is none"),
            "{error}"
        );
    }

    #[test]
    fn a_function_that_is_bound_so_already_is_left_alone() {
        let tree = Tree::new();
        tree.function("0000:01:10.0").driver("vfio-pci").file("driver_override", "vfio-pci");
        // There is no drivers_probe in this tree, so a probe would fail.
        bind(&tree.sysfs(), address(), &Binding::Only("vfio-pci".to_owned())).unwrap();
    }
}
