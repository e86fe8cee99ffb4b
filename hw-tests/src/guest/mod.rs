//! The guest's side of the simulated node: its first process, the runner of cases, and the fixtures that cases build on. A fixture
//! undoes what it did when it is dropped.

pub mod agent;
pub mod cni;
pub mod counters;
pub mod frame;
pub mod igb;
pub mod init;
pub mod kmsg;
pub mod netns;
pub mod nicsim;
pub mod node_state;
pub mod ovs;
pub mod packet_socket;
pub mod runner;
pub mod tool;
pub mod traffic;
pub mod udp;
pub mod veth;
