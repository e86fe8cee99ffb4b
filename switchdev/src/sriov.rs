//! How many VFs a PF has, and when their netdevs are there.

use std::time::{Duration, Instant};

use crate::error::CardError;
use crate::inventory::{Inventory, Pf};
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::sysfs::{self, Sysfs};

/// How long to wait between two looks at sysfs. A VF's netdev takes milliseconds to seconds.
const POLL: Duration = Duration::from_millis(20);

/// Sets the number of VFs, and reads back that it is so.
///
/// The kernel refuses to change a number that is not 0 to another (`sriov_numvfs_store()` in
/// `drivers/pci/iov.c` answers `EBUSY`), so all VFs are removed first; whatever was set on them goes
/// with them.
///
/// # Errors
/// [`CardError::NoSuchPf`], [`CardError::NoSriov`] and [`CardError::TooManyVfs`] before anything is
/// written; then what the driver answers.
pub fn set_vf_count(sysfs: &Sysfs, pf: PciAddress, wanted: u16) -> Result<(), CardError> {
    let inventory = Inventory::scan(sysfs)?;
    let pf = inventory.pf(pf)?;
    let enabled = check_vf_count(pf, wanted)?;
    let path = sysfs.pci_device(pf.function.address).join("sriov_numvfs");
    if enabled == wanted {
        return Ok(());
    }
    if enabled != 0 && wanted != 0 {
        sysfs::write(&path, "0")?;
    }
    sysfs::write(&path, &wanted.to_string())?;
    let found: u16 = sysfs::require(&path, "a number of VFs")?;
    if found != wanted {
        let what = format!("PF {}: the number of VFs", pf.short_name());
        return Err(CardError::not_applied(what, wanted, found));
    }
    Ok(())
}

/// The number of VFs that are switched on, where `wanted` can be reached from it.
///
/// # Errors
/// [`CardError::NoSriov`], [`CardError::TooManyVfs`].
pub fn check_vf_count(pf: &Pf, wanted: u16) -> Result<u16, CardError> {
    let sriov = pf.require_sriov()?;
    if wanted > sriov.total {
        let total = sriov.total;
        return Err(CardError::TooManyVfs { pf: pf.short_name(), wanted, total });
    }
    Ok(sriov.enabled)
}

/// Whether the kernel offers new VFs to its drivers as they appear.
///
/// # Errors
/// [`CardError::Sysfs`].
pub fn set_drivers_autoprobe(sysfs: &Sysfs, pf: PciAddress, on: bool) -> Result<(), CardError> {
    let path = sysfs.pci_device(pf).join("sriov_drivers_autoprobe");
    Ok(sysfs::write(&path, if on { "1" } else { "0" })?)
}

/// Waits until each VF of `vfs` has a netdev, and returns their names in that order.
///
/// # Errors
/// [`CardError::NoVfNetdev`] naming the first VF that has none at the deadline.
pub fn wait_for_netdevs(
    sysfs: &Sysfs,
    pf: PciAddress,
    vfs: &[VfIndex],
    deadline: Instant,
) -> Result<Vec<String>, CardError> {
    loop {
        match vf_netdevs(sysfs, pf, vfs)? {
            Ok(names) => return Ok(names),
            Err(vf) if Instant::now() >= deadline => return Err(CardError::NoVfNetdev { pf, vf }),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// The VFs' netdevs, or the first VF that has none.
fn vf_netdevs(
    sysfs: &Sysfs,
    pf: PciAddress,
    vfs: &[VfIndex],
) -> Result<Result<Vec<String>, VfIndex>, CardError> {
    let mut names = Vec::new();
    for vf in vfs {
        let net = sysfs.pci_device(pf).join(format!("virtfn{vf}/net"));
        match sysfs::list(&net)?.into_iter().next() {
            Some(name) => names.push(name),
            None => return Ok(Err(*vf)),
        }
    }
    Ok(Ok(names))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::inventory::tree::Tree;

    fn address() -> PciAddress {
        "0000:01:00.0".parse().unwrap()
    }

    fn set(tree: &Tree, wanted: u16) -> Result<String, String> {
        let set = set_vf_count(&tree.sysfs(), address(), wanted);
        let path = tree.sysfs().pci_device(address()).join("sriov_numvfs");
        set.map(|()| fs::read_to_string(path).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn vfs_are_created_and_removed() {
        let tree = Tree::new();
        tree.pf("0000:01:00.0", 7);
        assert_eq!(set(&tree, 4).unwrap().trim(), "4");
        assert_eq!(set(&tree, 0).unwrap().trim(), "0");
    }

    #[test]
    fn more_than_the_total_is_refused_with_the_numbers() {
        let tree = Tree::new();
        tree.pf("0000:01:00.0", 7);
        let error = set(&tree, 8).unwrap_err();
        assert!(
            error.starts_with("PF 0000:01:00.0: 8 VFs were asked for, it can have 7"),
            "{error}"
        );
    }

    #[test]
    fn a_pf_without_sriov_is_refused() {
        let tree = Tree::new();
        tree.function("0000:01:00.0");
        assert!(set(&tree, 1).unwrap_err().contains("has no SR-IOV"));
    }

    #[test]
    fn a_netdev_that_does_not_come_is_named_at_the_deadline() {
        let tree = Tree::new();
        let pf = tree.pf("0000:01:00.0", 7);
        tree.vf(&pf, 0, "0000:01:10.0").netdev("np0v0", 6);
        let vf1 = tree.vf(&pf, 1, "0000:01:10.2");
        let both = [VfIndex(0), VfIndex(1)];
        let wait = || wait_for_netdevs(&tree.sysfs(), address(), &both, Instant::now());
        let error = wait().unwrap_err().to_string();
        assert!(error.starts_with("VF 1 of PF 0000:01:00.0 has no netdev"), "{error}");
        vf1.netdev("np0v1", 7);
        assert_eq!(wait().unwrap(), ["np0v0", "np0v1"]);
    }
}
