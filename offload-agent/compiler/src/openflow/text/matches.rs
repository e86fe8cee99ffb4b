//! The match of a rule as `ovs-ofctl` writes it, with its shorthands (`tcp6` for two fields) and its fields whose meaning
//! depends on the protocol (`tp_src`).

use std::fmt;

use super::error::{ParseError, Problem};
use super::flags::FlagSet;
use super::names::Names;
use super::token::Token;
use super::value::{self, Hex, Value};
use crate::openflow::{
    Field, Masked, Match, MatchField, Notation, Prerequisite, Unsupported, VLAN_PRESENT,
};

const ETH_TYPE_IP: u128 = 0x0800;
const ETH_TYPE_ARP: u128 = 0x0806;
const ETH_TYPE_RARP: u128 = 0x8035;
const ETH_TYPE_IPV6: u128 = 0x86dd;
const ETH_TYPE_MPLS: u128 = 0x8847;
const ETH_TYPE_MPLS_MCAST: u128 = 0x8848;
const ETH_TYPE_NSH: u128 = 0x894f;
const PROTO_ICMP: u128 = 1;
const PROTO_TCP: u128 = 6;
const PROTO_UDP: u128 = 17;
const PROTO_ICMPV6: u128 = 58;
const PROTO_SCTP: u128 = 132;
const ND_SOLICIT: u128 = 135;
const ND_ADVERT: u128 = 136;
/// The name space of packet types that are Ethernet types.
const PACKET_TYPE_ETHERTYPE: u128 = 1 << 16;

/// What OpenFlow 1.0 writes for a packet without a tag, `dl_vlan=0xffff`.
const DL_VLAN_NONE: u16 = 0xffff;
const VLAN_VID_MAX: u128 = 0xfff;

/// One word for an Ethernet type and, perhaps, an IP protocol.
struct Shorthand {
    word: &'static str,
    eth_type: u128,
    proto: Option<u128>,
}

const fn shorthand(word: &'static str, eth_type: u128, proto: Option<u128>) -> Shorthand {
    Shorthand { word, eth_type, proto }
}

const SHORTHANDS: [Shorthand; 14] = [
    shorthand("ip", ETH_TYPE_IP, None),
    shorthand("icmp", ETH_TYPE_IP, Some(PROTO_ICMP)),
    shorthand("tcp", ETH_TYPE_IP, Some(PROTO_TCP)),
    shorthand("udp", ETH_TYPE_IP, Some(PROTO_UDP)),
    shorthand("sctp", ETH_TYPE_IP, Some(PROTO_SCTP)),
    shorthand("ipv6", ETH_TYPE_IPV6, None),
    shorthand("icmp6", ETH_TYPE_IPV6, Some(PROTO_ICMPV6)),
    shorthand("tcp6", ETH_TYPE_IPV6, Some(PROTO_TCP)),
    shorthand("udp6", ETH_TYPE_IPV6, Some(PROTO_UDP)),
    shorthand("sctp6", ETH_TYPE_IPV6, Some(PROTO_SCTP)),
    shorthand("arp", ETH_TYPE_ARP, None),
    shorthand("rarp", ETH_TYPE_RARP, None),
    shorthand("mpls", ETH_TYPE_MPLS, None),
    shorthand("mplsm", ETH_TYPE_MPLS_MCAST, None),
];

/// A word whose field depends on the rest of the match: which fields it may be.
struct Contextual {
    word: &'static str,
    candidates: &'static [Field],
    needs: &'static str,
}

const CONTEXTUAL: [Contextual; 7] = [
    Contextual {
        word: "tp_src",
        candidates: &[Field::TcpSrc, Field::UdpSrc, Field::SctpSrc],
        needs: "tcp, udp or sctp",
    },
    Contextual {
        word: "tp_dst",
        candidates: &[Field::TcpDst, Field::UdpDst, Field::SctpDst],
        needs: "tcp, udp or sctp",
    },
    Contextual {
        word: "icmp_type",
        candidates: &[Field::IcmpType, Field::Icmpv6Type],
        needs: "icmp or icmp6",
    },
    Contextual {
        word: "icmp_code",
        candidates: &[Field::IcmpCode, Field::Icmpv6Code],
        needs: "icmp or icmp6",
    },
    Contextual { word: "nw_src", candidates: &[Field::IpSrc, Field::ArpSpa], needs: "ip or arp" },
    Contextual { word: "nw_dst", candidates: &[Field::IpDst, Field::ArpTpa], needs: "ip or arp" },
    Contextual {
        word: "nw_proto",
        candidates: &[Field::NwProto, Field::ArpOp],
        needs: "ip, ipv6 or arp",
    },
];

