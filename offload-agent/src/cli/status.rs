//! `offload-agent status`: what the daemon says of itself.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::Exit;
use crate::agent::server::socket_path;
use crate::config::RUN_DIR;
use crate::report::Status;

/// How often `--wait` asks.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// `offload-agent status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  offload-agent status                      # a table: every rule, and why it is not in hardware
  offload-agent status --output json | jq '.rules[] | select(.outcome == \"ovs\")'
  offload-agent status --wait 30            # returns when the kernel has what the rules ask for

Exit code 3: the daemon answers, and the kernel does not (yet) have what the rules ask for.")]
pub struct Args {
    /// How it is shown.
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Output,

    /// Ask again until in sync, for at most so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u64,

    /// The daemon's `runDir`.
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
}

/// How the status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody answers.
    #[error("no daemon answers on {}: {source}; start `offload-agent run`, or give its runDir with --run-dir", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What answers is no daemon of this version.
    #[error("what {} says is not a status: {source}", path.display())]
    NotAStatus {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Asks the daemon and shows its answer.
///
/// # Errors
///
/// When no daemon answers.
pub fn run(args: &Args) -> Result<Exit, StatusError> {
    let socket = socket_path(&args.run_dir);
    let status = ask_until_synced(&socket, Duration::from_secs(args.wait))?;
    match args.output {
        Output::Table => print!("{}", status.table()),
        Output::Json => println!("{}", json(&status)),
    }
    Ok(if status.synced { Exit::Success } else { Exit::No })
}

fn ask_until_synced(socket: &Path, patience: Duration) -> Result<Status, StatusError> {
    let end = Instant::now() + patience;
    loop {
        let answer = ask(socket);
        let done = answer.as_ref().is_ok_and(|status| status.synced);
        if done || Instant::now() >= end {
            return answer;
        }
        sleep(ASK_AGAIN);
    }
}

/// Asks the daemon behind a status socket.
///
/// # Errors
///
/// When nobody answers, or not with a status.
pub fn ask(socket: &Path) -> Result<Status, StatusError> {
    let read = || {
        let mut answer = Vec::new();
        UnixStream::connect(socket)?.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer =
        read().map_err(|source| StatusError::NoDaemon { path: socket.to_owned(), source })?;
    serde_json::from_slice(&answer)
        .map_err(|source| StatusError::NotAStatus { path: socket.to_owned(), source })
}

fn json(status: &Status) -> String {
    // A status has text keys only, which is all that could fail.
    serde_json::to_string_pretty(status).unwrap_or_default()
}
