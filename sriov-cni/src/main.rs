//! The plugin: as a runtime runs it, and as people do.

use std::io::{self, Read};
use std::process::ExitCode;

use clap::Parser;
use sriov_cni::cli::{self, Cli};
use sriov_cni::protocol::{Call, CniError, Code, Version};
use sriov_cni::verbs::{Machine, answer};

fn main() -> ExitCode {
    let by_runtime = std::env::args_os().len() == 1 && std::env::var_os("CNI_COMMAND").is_some();
    if by_runtime { plugin() } else { command_line() }
}

fn command_line() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sriov-cni: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One answer on stdout, always: a result, nothing, or an error.
fn plugin() -> ExitCode {
    match call() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err((error, version)) => {
            println!("{}", error.to_json(version));
            ExitCode::FAILURE
        }
    }
}

fn call() -> Result<Option<serde_json::Value>, (CniError, Version)> {
    let failed =
        |code, error: &dyn std::error::Error| (CniError::new(code, error), Version::LATEST);
    let call = Call::read(|name| std::env::var(name).ok())
        .map_err(|error| failed(Code::InvalidEnvironment, &error))?;
    let mut stdin = Vec::new();
    io::stdin().read_to_end(&mut stdin).map_err(|error| failed(Code::Io, &error))?;
    answer(&call, &stdin, &mut Machine::default())
}
