//! Running host commands with errors that say what was run and what it answered.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Runs a command and gives its standard output; a failure carries its standard error.
pub fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let shown = show(command);
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot run `{shown}`"))?;
    if status.success() {
        return Ok(stdout);
    }
    bail!("`{shown}` failed ({status}):\n{}", String::from_utf8_lossy(&stderr).trim_end())
}

/// As [`output`], as text without the last line break.
pub fn text(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).trim_end().to_owned())
}

/// Whether a program of that name is on the PATH.
#[must_use]
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .any(|dir| dir.join(program).is_file())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
