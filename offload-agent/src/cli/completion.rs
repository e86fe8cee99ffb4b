//! `offload-agent completion SHELL`: a completion script on standard output.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit};

/// `offload-agent completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  offload-agent completion bash > /etc/bash_completion.d/offload-agent"
)]
pub struct Args {
    /// The shell to complete for.
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Exit {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "offload-agent",
        &mut std::io::stdout(),
    );
    Exit::Success
}
