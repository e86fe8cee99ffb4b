//! `NORMAL`: forwarding by learned addresses.
//!
//! OVS learns from the packets it sees, and it sees none of those in hardware. So the first question is whether the source
//! is known where it comes from; if not, OVS has to see the packet. The second is where the destination is; what would be
//! flooded is OVS's too.
//!
//! ```text
//! port 1, FDB {A at 1, B at 2}     eth_src=A  ->  eth_dst=A -> (drop: that is where it came from)
//!                                                 eth_dst=B -> output:2
//!                                                 any       -> ovs
//!                                  any        ->  ovs
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use super::act::exact;
use super::explore::{Explorer, Then, Walk};
use super::graph::{Edge, End, Micro, NodeId, Tail};
use super::output::to_device;
use super::question::ask;
use super::reads::Reads;
use crate::capabilities::Inexact;
use crate::compile::ir::{OnUntagged, Step, TAG_TYPES};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match, OfPort, VLAN_PRESENT};
use crate::ports::{BridgePorts, Port, PriorityTags, VlanMode};

const PRESENT: u128 = VLAN_PRESENT as u128;
const VID: u128 = 0x0fff;
const TAG: u16 = 0x8100;

pub(super) fn forward<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>) -> Then {
    if let Some(reason) = explorer.input.capabilities.refuses(Inexact::Normal) {
        return Then::End(End::Ovs(reason));
    }
    match learned(explorer, walk) {
        Ok(node) => Then::End(End::Node(node)),
        Err(what) => Then::End(End::Ovs(Reason::Action(what))),
    }
}

fn learned<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>) -> Result<NodeId, &'static str> {
    if !walk.is_last() {
        return Err("NORMAL, and more");
    }
    // A tag that says nothing is taken off where it is the inner one.
    if walk.has_inner_tag() {
        return Err("NORMAL behind two VLAN tags");
    }
    let ports = explorer.input.bridge_ports(walk.bridge).ok_or("NORMAL without ports")?;
    if !ports.flood_vlans.is_empty() {
        return Err("NORMAL with VLANs that are always flooded");
    }
    let number = exact(walk, Field::InPort).and_then(|port| u16::try_from(port).ok()).map(OfPort);
    let number = number.ok_or("NORMAL from a port that is not known")?;
    let port = ports.ports.get(&number).filter(|port| is_plain(port));
    let port = port.ok_or("NORMAL from a port that is more than access or trunk")?;
    if !ports.fdb.entries.values().any(|entry| entry.port == number) {
        return Err("NORMAL");
    }
    Ok(sources(explorer, walk, ports, number, port))
}

/// Whether a port is an access port or a trunk, alone, and forwards.
fn is_plain(port: &Port) -> bool {
    matches!(port.vlan_mode, VlanMode::Access | VlanMode::Trunk)
        && port.priority_tags == PriorityTags::Never
        && port.bond.is_none()
        && !port.protected
}

/// What tells that a packet is in a VLAN when it comes in by a port; `None` if none of its packets can be.
fn tag_of(vlan: u16, port: &Port) -> Option<Masked> {
    let untagged = Masked { value: 0, mask: PRESENT };
    match port.vlan_mode {
        VlanMode::Access => (port.tag == Some(vlan)).then_some(untagged),
        _ if !port.trunks.is_empty() && !port.trunks.contains(&vlan) => None,
        _ if vlan == 0 => Some(untagged),
        _ => Some(Masked { value: PRESENT | u128::from(vlan), mask: PRESENT | VID }),
    }
}

/// The first question: which VLAN is it in?
fn sources<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    ports: &'a BridgePorts,
    number: OfPort,
    port: &Port,
) -> NodeId {
    let mut sources: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for (key, _) in ports.fdb.entries.iter().filter(|(_, entry)| entry.port == number) {
        sources.entry(key.vlan).or_default().push(key.mac);
    }
    let (mut edges, mut reads) = (Vec::new(), Reads::default());
    if is_untagged_by_a_rule(walk) {
        let tags = TAG_TYPES.map(|tag| [(Field::EthType, Masked::new(tag, u16::MAX.into()))]);
        let takes = tags.iter().filter_map(|tag| ask(walk, tag, &mut reads));
        edges.extend(takes.map(|takes| edge(takes, End::Ovs(Reason::SecondTag))));
    }
    for (vlan, sources) in sources {
        let Some(tag) = tag_of(vlan, port) else { continue };
        let Some(takes) = ask(walk, &[(Field::VlanTci, tag)], &mut reads) else { continue };
        let mut walk = walk.fork();
        walk.state.learn(&takes);
        let next = destinations(explorer, &walk, ports, number, vlan);
        let node = sources_in(explorer, &walk, &sources, next);
        edges.push(edge(takes, End::Node(node)));
    }
    edges.push(edge(Match::any(), End::Ovs(Reason::Learning)));
    explorer.graph.add(edges, reads)
}

