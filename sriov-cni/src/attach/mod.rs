//! The steps of an attachment that are not the card's: addresses from IPAM, the representor's port on its bridge, the
//! rules that hold the pod to its own addresses, and the pod's own side of them.
//!
//! Each step is a value that the ledger keeps before the step is taken, so that whoever finds it can take it back
//! without the configuration it came from.

mod complement;
mod device_info;
mod ipam;
mod linux;
mod mend;
mod openflow;
mod ovs;
mod ovs_check;
mod pod;
mod rules;
mod steps;
mod sweep;

pub use device_info::{DeviceInfo, DeviceInfoError};
pub(crate) use ipam::with_ips;
pub use ipam::{Delegate, IpamError};
pub use linux::BridgePort;
pub(crate) use linux::is_bridge;
pub(crate) use mend::{Shortfall, shortfall};
pub use openflow::OpenFlowError;
pub use ovs::{OWNER, OvsError, OvsPort, Tagging};
pub use pod::PodSide;
pub(crate) use pod::{open as open_netns, routes_of as pod_routes};
pub use rules::{PortRules, is_port_rule, rules_on};
pub use steps::{Step, Steps, ipam_result};
pub(crate) use sweep::{remove_of, sweep};
