//! Logs go to standard error, so that standard output stays clean for what a command prints.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The flags that say what is logged, and how.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,

    /// Which log lines are shown, e.g. "info" or "switchdev=debug,info".
    #[arg(
        long,
        alias = "log-level",
        env = "RUST_LOG",
        default_value = "info",
        global = true,
        value_name = "FILTER"
    )]
    pub log: String,
}

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
        "--log (RUST_LOG): {filter:?} is not a log filter: {source}; write a level such as \"info\" or \"switchdev=debug,info\""
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

impl LogArgs {
    /// Installs the process's logger.
    ///
    /// # Errors
    /// When the filter does not parse, or when called a second time.
    pub fn init(&self) -> Result<(), LoggingError> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|source| LoggingError::Filter { filter: self.log.clone(), source })?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().try_init(),
        }
        .map_err(|_| LoggingError::AlreadyInstalled)
    }
}
