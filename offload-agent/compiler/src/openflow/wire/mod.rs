//! OpenFlow 1.5 on the wire: bytes to values and back, without I/O.
//!
//! Version 1.5 because there a field is written in one way, with its mask, and because its flow monitor is in the
//! standard's own form. What the switch sends and this program does not know is kept as
//! [`Unsupported`](super::Unsupported); bytes that are not OpenFlow are a [`DecodeError`].

mod action;
mod choose;
mod controller;
mod copy_field;
mod ct;
mod encap;
mod error;
mod flow;
mod group;
mod instruction;
mod learn;
mod matches;
mod message;
mod nicira;
mod oxm;
mod port;
mod reader;

pub use error::DecodeError;
pub use message::{
    HEADER_LEN, Header, Message, Part, VERSION, Xid, barrier_request, decode, echo_reply,
    echo_request, features_request, flow_desc_request, flow_monitor_request, group_desc_request,
    hello, meter_config_request, port_desc_request, tunnel_options_request,
    watch_groups_and_meters,
};
pub use port::{PortDesc, PortReason};
