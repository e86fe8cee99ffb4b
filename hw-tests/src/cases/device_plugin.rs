//! The device plugin in front of a kubelet, with VFs that are real PCI devices: nicsim's in switchdev mode,
//! igb's in legacy mode.
//!
//! How it registers, answers and survives is proven on made trees in the plugin's own tests; here it is
//! what only a kernel can show: events, drivers, namespaces, e-switches, device files.

mod faults;
mod given;
mod kills;
mod lab;
mod live;

use super::{Case, Ctx, Kernels};

pub use kills::kill_many;

pub(super) const CASES: &[Case] = &[
    case("device-plugin/switchdev-vfs-are-given", given::switchdev_vfs),
    case("device-plugin/legacy-vfs-go-to-vfio", given::legacy_vfs_to_vfio),
    case("device-plugin/vfs-come-and-go", live::vfs_come_and_go),
    case("device-plugin/a-vf-in-a-pod-is-healthy", live::vf_in_a_pod),
    case("device-plugin/a-new-configuration-drops-no-pod", live::new_configuration),
    case("device-plugin/default-route-is-barred", live::default_route_is_barred),
    case("device-plugin/faults-reach-kubelet", faults::faults_reach_kubelet),
    case("device-plugin/kills", kills::kills),
];

const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}