/// Reads the words of a match, in any order.
pub(super) fn parse(words: &[Token<'_>], names: &Names) -> Result<Match, ParseError> {
    let mut parser = Parser { names, match_: Match::any() };
    let (late, early): (Vec<Token<'_>>, Vec<Token<'_>>) =
        words.iter().partition(|word| contextual(**word).is_some());
    // `nw_proto` decides what `tp_src` is.
    let (protocol, rest): (Vec<Token<'_>>, Vec<Token<'_>>) =
        late.into_iter().partition(|word| word.text().starts_with("nw_proto"));
    for word in early.into_iter().chain(protocol).chain(rest) {
        parser.word(word)?;
    }
    parser.check_prerequisites(words)?;
    Ok(parser.match_)
}

fn contextual(word: Token<'_>) -> Option<&'static Contextual> {
    let key = word.split_once("=")?.0.text();
    CONTEXTUAL.iter().find(|known| known.word == key)
}

struct Parser<'a> {
    names: &'a Names,
    match_: Match,
}

impl Parser<'_> {
    fn word(&mut self, word: Token<'_>) -> Result<(), ParseError> {
        match word.split_once("=") {
            Some((key, value)) => self.key_value(word, key, value),
            None => self.bare(word),
        }
    }

    /// A protocol, or a tunnel option that only has to be there.
    fn bare(&mut self, word: Token<'_>) -> Result<(), ParseError> {
        if let Some(known) = SHORTHANDS.iter().find(|known| known.word == word.text()) {
            self.exact(word, Field::EthType, known.eth_type)?;
            return known.proto.map_or(Ok(()), |proto| self.exact(word, Field::NwProto, proto));
        }
        match Field::from_name(word.text()) {
            Some(field @ Field::TunMetadata(_)) => {
                self.add(word, field, Masked { value: 0, mask: 0 })
            }
            Some(_) => Err(word.error(Problem::MissingValue)),
            None => self.unknown(word),
        }
    }

    fn key_value(
        &mut self,
        word: Token<'_>,
        key: Token<'_>,
        value: Token<'_>,
    ) -> Result<(), ParseError> {
        if value.text().is_empty() {
            return Err(word.error(Problem::MissingValue));
        }
        if key.text() == "dl_vlan" {
            return self.dl_vlan(word, value);
        }
        let field = match contextual(word) {
            Some(known) => Some(self.resolve(known, key)?),
            None => Field::from_name(key.text()),
        };
        match field {
            Some(field) => self.field(word, field, value),
            None => self.unknown(word),
        }
    }

    fn field(&mut self, word: Token<'_>, field: Field, value: Token<'_>) -> Result<(), ParseError> {
        let masked = value::parse(field, value, self.names)?;
        let matches_all = masked.mask == 0 && !matches!(field, Field::TunMetadata(_));
        if matches_all { Ok(()) } else { self.add(word, field, masked) }
    }

    fn dl_vlan(&mut self, word: Token<'_>, value: Token<'_>) -> Result<(), ParseError> {
        let none = u128::from(DL_VLAN_NONE);
        if value.number(none)? == none {
            return self.exact(word, Field::VlanTci, 0);
        }
        let vid = value.number(VLAN_VID_MAX)?;
        self.exact(word, Field::VlanVid, vid | u128::from(VLAN_PRESENT))
    }

    /// The one of the possible fields whose packets this match is about.
    fn resolve(&self, known: &Contextual, key: Token<'_>) -> Result<Field, ParseError> {
        let present = |field: &&Field| is_present(&self.match_, field.info().prerequisite);
        let field = known.candidates.iter().find(present).copied();
        field.ok_or_else(|| key.error(Problem::NeedsProtocol { needs: known.needs }))
    }

    fn exact(&mut self, word: Token<'_>, field: Field, value: u128) -> Result<(), ParseError> {
        self.add(word, field, Masked::new(value, field.full_mask()))
    }

    fn add(&mut self, word: Token<'_>, field: Field, masked: Masked) -> Result<(), ParseError> {
        let canonical = Match::any().with_masked(field, masked.value, masked.mask);
        if canonical.fields().iter().any(|new| contradicts(&self.match_, new)) {
            return Err(word.error(Problem::Twice { field }));
        }
        self.match_.insert(field, masked);
        Ok(())
    }

    fn unknown(&mut self, word: Token<'_>) -> Result<(), ParseError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let key = word.split_once("=").map_or(word, |(key, _)| key).text();
        if !key.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.chars().all(is_name) {
            return Err(word.error(Problem::UnknownField));
        }
        self.match_.insert_unsupported(Unsupported::Text(word.text().to_owned()));
        Ok(())
    }

    /// OVS refuses a field that packets of this match do not have.
    fn check_prerequisites(&self, words: &[Token<'_>]) -> Result<(), ParseError> {
        let lacking = self.match_.fields().iter().find(|known| {
            let prerequisite = known.field.info().prerequisite;
            // What conntrack must have said is more than a match on one field.
            prerequisite != Prerequisite::Ct && !is_present(&self.match_, prerequisite)
        });
        let Some(known) = lacking else { return Ok(()) };
        let (field, prerequisite) = (known.field, known.field.info().prerequisite);
        let about = |word: &&Token<'_>| {
            word.split_once("=").is_some_and(|(key, _)| Field::from_name(key.text()) == Some(field))
        };
        let word = words
            .iter()
            .find(about)
            .or_else(|| words.first())
            .copied()
            .unwrap_or_else(|| Token::line(""));
        Err(word.error(Problem::MissingPrerequisite { field, prerequisite }))
    }
}

