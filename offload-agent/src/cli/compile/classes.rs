//! What `compile` prints of classes of packets: a table for each input port, or JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flow_compiler::compile::classes::{ClassVerdict, Destination, PortVerdict, Shown};
use flow_compiler::compile::verdict::{Outcome, Reason};
use serde_json::{Value, json};
use tc_filter::IfIndex;

use super::output::id_text;

/// The devices by name.
type Devices = BTreeMap<String, IfIndex>;

/// A table for each port, and how many classes are finished where.
pub(super) fn print(
    ports: &[PortVerdict],
    devices: &Devices,
    to: &mut impl Write,
) -> io::Result<()> {
    for port in ports {
        writeln!(to, "{}", Shown { port, devices })?;
    }
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    let classes = ports.iter().flat_map(|port| &port.classes);
    for class in classes.filter(|class| class.outcome != Outcome::Dead) {
        *counts.entry(class.outcome).or_default() += 1;
    }
    let words: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{} {count}", outcome.name())).collect();
    let all: usize = counts.values().sum();
    writeln!(to, "{} ports, {all} classes of packets: {}", ports.len(), words.join(", "))
}

/// A port and its classes.
pub(super) fn json(port: &PortVerdict, devices: &Devices) -> Value {
    json!({
        "bridge": port.bridge.0,
        "ports": port.ports,
        "dev": port.device.and_then(|device| name(device, devices)),
        "filters": port.filters,
        "chains": port.chains,
        "idle": port.idle.as_ref().map(reason_json),
        "classes": port.classes.iter().map(|class| class_json(class, devices)).collect::<Vec<_>>(),
    })
}

fn class_json(verdict: &ClassVerdict, devices: &Devices) -> Value {
    let to = verdict.to.iter().map(|(to, filters)| destination_json(*to, *filters, devices));
    let kept = verdict.kept.iter().map(|(reason, kept)| {
        let mut value = reason_json(reason);
        value["rules"] = kept.rules.iter().map(|rule| rule.0).collect();
        value["guards"] = kept.guards.iter().map(id_text).collect();
        value
    });
    json!({
        "lane": verdict.class.lane.to_string(),
        "traffic": verdict.class.traffic(),
        "outcome": verdict.outcome,
        "to": to.collect::<Vec<_>>(),
        "kept": kept.collect::<Vec<_>>(),
        "without_a_filter": verdict.missed.as_ref().map(|why| why.iter().map(reason_json).collect::<Vec<_>>()),
        "filters": verdict.filters.iter().map(id_text).collect::<Vec<_>>(),
    })
}

fn destination_json(to: Destination, filters: usize, devices: &Devices) -> Value {
    match to {
        Destination::Dropped => json!({ "dropped": true, "filters": filters }),
        Destination::Device { device, remote } => {
            json!({ "dev": name(device, devices), "remote": remote, "filters": filters })
        }
    }
}

fn reason_json(reason: &Reason) -> Value {
    json!({ "reason": reason.label(), "text": reason.to_string() })
}

fn name(device: IfIndex, devices: &Devices) -> Option<&str> {
    let known = devices.iter().find(|(_, index)| **index == device);
    known.map(|(name, _)| name.as_str())
}
