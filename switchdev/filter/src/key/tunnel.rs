//! The tunnel header a packet came with, on a tunnel device or before `tunnel_key unset`.

use super::{IpMatch, said};
use crate::{GeneveOptionMatch, Masked, TunnelKeyId};

/// The tunnel header a packet came with: the `enc_*` keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EncKey {
    /// VNI or GRE key; flower takes no mask here.
    pub id: Option<TunnelKeyId>,
    /// Outer source address.
    pub src: Option<IpMatch>,
    /// Outer destination address.
    pub dst: Option<IpMatch>,
    /// Outer UDP source port.
    pub src_port: Option<Masked<u16>>,
    /// Outer UDP destination port.
    pub dst_port: Option<Masked<u16>>,
    /// Outer type of service.
    pub tos: Option<Masked<u8>>,
    /// Outer time to live.
    pub ttl: Option<Masked<u8>>,
    /// Geneve options. The packet must carry this list and no other option.
    pub geneve: Vec<GeneveOptionMatch>,
}

impl EncKey {
    pub(super) fn normalized(self) -> Self {
        Self {
            src: self.src.filter(|address| !address.is_any()),
            dst: self.dst.filter(|address| !address.is_any()),
            src_port: said(self.src_port),
            dst_port: said(self.dst_port),
            tos: said(self.tos),
            ttl: said(self.ttl),
            ..self
        }
    }
}
