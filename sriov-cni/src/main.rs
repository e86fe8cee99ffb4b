//! The plugin: as a runtime runs it, and as people do.

use std::io::{self, Read, Write};
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

/// One answer on stdout, always: a result, nothing, or an error. A runtime that cannot be told takes it for a failure, and
/// will call DEL.
fn plugin() -> ExitCode {
    let (text, code) = match call() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(result)) => (result.to_string(), ExitCode::SUCCESS),
        Err((error, version)) => (error.to_json(version).to_string(), ExitCode::FAILURE),
    };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => code,
        Err(error) => {
            // Where standard error is gone, too, the exit status is left.
            let _ = writeln!(io::stderr(), "sriov-cni: cannot write the answer to stdout: {error}");
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
    io::stdin().read_to_end(&mut stdin).map_err(|error| {
        let what = format!("stdin: cannot read the configuration: {error}");
        (CniError::new(Code::Io, what), Version::LATEST)
    })?;
    answer(&call, &stdin, &mut Machine::default())
}
