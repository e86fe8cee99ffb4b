//! What can be wrong with text: where it is, what stands there, and what would be right.

use crate::openflow::{Field, Prerequisite};

/// A place in the text that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: `{token}`: {problem}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What stands there.
    pub token: String,
    /// What is wrong with it, and what would be right.
    pub problem: Problem,
}

/// What is wrong with a piece of text, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A rule must say what it does.
    #[error(
        "the rule does not say what it does; end it with `actions=`, or with `actions=drop` to drop"
    )]
    NoActions,
    /// A number was expected.
    #[error("not a number from 0 to {max}, in decimal or as 0x...")]
    NotANumber {
        /// The largest that fits.
        max: u128,
    },
    /// A MAC address was expected.
    #[error(
        "not a MAC address; write it like 0a:00:00:00:00:01, with a mask after a slash if need be"
    )]
    NotAMac,
    /// An IPv4 address was expected.
    #[error("not an IPv4 address; write it like 10.0.0.1, 10.0.0.0/8 or 10.0.0.0/255.0.255.0")]
    NotAnIpv4,
    /// An IPv6 address was expected.
    #[error("not an IPv6 address; write it like fd00::1, fd00::/8 or fd00::/ff00::ff")]
    NotAnIpv6,
    /// Flags were expected.
    #[error("not flags; write them like +{example} or -{example}, of: {known}")]
    NotFlags {
        /// One that exists.
        example: &'static str,
        /// All that exist.
        known: String,
    },
    /// A fragment kind was expected.
    #[error("not a kind of fragment; write no, yes, first, later or not_later")]
    NotAFragment,
    /// A packet type was expected.
    #[error("not a packet type; write it like (1,0x894f): name space and type")]
    NotAPacketType,
    /// The field takes no mask.
    #[error("{field} is matched as a whole or not at all; leave out the mask")]
    MaskNotAllowed {
        /// The field.
        field: Field,
    },
    /// The name of a port is not known.
    #[error(
        "no port has this name or number; give the bridge's ports too, or write the port's number"
    )]
    UnknownPort,
    /// The name of a table is not known.
    #[error("no table has this name or number; tables are 0 to 254")]
    UnknownTable,
    /// A field was expected.
    #[error("no field has this name; write it like reg0[0..15], NXM_NX_REG0[] or ip_dst")]
    UnknownField,
    /// The bits are not in the field.
    #[error("{field} has the bits 0 to {last}; write some of them like {field}[0..{last}]")]
    BadBits {
        /// The field.
        field: Field,
        /// Its highest bit.
        last: u16,
    },
    /// A value is needed.
    #[error("a value is missing; write it after `=`")]
    MissingValue,
    /// The field is there twice.
    #[error("{field} is matched twice, with different values; keep one of them")]
    Twice {
        /// The field.
        field: Field,
    },
    /// The field only exists in some packets.
    #[error("{field} exists only in some packets; match {needs} as well", needs = describe(*.prerequisite))]
    MissingPrerequisite {
        /// The field.
        field: Field,
        /// What has to be matched before it.
        prerequisite: Prerequisite,
    },
    /// The same word means different fields in different packets.
    #[error("which field this is depends on the protocol; match {needs} as well")]
    NeedsProtocol {
        /// What would decide it.
        needs: &'static str,
    },
    /// A bracket is not closed, or not opened.
    #[error("a bracket or quotation mark has no partner")]
    Unbalanced,
    /// The action is known, and not written like this.
    #[error("not how this is written; write it like {example}")]
    Malformed {
        /// How it is written.
        example: &'static str,
    },
    /// Actions inside actions inside actions.
    #[error("nested more than {limit} deep; OVS does not go deeper either")]
    TooDeep {
        /// The most that is read.
        limit: u8,
    },
}

fn describe(prerequisite: Prerequisite) -> &'static str {
    match prerequisite {
        Prerequisite::None => "nothing",
        Prerequisite::Ethernet => "no packet_type, or (0,0)",
        Prerequisite::Vlan => "vlan_tci=0x1000/0x1000",
        Prerequisite::Mpls => "mpls",
        Prerequisite::Ipv4 => "ip",
        Prerequisite::Ipv6 => "ipv6",
        Prerequisite::Ip => "ip or ipv6",
        Prerequisite::Arp => "arp",
        Prerequisite::Tcp => "tcp or tcp6",
        Prerequisite::Udp => "udp or udp6",
        Prerequisite::Sctp => "sctp or sctp6",
        Prerequisite::Icmpv4 => "icmp",
        Prerequisite::Icmpv6 => "icmp6",
        Prerequisite::Nd => "icmp6,icmp_type=135 or 136",
        Prerequisite::NdSolicit => "icmp6,icmp_type=135",
        Prerequisite::NdAdvert => "icmp6,icmp_type=136",
        Prerequisite::Ct => "ct_state=+trk",
        Prerequisite::Nsh => "dl_type=0x894f",
    }
}
