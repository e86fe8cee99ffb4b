//! A copy of the first table for every port that packets come in by and a card can see.
//!
//! What is known at the start of the pipeline is decided here: `in_port`, and the registers, tunnel and conntrack fields,
//! which are 0 for a packet that comes from a device.
//!
//! ```text
//! table 0                                        port br0:1
//!   #0 in_port=1 -> output:2,IN_PORT               #0 any -> output:2,output:1
//!   #1 in_port=2 -> output:1                       #2 any -> output:2
//!   #2 any -> output:1,output:2                  port br0:2 ...
//! ```

use crate::compile::Input;
use crate::compile::ir::{Does, Entry, Ingress, Program, Settled, Step};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match, OfPort};
use crate::ports::{BridgePorts, Port, PortKind};

pub(in crate::compile) fn run(program: &mut Program, input: &Input<'_>) {
    let tables = std::mem::take(&mut program.tables);
    for ((bridge, _), entries) in tables {
        let Some(ports) = input.ports.bridges.get(&bridge) else {
            settle_all(program, &entries);
            continue;
        };
        settle_without_port(program, &entries, ports);
        for (number, port) in &ports.ports {
            let ingress = Ingress { bridge: bridge.clone(), port: *number };
            one_port(program, &entries, &ingress, port, ports);
        }
    }
}

/// A bridge without ports sees no packets.
fn settle_all(program: &mut Program, entries: &[Entry]) {
    let dead =
        |entry: &Entry| Settled { rule: entry.rule, ingress: None, reason: Reason::NeverMatches };
    program.settled.extend(entries.iter().map(dead));
}

/// Rules for an input port that the bridge does not have.
fn settle_without_port(program: &mut Program, entries: &[Entry], ports: &BridgePorts) {
    for entry in entries {
        if input_port(&entry.takes).is_some_and(|port| !ports.ports.contains_key(&port)) {
            let reason = Reason::NeverMatches;
            program.settled.push(Settled { rule: entry.rule, ingress: None, reason });
        }
    }
}

fn input_port(takes: &Match) -> Option<OfPort> {
    takes.exact(Field::InPort).and_then(|port| u16::try_from(port).ok()).map(OfPort)
}

fn one_port(
    program: &mut Program,
    entries: &[Entry],
    ingress: &Ingress,
    port: &Port,
    ports: &BridgePorts,
) {
    if let Some(why) = unfit(port, ports) {
        let reason = Reason::Ingress { port: port.name.clone(), why };
        let here =
            |entry: &&Entry| input_port(&entry.takes).is_none_or(|number| number == ingress.port);
        let settled = entries.iter().filter(here).map(|entry| Settled {
            rule: entry.rule,
            ingress: Some(ingress.clone()),
            reason: reason.clone(),
        });
        program.settled.extend(settled);
        program.idle.insert(ingress.clone(), reason);
        return;
    }
    let copies: Vec<Entry> =
        entries.iter().filter_map(|entry| copy(entry, ingress, port, ports)).collect();
    program.ports.insert(ingress.clone(), copies);
}

/// Why no filter may stand at a port.
fn unfit(port: &Port, ports: &BridgePorts) -> Option<&'static str> {
    match &port.kind {
        PortKind::Internal => Some("is an internal port"),
        PortKind::Patch { .. } => Some("is a patch port"),
        PortKind::Tunnel(_) => Some("is a tunnel"),
        PortKind::Other(_) => Some("is of a type without TC"),
        PortKind::System if ports.datapath_type == "netdev" => {
            Some("is in OVS's user-space datapath, which TC does not see")
        }
        PortKind::System if ports.watched => Some(
            "is on a bridge with a mirror, NetFlow, sFlow or IPFIX, which has to see its packets",
        ),
        PortKind::System if port.bond.is_some() => Some("is a member of a bond"),
        PortKind::System if port.policing.is_some() => {
            Some("has an ingress policing rate, which OVS enforces")
        }
        PortKind::System if port.switch.is_none() => Some("is not a port of a card's switch"),
        PortKind::System if port.ifindex.is_none() => Some("has no device"),
        PortKind::System => None,
    }
}

/// The entry as packets of one port see it; `None` if it takes none of them.
fn copy(entry: &Entry, ingress: &Ingress, port: &Port, ports: &BridgePorts) -> Option<Entry> {
    let takes = decide(&entry.takes, ingress.port)?;
    let does = match &entry.does {
        Does::Steps(steps) => match same_switch(steps, port, ports) {
            Ok(()) => Does::Steps(direct(steps, ingress.port)),
            Err(reason) => Does::Ovs(reason),
        },
        Does::Ovs(reason) => Does::Ovs(reason.clone()),
    };
    Some(Entry { takes, does, ..entry.clone() })
}

/// The match without what is known to hold; `None` where something is known not to.
fn decide(takes: &Match, ingress: OfPort) -> Option<Match> {
    let mut rest = Match::any();
    for field in takes.fields() {
        match known(field.field, ingress) {
            Some(value) if !field.masked.covers(value) => return None,
            Some(_) => {}
            None => rest.insert(field.field, field.masked),
        }
    }
    takes.unsupported().iter().for_each(|raw| rest.insert_unsupported(raw.clone()));
    Some(rest)
}

/// What a field holds in every packet that comes from a device, before the first rule.
fn known(field: Field, ingress: OfPort) -> Option<u128> {
    match field {
        Field::InPort => Some(u128::from(ingress.0)),
        Field::ActsetOutput => Some(u128::from(OfPort::UNSET.0)),
        Field::RecircId | Field::ConjId | Field::PacketType => Some(0),
        Field::CtState | Field::CtZone | Field::CtMark | Field::CtLabel => Some(0),
        Field::TunId | Field::TunSrc | Field::TunDst | Field::TunIpv6Src | Field::TunIpv6Dst => {
            Some(0)
        }
        register if register.is_register() => Some(0),
        _ => None,
    }
}

/// A card forwards between its own ports only.
fn same_switch(steps: &[Step], from: &Port, ports: &BridgePorts) -> Result<(), Reason> {
    let switch = |port: &Port| port.switch.as_ref().map(|switch| switch.id.clone());
    for step in steps {
        let Step::Output(number) = step else { continue };
        match ports.ports.get(number) {
            Some(to) if switch(to) != switch(from) => {
                return Err(Reason::OtherSwitch { from: from.name.clone(), to: to.name.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// An output to the input port by its number does nothing; by the name `IN_PORT` it sends the packet back.
fn direct(steps: &[Step], ingress: OfPort) -> Vec<Step> {
    let lost = |step: &&Step| **step != Step::Output(ingress);
    let mut steps: Vec<Step> = steps
        .iter()
        .filter(lost)
        .map(|step| match step {
            Step::Output(OfPort::IN_PORT) => Step::Output(ingress),
            other => *other,
        })
        .collect();
    while steps.last().is_some_and(|step| !matches!(step, Step::Output(_))) {
        steps.pop();
    }
    steps
}
