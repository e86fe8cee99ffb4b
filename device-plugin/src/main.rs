//! The `device-plugin` binary: command line in, exit code out. All else is in the library.

use std::process::ExitCode;

use clap::Parser;
use device_plugin::cli::{self, Cli, CommandError, Exit};

fn main() -> ExitCode {
    match run(&Cli::parse_from(cli::in_one_spelling(std::env::args()))) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Our messages hold the words of what caused them, so the chain would say them twice.
            eprintln!("device-plugin: {error}");
            error.downcast_ref().map_or(Exit::Failed, CommandError::exit).into()
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    cli.log.init()?;
    Ok(cli.run()?)
}
