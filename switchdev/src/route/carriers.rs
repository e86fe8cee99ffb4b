//! What carries a route's traffic: the netdev it leaves by, those below that, and their PCI functions.
//!
//! A route leaves by a bond, a bridge or a VLAN as often as by a card, so the way goes down by `lower_*`. A
//! function is found by the path of the netdev's directory, for a virtio card's netdev is not its function's
//! but that of a device below it.

use std::collections::BTreeSet;
use std::fs;

use tc_filter::IfIndex;

use crate::pci::PciAddress;
use crate::sysfs::{self, Sysfs, SysfsError};

/// What some routes' traffic goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carriers {
    /// Netdevs by name.
    pub netdevs: BTreeSet<String>,
    /// The PCI functions that they are on.
    pub functions: BTreeSet<PciAddress>,
}

/// What carries the traffic that leaves by these netdevs.
///
/// # Errors
/// [`SysfsError`] where a file holds what the kernel does not write there.
pub fn carriers(sysfs: &Sysfs, routes: &BTreeSet<IfIndex>) -> Result<Carriers, SysfsError> {
    let mut carriers = Carriers::default();
    let mut next = named(sysfs, routes)?;
    while let Some(name) = next.pop() {
        carriers.functions.extend(function(sysfs, &name));
        let lower = sysfs::list(&sysfs.net_device(&name))?.into_iter();
        let lower = lower.filter_map(|entry| entry.strip_prefix("lower_").map(str::to_owned));
        carriers.netdevs.insert(name);
        // A device seen already is not looked at again.
        next.extend(lower.filter(|name| !carriers.netdevs.contains(name)));
    }
    Ok(carriers)
}

/// The netdevs with these numbers.
fn named(sysfs: &Sysfs, routes: &BTreeSet<IfIndex>) -> Result<Vec<String>, SysfsError> {
    let mut found = Vec::new();
    if routes.is_empty() {
        return Ok(found);
    }
    for name in sysfs::list(&sysfs.net_devices())? {
        let ifindex = sysfs.net_device(&name).join("ifindex");
        let ifindex = sysfs::read_as(&ifindex, "an interface number")?;
        if ifindex.is_some_and(|ifindex| routes.contains(&IfIndex(ifindex))) {
            found.push(name);
        }
    }
    Ok(found)
}

/// The function that a netdev's directory is below, the nearest one.
fn function(sysfs: &Sysfs, netdev: &str) -> Option<PciAddress> {
    let path = fs::canonicalize(sysfs.net_device(netdev)).ok()?;
    path.iter().rev().find_map(|part| part.to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// Two ports in a bond with a VLAN on it, and a virtio card behind a bridge.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("class/net")).unwrap();
        let netdevs = [
            ("pci0000:00/0000:00:1c.0/0000:03:00.0/net/eth0", "2"),
            ("pci0000:00/0000:00:1c.0/0000:03:00.1/net/eth1", "3"),
            ("pci0000:00/0000:00:04.0/virtio2/net/eth2", "4"),
            ("virtual/net/bond0", "5"),
            ("virtual/net/bond0.7", "6"),
            ("virtual/net/br0", "7"),
        ];
        for (path, ifindex) in netdevs {
            netdev(dir.path(), path, ifindex);
        }
        let stacked = [
            ("bond0", "eth0"),
            ("bond0", "eth1"),
            ("bond0.7", "bond0"),
            ("br0", "eth2"),
            ("br0", "br0"),
        ];
        for (upper, lower) in stacked {
            let net = dir.path().join("class/net");
            symlink(net.join(lower), net.join(upper).join(format!("lower_{lower}"))).unwrap();
        }
        dir
    }

    fn netdev(root: &Path, path: &str, ifindex: &str) {
        let dir = root.join("devices").join(path);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ifindex"), format!("{ifindex}\n")).unwrap();
        symlink(&dir, root.join("class/net").join(dir.file_name().unwrap())).unwrap();
    }

    fn functions(routes: &[u32]) -> Vec<String> {
        let tree = tree();
        let routes = routes.iter().copied().map(IfIndex).collect();
        let carriers = carriers(&Sysfs::at(tree.path()), &routes).unwrap();
        carriers.functions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_goes_by_the_cards_below_what_it_leaves_by() {
        assert_eq!(functions(&[2]), ["0000:03:00.0"]);
        assert_eq!(functions(&[6]), ["0000:03:00.0", "0000:03:00.1"]);
        assert_eq!(functions(&[7]), ["0000:00:04.0"]);
        assert_eq!(functions(&[]), [""; 0]);
        assert_eq!(functions(&[99]), [""; 0]);
    }

    #[test]
    fn the_netdevs_on_the_way_are_told_too() {
        let tree = tree();
        let carriers = carriers(&Sysfs::at(tree.path()), &[IfIndex(6)].into()).unwrap();
        assert_eq!(
            carriers.netdevs.into_iter().collect::<Vec<_>>(),
            ["bond0", "bond0.7", "eth0", "eth1"]
        );
    }
}
