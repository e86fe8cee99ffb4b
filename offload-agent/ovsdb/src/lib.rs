//! The database of Open vSwitch (RFC 7047), for who watches it and for who changes it.
//!
//! The agent watches, in an async program; the CNI plugin changes, in a process that lives for milliseconds and cannot
//! afford a runtime. They share how messages are cut and written, what can go wrong, and transactions as values:
//!
//! | to | see |
//! | --- | --- |
//! | say what shall change | [`Transaction`], [`value`], [`Condition`] |
//! | change it, and wait until the switch did | [`Client`] |
//! | cut what a server sends into messages | [`JsonStream`], [`message`] |
//!
//! All of a transaction happens or nothing does, and it can be looked at before it is sent.

mod client;
mod error;
mod json_stream;
pub mod message;
mod remote;
mod transaction;
pub mod value;

pub use client::Client;
pub use error::OvsdbError;
pub use json_stream::JsonStream;
pub use remote::{InvalidRemote, Remote};
pub use transaction::{Condition, Mutator, Outcome, Refusal, Transaction, Until, columns};
pub use value::Uuid;

/// The database that `ovs-vswitchd` follows.
pub const OPEN_VSWITCH: &str = "Open_vSwitch";
