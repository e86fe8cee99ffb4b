//! The kernel and the card: inventory, SR-IOV, devlink, representors, TC.
//!
//! A card is a *PF* with *VFs*, PCI functions all. In switchdev mode its embedded switch (the
//! *e-switch*) has a netdev on the host for each of its ports: the *uplink* for the cable, a
//! *representor* for each VF. Filters on these netdevs are what the card forwards by; a packet that
//! no filter takes comes out of the representor of the VF that sent it.
//!
//! | to | see |
//! | --- | --- |
//! | know what cards there are | [`inventory`], [`representor`], [`probe`], [`auxiliary`], [`userspace`] |
//! | be told that something changed | [`events`] |
//! | take a card to switchdev mode and back, with undo | [`transition`] |
//! | change one thing | [`sriov`], [`driver`], [`devlink`], [`ethtool`], [`link`] |
//! | put filters into the card | [`tc`] |
//! | give a VF to a pod and take it back, whatever dies | [`binding`], [`ledger`] |
//!
//! Only this crate speaks to the kernel. All but [`tc`]'s transport blocks, one request at a time with
//! a time-out; async programs call it from a blocking task. Sysfs starts at a root that tests
//! choose; netlink speaks to the network namespace of the thread that opened the connection.

pub mod announce;
pub mod auxiliary;
pub mod binding;
pub mod bridge;
pub mod devlink;
pub mod driver;
pub mod error;
pub mod eswitch;
pub mod ethtool;
pub mod events;
pub mod inventory;
pub mod ledger;
pub mod link;
pub mod netlink;
pub mod netns;
pub mod pci;
pub mod phys_port;
pub mod probe;
pub mod rdma;
pub mod representor;
pub mod route;
pub mod sriov;
pub mod sysfs;
pub mod tc;
mod text;
pub mod transition;
pub mod userspace;

pub use error::CardError;
pub use inventory::Inventory;
pub use pci::PciAddress;
pub use sysfs::Sysfs;
/// The values that [`tc`] carries to the kernel and back.
pub use tc_filter;
pub use tc_filter::{IfIndex, Mac};
