//! The kernel and the card: inventory, SR-IOV, devlink, representors, TC.

pub mod devlink;
pub mod driver;
pub mod error;
pub mod eswitch;
pub mod ethtool;
pub mod inventory;
pub mod link;
pub mod netlink;
pub mod pci;
pub mod phys_port;
pub mod probe;
pub mod representor;
pub mod route;
pub mod sriov;
pub mod sysfs;
pub mod tc;
pub mod transition;

pub use error::CardError;
pub use inventory::Inventory;
pub use pci::PciAddress;
pub use sysfs::Sysfs;
pub use tc_filter::{IfIndex, Mac};
