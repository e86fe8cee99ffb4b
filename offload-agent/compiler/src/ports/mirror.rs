//! Mirrors: copies of a bridge's packets that OVS sends to one port or into one VLAN.

use std::collections::BTreeSet;

use crate::openflow::OfPort;

/// A mirror of a bridge (`Mirror` of OVSDB).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Its name.
    pub name: String,
    /// Every packet that comes in by any port, whatever the two sets below say.
    pub select_all: bool,
    /// Packets that come in by these ports.
    pub select_src: BTreeSet<OfPort>,
    /// Packets that go out by these ports.
    pub select_dst: BTreeSet<OfPort>,
    /// Only those of these VLANs; empty is all.
    pub select_vlans: BTreeSet<u16>,
    /// Only those that match this (`filter`, from OVS 3.5 on), as it is written.
    pub filter: Option<String>,
    /// Where the copies go.
    pub output: MirrorOutput,
    /// At most so many bytes of each packet.
    pub snaplen: Option<u32>,
}

/// Where a mirror's copies go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MirrorOutput {
    /// Nowhere: the mirror does nothing.
    #[default]
    None,
    /// Out by this port, which then takes nothing else; several numbers are the members of a bond.
    Port(BTreeSet<OfPort>),
    /// Into this VLAN (RSPAN).
    Vlan(u16),
}
