//! Outputs: to a device, through a tunnel, across a patch to another bridge.

use super::act::done;
use super::explore::{Explorer, Lookup, Then, Walk};
use super::graph::{End, Micro};
use super::{normal, tunnel};
use crate::compile::ir::PortRef;
use crate::compile::verdict::Reason;
use crate::openflow::{Action, Field, OfPort, Subfield, TableId};
use crate::ports::{BridgePorts, LinkProtocols, Port, PortKind};

/// `output:N` and the reserved ports.
pub(super) fn to_port<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>, port: OfPort) -> Then {
    let reserved = match port {
        OfPort::NORMAL => return normal::forward(explorer, walk),
        OfPort::IN_PORT => {
            return done_sending(walk, Micro::Output(PortRef { bridge: walk.bridge, port }));
        }
        OfPort::FLOOD => "FLOOD",
        OfPort::ALL => "ALL",
        OfPort::CONTROLLER => "CONTROLLER",
        OfPort::TABLE => "TABLE",
        _ => return to_device(explorer, walk, port),
    };
    Then::End(End::Ovs(Reason::Action(reserved)))
}

/// `output:reg0[0..15]`, once the register is known.
pub(super) fn to_register<'a>(
    explorer: &mut Explorer<'a>,
    walk: &mut Walk<'a>,
    source: Subfield,
) -> Then {
    let mut reads = super::reads::Reads::default();
    reads.part(source);
    walk.reads(reads);
    let value = walk.state.read(source).value(u128::MAX);
    match value.and_then(|value| u16::try_from(value).ok()).map(OfPort) {
        Some(port) => to_port(explorer, walk, port),
        None => Then::End(End::Ovs(Reason::Action("output to a register"))),
    }
}

pub(super) fn to_device<'a>(
    explorer: &mut Explorer<'a>,
    walk: &mut Walk<'a>,
    number: OfPort,
) -> Then {
    let input = explorer.input;
    let Some(ports) = input.bridge_ports(walk.bridge) else {
        return Then::End(End::Ovs(Reason::NoSuchPort(number)));
    };
    let Some(port) = ports.ports.get(&number) else {
        return Then::End(End::Ovs(Reason::NoSuchPort(number)));
    };
    let to = PortRef { bridge: walk.bridge, port: number };
    match &port.kind {
        PortKind::Patch { .. } => across(explorer, walk, number),
        PortKind::Tunnel(tunnel) => match tunnel::problem(port, tunnel) {
            Some(reason) => Then::End(End::Ovs(reason)),
            None => tunnel::encapsulate(explorer, walk, to),
        },
        _ => match problem(port) {
            Some(reason) => Then::End(End::Ovs(reason)),
            None => done_sending(walk, Micro::Output(to)),
        },
    }
}

pub(super) fn done_sending(walk: &mut Walk<'_>, op: Micro) -> Then {
    walk.sent = true;
    done(walk, op)
}

/// Why no card can send to a port.
pub(in crate::compile) fn problem(port: &Port) -> Option<Reason> {
    if let Some(kind) = unfit(port) {
        return Some(Reason::PortKind { port: port.name.clone(), kind });
    }
    (port.link_up == Some(false)).then(|| Reason::LinkDown(port.name.clone()))
}

/// What the port is, where that is nothing a card can send to.
fn unfit(port: &Port) -> Option<&'static str> {
    match &port.kind {
        PortKind::Internal => Some("an internal port"),
        PortKind::Patch { .. } => Some("a patch port"),
        PortKind::Tunnel(_) => Some("a tunnel"),
        PortKind::Other(_) => Some("of a type that the kernel does not forward to"),
        PortKind::System if port.bond.is_some() => Some("a member of a bond"),
        PortKind::System if port.protocols.stp => Some("one that spanning tree may block"),
        PortKind::System if port.switch.is_none() => Some("not a port of a card's switch"),
        PortKind::System if port.ifindex.is_none() => Some("without a device"),
        PortKind::System => None,
    }
}

/// The packet goes on in the bridge at the other end of a patch. If more is to be done in this one, that would be a copy.
fn across<'a>(explorer: &mut Explorer<'a>, walk: &mut Walk<'a>, number: OfPort) -> Then {
    let back = super::act::exact(walk, Field::InPort) == Some(number.0.into());
    if back {
        return Then::Go;
    }
    let ports = explorer.input.ports;
    let here = explorer.input.bridge(walk.bridge);
    let Some((bridge, port)) = here.and_then(|here| ports.patch_peer(here, number)) else {
        return Then::End(End::Ovs(Reason::Action("output to a patch without another end")));
    };
    let end = ports.bridges.get(bridge).and_then(|ports| closed(ports, port));
    let more = (!walk.is_last()).then_some("output to a patch, and more");
    if let Some(action) = end.or(more) {
        return Then::End(End::Ovs(Reason::Action(action)));
    }
    walk.perform(Micro::Cross(port));
    walk.bridge = explorer.input.bridge_number(bridge);
    explorer.look_up(walk, Lookup::plain(TableId(0)))
}

/// Why a packet may not come into a bridge by its end of a patch.
fn closed(ports: &BridgePorts, end: OfPort) -> Option<&'static str> {
    let speaks = |port: &Port| port.protocols != LinkProtocols::default();
    match () {
        () if ports.watched => {
            Some("output to a patch, to a bridge with a mirror, NetFlow, sFlow or IPFIX,")
        }
        () if ports.hidden_rules.is_some() => {
            Some("output to a patch, to a bridge that may have rules which no dump shows,")
        }
        () if ports.ports.get(&end).is_some_and(speaks) => {
            Some("output to a patch that speaks a link protocol")
        }
        () => None,
    }
}

/// Whether an action does nothing but write and send, so that it needs no table.
pub(super) fn is_simple(explorer: &Explorer<'_>, walk: &Walk<'_>, action: &Action) -> bool {
    match action {
        Action::Output(port) => {
            let ports = explorer.input.bridge_ports(walk.bridge);
            let to = ports.and_then(|ports| ports.ports.get(port));
            *port == OfPort::IN_PORT
                || to.is_some_and(|to| !matches!(to.kind, PortKind::Patch { .. }))
        }
        Action::PopVlan | Action::StripVlan | Action::PushVlan(_) => true,
        Action::ModVlanVid(_) | Action::SetVlanVid(_) => true,
        Action::ModVlanPcp(_) | Action::SetVlanPcp(_) => true,
        Action::Move { .. } | Action::DecTtl { .. } | Action::Note(_) => true,
        other => other.assignment().is_some(),
    }
}
