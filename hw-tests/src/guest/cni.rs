//! A CNI plugin's program, started as a runtime does: environment and stdin in, JSON and an exit status out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

/// Where Debian puts the plugins of containernetworking-plugins.
pub const CNI_PATH: &str = "/usr/lib/cni";

/// Whether it succeeded, and what it said; null where that was nothing.
pub fn call(
    program: &Path,
    variables: &[(&str, &str)],
    conf: &Value,
) -> anyhow::Result<(bool, Value)> {
    let mut child = Command::new(program)
        .env("CNI_PATH", CNI_PATH)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    child.stdin.take().context("no stdin")?.write_all(conf.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    let answer = match output.stdout.as_slice() {
        [] => Value::Null,
        json => serde_json::from_slice(json)?,
    };
    Ok((output.status.success(), answer))
}
