//! Logs go to standard error, so that standard output stays clean for what a command prints.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event, for a log collector.
    Json,
}

/// The log filter does not parse, or a logger is already there.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The text is not a list of `target=level` directives.
    #[error(
        "--log (RUST_LOG): {filter:?} is not a log filter: {source}; write a level such as \"info\" or \"device_plugin=debug,info\""
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What the parser says of it.
        source: ParseError,
    },
    /// Only one logger can be installed in a process.
    #[error("a logger is already installed in this process")]
    AlreadyInstalled,
}

/// Installs the process's logger.
///
/// # Errors
///
/// When `filter` does not parse, or when called a second time.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(|_| LoggingError::AlreadyInstalled)
}
