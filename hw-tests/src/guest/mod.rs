//! The guest's side of the simulated node.

pub mod init;