fn contradicts(match_: &Match, new: &MatchField) -> bool {
    match_
        .get(new.field)
        .is_some_and(|old| (old.value ^ new.masked.value) & old.mask & new.masked.mask != 0)
}

/// Whether every packet of this match has what the prerequisite asks for.
fn is_present(match_: &Match, prerequisite: Prerequisite) -> bool {
    let eth_type = eth_type(match_);
    let ip = matches!(eth_type, Some(ETH_TYPE_IP | ETH_TYPE_IPV6));
    let proto = match_.exact(Field::NwProto).filter(|_| ip);
    let nd =
        |kind: u128| proto == Some(PROTO_ICMPV6) && match_.exact(Field::Icmpv6Type) == Some(kind);
    match prerequisite {
        Prerequisite::None => true,
        Prerequisite::Ethernet => match_.exact(Field::PacketType).is_none_or(|kind| kind == 0),
        Prerequisite::Vlan => match_.get(Field::VlanTci).is_some(),
        Prerequisite::Mpls => matches!(eth_type, Some(ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST)),
        Prerequisite::Ipv4 => eth_type == Some(ETH_TYPE_IP),
        Prerequisite::Ipv6 => eth_type == Some(ETH_TYPE_IPV6),
        Prerequisite::Ip => ip,
        Prerequisite::Arp => matches!(eth_type, Some(ETH_TYPE_ARP | ETH_TYPE_RARP)),
        Prerequisite::Tcp => proto == Some(PROTO_TCP),
        Prerequisite::Udp => proto == Some(PROTO_UDP),
        Prerequisite::Sctp => proto == Some(PROTO_SCTP),
        Prerequisite::Icmpv4 => eth_type == Some(ETH_TYPE_IP) && proto == Some(PROTO_ICMP),
        Prerequisite::Icmpv6 => eth_type == Some(ETH_TYPE_IPV6) && proto == Some(PROTO_ICMPV6),
        Prerequisite::Nd => nd(ND_SOLICIT) || nd(ND_ADVERT),
        Prerequisite::NdSolicit => nd(ND_SOLICIT),
        Prerequisite::NdAdvert => nd(ND_ADVERT),
        Prerequisite::Ct => match_.get(Field::CtState).is_some(),
        Prerequisite::Nsh => eth_type == Some(ETH_TYPE_NSH),
    }
}

/// The Ethernet type, which the packet type may say instead.
fn eth_type(match_: &Match) -> Option<u128> {
    let by_packet_type =
        match_.exact(Field::PacketType).filter(|kind| kind >> 16 == PACKET_TYPE_ETHERTYPE >> 16);
    match_.exact(Field::EthType).or_else(|| by_packet_type.map(|kind| kind & 0xffff))
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = Separator::default();
        let shorthand = shorthand_of(self);
        // A protocol is written first, as a word; an Ethernet type that has none comes after the addresses.
        let (head, tail) = self
            .fields()
            .split_at(self.fields().partition_point(|known| known.field <= Field::EthDst));
        head.iter().try_for_each(|known| write_field(f, &mut separator, known, shorthand))?;
        if let (Some(kind), None) = (self.exact(Field::EthType), shorthand) {
            separator.write(f, format_args!("dl_type=0x{kind:04x}"))?;
        }
        tail.iter().try_for_each(|known| write_field(f, &mut separator, known, shorthand))?;
        self.unsupported().iter().try_for_each(|raw| separator.write(f, raw))
    }
}

