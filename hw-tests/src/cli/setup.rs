//! `hw-tests setup`: the system packages.

use std::process::ExitCode;

use clap::Args;

use crate::setup::{self, Purpose};

/// Arguments of `hw-tests setup`.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// What the packages are for.
    #[arg(value_enum)]
    purpose: Purpose,
}

impl SetupArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        setup::run(self.purpose).map(|()| ExitCode::SUCCESS)
    }
}
