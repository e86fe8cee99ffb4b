//! nicsim is what it says: PCI functions, devlink, both e-switch modes, and faults when asked for.

mod devlink;
mod faults;
mod legacy;
mod pci;
mod switchdev;

use std::path::Path;

use super::{Case, Kernels};

pub(super) const CASES: &[Case] = &[
    all("nicsim-pci/pf-appears", pci::pf_appears),
    all("nicsim-pci/vfs-by-numvfs", pci::vfs_by_numvfs),
    all("nicsim-pci/wrong-numvfs-is-refused", pci::wrong_numvfs_is_refused),
    all("nicsim-pci/autoprobe-off-leaves-vfs-unbound", pci::autoprobe_off),
    all("nicsim-pci/vf-to-vfio-and-back", pci::vf_to_vfio_and_back),
    all("nicsim-pci/hot-unplug", pci::hot_unplug),
    all("nicsim-pci/second-pf-stays-with-igb", pci::second_pf_stays_with_igb),
    all("nicsim-devlink/info", devlink::info),
    all("nicsim-devlink/modes-are-kept", devlink::modes_are_kept),
    all("nicsim-devlink/ports-name-their-netdevs", devlink::ports_name_their_netdevs),
    all("nicsim-devlink/port-function-mac", devlink::port_function_mac),
    all("nicsim-devlink/port-function-state", devlink::port_function_state),
    all("nicsim-devlink/rates", devlink::rates),
    all("nicsim-legacy/bridges-pf-vfs-and-wire", legacy::bridges),
    all("nicsim-legacy/vf-vlan", legacy::vf_vlan),
    all("nicsim-legacy/spoofchk", legacy::spoofchk),
    all("nicsim-legacy/mac-and-trust", legacy::mac_and_trust),
    all("nicsim-legacy/link-state", legacy::link_state),
    all("nicsim-legacy/settings-are-returned", legacy::settings_are_returned),
    all("nicsim-switchdev/representors", switchdev::representors),
    all("nicsim-switchdev/slow-path", switchdev::slow_path),
    all("nicsim-switchdev/mtu", switchdev::mtu),
    all("nicsim-switchdev/legacy-settings-are-refused", switchdev::legacy_settings_are_refused),
    all("nicsim-switchdev/filters-pin-settings", switchdev::filters_pin_settings),
    all("nicsim-switchdev/vfs-come-and-go", switchdev::vfs_come_and_go),
    all("nicsim-switchdev/pods-survive-mode-changes", switchdev::pods_survive_mode_changes),
    all("nicsim-faults/eswitch-change-fails", faults::eswitch_change_fails),
    all("nicsim-faults/firmware-hang", faults::firmware_hang),
    all("nicsim-faults/slow-netdevs", faults::slow_netdevs),
    all("nicsim-faults/unnamed-representors", faults::unnamed_representors),
    all("nicsim-faults/link-down", faults::link_down),
    all("nicsim-faults/function-level-reset", faults::function_level_reset),
    all("nicsim-faults/wrong-values-are-refused", faults::wrong_values_are_refused),
];

const fn all(name: &'static str, run: fn(&mut super::Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}

/// Whether a netdev of that name is in the initial namespace.
fn present(netdev: &str) -> bool {
    net(netdev).exists()
}

/// A netdev in sysfs.
fn net(netdev: &str) -> std::path::PathBuf {
    Path::new("/sys/class/net").join(netdev)
}
