//! What kinds of packets there are: by tunnel key, tag, protocol, and what connection tracking found.
//!
//! The classes of a port are disjoint, and every packet is in one. They are as fine as an operator asks, and the filters of the port say
//! which VLANs and tunnel keys are worth a class of their own.

use std::collections::BTreeSet;
use std::fmt;

use tc_filter::key::CtState;
use tc_filter::{EtherType, IpProto};

use crate::compile::ir::{Key, KeyField, UNTAGGED};
use crate::openflow::Masked;

/// So many VLANs are told apart; of more, only that there is a tag.
const MOST_VLANS: usize = 16;
/// The bit of an address that is for many.
const GROUP: Masked = Masked { value: 0x0100_0000_0000, mask: 0x0100_0000_0000 };

/// Some packets of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// How they come in.
    pub lane: Lane,
    /// What they are.
    pub kind: Kind,
    /// What connection tracking says of them, where filters ask it.
    pub connection: Option<Connection>,
}

/// How packets come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// In which tunnel, at a tunnel's device.
    pub tunnel: Option<Tunnel>,
    /// Behind which VLAN tag.
    pub tag: Tag,
}

/// The key of the tunnel that packets come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tunnel {
    /// This one.
    Key(u32),
    /// One that no filter names.
    Other,
}

/// The outer VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// None.
    Untagged,
    /// 802.1Q of this VLAN.
    Vlan(u16),
    /// 802.1Q of a VLAN that no filter names.
    Dot1q,
    /// 802.1ad.
    Dot1ad,
}

/// What packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IP packets for one receiver.
    Ip(Family, Protocol),
    /// ARP, for one or for all.
    Arp,
    /// What is for many or for all, but ARP.
    Multicast,
    /// Other EtherTypes, frames with a length, and what has one tag more.
    Other,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are called by their names")]
pub enum Family {
    IPv4,
    IPv6,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A whole TCP segment.
    Tcp,
    /// A whole UDP datagram.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// Any other protocol.
    Other,
    /// A fragment of whatever it is.
    Fragment,
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connection {
    /// It is of an established connection in every zone that is asked.
    Established,
    /// In the first zone that is asked it is new, related or invalid.
    New,
    /// In the first zone it is of an established connection, and in a later one it is not.
    NewLater,
}

/// Packets as a key, without those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) key: Key,
    pub(super) but: Vec<Key>,
}

impl Region {
    /// The packets of the region that a key takes; `None` if there are none.
    pub(super) fn and(&self, key: &Key) -> Option<Key> {
        let both = self.key.and(key)?;
        (!self.but.iter().any(|but| but.covers(&both))).then_some(both)
    }
}

impl Kind {
    /// All kinds, in the order in which they are told.
    pub(super) fn all() -> impl Iterator<Item = Kind> {
        let ip = Kind::of(Family::IPv4).chain(Kind::of(Family::IPv6));
        ip.chain([Kind::Arp, Kind::Multicast, Kind::Other])
    }

    /// Those of a family.
    pub(super) fn of(family: Family) -> impl Iterator<Item = Kind> {
        use Protocol::{Fragment, Icmp, Other, Tcp, Udp};
        [Tcp, Udp, Icmp, Other, Fragment].into_iter().map(move |what| Kind::Ip(family, what))
    }

    /// Whether a card tracks the connections of such packets.
    pub(super) fn is_tracked(self) -> bool {
        matches!(self, Kind::Ip(_, Protocol::Tcp | Protocol::Udp))
    }

    /// Its packets among those of a lane.
    pub(super) fn within(self, lane: &Region) -> Region {
        let Region { key, mut but } = lane.clone();
        but.extend(self.but());
        Region { key: self.narrow(key), but }
    }

    fn narrow(self, key: Key) -> Key {
        let whole = |key: Key| key.with(KeyField::Frag, 0).with(KeyField::FirstFrag, 0);
        let single = |key: Key| key.with_masked(KeyField::DstMac, Masked { value: 0, ..GROUP });
        match self {
            Kind::Arp => key.with(KeyField::EthType, EtherType::ARP.0.into()),
            Kind::Multicast => key.with_masked(KeyField::DstMac, GROUP),
            Kind::Other => whole(single(key)),
            Kind::Ip(family, protocol) => {
                let key = single(key.with(KeyField::EthType, family.ethertype().into()));
                match (protocol, family.number(protocol)) {
                    (Protocol::Fragment, _) => key.with(KeyField::Frag, 1),
                    (_, Some(number)) => whole(key).with(KeyField::IpProto, number.0.into()),
                    (_, None) => whole(key),
                }
            }
        }
    }

    fn but(self) -> Vec<Key> {
        let ethertypes = |types: &[EtherType]| -> Vec<Key> {
            types.iter().map(|one| Key::any().with(KeyField::EthType, one.0.into())).collect()
        };
        match self {
            Kind::Ip(family, Protocol::Other) => [Protocol::Tcp, Protocol::Udp, Protocol::Icmp]
                .into_iter()
                .filter_map(|known| family.number(known))
                .map(|number| Key::any().with(KeyField::IpProto, number.0.into()))
                .collect(),
            Kind::Other => ethertypes(&[EtherType::ARP, EtherType::IPV4, EtherType::IPV6]),
            Kind::Multicast => ethertypes(&[EtherType::ARP]),
            Kind::Arp | Kind::Ip(..) => Vec::new(),
        }
    }
}

impl Family {
    fn ethertype(self) -> u16 {
        match self {
            Family::IPv4 => EtherType::IPV4.0,
            Family::IPv6 => EtherType::IPV6.0,
        }
    }

