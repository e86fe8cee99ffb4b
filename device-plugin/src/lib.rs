//! Advertises the virtual functions of a node to kubelet, in pools that are true.
//!
//! ```text
//! sysfs, netlink ─► device ─┐
//! configuration  ─► config ─┼─► pool ─► kubelet (gRPC) ─► allocate ─► answer, ledger
//! ledger, kubelet ─► holds ─┘             preferred
//! ```
//!
//! Everything between reading and answering is a function from values to values: [`pool`],
//! [`preferred`] and [`answer`] can be tried on a sysfs tree made by hand. [`daemon`] runs it all,
//! [`cli`] talks to people.

pub mod allocate;
pub mod answer;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod device;
pub mod holds;
pub mod kubelet;
pub mod metrics;
pub mod pool;
pub mod preferred;
