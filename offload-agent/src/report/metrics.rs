//! The status as metrics, in the text format that Prometheus reads.

use std::fmt::Write;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::{Rule, Status, Vfs};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBridge {
    bridge: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    bridge: String,
    reason: String,
}

/// The status as metrics.
#[must_use]
pub fn text(status: &Status) -> String {
    let mut registry = Registry::with_prefix("linerate_offload");
    rules(&mut registry, status);
    filters(&mut registry, status);
    work(&mut registry, status);
    vfs(&mut registry, status);
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        // Writing to a string does not fail; were it to, the scrape says why.
        let _ = writeln!(text, "# {error}");
    }
    text
}

fn rules(registry: &mut Registry, status: &Status) {
    let all = Family::<OfBridge, Gauge>::default();
    let offloaded = Family::<OfBridge, Gauge>::default();
    let kept = Family::<OfReason, Gauge>::default();
    for (name, bridge) in &status.bridges {
        let of = OfBridge { bridge: name.clone() };
        all.get_or_create(&of).set(number(bridge.rules));
        offloaded.get_or_create(&of).set(number(bridge.offloaded));
        for (reason, count) in &bridge.reasons {
            let of = OfReason { bridge: name.clone(), reason: reason.clone() };
            kept.get_or_create(&of).set(number(*count));
        }
    }
    registry.register("rules", "OpenFlow rules of the bridge", all);
    registry.register("rules_offloaded", "OpenFlow rules with packets in hardware", offloaded);
    registry.register("rules_kept", "OpenFlow rules with packets kept in OVS, by reason", kept);
    let share = ConstGauge::new(share(&status.rules));
    registry.register("rules_share", "Share of OpenFlow rules offloaded, 0 to 1", share);
}

fn share(rules: &[Rule]) -> f64 {
    let live = rules.iter().filter(|rule| rule.outcome != "dead");
    let (all, offloaded) = live.fold((0u32, 0u32), |(all, offloaded), rule| {
        (all + 1, offloaded + u32::from(rule.is_offloaded()))
    });
    if all == 0 { 1.0 } else { f64::from(offloaded) / f64::from(all) }
}

fn filters(registry: &mut Registry, status: &Status) {
    let counts = &status.filters;
    let gauges = [
        ("filters_wanted", "Filters that the compiler asked for", counts.wanted),
        ("filters_installed", "Filters in the kernel", counts.installed),
        ("filters_in_hw", "Filters that a card runs", counts.in_hw),
        ("filters_withheld", "Filters left out because the card refused", counts.withheld),
        ("filters_foreign", "Filters of others on the same devices", status.foreign.len()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(number(value)));
    }
    let (packets, bytes) = status.rules.iter().fold((0, 0), |(packets, bytes), rule| {
        (packets + rule.hardware.packets, bytes + rule.hardware.bytes)
    });
    registry.register("hw_packets", "Packets handled by filters now in hardware", gauge(packets));
    registry.register("hw_bytes", "Bytes handled by filters now in hardware", gauge(bytes));
}

fn work(registry: &mut Registry, status: &Status) {
    let work = &status.reconciles;
    let counters = [
        ("reconciles", "Comparisons of ruleset and kernel", work.total),
        ("reconciles_failed", "Those that failed", work.failed),
        ("ops", "Operations on filters", work.ops),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
    let seconds = ConstGauge::new(work.last_seconds);
    registry.register("reconcile_last_seconds", "Duration of the last comparison", seconds);
    registry.register(
        "in_sync",
        "Whether the kernel has what the ruleset asks for",
        ConstGauge::new(i64::from(status.synced)),
    );
}

fn vfs(registry: &mut Registry, status: &Status) {
    let Vfs { held, given_back, lost } = &status.vfs;
    registry.register("vfs_bound", "VFs that pods have", ConstGauge::new(number(held.len())));
    let help = "VFs that the agent gave back because nobody else did";
    registry.register("vfs_given_back", help, ConstCounter::new(*given_back));
    let help = "VFs that could not be given back so far";
    registry.register("vfs_lost", help, ConstGauge::new(number(lost.len())));
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Bridge, Count, FilterCounts};
    use super::*;

    #[test]
    fn a_rule_that_stays_in_ovs_is_counted_under_its_reason() {
        let bridge = Bridge { rules: 4, offloaded: 3, reasons: [("learn".to_owned(), 1)].into() };
        let status =
            Status { bridges: [("br-int".to_owned(), bridge)].into(), ..Status::default() };
        let text = text(&status);
        assert!(text.contains("linerate_offload_rules{bridge=\"br-int\"} 4"), "{text}");
        assert!(
            text.contains("linerate_offload_rules_kept{bridge=\"br-int\",reason=\"learn\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_vf_that_cannot_be_given_back_is_counted() {
        let vfs = Vfs { held: Vec::new(), given_back: 3, lost: vec!["VF busy".to_owned()] };
        let text = text(&Status { vfs, ..Status::default() });
        assert!(text.contains("linerate_offload_vfs_given_back_total 3"), "{text}");
        assert!(text.contains("linerate_offload_vfs_lost 1"), "{text}");
    }

    #[test]
    fn dead_rules_do_not_lower_the_share() {
        let rule = |outcome: &str| Rule { outcome: outcome.to_owned(), ..Rule::default() };
        assert!((share(&[rule("hardware"), rule("dead")]) - 1.0).abs() < f64::EPSILON);
        assert!((share(&[rule("hardware"), rule("ovs")]) - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn hardware_packets_are_summed() {
        let hardware = Count { packets: 7, bytes: 700 };
        let rule = Rule { hardware, ..Rule::default() };
        let filters = FilterCounts { wanted: 2, in_hw: 2, ..FilterCounts::default() };
        let status = Status { rules: vec![rule.clone(), rule], filters, ..Status::default() };
        let text = text(&status);
        assert!(text.contains("linerate_offload_hw_packets 14"), "{text}");
        assert!(text.contains("linerate_offload_filters_in_hw 2"), "{text}");
    }
}
