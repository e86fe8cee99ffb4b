//! The guest's side of the simulated node.

pub mod init;
pub mod kmsg;
pub mod netns;
pub mod nicsim;
pub mod runner;
pub mod tool;
pub mod udp;
