//! The steps of an attachment that are not the card's: addresses from IPAM, the representor's port on its bridge, the
//! rules that hold the pod to its own addresses, and the pod's own side of them.
//!
//! Each step is a value that the ledger keeps before the step is taken, so that whoever finds it can take it back
//! without the configuration it came from.

mod complement;
mod ipam;
mod linux;
mod openflow;
mod ovs;
mod pod;
mod rules;
mod steps;

pub use ipam::{Delegate, IpamError};
pub use linux::BridgePort;
pub use ovs::{OWNER, OvsPort, Tagging};
pub use pod::PodSide;
pub use rules::PortRules;
pub use steps::{Step, Steps};
