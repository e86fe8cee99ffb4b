//! Full compiles of a node's rules, as criterion measures them: `cargo bench -p flow-compiler --bench compile`.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench may; criterion's macros write no docs"
)]

mod overlay;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile;
use flow_compiler::openflow::text::{Names, parse_rules};
use mimalloc::MiMalloc;

/// As the agent does.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Rules of a large cluster's node, and pods on it.
const RULES: usize = 19_582;
const PODS: usize = 60;
const SAMPLES: usize = 10;

fn full_compile(criterion: &mut Criterion) {
    let (ruleset, ports) = overlay::node(RULES, PODS);
    let mut group = criterion.benchmark_group("full compile, 19,582 rules, 60 pods");
    group.sample_size(SAMPLES);
    for profile in Capabilities::PROFILES {
        let capabilities = Capabilities::profile(profile).expect("a profile by its own name");
        group.bench_with_input(
            BenchmarkId::from_parameter(profile),
            &capabilities,
            |bench, card| {
                bench.iter(|| compile(&ruleset, &ports, card));
            },
        );
    }
    group.finish();
}

fn read_text(criterion: &mut Criterion) {
    let (ruleset, _) = overlay::node(RULES, PODS);
    let rules = ruleset.bridges.values().flat_map(|bridge| bridge.rules.values());
    let text: String = rules.map(|rule| format!("{rule}\n")).collect();
    let mut group = criterion.benchmark_group("text");
    group.sample_size(SAMPLES);
    group.bench_function("parse 19,582 rules", |bench| {
        bench.iter(|| parse_rules(&text, &Names::default()).expect("what was printed is read"));
    });
    group.finish();
}

criterion_group!(benches, full_compile, read_text);
criterion_main!(benches);
