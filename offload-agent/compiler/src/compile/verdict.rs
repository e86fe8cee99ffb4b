//! What became of each rule, and why.
//!
//! "Not offloadable" is an answer: every rule gets a [`Verdict`], and every packet it keeps in OVS has a [`Reason`] with a
//! stable label for metrics and a sentence for people.

use super::pass::budget::MOST_JUMPS;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use tc_filter::FilterId;

use super::ir::{KeyField, RuleId};
use crate::capabilities::Inexact;
use crate::openflow::{BridgeName, Field, OfPort, Rule, TableId, Unsupported};

/// Why packets of a rule stay in OVS, or why the rule never sees one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The match has a part that this program does not know.
    UnknownMatch(String),
    /// Flower has no key for the field.
    NoFlowerKey(Field),
    /// Flower matches a VLAN id or priority whole or not at all.
    PartialVlanMask,
    /// An action that is not compiled, by its OpenFlow name.
    Action(&'static str),
    /// Two rules of one priority take the same packet; OpenFlow does not say which wins.
    SamePriority(RuleId),
    /// The rule goes when OVS sees no packet of it.
    IdleTimeout,
    /// The bridge has no such port.
    NoSuchPort(OfPort),
    /// The port is not one a card can send to.
    PortKind {
        /// The port.
        port: String,
        /// What it is.
        kind: &'static str,
    },
    /// The port's link is down, so OVS drops what is sent there.
    LinkDown(String),
    /// The port that packets are to go to is on another card than the one they come in by.
    OtherSwitch(String),
    /// Packets come in by a port whose filters would not be ours or would not see them all.
    Ingress {
        /// The port.
        port: String,
        /// What is in the way.
        why: &'static str,
    },
    /// The VLAN id of a packet without a tag is written.
    NoTagToSet,
    /// LLC frames by name; OVS puts them all under EtherType 0x05ff.
    LlcRule,
    /// A third VLAN tag, which OVS itself does not keep.
    ThirdTag,
    /// The tag's id is to stay while its priority changes, and TC writes both.
    VlanIdUnknown,
    /// 4095 is no VLAN id for `vlan push` (`tcf_vlan_init`).
    ReservedVlanId,
    /// A tag with an EtherType that TC cannot push.
    TagType(u16),
    /// Frames with a length and an LLC or SNAP header: OVS looks for the EtherType in them, flower does not.
    LlcFrame,
    /// Frames with a second VLAN tag, which OVS may look through.
    SecondTag,
    /// Fragments of IPv6: OVS and flower read them differently.
    Ipv6Fragment,
    /// IPv6 behind an authentication header: OVS looks through it, flower does not.
    AuthHeader,
    /// IPv6 behind more headers than the kernel looks through.
    Ipv6Headers,
    /// Fragments whose TCP flags OVS reads and flower does not.
    FragmentFlags,
    /// ARP packets that flower does not read: only requests and answers have fields for it.
    ArpOperation,
    /// Tagged packets in front of a rule for untagged ones, which TC writes as `protocol all`.
    TaggedBefore,
    /// Packets of a tunnel behind a rule that asks for an option: flower asks for all options at once.
    OtherOptions,
    /// Frames that the kernel may take for what they carry.
    Carries,
    /// A link protocol that OVS speaks on the port itself.
    LinkProtocol(&'static str),
    /// The card cannot match the field.
    CardKey(KeyField),
    /// The card cannot do it.
    CardAction(&'static str),
    /// Some packets belong to a rule of higher priority that stays in OVS, and no filter tells them apart.
    Shadowed(RuleId),
    /// A rule of higher priority takes every packet of this one.
    Hidden(RuleId),
    /// No packet can satisfy the match.
    NeverMatches,
    /// Nothing leads to the table.
    UnreachableTable(TableId),
    /// The rule asks for a field that was written with something unknown.
    NotKnown(Field),
    /// The rule writes or copies a field that the packet may not have.
    NotThere(Field),
    /// The rule copies something unknown into a header.
    Copy(Field),
    /// TC cannot write the field.
    CannotWrite(Field),
    /// The packet takes too many turns.
    TooDeep,
    /// The tables ask more of the packets of all ports than this.
    TooLarge(usize),
    /// Nothing is left of the ways that lead to the rule: what is in front of it, or all that would be behind, stays in OVS.
    LeftBefore,
    /// Its port would need more filters than this.
    TooMany(usize),
    /// No rule of a table takes the packet; what happens then depends on the controller.
    Missed(TableId),
    /// A conjunction that comes to too many filters, or two that disagree.
    Conjunction,
    /// The TTL runs out.
    TtlExpires,
    /// Neither TCP nor UDP, or a fragment: no card tracks it.
    NotTracked,
    /// IPv6 where connections are tracked and no rule asks for it.
    NoIpv6,
    /// An IP header of a protocol whose checksums nobody computes.
    ProtocolEdit,
    /// Fragments whose addresses or ports would be written.
    FragmentEdit,
    /// Addresses or ports of UDP over IPv6 are written, which may have no checksum.
    NoChecksum,
    /// Addresses of TCP and UDP are written where the kernel may run the filter, on packets joined from many segments.
    Segments,
    /// Fragments of which a table would be asked for a port that was written, or copied elsewhere.
    FragmentPorts,
    /// An IP header that would be written behind two tags.
    EditBehindTags,
    /// The filter at the end of a chain: what is not established, and what matches nothing.
    CatchAll,
    /// The card has no more tables.
    Budget,
    /// A way through more chains than the kernel follows.
    Jumps,
    /// `NORMAL` does not know the source there.
    Learning,
    /// `NORMAL` floods it.
    Flood,
    /// Copies of the packet go through the tables.
    Copies,
    /// A meter that `action police` cannot stand for.
    Meter(&'static str),
    /// A filter could do it only almost as OVS does, which the capabilities do not tolerate.
    Inexact(Inexact),
    /// Packets that would have to come back to OVS for this after a translation, and cannot be told from others before it.
    NoWayBack(Box<Reason>),
}

impl Reason {
    /// The part of a match that is not known, as a reason.
    pub(super) fn unknown_match(raw: &Unsupported) -> Reason {
        Reason::UnknownMatch(match raw {
            Unsupported::Text(text) => text.clone(),
            Unsupported::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// The same where other packets stay in OVS with those it is about.
    pub(super) fn with_no_way_back(&self) -> Reason {
        match self {
            Reason::NoWayBack(_) => self.clone(),
            why => Reason::NoWayBack(Box::new(why.clone())),
        }
    }

    /// A stable name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Reason::UnknownMatch(_) => "unknown_match",
            Reason::NoFlowerKey(_) => "no_flower_key",
            Reason::PartialVlanMask => "partial_vlan_mask",
            Reason::Action(name) => name,
            Reason::SamePriority(_) => "same_priority",
            Reason::IdleTimeout => "idle_timeout",
            Reason::NoSuchPort(_) => "no_such_port",
            Reason::PortKind { .. } => "output_port_kind",
            Reason::LinkDown(_) => "link_down",
            Reason::OtherSwitch(_) => "other_switch",
            Reason::Ingress { .. } => "ingress_port",
            Reason::NoTagToSet => "no_tag_to_set",
            Reason::LlcRule => "llc_rule",
            Reason::ThirdTag => "third_tag",
            Reason::VlanIdUnknown => "vlan_id_unknown",
            Reason::ReservedVlanId => "reserved_vlan_id",
            Reason::TagType(_) => "tag_type",
            Reason::LlcFrame => "llc_frame",
            Reason::SecondTag => "second_tag",
            Reason::Ipv6Fragment => "ipv6_fragment",
            Reason::AuthHeader => "auth_header",
            Reason::Ipv6Headers => "ipv6_headers",
            Reason::FragmentFlags => "fragment_flags",
            Reason::ArpOperation => "arp_operation",
            Reason::TaggedBefore => "tagged_before",
            Reason::OtherOptions => "other_options",
            Reason::Carries => "carries",
            Reason::LinkProtocol(_) => "link_protocol",
            Reason::CardKey(_) => "card_key",
            Reason::CardAction(_) => "card_action",
            Reason::Shadowed(_) => "shadowed",
            Reason::Hidden(_) => "hidden",
            Reason::NeverMatches => "never_matches",
            Reason::UnreachableTable(_) => "unreachable_table",
            Reason::NotKnown(_) => "not_known",
            Reason::NotThere(_) => "not_there",
            Reason::Copy(_) => "copy",
            Reason::CannotWrite(_) => "cannot_write",
            Reason::TooDeep => "too_deep",
            Reason::TooLarge(_) => "too_large",
            Reason::LeftBefore => "left_before",
            Reason::TooMany(_) => "too_many",
            Reason::Missed(_) => "missed",
            Reason::Conjunction => "conjunction",
            Reason::TtlExpires => "ttl_expires",
            Reason::NotTracked => "not_tracked",
            Reason::NoIpv6 => "no_ipv6",
            Reason::ProtocolEdit => "protocol_edit",
            Reason::FragmentEdit => "fragment_edit",
            Reason::NoChecksum => "no_checksum",
            Reason::Segments => "segments",
            Reason::FragmentPorts => "fragment_ports",
            Reason::EditBehindTags => "edit_behind_tags",
            Reason::CatchAll => "catch_all",
            Reason::Budget => "budget",
            Reason::Jumps => "jumps",
            Reason::Learning => "learning",
            Reason::Flood => "flood",
            Reason::Copies => "copies",
            Reason::Meter(_) | Reason::Inexact(Inexact::Meter) => "meter",
            Reason::Inexact(Inexact::Normal) => "normal",
            Reason::NoWayBack(_) => "no_way_back",
        }
    }

    /// Whether the rule sees no packet at all.
    pub fn is_dead(&self) -> bool {
        matches!(self, Reason::Hidden(_) | Reason::NeverMatches | Reason::UnreachableTable(_))
    }

    /// Whether it is about the port that packets come in by.
    pub fn is_ingress(&self) -> bool {
        matches!(self, Reason::Ingress { .. })
    }

    /// Whether it concerns odd frames only: a rule whose other packets are all in hardware is said to be in hardware.
    pub fn is_marginal(&self) -> bool {
        matches!(
            self,
            Reason::LlcFrame
                | Reason::SecondTag
                | Reason::Ipv6Fragment
                | Reason::AuthHeader
                | Reason::Ipv6Headers
                | Reason::FragmentFlags
                | Reason::ArpOperation
                | Reason::TaggedBefore
                | Reason::Carries
                | Reason::TtlExpires
                | Reason::NotTracked
                | Reason::ProtocolEdit
                | Reason::FragmentEdit
                | Reason::NoChecksum
                | Reason::FragmentPorts
                | Reason::CatchAll
                | Reason::Learning
                | Reason::Flood
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::UnknownMatch(text) => write!(f, "the match has `{text}`, which is not known"),
            Reason::NoFlowerKey(field) => write!(f, "flower cannot match {field}"),
            Reason::PartialVlanMask => {
                f.write_str("flower matches a VLAN id or priority whole or not at all")
            }
            Reason::Action(name) => write!(f, "{name} is not offloaded"),
            Reason::SamePriority(rule) => {
                write!(f, "{rule} has the same priority and takes some of the same packets")
            }
            Reason::IdleTimeout => {
                f.write_str("it has an idle timeout, and OVS would no longer see its packets")
            }
            Reason::NoSuchPort(port) => write!(f, "the bridge has no port {port}"),
            Reason::PortKind { port, kind } => write!(f, "output port {port} is {kind}"),
            Reason::LinkDown(port) => write!(f, "the link of output port {port} is down"),
            Reason::OtherSwitch(to) => {
                write!(f, "output port {to} is not on the embedded switch of the input port")
            }
            Reason::Ingress { port, why } => write!(f, "input port {port} {why}"),
            Reason::NoTagToSet => f.write_str(
                "it writes the VLAN id of packets that may have no tag, which OpenFlow forbids",
            ),
            Reason::LlcRule => f.write_str("flower cannot tell LLC frames from SNAP frames"),
            Reason::ThirdTag => f.write_str("it makes three VLAN tags, and OVS keeps two"),
            Reason::VlanIdUnknown => f.write_str(
                "it changes the priority of a VLAN tag whose id the match does not say, and TC writes both",
            ),
            Reason::ReservedVlanId => f.write_str("TC cannot push VLAN id 4095"),
            Reason::TagType(ethertype) => {
                write!(f, "TC cannot push a tag with EtherType {ethertype:#06x}")
            }
            Reason::LlcFrame => f.write_str("flower does not look into LLC and SNAP frames"),
            Reason::SecondTag => f.write_str("OVS may look behind a second VLAN tag"),
            Reason::Ipv6Fragment => f.write_str("OVS and flower read fragments of IPv6 differently"),
            Reason::AuthHeader => {
                f.write_str("OVS looks behind the authentication header of IPv6, flower does not")
            }
            Reason::Ipv6Headers => f.write_str("flower gives up on IPv6 with many extension headers"),
            Reason::FragmentFlags => f.write_str("flower does not read the TCP flags of fragments"),
            Reason::ArpOperation => {
                f.write_str("flower reads the fields of ARP requests and answers only")
            }
            Reason::TaggedBefore => {
                f.write_str("tagged packets are kept from a filter that takes all protocols")
            }
            Reason::OtherOptions => f.write_str(
                "OVS reads each option of a tunnel by itself, flower all at once, and a rule before asks for one",
            ),
            Reason::Carries => f.write_str(
                "the kernel takes some packets for what they carry, so no filter tells them from these",
            ),
            Reason::LinkProtocol(name) => write!(f, "OVS itself speaks {name} on the port"),
            Reason::CardKey(key) => write!(f, "the card cannot match {key}"),
            Reason::CardAction(what) => write!(f, "the card cannot {what}"),
            Reason::Shadowed(rule) => {
                write!(f, "its packets cannot be told from those of {rule}, which stays in OVS")
            }
            Reason::Hidden(rule) => write!(f, "{rule} takes all its packets"),
            Reason::NeverMatches => f.write_str("no packet can satisfy the match"),
            Reason::UnreachableTable(table) => write!(f, "nothing leads to table {table}"),
            Reason::NotKnown(field) => write!(f, "it asks for {field}, which was written with something unknown"),
            Reason::NotThere(field) => write!(f, "it uses {field}, which the packet may not have"),
            Reason::Copy(field) => write!(f, "it copies something unknown into {field}"),
            Reason::CannotWrite(field) => write!(f, "TC cannot write {field}"),
            Reason::TooDeep => f.write_str("the way through the tables is too long"),
            Reason::LeftBefore => f.write_str("no filter is left on the ways that lead to it"),
            Reason::TooLarge(most) => write!(f, "the tables come to more than {most} questions for all ports, and this one is beyond"),
            Reason::TooMany(most) => write!(f, "its port would need more than {most} filters"),
            Reason::Missed(table) => write!(f, "no rule of table {table} takes the packet, and then the controller decides"),
            Reason::Conjunction => f.write_str("the conjunction comes to too many filters, or another one takes the same packet"),
            Reason::TtlExpires => f.write_str("the TTL runs out, and OVS tells the sender"),
            Reason::NotTracked => f.write_str("only whole packets of TCP and UDP are tracked in hardware"),
            Reason::NoIpv6 => f.write_str("no rule asks for an IPv6 address, so none of its packets is worth filters"),
            Reason::ProtocolEdit => f.write_str("the IP header is written for TCP, UDP and ICMP only, whose checksums TC knows"),
            Reason::Segments => f.write_str("the kernel's TC writes no addresses of TCP and UDP, since packets joined from many segments would get wrong checksums"),
            Reason::NoChecksum => f.write_str("addresses and ports of UDP over IPv6 are not written, since TC would give a checksum to packets that have none"),
            Reason::FragmentEdit => f.write_str("addresses and ports of fragments are not written, since no checksum covers a part"),
            Reason::FragmentPorts => f.write_str("OVS's tables see no ports in a fragment, whatever was written or copied"),
            Reason::EditBehindTags => f.write_str("TC does not find the IP header behind two VLAN tags to write to it"),
            Reason::CatchAll => f.write_str("OVS sets up new connections, and has what no filter of a chain takes"),
            Reason::Budget => f.write_str("the card has no more tables"),
            Reason::Jumps => write!(f, "the kernel follows no more than {MOST_JUMPS} jumps from chain to chain"),
            Reason::Learning => f.write_str("OVS learns an address from it"),
            Reason::Flood => f.write_str("NORMAL floods what is for an address it does not know"),
            Reason::Copies => f.write_str("copies of the packet go through the tables, each its own way"),
            Reason::Meter(why) => write!(f, "the meter {why}"),
            Reason::Inexact(Inexact::Meter) => f.write_str(
                "meter is not offloaded: a filter and OVS would count apart",
            ),
            Reason::Inexact(Inexact::Normal) => f.write_str(
                "NORMAL is not offloaded: an address that moved would be known up to a second late",
            ),
            Reason::NoWayBack(why) => write!(
                f,
                "some of its packets would have to go back to OVS after an address translation, and nothing tells them before it: {why}",
            ),
        }
    }
}

/// Where the packets of a rule are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of them in the card; odd frames may be left to OVS, see [`Verdict::kept`].
    Hardware,
    /// All of them in the kernel's TC.
    Software,
    /// Some offloaded, by port or by kind of packet, the others in OVS.
    Split,
    /// All of them in OVS.
    Ovs,
    /// There are none: the rule never matches.
    Dead,
}

impl Outcome {
    /// The word for tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Hardware => "hardware",
            Outcome::Software => "software",
            Outcome::Split => "split",
            Outcome::Ovs => "ovs",
            Outcome::Dead => "dead",
        }
    }

    /// Whether some packets of the rule are offloaded.
    pub const fn is_offloaded(self) -> bool {
        matches!(self, Outcome::Hardware | Outcome::Software | Outcome::Split)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule's number in this compilation.
    pub rule: RuleId,
    /// Its bridge.
    pub bridge: BridgeName,
    /// The rule without its actions, as OVS writes it.
    pub text: String,
    /// The number that its filters carry in their cookie, `tc_filter::Cookie::ours`; stays the same as long as the
    /// rule's bridge, table, priority and match do.
    pub cookie: u64,
    /// Where its packets are handled.
    pub outcome: Outcome,
    /// The filters that do what the rule says.
    pub filters: BTreeSet<FilterId>,
    /// The filters that keep its packets for OVS.
    pub guards: BTreeSet<FilterId>,
    /// Why packets of it stay in OVS, and on which input ports.
    pub kept: BTreeMap<Reason, BTreeSet<String>>,
    /// The input ports on which all its packets are offloaded but odd frames.
    pub offloaded_on: BTreeSet<String>,
}

impl Verdict {
    /// A rule without its actions, as OVS writes it.
    pub(in crate::compile) fn text_of(rule: &Rule) -> String {
        let takes = rule.match_.to_string();
        let comma = if takes.is_empty() { "" } else { "," };
        format!("table={},priority={}{comma}{takes}", rule.table, rule.priority)
    }

    /// Whether it is about this rule of this bridge.
    pub fn is_of(&self, bridge: &BridgeName, rule: &Rule) -> bool {
        self.bridge == *bridge && self.text == Self::text_of(rule)
    }

    /// Why packets of the rule that come in by this port stay in OVS.
    pub fn kept_on<'a>(&'a self, port: &'a str) -> impl Iterator<Item = &'a Reason> {
        let kept = self.kept.iter().filter(move |(_, ports)| ports.contains(port));
        kept.map(|(reason, _)| reason)
    }

    /// The reason that says most: what the rule asks for comes before where its packets come from, and odd frames last.
    pub fn reason(&self) -> Option<&Reason> {
        self.kept.keys().min_by_key(|reason| (reason.is_marginal(), reason.is_ingress()))
    }

    /// The reasons worth a line: where all packets stay in OVS anyway, an input port that could do no better is none.
    fn telling(&self) -> impl Iterator<Item = (&Reason, &BTreeSet<String>)> {
        let only_ingress = self.reason().is_none_or(Reason::is_ingress);
        let all = self.outcome == Outcome::Split || only_ingress;
        let serious = self.kept.iter().filter(|(reason, _)| !reason.is_marginal());
        serious.filter(move |(reason, _)| all || !reason.is_ingress())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<8} ", self.rule, self.outcome)?;
        write!(f, "{}+{} ", self.filters.len(), self.guards.len())?;
        write!(f, "{} {}", self.bridge, self.text)?;
        if self.outcome == Outcome::Split && !self.offloaded_on.is_empty() {
            let ports: Vec<&str> = self.offloaded_on.iter().map(String::as_str).collect();
            write!(f, "; offloaded on {}", ports.join(" "))?;
        }
        for (reason, ports) in self.telling() {
            write!(f, "; {reason}")?;
            if self.outcome == Outcome::Split {
                let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
                write!(f, " (on {})", ports.join(" "))?;
            }
        }
        Ok(())
    }
}

/// The verdicts in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All rules.
    pub rules: usize,
    /// Those that some packet can match.
    pub reachable: usize,
    /// Those with packets that are offloaded.
    pub offloaded: usize,
    /// Those with packets that a filter keeps for OVS.
    pub guarded: usize,
    /// Filters that forward, change or drop.
    pub filters: usize,
    /// Filters that pass to OVS.
    pub guards: usize,
    /// Rules by outcome.
    pub by_outcome: BTreeMap<&'static str, usize>,
    /// Rules that keep packets in OVS, by the label of their first reason.
    pub by_reason: BTreeMap<&'static str, usize>,
}

impl Summary {
    /// Counts.
    pub fn of<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Summary {
        let mut summary = Summary::default();
        for verdict in verdicts {
            summary.count(verdict);
        }
        summary
    }

    fn count(&mut self, verdict: &Verdict) {
        self.rules += 1;
        self.reachable += usize::from(verdict.outcome != Outcome::Dead);
        self.offloaded += usize::from(verdict.outcome.is_offloaded());
        self.guarded += usize::from(!verdict.guards.is_empty());
        self.filters += verdict.filters.len();
        self.guards += verdict.guards.len();
        *self.by_outcome.entry(verdict.outcome.name()).or_default() += 1;
        if let Some(reason) = verdict.reason().filter(|reason| !reason.is_marginal()) {
            *self.by_reason.entry(reason.label()).or_default() += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rules, {} reachable, {} offloaded, {} guarded; {} filters and {} guards",
            self.rules, self.reachable, self.offloaded, self.guarded, self.filters, self.guards
        )?;
        writeln!(f, "by outcome: {}", counts(&self.by_outcome))?;
        write!(f, "by reason: {}", counts(&self.by_reason))
    }
}

fn counts(numbers: &BTreeMap<&'static str, usize>) -> String {
    let words: Vec<String> =
        numbers.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
