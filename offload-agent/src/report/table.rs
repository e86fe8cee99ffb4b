//! The status as a table for a terminal.

use super::{Count, Rule, Status};

/// The columns in front of the rule's text.
const HEAD: &str = "OUTCOME    FILTERS     HW PACKETS       HW BYTES  RULE";

pub(super) fn render(status: &Status) -> String {
    let mut lines = vec![format!("offload-agent (pid {}) {}", status.pid, status.summary())];
    for (name, bridge) in &status.bridges {
        let reasons = bridge.reasons.iter().map(|(label, count)| format!("{label} {count}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let why = if reasons.is_empty() { String::new() } else { format!("; {reasons}") };
        lines.push(format!("bridge {name}: {} of {}{why}", bridge.offloaded, bridge.rules));
    }
    lines.extend(status.ports.iter().filter_map(|port| {
        port.remedy.as_ref().map(|remedy| format!("port {}: not offloaded: {remedy}", port.name))
    }));
    lines.extend(status.vfs.held.iter().map(|held| format!("VF {held}")));
    lines.extend(status.vfs.lost.iter().map(|lost| format!("VF not given back: {lost}")));
    lines.extend(status.foreign.iter().map(|filter| format!("not ours, left alone: {filter}")));
    if !status.rules.is_empty() {
        lines.push(String::new());
        lines.push(HEAD.to_owned());
    }
    lines.extend(status.rules.iter().map(rule));
    lines.join("\n") + "\n"
}

fn rule(rule: &Rule) -> String {
    let Count { packets, bytes } = rule.hardware;
    let filters = format!("{}+{}", rule.filters, rule.guards);
    let line = format!(
        "{:<8} {filters:>9} {packets:>14} {bytes:>14}  {} {}",
        rule.outcome, rule.bridge, rule.rule
    );
    match &rule.sentence {
        Some(sentence) => format!("{line}\n{:>49}{sentence}", ""),
        None => line,
    }
}
