//! Filters as netlink messages, both ways.
//!
//! `netlink-packet-route` knows the frame of a TC message and the byte order of every flower key;
//! its types stay inside this module. What it does not know (most actions, Geneve options) is
//! written here, one file each. Whatever a message says that is not understood makes it
//! [`Unreadable`]: leaving a key out would make the filter look wider than it is.

mod action;
mod attrs;
mod flower;
mod geneve;
#[cfg(test)]
mod goldens;
mod message;
mod stats;

pub(crate) use message::{decode, dump_message, filter_message, id_message};

use std::fmt;

/// What in a message is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl Unreadable {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}
