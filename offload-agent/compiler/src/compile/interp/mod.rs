//! What rules and filters *mean*: packet in, fate out. Nothing here is used to compile; it is what compiling is judged by.
//!
//! Both readings work on the same bytes, each with its own parser: [`openflow`] parses as OVS does, [`plan`] as the
//! kernel's flow dissector does. Fates are compared as bytes too, with what is asked of connection tracking.

mod checksum;
mod conntrack;
mod dissect;
mod filters;
mod frame;
mod l4;
mod openflow;
mod ovs;
mod packet;
mod rewrite;

pub use conntrack::{
    Commit, Connection, Conntrack, NatAsked, Oracle, Range, Rewrite, State, Tracking, Translation,
};
pub use dissect::{Dissected, Parser, Tag};
pub use filters::{Filters, Followed, plan};
pub use frame::Frame;
pub use l4::{Endpoint, Tuple};
pub use openflow::{
    Doubt, Effects, Expected, Hop, Limit, MAX_WAYS, Outcome, World, openflow, outcomes, tunnel_port,
};
pub use ovs::{View, view as ovs_view};
pub use packet::{Delivery, Egress, Packet, TunnelHeader};

/// What filters do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches OVS as it came.
    Ovs,
    /// It ends here.
    Delivered(Effects),
    /// It reaches OVS, but not as it came, or after copies have left: never right.
    Spoiled,
}

impl Fate {
    /// Whether this is right for a packet that OVS alone would treat as expected: the same end, or left to OVS.
    pub fn agrees(&self, expected: &Expected) -> bool {
        match (self, expected) {
            (Fate::Ovs, _) => true,
            (Fate::Delivered(effects), Expected::Delivered(wanted)) => effects == wanted,
            (Fate::Delivered(_), Expected::Unknown(_)) | (Fate::Spoiled, _) => false,
        }
    }
}
