//! OpenFlow itself: the rules of table 0, straight from the ruleset, on a parsed packet. What this reading does not
//! cover is [`Expected::Unknown`], and a packet of which nothing is known has to reach OVS.

use super::ovs::{View, view};
use super::{Delivery, Frame};
use crate::compile::ir::{Ingress, Rules};
use crate::openflow::{Action, Field, Match, OfPort, Rule, TableId, VLAN_PRESENT};

const DOT1Q: u16 = 0x8100;
/// OVS keeps track of so many tags.
const MAX_TAGS: usize = 2;

/// What OVS alone would do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Send it to these ports; to none if it is dropped.
    Delivered(Vec<Delivery>),
    /// Something this interpreter does not know, or OpenFlow does not say.
    Unknown,
}

/// What OVS would do with a frame that comes in by a port.
pub fn openflow(rules: &Rules<'_>, ingress: &Ingress, frame: &Frame, vlan_limit: u8) -> Expected {
    let view = view(frame, vlan_limit);
    let matching: Vec<&Rule> = rules
        .of_table(&ingress.bridge, TableId(0))
        .filter(|rule| matches(&rule.match_, &view, ingress.port) != Some(false))
        .collect();
    let Some(first) = matching.first() else { return Expected::Unknown };
    let winners = matching.iter().take_while(|rule| rule.priority == first.priority);
    let unsure = matches(&first.match_, &view, ingress.port).is_none();
    let mut ends = winners.map(|rule| run(rule, ingress.port, frame, vlan_limit));
    match ends.next() {
        Some(Some(end)) if !unsure && ends.all(|other| other.as_ref() == Some(&end)) => {
            Expected::Delivered(end)
        }
        _ => Expected::Unknown,
    }
}

/// Whether a match holds; `None` if it asks for something the view does not have.
fn matches(takes: &Match, view: &View, ingress: OfPort) -> Option<bool> {
    let mut sure = takes.unsupported().is_empty();
    for asked in takes.fields() {
        let content = match asked.field {
            Field::InPort => u128::from(ingress.0),
            known if is_parsed(known) => view.get(&known).copied().unwrap_or(0),
            register if register.is_register() || register == Field::CtState => 0,
            _ => {
                sure = false;
                continue;
            }
        };
        if !asked.masked.covers(content) {
            return Some(false);
        }
    }
    sure.then_some(true)
}

fn is_parsed(field: Field) -> bool {
    use Field::*;
    matches!(field, EthType | VlanTci | EthSrc | EthDst | IpSrc | IpDst | Ipv6Src | Ipv6Dst)
        || matches!(field, NwProto | NwTos | NwEcn | NwTtl | IpFrag | TcpFlags)
        || matches!(field, TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst)
        || matches!(field, IcmpType | IcmpCode | Icmpv6Type | Icmpv6Code)
        || matches!(field, ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha)
}

fn run(rule: &Rule, ingress: OfPort, frame: &Frame, vlan_limit: u8) -> Option<Vec<Delivery>> {
    if rule.idle_timeout != 0 {
        return None;
    }
    let tags = tags(frame, vlan_limit);
    let mut packet = Packet { frame: frame.clone(), base: tags.clone(), flow: tags, lost: false };
    let mut out = Vec::new();
    for action in &rule.actions {
        match action {
            Action::Output(port) if *port == ingress => {}
            Action::Output(OfPort::IN_PORT) => out.push((ingress, packet.commit()?)),
            Action::Output(port) if port.is_physical() => out.push((*port, packet.commit()?)),
            other => packet.edit(other)?,
        }
    }
    Some(out)
}

/// The tags OVS sees, the outer one first, with their EtherTypes; its bit 12 says "present", whatever the frame has.
fn tags(frame: &Frame, vlan_limit: u8) -> Vec<(u16, u16)> {
    let mut rest = frame.clone();
    let mut tags = Vec::new();
    while let (Some((tpid, tci)), true) = (rest.tag(), tags.len() < usize::from(vlan_limit)) {
        tags.push((tpid, tci | VLAN_PRESENT));
        rest.pop();
    }
    tags
}

/// A packet in translation: the tags it has, and those it shall have.
struct Packet {
    frame: Frame,
    base: Vec<(u16, u16)>,
    flow: Vec<(u16, u16)>,
    /// OVS has lost sight of a tag, or was asked for what OpenFlow forbids: what it would send is not worth copying.
    lost: bool,
}

impl Packet {
    fn edit(&mut self, action: &Action) -> Option<()> {
        match action {
            Action::Note(_) => {}
            Action::PopVlan | Action::StripVlan if self.flow.is_empty() => {}
            Action::PopVlan | Action::StripVlan => drop(self.flow.remove(0)),
            Action::PushVlan(_) if self.flow.len() == MAX_TAGS => self.lost = true,
            Action::PushVlan(tpid) => self.flow.insert(0, (*tpid, VLAN_PRESENT)),
            Action::ModVlanVid(id) => self.set(*id, 0x0fff, true),
            Action::SetVlanVid(id) => self.set(*id, 0x0fff, false),
            Action::ModVlanPcp(pcp) => self.set(u16::from(*pcp) << 13, 0xe000, true),
            Action::SetVlanPcp(pcp) => self.set(u16::from(*pcp) << 13, 0xe000, false),
            Action::SetField(set) if set.field == Field::VlanVid => {
                self.lost |= self.flow.is_empty();
                self.set(u16::try_from(set.masked.value).ok()?, 0x0fff, false);
            }
            _ => return None,
        }
        Some(())
    }

    fn set(&mut self, value: u16, mask: u16, push: bool) {
        if self.flow.is_empty() && push {
            self.flow.push((DOT1Q, VLAN_PRESENT));
        }
        if let Some((_, tci)) = self.flow.first_mut() {
            *tci = *tci & !mask | value & mask;
        }
    }

    /// `commit_vlan_action`: from the inside out, tags that are equal stay; a pushed tag has bit 12 clear.
    fn commit(&mut self) -> Option<Frame> {
        if self.lost {
            return None;
        }
        let inside_out = self.base.iter().rev().zip(self.flow.iter().rev());
        let kept = inside_out.take_while(|(old, new)| old == new).count();
        for _ in kept..self.base.len() {
            self.frame.pop();
        }
        let fresh = &self.flow[..self.flow.len() - kept];
        for (tpid, tci) in fresh.iter().rev() {
            self.frame.push(*tpid, tci & !VLAN_PRESENT);
        }
        self.base.clone_from(&self.flow);
        Some(self.frame.clone())
    }
}
