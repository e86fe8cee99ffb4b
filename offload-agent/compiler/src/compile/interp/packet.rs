//! A packet with what travels beside its bytes, and where packets go.

use std::net::IpAddr;

use tc_filter::GeneveOption;

use super::Frame;
use crate::compile::ir::Ingress;

/// A packet as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Its bytes; of a packet from a tunnel, what was inside.
    pub frame: Frame,
    /// The tunnel header it came with.
    pub tunnel: Option<TunnelHeader>,
}

impl From<Frame> for Packet {
    fn from(frame: Frame) -> Packet {
        Packet { frame, tunnel: None }
    }
}

impl Frame {
    /// The packet with these bytes and nothing beside them.
    pub fn packet(&self) -> Packet {
        Packet::from(self.clone())
    }
}

/// A tunnel header: taken off on the way in, to be put on on the way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunnelHeader {
    /// VNI or GRE key; `None` if the header has none.
    pub id: Option<u64>,
    /// Outer source; unspecified on the way out if the kernel shall choose.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
    /// Outer type of service.
    pub tos: u8,
    /// Outer time to live.
    pub ttl: u8,
    /// Outer UDP source port; 0 on the way out, where the kernel chooses.
    pub src_port: u16,
    /// Outer UDP destination port; 0 on the way in, where it is that of the device.
    pub dst_port: u16,
    /// Whether the outer header has a checksum.
    pub csum: bool,
    /// Whether the outer header forbids fragments.
    pub no_frag: bool,
    /// Geneve options, in order.
    pub options: Vec<GeneveOption>,
}

/// A packet that leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// By which port.
    pub to: Egress,
    /// Its bytes.
    pub frame: Frame,
    /// The tunnel header to put around them.
    pub tunnel: Option<TunnelHeader>,
}

/// Where a packet leaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Egress {
    /// By a port.
    Port(Ingress),
    /// By the kernel's device for tunnels of a kind (`genev_sys_6081`); the header says whereto.
    Tunnel(String),
}
