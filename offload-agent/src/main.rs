//! The `offload-agent` binary: command line in, exit code out. All else is in the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use offload_agent::cli::{Cli, CommandError, Exit};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Our messages hold the words of what caused them, so the chain would say them twice.
            eprintln!("offload-agent: {error}");
            error.downcast_ref().map_or(Exit::Failed, CommandError::exit).into()
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    cli.log.init()?;
    Ok(cli.command.run()?)
}
