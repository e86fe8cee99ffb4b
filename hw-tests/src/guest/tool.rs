//! The system's own tools (ip, devlink, modprobe), run to their end, with an error that says what they said.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Runs a command line, split at blanks, and gives its standard output.
pub fn run(line: &str) -> anyhow::Result<String> {
    run_args(&line.split_whitespace().collect::<Vec<_>>())
}

/// Runs a command line and parses its standard output as JSON.
pub fn json(line: &str) -> anyhow::Result<Value> {
    let text = run(line)?;
    serde_json::from_str(&text).with_context(|| format!("`{line}` printed no JSON: {text}"))
}

/// Runs a command line that must fail, and gives what it wrote to standard error.
pub fn refused(line: &str) -> anyhow::Result<String> {
    match run(line) {
        Ok(_) => bail!("`{line}` was not refused"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Runs a command line that undoes something; where there is nothing to undo, it is told and let be.
pub fn undo(line: &str) {
    if let Err(error) = run(line) {
        eprintln!("linerate: while cleaning up: {error:#}");
    }
}

/// Runs a program with arguments that may hold blanks.
pub fn run_args<S: AsRef<OsStr>>(argv: &[S]) -> anyhow::Result<String> {
    let (program, arguments) = argv.split_first().context("an empty command line")?;
    let text =
        argv.iter().map(|part| part.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
