//! Keeps TC-flower filters that mirror an Open vSwitch ruleset.
//!
//! ```text
//! OVSDB, OpenFlow ─► ovs ─► flow_compiler::compile ─► reconcile ─► switchdev::tc ─► the card
//!                                                                     │
//!                               status, metrics ◄── dump: in_hw, counters, refusals
//! ```
//!
//! Only [`cli`] talks to people.

pub mod agent;
pub mod cli;
pub mod config;
pub mod ovs;
pub mod reconcile;
pub mod report;
