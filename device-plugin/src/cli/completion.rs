//! `device-plugin completion SHELL`: a completion script on standard output.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit};

/// `device-plugin completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  device-plugin completion bash > /etc/bash_completion.d/device-plugin"
)]
pub struct Args {
    /// The shell to complete for.
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Exit {
    let name = "device-plugin";
    clap_complete::generate(args.shell, &mut Cli::command(), name, &mut std::io::stdout());
    Exit::Success
}
