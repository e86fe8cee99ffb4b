//! `hw-tests bench`: benchmarks beside their rivals.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::bench::rules::{Figures, RESULT, Size};
use crate::bench::{cni, device_plugin, report};
use crate::sim::job::Job;
use crate::sim::kernel::Flavour;
use crate::sim::node::{Node, Run, Stream};

/// Arguments of `hw-tests bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// One benchmark; without it, all of them.
    #[command(subcommand)]
    which: Option<Bench>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Filters a second into the kernel: ours, `tc -batch`, and a bare loop, in one boot.
    Rules(Rules),
    /// The CNI plugin: ADD and DEL by who takes the time, on the host and in one boot.
    Cni {
        /// Our own share only, on the host. No boot.
        #[arg(long)]
        own: bool,
    },
    /// The device plugin with up to 1,000 devices: first list, memory, allocation. No boot.
    DevicePlugin,
}

#[derive(Debug, Args)]
struct Rules {
    /// The kernel to boot.
    #[arg(long, value_enum, default_value_t = Flavour::Stock)]
    kernel: Flavour,
    #[command(flatten)]
    size: SizeArgs,
}

impl Default for Rules {
    fn default() -> Self {
        Self { kernel: Flavour::Stock, size: SizeArgs { filters: FILTERS, turns: TURNS } }
    }
}

const FILTERS: u32 = 10_000;
const TURNS: u32 = 3;

/// How much is measured.
#[derive(Debug, Args, Clone, Copy)]
pub(super) struct SizeArgs {
    /// How many filters.
    #[arg(long, default_value_t = FILTERS, value_parser = clap::value_parser!(u32).range(1..))]
    filters: u32,
    /// How many turns each rival has.
    #[arg(long, default_value_t = TURNS, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
}

impl SizeArgs {
    pub(super) fn size(self) -> Size {
        Size { filters: self.filters, turns: self.turns }
    }
}

/// A slow host needs about five minutes.
const LIMIT: Duration = Duration::from_secs(3600);

impl BenchArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.which {
            Some(Bench::Rules(rules)) => rules.run(),
            Some(Bench::Cni { own: true }) => cni_own().map(|_| ExitCode::SUCCESS),
            Some(Bench::Cni { own: false }) => cni(),
            Some(Bench::DevicePlugin) => device_plugin(),
            None => {
                device_plugin()?;
                cni()?;
                Rules::default().run()
            }
        }
    }
}

fn device_plugin() -> anyhow::Result<ExitCode> {
    let binary = std::env::current_exe()?.with_file_name("device-plugin");
    anyhow::ensure!(binary.exists(), "{} is not built; run `make bench`", binary.display());
    let figures = device_plugin::measure(&binary)?;
    println!("{}", figures.table());
    report::add(Path::new(report::PATH), "device-plugin", serde_json::to_value(&figures)?)?;
    Ok(ExitCode::SUCCESS)
}

fn cni_own() -> anyhow::Result<cni::Figures> {
    let program = std::env::current_exe()?.with_file_name("cni-at-once");
    anyhow::ensure!(program.exists(), "{} is not built; run `make bench`", program.display());
    let own = cni::measure_own(&program)?;
    println!("{}", own.table("CNI plugin, everybody it asks answers at once"));
    Ok(own)
}

fn cni() -> anyhow::Result<ExitCode> {
    let own = cni_own()?;
    let program = std::env::current_exe()?;
    let argv = [&program.display().to_string(), "guest", "bench-cni"].map(str::to_owned);
    let (text, code) = in_guest(Flavour::Stock, Job::new(argv.into())?, cni::RESULT)?;
    let node: cni::Figures = serde_json::from_str(&text)?;
    println!("{}", node.table("CNI plugin on the simulated node"));
    report::add(Path::new(report::PATH), "cni", serde_json::json!({"own": own, "node": node}))?;
    Ok(code)
}

/// Runs a job in a guest; the file it leaves.
fn in_guest(kernel: Flavour, job: Job, result: &str) -> anyhow::Result<(String, ExitCode)> {
    let outcome = Node::prepare(kernel)?.run(&Run::new(job, LIMIT), &mut to_stderr)?;
    if let Some(failure) = outcome.failure_report() {
        eprintln!("hw-tests: {failure}");
    }
    let text = std::fs::read_to_string(outcome.out().join(result));
    let text = text.context("the guest left no figures")?;
    Ok((text, ExitCode::from(outcome.ending.exit_code())))
}

impl Rules {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (text, code) = in_guest(self.kernel, self.job()?, RESULT)?;
        let figures: Figures = serde_json::from_str(&text)?;
        print!("{}", figures.table());
        report::add(Path::new(report::PATH), "rules", serde_json::to_value(&figures)?)?;
        Ok(code)
    }

    fn job(&self) -> anyhow::Result<Job> {
        let program = std::env::current_exe()?.display().to_string();
        let SizeArgs { filters, turns } = self.size;
        let argv = [
            &program,
            "guest",
            "bench-rules",
            "--filters",
            &filters.to_string(),
            "--turns",
            &turns.to_string(),
        ];
        Job::new(argv.map(str::to_owned).into())
    }
}

fn to_stderr(_: Stream, bytes: &[u8]) -> ControlFlow<()> {
    eprint!("{}", String::from_utf8_lossy(bytes));
    ControlFlow::Continue(())
}
