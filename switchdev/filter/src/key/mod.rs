//! What a flower filter can match on, one file a protocol layer.
//!
//! A key that is `None` matches everything. Numbers are in host order here; the codec knows which
//! of them the kernel wants in network order.

mod arp;
mod ct;
mod ethernet;
mod icmp;
mod ip;
mod l4;
mod tunnel;
mod vlan;

pub use arp::ArpKey;
pub use ct::{CtKey, CtState};
pub use ethernet::EthKey;
pub use icmp::IcmpKey;
pub use ip::{FragKey, IpKey, IpMatch};
pub use l4::{L4Key, PortMatch, PortRange, PortRangeError};
pub use tunnel::EncKey;
pub use vlan::VlanKey;

/// Which packets a filter takes: all keys that are given must agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FlowerMatch {
    /// Ethernet addresses.
    pub eth: EthKey,
    /// The outer VLAN tag.
    pub vlan: VlanKey,
    /// The inner VLAN tag.
    pub cvlan: VlanKey,
    /// ARP.
    pub arp: ArpKey,
    /// IPv4 and IPv6.
    pub ip: IpKey,
    /// Ports of TCP, UDP and SCTP, and the flags of TCP.
    pub l4: L4Key,
    /// ICMP and ICMPv6.
    pub icmp: IcmpKey,
    /// The tunnel header that the packet came with.
    pub enc: EncKey,
    /// What connection tracking knows about the packet.
    pub ct: CtKey,
}

impl FlowerMatch {
    /// Leaves out what matches everything.
    #[must_use]
    pub fn normalized(self) -> Self {
        Self {
            eth: self.eth.normalized(),
            vlan: self.vlan,
            cvlan: self.cvlan,
            arp: self.arp.normalized(),
            ip: self.ip.normalized(),
            l4: self.l4.normalized(),
            icmp: self.icmp.normalized(),
            enc: self.enc.normalized(),
            ct: self.ct.normalized(),
        }
    }
}

/// Leaves out a mask without a bit.
fn said<T: crate::Bits>(key: Option<crate::Masked<T>>) -> Option<crate::Masked<T>> {
    key.and_then(crate::Masked::unless_any)
}
