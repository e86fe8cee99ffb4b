//! `hw-tests guest`: what the host starts inside the guest.

use std::process::ExitCode;

use clap::Subcommand;

/// Subcommands of `hw-tests guest`.
#[derive(Debug, Subcommand)]
pub(super) enum Guest {
    /// Be the guest's first process: mount, run the job, report, power off.
    Init,
}

impl Guest {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init => crate::guest::init::main(),
        }
    }
}
