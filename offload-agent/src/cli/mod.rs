//! The command line: one file a subcommand, each with its `Args` and a `run` that returns an [`Exit`].
//!
//! A new subcommand is a module here, a variant of [`Command`] and an arm in [`Command::run`].

pub mod compile;
pub mod flush;
pub mod run;
pub mod status;

use clap::{CommandFactory, Parser, Subcommand};
pub use program::Exit;
use program::{LogArgs, completion};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or in sync
  1  failed; standard error says what and what to do
  2  the command line or the configuration is wrong
  3  the command worked, and its answer is no (status: not in sync)";

/// Mirrors an Open vSwitch ruleset into TC-flower filters, so that a switchdev NIC forwards in hardware
/// what OVS decided.
#[derive(Debug, Parser)]
#[command(name = "offload-agent", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile rules from a file, and show filters and verdicts; nothing is touched.
    Compile(Box<compile::Args>),
    /// Run the daemon.
    Run(run::Args),
    /// Show what is in hardware, and why the rest is not.
    Status(status::Args),
    /// Take our filters away; Open vSwitch forwards.
    Flush(flush::Args),
    /// Print a completion script for a shell.
    Completion(completion::Args),
}

impl Command {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// When the command failed; a command that worked and answers no returns an [`Exit`].
    pub fn run(&self) -> Result<Exit, CommandError> {
        match self {
            Self::Compile(args) => Ok(compile::run(args)?),
            Self::Run(args) => Ok(run::run(args)?),
            Self::Status(args) => Ok(status::run(args)?),
            Self::Flush(args) => Ok(flush::run(args)?),
            Self::Completion(args) => Ok(completion::run(args, Cli::command())),
        }
    }
}

/// What failed: one variant a subcommand, each with its own error enum inside.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// `compile`.
    #[error(transparent)]
    Compile(#[from] compile::CompileError),
    /// `run`.
    #[error(transparent)]
    Run(#[from] run::RunError),
    /// `status`.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// `flush`.
    #[error(transparent)]
    Flush(#[from] flush::FlushError),
}

impl CommandError {
    /// What the shell is told.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Compile(error) => error.exit(),
            Self::Run(error) => error.exit(),
            Self::Status(_) | Self::Flush(_) => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
