//! What the shell is told when a program ends.

use std::process::ExitCode;

/// How a command ended. The numbers are in each program's `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// It failed.
    Failed,
    /// The command line or the configuration is wrong.
    BadConfig,
    /// It worked, and the answer is no.
    No,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::BadConfig => 2,
            Exit::No => 3,
        })
    }
}