    fn number(self, protocol: Protocol) -> Option<IpProto> {
        match (self, protocol) {
            (_, Protocol::Tcp) => Some(IpProto::TCP),
            (_, Protocol::Udp) => Some(IpProto::UDP),
            (Family::IPv4, Protocol::Icmp) => Some(IpProto::ICMP),
            (Family::IPv6, Protocol::Icmp) => Some(IpProto::ICMPV6),
            (_, Protocol::Other | Protocol::Fragment) => None,
        }
    }
}

/// The lanes of a port, by what its filters ask for.
pub(super) fn lanes<'a>(asked: impl Iterator<Item = &'a Key> + Clone) -> Vec<(Lane, Region)> {
    let values = |field: KeyField| -> BTreeSet<u128> {
        asked.clone().filter_map(|key| key.exact(field)).collect()
    };
    let tunnels = tunnels(&values(KeyField::EncKeyId));
    let tags = tags(&values(KeyField::VlanId));
    let mut lanes = Vec::new();
    for (tunnel, of_tunnel) in &tunnels {
        for (tag, of_tag) in &tags {
            let Some(key) = of_tunnel.key.and(&of_tag.key) else { continue };
            let but = of_tunnel.but.iter().chain(&of_tag.but).cloned().collect();
            lanes.push((Lane { tunnel: *tunnel, tag: *tag }, Region { key, but }));
        }
    }
    lanes
}

fn tunnels(keys: &BTreeSet<u128>) -> Vec<(Option<Tunnel>, Region)> {
    let of = |id: u128| Key::any().with(KeyField::EncKeyId, id);
    if keys.is_empty() {
        return vec![(None, Region { key: Key::any(), but: Vec::new() })];
    }
    let named = keys.iter().filter_map(|id| {
        let tunnel = Some(Tunnel::Key(u32::try_from(*id).ok()?));
        Some((tunnel, Region { key: of(*id), but: Vec::new() }))
    });
    let other = Region { key: Key::any(), but: keys.iter().map(|id| of(*id)).collect() };
    named.chain([(Some(Tunnel::Other), other)]).collect()
}

fn tags(vlans: &BTreeSet<u128>) -> Vec<(Tag, Region)> {
    let tpid = |value: u128| Key::any().with(KeyField::Tpid, value);
    let dot1q = || tpid(EtherType::VLAN.0.into());
    let of = |id: u128| Key::any().with(KeyField::VlanId, id);
    let vlans: Vec<u128> = vlans.iter().copied().filter(|_| vlans.len() <= MOST_VLANS).collect();
    let plain = |key: Key| Region { key, but: Vec::new() };
    // What follows the addresses of an untagged packet is no tag.
    let tags = [EtherType::VLAN, EtherType::QINQ];
    let tags = tags.map(|tag| Key::any().with(KeyField::EthType, tag.0.into()));
    let mut all = vec![(Tag::Untagged, Region { key: tpid(UNTAGGED), but: tags.to_vec() })];
    all.extend(vlans.iter().filter_map(|id| {
        let key = dot1q().with(KeyField::VlanId, *id);
        Some((Tag::Vlan(u16::try_from(*id).ok()?), plain(key)))
    }));
    let but = vlans.iter().map(|id| of(*id)).collect();
    all.push((Tag::Dot1q, Region { key: dot1q(), but }));
    all.push((Tag::Dot1ad, plain(tpid(EtherType::QINQ.0.into()))));
    all
}

impl Connection {
    /// What the next zone may answer of a packet of which earlier ones have said this.
    pub(super) fn next(before: Option<Connection>) -> &'static [Connection] {
        match before {
            None => &[Connection::Established, Connection::New],
            Some(Connection::Established) => &[Connection::Established, Connection::NewLater],
            Some(Connection::New) => &[Connection::New],
            Some(Connection::NewLater) => &[Connection::NewLater],
        }
    }

    /// What flower sees of a packet's state in the first zone in which it is so.
    pub(super) fn state(self) -> Masked {
        let bits = |states: &[CtState]| states.iter().fold(0, |all, one| all | u128::from(one.0));
        match self {
            Connection::Established => Masked {
                value: bits(&[CtState::TRK, CtState::EST]),
                mask: bits(&[CtState::TRK, CtState::EST, CtState::NEW, CtState::REL, CtState::INV]),
            },
            Connection::New | Connection::NewLater => {
                Masked { value: bits(&[CtState::TRK]), mask: bits(&[CtState::TRK, CtState::EST]) }
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.lane, self.traffic())
    }
}

impl Class {
    /// What packets they are, however they come in.
    pub fn traffic(&self) -> String {
        match self.connection {
            None => self.kind.to_string(),
            Some(connection) => format!("{} {connection}", self.kind),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tunnel {
            None => self.tag.fmt(f),
            Some(tunnel) => write!(f, "{tunnel} {}", self.tag),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tunnel::Key(key) => write!(f, "key {key}"),
            Tunnel::Other => f.write_str("other keys"),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Untagged => f.write_str("untagged"),
            Tag::Vlan(id) => write!(f, "VLAN {id}"),
            Tag::Dot1q => f.write_str("802.1Q"),
            Tag::Dot1ad => f.write_str("802.1ad"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Ip(Family::IPv6, Protocol::Icmp) => f.write_str("ICMPv6"),
            Kind::Ip(family, protocol) => write!(f, "{family:?} {protocol}"),
            Kind::Arp => f.write_str("ARP"),
            Kind::Multicast => f.write_str("multicast"),
            Kind::Other => f.write_str("other EtherTypes"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Icmp => "ICMP",
            Protocol::Other => "other protocols",
            Protocol::Fragment => "fragments",
        })
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Connection::Established => "established",
            Connection::New => "new",
            Connection::NewLater => "new in a later zone",
        })
    }
}
