//! Compiles an Open vSwitch ruleset to TC flower filters.

pub mod openflow;
pub mod ports;
