//! The CNI plugin on the node: the keys of a NetConf in legacy mode, and who may send what on an OVS bridge.
//!
//! Each NetConf is added, looked at, checked and deleted, and after it the node is as it was before, to the byte. IPAM is
//! by Debian's containernetworking-plugins. The plugin is called as a library, for starting a process is dear in the
//! guest; one case runs the program.

mod legacy;
mod pod;
mod program;
mod switchdev;
mod table;
mod userspace;

use super::{Case, Kernels};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "cni/a-pod-has-only-its-own-addresses",
        kernels: Kernels::All,
        run: switchdev::own_addresses_only,
    },
    Case {
        name: "cni/netconfs-on-nicsim-in-legacy-mode",
        kernels: Kernels::All,
        run: legacy::netconfs_on_nicsim,
    },
    Case { name: "cni/netconfs-with-vfio-pci", kernels: Kernels::All, run: userspace::netconfs },
    Case {
        name: "cni/the-program-answers-as-the-library",
        kernels: Kernels::All,
        run: program::answers,
    },
];