/// Whether a tag has been taken off. `NORMAL` drops a packet whose EtherType then is that of one more tag, at which OVS does not look.
fn is_untagged_by_a_rule(walk: &Walk<'_>) -> bool {
    walk.state.field(Field::VlanTci).value(PRESENT) == Some(0)
}

/// The second question: is the source where it was last seen? All sources go on as one.
fn sources_in<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    sources: &[u64],
    next: NodeId,
) -> NodeId {
    explorer.graph.set_joins(next);
    let mut reads = Reads::default();
    let takes =
        sources.iter().filter_map(|mac| ask(walk, &[(Field::EthSrc, whole(*mac))], &mut reads));
    let mut edges: Vec<Edge> = takes.map(|takes| edge(takes, End::Node(next))).collect();
    edges.push(edge(Match::any(), End::Ovs(Reason::Learning)));
    explorer.graph.add(edges, reads)
}

/// The third question: where is the destination?
fn destinations<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    ports: &'a BridgePorts,
    number: OfPort,
    vlan: u16,
) -> NodeId {
    let (mut edges, mut reads) = (Vec::new(), Reads::default());
    for (key, entry) in ports.fdb.entries.iter().filter(|(key, _)| key.vlan == vlan) {
        let asked = [(Field::EthDst, whole(key.mac))];
        let Some(takes) = ask(walk, &asked, &mut reads) else { continue };
        let mut walk = walk.fork();
        walk.state.learn(&takes);
        let tail = match ports.ports.get(&entry.port) {
            Some(_) if entry.port == number => walk.end(End::Done),
            Some(to) if is_plain(to) => {
                send(explorer, walk, (number, ports), (entry.port, to), vlan)
            }
            _ => walk.end(End::Ovs(Reason::Action(
                "NORMAL to a port that is more than access or trunk",
            ))),
        };
        edges.push(Edge { takes, tail });
    }
    edges.push(edge(Match::any(), End::Ovs(Reason::Flood)));
    explorer.graph.add(edges, reads)
}

/// Out by a port, with or without a tag as the port has it.
fn send<'a>(
    explorer: &mut Explorer<'a>,
    mut walk: Walk<'a>,
    (number, ports): (OfPort, &'a BridgePorts),
    (to, port): (OfPort, &'a Port),
    vlan: u16,
) -> Tail {
    let has = |port: &Port| port.vlan_mode != VlanMode::Access && vlan != 0;
    // Put there by hand: OVS sends all the same.
    if tag_of(vlan, port).is_none() {
        let what = "NORMAL to a port that does not carry the VLAN";
        return walk.end(End::Ovs(Reason::Action(what)));
    }
    let tagged = ports.ports.get(&number).is_some_and(has);
    match (tagged, has(port)) {
        (true, false) => walk.perform(Micro::Vlan(Step::PopVlan)),
        (false, true) => {
            walk.perform(Micro::Vlan(Step::PushVlan(TAG)));
            let untagged = OnUntagged::Forbidden;
            walk.perform(Micro::Vlan(Step::SetVid { id: vlan, untagged }));
        }
        _ => {}
    }
    // Across a patch there is more to do.
    match to_device(explorer, &mut walk, to) {
        Then::Go => explorer.run(walk),
        Then::End(end) => walk.end(end),
    }
}

fn whole(mac: u64) -> Masked {
    Masked::new(mac.into(), Field::EthSrc.full_mask())
}

fn edge(takes: Match, end: End) -> Edge {
    Edge { takes, tail: Tail { rules: [].into(), ops: Rc::default(), end } }
}
