//! Benchmarks: ours beside its rivals, in the same run. Each adds its figures to one report.

pub mod report;
pub mod rules;
