//! ARP for IPv4 over Ethernet. It needs `protocol arp`.

use std::net::Ipv4Addr;

use super::said;
use crate::{Mac, Masked};

/// ARP for IPv4 over Ethernet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ArpKey {
    /// Operation: 1 asks, 2 answers. The kernel keeps its lower eight bits only.
    pub op: Option<Masked<u8>>,
    /// Sender's IPv4 address.
    pub sip: Option<Masked<Ipv4Addr>>,
    /// Target's IPv4 address.
    pub tip: Option<Masked<Ipv4Addr>>,
    /// Sender's Ethernet address.
    pub sha: Option<Masked<Mac>>,
    /// Target's Ethernet address.
    pub tha: Option<Masked<Mac>>,
}

impl ArpKey {
    pub(super) fn normalized(self) -> Self {
        Self {
            op: said(self.op),
            sip: said(self.sip),
            tip: said(self.tip),
            sha: said(self.sha),
            tha: said(self.tha),
        }
    }
}
