//! What the command lines of our daemons have in common, so that whoever knows one knows the other: how
//! they log, what their exit codes mean, and how a shell completes them.

pub mod completion;
pub mod exit;
pub mod logging;

use std::io::{ErrorKind, Write};

pub use exit::Exit;
pub use logging::{LogArgs, LoggingError};

/// Prints what a command was asked for. A reader that has seen enough, as `head` has, is no failure.
#[must_use]
pub fn print(text: &[u8]) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Exit::Failed,
        _ => Exit::Success,
    }
}
