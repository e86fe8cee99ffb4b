//! What host and guest tell each other: the [`Job`], as a file in the shared directory, and [`Event`]s, a line each, on a
//! virtio-serial port.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The 9p tag of the host's root.
pub const ROOT_TAG: &str = "root";
/// The 9p tag of the run's own directory, the only one that the guest may write.
pub const RUN_TAG: &str = "run";
/// Where the guest mounts the run's directory.
pub const RUN_MOUNT: &str = "/run/linerate";
/// The job, in the run's directory.
pub const JOB_FILE: &str = "job.json";
/// The path of the first process after the initramfs, in the run's directory.
pub const INIT_FILE: &str = "init";
/// The directory, in the run's directory, that a command fills with files for the host.
pub const OUT_DIR: &str = "out";
/// Names of the virtio-serial ports.
pub const PORT_EVENTS: &str = "linerate.events";
/// See [`PORT_EVENTS`].
pub const PORT_STDOUT: &str = "linerate.stdout";
/// See [`PORT_EVENTS`].
pub const PORT_STDERR: &str = "linerate.stderr";

/// What the guest is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Variables added to the command's environment.
    pub env: BTreeMap<String, String>,
    /// The command's working directory: a path of the host.
    pub dir: PathBuf,
    /// Modules of the kernel that boots, to be found below `/lib/modules`.
    pub modules: Option<PathBuf>,
    /// Run the command on a terminal of this size instead of on pipes.
    pub terminal: Option<Terminal>,
}

impl Job {
    /// A job that runs a command in the directory we are in.
    pub fn new(argv: Vec<String>) -> anyhow::Result<Self> {
        let dir = std::env::current_dir().context("the current directory is gone")?;
        Ok(Self { argv, env: BTreeMap::new(), dir, modules: None, terminal: None })
    }
}

/// A terminal's kind and size, so that the guest's looks the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// `$TERM`.
    pub term: String,
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl Terminal {
    /// The terminal on our standard input.
    pub fn of_stdin() -> anyhow::Result<Self> {
        let size = rustix::termios::tcgetwinsize(std::io::stdin())?;
        let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
        Ok(Self { term, rows: size.ws_row, columns: size.ws_col })
    }
}

/// What the guest reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The guest is set up and starts the command.
    Started,
    /// The guest still runs processes; sent every second.
    Alive,
    /// The command ended, with the exit code a shell would give it.
    Ended(u8),
    /// The guest could not be set up.
    Failed(String),
}