fn write_field(
    f: &mut fmt::Formatter<'_>,
    separator: &mut Separator,
    known: &MatchField,
    shorthand: Option<&Shorthand>,
) -> fmt::Result {
    match (known.field, shorthand) {
        (Field::EthType, Some(short)) => separator.write(f, short.word),
        (Field::EthType, None) => Ok(()),
        (Field::NwProto, Some(Shorthand { proto: Some(_), .. })) => Ok(()),
        (Field::VlanTci, _) => write_vlan(f, separator, known.masked),
        (Field::TunMetadata(_), _) if known.masked.mask == 0 => separator.write(f, known.field),
        _ => separator.write(f, format_args!("{}={}", MatchName(known.field), MatchValue(known))),
    }
}

/// A tag is written by VLAN and priority where the match is about a whole one, else by its bits.
fn write_vlan(f: &mut fmt::Formatter<'_>, separator: &mut Separator, tci: Masked) -> fmt::Result {
    let present = u128::from(VLAN_PRESENT);
    let (vid, pcp) = (tci.mask & VLAN_VID_MAX, tci.mask >> 13);
    let whole =
        (vid == 0 || vid == VLAN_VID_MAX) && (pcp == 0 || pcp == 7) && (vid != 0 || pcp != 0);
    if tci.value & present == 0 || !whole {
        return match tci.mask == Field::VlanTci.full_mask() {
            true => separator.write(f, format_args!("vlan_tci=0x{:04x}", tci.value)),
            false => {
                separator.write(f, format_args!("vlan_tci=0x{:04x}/0x{:04x}", tci.value, tci.mask))
            }
        };
    }
    if vid != 0 {
        separator.write(f, format_args!("dl_vlan={}", tci.value & VLAN_VID_MAX))?;
    }
    if pcp != 0 {
        separator.write(f, format_args!("dl_vlan_pcp={}", tci.value >> 13))?;
    }
    Ok(())
}

/// The name of a field in a match, which is older than its name in an action.
struct MatchName(Field);

impl fmt::Display for MatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Field::EthSrc => "dl_src",
            Field::EthDst => "dl_dst",
            Field::IpSrc => "nw_src",
            Field::IpDst => "nw_dst",
            Field::IpFrag => "nw_frag",
            Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => "tp_src",
            Field::TcpDst | Field::UdpDst | Field::SctpDst => "tp_dst",
            Field::Icmpv6Type => "icmp_type",
            Field::Icmpv6Code => "icmp_code",
            Field::TunGtpuFlags => "gtpu_flags",
            Field::TunGtpuMsgtype => "gtpu_msgtype",
            other => return other.fmt(f),
        })
    }
}

/// A value in a match, where OVS writes a few fields otherwise than in an action.
struct MatchValue<'a>(&'a MatchField);

impl fmt::Display for MatchValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MatchField { field, masked } = *self.0;
        let exact = self.0.is_exact();
        match (field, field.info().notation) {
            (Field::CtZone, _) => masked.value.fmt(f),
            (Field::Ipv6Label, _) if exact => write!(f, "0x{:05x}", masked.value),
            (Field::Ipv6Label, _) => write!(f, "0x{:05x}/0x{:05x}", masked.value, masked.mask),
            (_, Notation::Decimal) if !exact => {
                write!(f, "{}/{}", Hex(masked.value), Hex(masked.mask))
            }
            (_, Notation::TunFlags) => FlagSet::of(Notation::TunFlags).write_signed(f, masked),
            _ => Value { field, masked }.fmt(f),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Text(text) => f.write_str(text),
            Unsupported::Bytes(bytes) => {
                f.write_str("unsupported=0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn shorthand_of(match_: &Match) -> Option<&'static Shorthand> {
    let eth_type = match_.exact(Field::EthType)?;
    let proto = match_.exact(Field::NwProto);
    let fits = |known: &&Shorthand| {
        known.eth_type == eth_type && (known.proto.is_none() || known.proto == proto)
    };
    SHORTHANDS.iter().filter(fits).max_by_key(|known| known.proto.is_some())
}

/// Commas between the pieces.
#[derive(Default)]
struct Separator {
    started: bool,
}

impl Separator {
    fn write(&mut self, f: &mut fmt::Formatter<'_>, piece: impl fmt::Display) -> fmt::Result {
        let comma = if std::mem::replace(&mut self.started, true) { "," } else { "" };
        write!(f, "{comma}{piece}")
    }
}
