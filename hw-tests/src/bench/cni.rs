//! The CNI plugin: how long ADD and DEL take, what takes it, and how much memory.
//!
//! On the host our own share: a process from its start to its exit, with a kernel, an IPAM plugin and an OVSDB server that answer at once.
//! On the simulated node the program itself, with the real ones, and the same calls split by who took the time. The node emulates its
//! processor, so its figures are good as shares only.

mod at_once;
mod database;
mod node;
mod split;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use at_once::{call, measure as measure_own};
pub use node::measure as measure_on_node;

/// The file the guest leaves for the host.
pub const RESULT: &str = "cni.json";
/// How many ADDs and DELs a figure is of.
pub const TURNS: usize = 200;

/// How long something took, over all turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// What took it.
    pub what: String,
    /// Half of the turns took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

/// The figures of one place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// What was measured, and what it took.
    pub lines: Vec<Line>,
    /// The most memory the program had while it did an ADD; none where it was not measured.
    pub peak_rss_kib: Option<u64>,
}

impl Line {
    /// The figures of what took these times.
    #[must_use]
    pub fn new(what: impl Into<String>, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| {
            let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Self { what: what.into(), p50_ms: at(50), p99_ms: at(99) }
    }
}

impl Figures {
    /// A table for people.
    #[must_use]
    pub fn table(&self, title: &str) -> String {
        let mut text =
            format!("{title}, {TURNS} turns\n\n{:32} {:>10} {:>10}\n", "", "p50 ms", "p99 ms");
        for Line { what, p50_ms, p99_ms } in &self.lines {
            let _ = writeln!(text, "{what:32} {p50_ms:>10.2} {p99_ms:>10.2}");
        }
        if let Some(kib) = self.peak_rss_kib {
            let _ = writeln!(text, "peak memory of ADD: {:.1} MiB", kib as f64 / 1024.0);
        }
        text
    }
}

/// How a runtime calls the plugin for one pod.
fn environment(verb: &str) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "net1"),
        ("CNI_NETNS", "/run/netns/pod"),
        ("CNI_PATH", "/usr/lib/cni"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let line = Line::new("all", (1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((line.p50_ms, line.p99_ms), (100.0, 198.0));
        let one = Line::new("one", vec![Duration::from_millis(7)]);
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
    }
}
