//! What rules and filters *mean*: packet in, fate out. Nothing here is used to compile; it is what compiling is judged by.
//!
//! Both readings work on the same bytes, each with its own parser: [`openflow`] parses as OVS does, [`plan`] and
//! [`flower`] as the kernel's flow dissector does. Fates are compared as bytes too.

mod dissect;
mod filters;
mod frame;
mod openflow;
mod ovs;

pub use dissect::{Dissected, Parser, Tag};
pub use filters::{flower, plan};
pub use frame::Frame;
pub use openflow::{Expected, openflow};
pub use ovs::{View, view as ovs_view};

use crate::openflow::OfPort;

/// A packet that leaves by a port.
pub type Delivery = (OfPort, Frame);

/// What filters do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches OVS as it came.
    Ovs,
    /// It leaves by these ports; by none if it is dropped.
    Delivered(Vec<Delivery>),
    /// It reaches OVS, but not as it came, or after copies have left: never right.
    Spoiled,
}

impl Fate {
    /// Whether this is right for a packet that OVS alone would treat as expected: the same end, or left to OVS.
    pub fn agrees(&self, expected: &Expected) -> bool {
        match (self, expected) {
            (Fate::Ovs, _) => true,
            (Fate::Delivered(out), Expected::Delivered(wanted)) => out == wanted,
            (Fate::Delivered(_), Expected::Unknown) | (Fate::Spoiled, _) => false,
        }
    }
}
