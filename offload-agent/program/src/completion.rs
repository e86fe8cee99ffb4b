//! `PROGRAM completion SHELL`: a completion script on standard output.

use clap_complete::Shell;

use crate::{Exit, print};

/// What to complete for. Bash, for one, reads the script from `/etc/bash_completion.d/PROGRAM`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to complete for.
    pub shell: Shell,
}

/// Prints the script for a command line.
#[must_use]
pub fn run(args: &Args, mut command: clap::Command) -> Exit {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&script)
}
