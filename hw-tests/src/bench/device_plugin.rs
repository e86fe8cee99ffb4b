//! The device plugin with many devices: how soon kubelet has its first list, what memory that takes, how
//! long it takes to give devices, and whether all of it grows as the number of devices does.
//!
//! It runs on the host, on sysfs trees made for it, with the plugin as a process of its own.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use plugin_testkit::kubelet::Registration;
use plugin_testkit::{Dirs, Kubelet, Plugin, Tree};
use serde::{Deserialize, Serialize};

/// How many devices, one figure each; the PFs have as many each.
const SIZES: [u16; 3] = [200, 500, 1000];
const PFS: u8 = 4;
/// How many requests the median is of.
const REQUESTS: usize = 50;
/// How many starts the median is of.
const STARTS: usize = 5;
const POOL: &str = "intel.com/net";
const CONFIG: &str =
    r#"{"resourceList": [{"resourceName": "net", "selectors": {"devices": ["101e"]}}]}"#;
const PATIENCE: Duration = Duration::from_secs(120);

/// The figures of all sizes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures(Vec<Figure>);

/// The figures of one size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// How many devices.
    pub devices: u16,
    /// From the start of the process to kubelet's first list, in milliseconds.
    pub first_list_ms: f64,
    /// How long the process was on a processor for it, in milliseconds.
    pub first_list_cpu_ms: f64,
    /// Memory after that, in KiB.
    pub memory_kib: u64,
    /// `Allocate` of one device, in milliseconds.
    pub allocate_ms: f64,
    /// `GetPreferredAllocation` of four devices out of all, in milliseconds.
    pub prefer_ms: f64,
}

/// Measures all sizes with the plugin's binary.
///
/// # Errors
/// When the plugin does not do what it should.
pub fn measure(binary: &Path) -> anyhow::Result<Figures> {
    Ok(Figures(
        SIZES.into_iter().map(|devices| figure(binary, devices)).collect::<anyhow::Result<_>>()?,
    ))
}

fn figure(binary: &Path, devices: u16) -> anyhow::Result<Figure> {
    let tree = Tree::many(devices, PFS)?;
    let root = tempfile::tempdir()?;
    let dirs = Dirs::new(root.path())?;
    dirs.configure(CONFIG)?;
    let sysfs = tree.path().display().to_string();
    let flags = ["--sysfs", &sysfs, "--interval", "3600", "--log", "warn"];
    let (mut firsts, mut cpus) = (Vec::new(), Vec::new());
    for _ in 1..STARTS {
        let (first, plugin, _) = first_list(binary, &dirs, &flags, devices)?;
        firsts.push(first);
        cpus.push(ms(plugin.on_processor()?));
    }
    let (first, plugin, kubelet) = first_list(binary, &dirs, &flags, devices)?;
    firsts.push(first);
    cpus.push(ms(plugin.on_processor()?));
    let (memory_kib, _) = plugin.memory_kib()?;
    let free = kubelet.free(POOL);
    let allocate_ms = median_ms((0..REQUESTS).map(|n| {
        let device = free.get(n).context("too few devices")?.clone();
        timed(|| kubelet.allocate(POOL, &[vec![device]]).map(drop))
    }))?;
    let prefer_ms =
        median_ms((0..REQUESTS).map(|_| timed(|| kubelet.prefer(POOL, &free, &[], 4).map(drop))))?;
    let (first_list_ms, first_list_cpu_ms) = (median(firsts), median(cpus));
    Ok(Figure { devices, first_list_ms, first_list_cpu_ms, memory_kib, allocate_ms, prefer_ms })
}

fn first_list(
    binary: &Path,
    dirs: &Dirs,
    flags: &[&str],
    devices: u16,
) -> anyhow::Result<(f64, Plugin, Kubelet)> {
    let kubelet = Kubelet::start(&dirs.kubelet(), Registration::Watcher)?;
    let start = Instant::now();
    let plugin = Plugin::start(binary, dirs, flags)?;
    let told = kubelet.wait_healthy(POOL, devices.into(), PATIENCE).with_context(|| dirs.said())?;
    Ok((ms(told.duration_since(start)), plugin, kubelet))
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(ms(start.elapsed()))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median_ms(times: impl Iterator<Item = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    Ok(median(times.collect::<anyhow::Result<_>>()?))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

impl Figures {
    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "device plugin, {PFS} PFs, median of {STARTS} starts and {REQUESTS} requests\n\n\
             {:>8} {:>14} {:>10} {:>10} {:>12} {:>12} {:>14}\n",
            "devices",
            "first list ms",
            "of CPU ms",
            "memory MiB",
            "allocate ms",
            "prefer 4 ms",
            "CPU us/device"
        );
        for figure in &self.0 {
            let Figure { devices, first_list_ms, first_list_cpu_ms, .. } = figure;
            let Figure { memory_kib, allocate_ms, prefer_ms, .. } = figure;
            let each = first_list_cpu_ms * 1000.0 / f64::from(*devices);
            let memory = *memory_kib >> 10;
            let _ = writeln!(
                text,
                "{devices:>8} {first_list_ms:>14.1} {first_list_cpu_ms:>10.1} {memory:>10} {allocate_ms:>12.2} {prefer_ms:>12.2} {each:>14.0}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_a_device_costs() {
        let figure = Figure {
            devices: 500,
            first_list_ms: 90.0,
            first_list_cpu_ms: 50.0,
            memory_kib: 20480,
            allocate_ms: 1.5,
            prefer_ms: 0.5,
        };
        let table = Figures(vec![figure]).table();
        let wanted = "     500           90.0       50.0         20         1.50         0.50            100";
        assert!(table.ends_with(&format!("{wanted}\n")), "{table}");
    }
}
