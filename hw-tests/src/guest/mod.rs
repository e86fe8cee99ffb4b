//! The guest's side of the simulated node.

pub mod init;
pub mod kmsg;
pub mod runner;
