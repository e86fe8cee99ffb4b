//! Netlink as this crate speaks it: attributes, messages, and the sockets under them.
//!
//! [`attr`] and [`message`] are pure: bytes to values and back, and never a panic whatever the
//! bytes. [`request`] is a blocking connection for questions and small changes, one at a time and
//! each with a time-out; async programs call it from a blocking task. [`bulk`] sends thousands of
//! changes in few system calls and tells which of them failed. [`generic`] adds what families
//! with names need, devlink and ethtool here.

pub(crate) mod attr;
pub(crate) mod bulk;
pub(crate) mod error;
pub(crate) mod generic;
pub(crate) mod message;
pub(crate) mod request;

pub use error::NetlinkError;
