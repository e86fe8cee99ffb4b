//! The agent's only door to Open vSwitch: rules over OpenFlow, ports over OVSDB, learned addresses over the control socket.
//!
//! The clients watch and never change anything. Each is one connection; who uses it connects again when it ends, and
//! starts from the first dump.

mod link;
pub mod ofconn;
pub mod ovsdb;
pub mod rows;
pub mod unixctl;

pub use ofconn::{BridgeEvent, OfConn, OfError};
pub use ovsdb::OvsdbConn;
pub use ovsdb_client::OvsdbError;
pub use unixctl::{Unixctl, UnixctlError};
