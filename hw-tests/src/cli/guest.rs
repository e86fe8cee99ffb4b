//! `hw-tests guest`: what the host starts inside the guest.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use crate::bench::{cni, rules};
use crate::cases::Ctx;
use crate::cases::device_plugin::kill_many;

/// Subcommands of `hw-tests guest`.
#[derive(Debug, Subcommand)]
pub(super) enum Guest {
    /// Be the guest's first process: mount, run the job, report, power off.
    Init,
    /// Tell the demo's story.
    Demo,
    /// Run cases and report them as lines of JSON.
    Cases {
        /// Their names.
        names: Vec<String>,
    },
    /// Kill the device plugin at random moments while pods hold VFs, and look at what is left.
    PluginKills {
        /// How many times.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// What chooses the moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure filters a second, and leave the figures in $LINERATE_OUT.
    BenchRules(super::bench::SizeArgs),
    /// Measure the CNI plugin, and leave the figures in $LINERATE_OUT.
    BenchCni,
}

impl Guest {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init => crate::guest::init::main(),
            Self::Demo => crate::demo::in_guest(),
            Self::Cases { names } => crate::guest::runner::run(&names).map(|()| ExitCode::SUCCESS),
            Self::PluginKills { kills, seed } => {
                kill_many(&Ctx::from_env()?, kills, seed).map(|()| ExitCode::SUCCESS)
            }
            Self::BenchRules(args) => bench_rules(args.size()).map(|()| ExitCode::SUCCESS),
            Self::BenchCni => bench_cni().map(|()| ExitCode::SUCCESS),
        }
    }
}

fn out() -> anyhow::Result<PathBuf> {
    std::env::var_os("LINERATE_OUT").map(PathBuf::from).context("LINERATE_OUT is not set")
}

fn bench_cni() -> anyhow::Result<()> {
    let figures = cni::measure_on_node()?;
    Ok(std::fs::write(out()?.join(cni::RESULT), serde_json::to_vec(&figures)?)?)
}

fn bench_rules(size: rules::Size) -> anyhow::Result<()> {
    let out = out()?;
    let figures = rules::measure(size, &out)?;
    Ok(std::fs::write(out.join(rules::RESULT), serde_json::to_vec(&figures)?)?)
}
