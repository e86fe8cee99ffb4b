//! Compiles an Open vSwitch ruleset to TC flower filters, with a verdict for every rule.
//!
//! ```text
//! openflow: Ruleset ─┐
//! ports: PortMap ────┼─► compile ─► plan: Plan + compile::verdict: Vec<Verdict>
//! capabilities ──────┘
//! ```
//!
//! The crate is pure: no I/O, no clock, no environment. What it depends on proves it.

pub mod capabilities;
pub mod compile;
pub mod openflow;
pub mod plan;
pub mod ports;

pub use compile::{Compiled, compile};
