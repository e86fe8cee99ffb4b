//! The command line: one file a subcommand, each with `run(self) -> anyhow::Result<ExitCode>`.

mod bench;
mod differential;
mod guest;
mod key_lines;
mod setup;
mod sim;
mod sim_test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::sim::exit;

/// The simulated node, its tests and benches.
#[derive(Debug, Parser)]
#[command(name = "hw-tests", version, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The simulated node: run a command in it, get a shell, run its tests.
    #[command(subcommand)]
    Sim(sim::Sim),
    /// Install the system packages that the simulated node needs.
    Setup(setup::SetupArgs),
    /// The main job on a simulated node, told step by step: pods on VFs, Open vSwitch, traffic through the card.
    Demo,
    /// Measure against rivals in the same run; the figures go to target/bench/report.json.
    Bench(bench::BenchArgs),
    Differential(differential::DifferentialArgs),
    KeyLines(key_lines::KeyLinesArgs),
    /// What runs inside the guest; not for people.
    #[command(subcommand, hide = true)]
    Guest(guest::Guest),
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Sim(sim) => sim.run(),
            Self::Setup(args) => args.run(),
            Self::Demo => crate::demo::on_host(),
            Self::Bench(bench) => bench.run(),
            Self::Differential(args) => args.run(),
            Self::KeyLines(args) => args.run(),
            Self::Guest(guest) => guest.run(),
        }
    }
}

/// Parses the command line and runs it. Our own failures have their own exit codes, see [`exit`].
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.command.run().unwrap_or_else(report),
        Err(error) => usage(&error),
    }
}

fn report(error: anyhow::Error) -> ExitCode {
    eprintln!("hw-tests: {error:#}");
    ExitCode::from(exit::FAILED)
}

/// clap's own code for a usage error, 2, could be mistaken for the command's in the guest.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to do when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS }
}
