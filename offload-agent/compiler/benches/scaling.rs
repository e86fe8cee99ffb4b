//! Time of a full compile by the number of rules, as a table with its exponent: 1 is linear.
//!
//! `cargo bench -p flow-compiler --bench scaling [-- MOST_RULES [PROFILE]]`. The best of three compiles counts. Memory is
//! the most that the process ever had, rules and text included, so it only grows down the table.

#![allow(clippy::expect_used, clippy::cast_precision_loss, reason = "a bench may")]

mod overlay;

use std::time::{Duration, Instant};

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile;
use flow_compiler::compile::verdict::Summary;
use mimalloc::MiMalloc;

/// As the agent does.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// 19,422 rules are those of a real node with as many pods.
const SIZES: [usize; 6] = [1_000, 3_000, 10_000, 19_422, 30_000, 100_000];
const PODS: usize = 60;
const TURNS: usize = 3;

/// One line of the table.
struct Line {
    rules: usize,
    summary: Summary,
    took: Duration,
}

fn main() {
    // Cargo says `--bench` to whatever it runs.
    let told: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let most =
        told.first().map_or(usize::MAX, |most| most.parse().expect("MOST_RULES is a number"));
    let profile = told.get(1).map_or("nicsim", String::as_str);
    let capabilities =
        Capabilities::profile(profile).expect("PROFILE is one of Capabilities::PROFILES");
    println!("profile {profile}, {PODS} local pods");
    println!(
        "{:>8} {:>10} {:>8} {:>8} {:>10} {:>9}",
        "rules", "reachable", "filters", "guards", "ms", "peak MB"
    );
    let mut lines = Vec::new();
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let line = measure(size, &capabilities);
        let Summary { reachable, filters, guards, .. } = line.summary;
        let ms = line.took.as_secs_f64() * 1e3;
        println!(
            "{:>8} {reachable:>10} {filters:>8} {guards:>8} {ms:>10.1} {:>9.0}",
            line.rules,
            peak_mb()
        );
        lines.push(line);
    }
    println!("exponent of time against reachable rules: {:.2}", exponent(&lines));
}

fn measure(size: usize, capabilities: &Capabilities) -> Line {
    let (ruleset, ports) = overlay::node(size, PODS);
    let rules = ruleset.bridges.values().map(|bridge| bridge.rules.len()).sum();
    let turn = || {
        let start = Instant::now();
        let compiled = compile(&ruleset, &ports, capabilities);
        // Of two compilations at once the memory would be that of both.
        (start.elapsed(), Summary::of(&compiled.verdicts))
    };
    let best = (0..TURNS).map(|_| turn()).min_by_key(|(took, _)| *took);
    let (took, summary) = best.expect("there is a turn");
    Line { rules, summary, took }
}

/// The slope of the line through the points, both sides by their logarithm: least squares.
fn exponent(lines: &[Line]) -> f64 {
    let points: Vec<(f64, f64)> = lines
        .iter()
        .map(|line| ((line.summary.reachable as f64).ln(), line.took.as_secs_f64().ln()))
        .collect();
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let shared: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    shared / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

/// The most memory that the process ever had (`VmHWM` of proc(5), in kB).
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|kb| kb.parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}
