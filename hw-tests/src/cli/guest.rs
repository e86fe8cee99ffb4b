//! `hw-tests guest`: what the host starts inside the guest.

use std::process::ExitCode;

use clap::Subcommand;

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
}

impl Guest {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init => crate::guest::init::main(),
            Self::Demo => crate::demo::in_guest(),
            Self::Cases { names } => crate::guest::runner::run(&names).map(|()| ExitCode::SUCCESS),
        }
    }
}
