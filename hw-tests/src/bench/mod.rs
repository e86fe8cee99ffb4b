//! Benchmarks: ours beside its rivals, in the same run. Each adds its figures to one report.

pub mod cni;
pub mod device_plugin;
pub mod report;
pub mod rules;
