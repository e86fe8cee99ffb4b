//! `hw-tests sim`: the simulated node by hand.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::sim_test::TestArgs;
use crate::sim::job::{Job, Terminal};
use crate::sim::kernel::Flavour;
use crate::sim::node::{self, Node, Run, Stream};
use crate::sim::progress;

/// Subcommands of `hw-tests sim`.
#[derive(Debug, Subcommand)]
pub(super) enum Sim {
    /// Boot a node, run a command in it, power off.
    ///
    /// The command's exit code is ours. Its standard output and error come back as they are; the kernel's console is
    /// kept in a file. Files that the command writes below $LINERATE_OUT are found in --out afterwards.
    Run(RunArgs),
    /// Boot a node and give an interactive shell in it; leaving the shell powers it off.
    Shell(NodeArgs),
    /// Run the cases that need a node, many in one boot.
    ///
    /// Prints a line for each case and ends with `N passed, N failed, N skipped`. A case that takes the guest down has failed,
    /// and the others run on a fresh one.
    Test(TestArgs),
}

/// What kind of node.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The kernel: Debian's, a small one of our own with NET_TC_SKB_EXT, or our own with the kernel's debug checks.
    #[arg(long, value_enum, default_value_t = Flavour::Stock)]
    kernel: Flavour,
}

/// Arguments of `hw-tests sim run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Give up when the command has not ended after this many seconds.
    #[arg(long, value_name = "SECS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Directory that receives the files written below $LINERATE_OUT, and console.log.
    #[arg(long, value_name = "DIR")]
    out: Option<std::path::PathBuf>,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Sim {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run(&args),
            Self::Shell(args) => shell(&args),
            Self::Test(args) => args.run(),
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let node = Node::prepare(args.node.kernel)?;
    let job = Job::new(args.command.clone())?;
    let outcome = node.run(&Run::new(job, Duration::from_secs(args.timeout)), &mut pass_through)?;
    if let Some(dir) = &args.out {
        outcome
            .keep(dir)
            .with_context(|| format!("cannot keep the results in {}", dir.display()))?;
    }
    Ok(conclude(&outcome))
}

fn shell(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    let node = Node::prepare(args.kernel)?;
    let shell =
        ["/bin/bash", "/bin/sh"].into_iter().find(|path| std::path::Path::new(path).exists());
    let mut job =
        Job::new(vec![shell.context("there is neither /bin/bash nor /bin/sh")?.to_owned()])?;
    job.terminal =
        Some(Terminal::of_stdin().context("`sim shell` needs a terminal on standard input")?);
    Ok(conclude(&node.run(&Run::unlimited(job), &mut pass_through)?))
}

/// The guest's streams are ours. A reader that went away is no reason to stop the run.
fn pass_through(stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
    let _ = match stream {
        Stream::Stdout => {
            std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush())
        }
        Stream::Stderr => std::io::stderr().write_all(bytes),
    };
    ControlFlow::Continue(())
}

fn conclude(outcome: &node::Outcome) -> ExitCode {
    if let Some(report) = outcome.failure_report() {
        eprintln!("hw-tests: {report}");
    }
    progress::say(&outcome.timing());
    ExitCode::from(outcome.ending.exit_code())
}
