//! The agent's only door to Open vSwitch: rules over OpenFlow, ports over OVSDB.
//!
//! Both clients watch and never change anything. Each is one connection; who uses it connects again when it ends, and
//! starts from the first dump.

pub mod ofconn;
pub mod ovsdb;
pub mod rows;

pub use ofconn::{BridgeEvent, OfConn, OfError};
pub use ovsdb::OvsdbConn;
pub use ovsdb_client::OvsdbError;
