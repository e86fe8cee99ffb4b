//! `offload-agent run`: the daemon.

use std::path::PathBuf;

use super::Exit;
use crate::agent::{self, AgentError};
use crate::config::{BridgeName, Bridges, Config, ConfigError};

/// `offload-agent run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  offload-agent run --config /etc/linerate/offload-agent.yaml
  offload-agent run --bridge br-int --log offload_agent=debug

SIGTERM ends it. The filters stay in the kernel, so traffic keeps its speed while the daemon is
replaced; set `onExit: flush`, or run `offload-agent flush` afterwards, to have them taken away.")]
pub struct Args {
    /// The configuration file; without one, every key has its default.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Mirror this bridge only, whatever the configuration says. May be given more than once.
    #[arg(long = "bridge", short, value_name = "NAME")]
    pub bridges: Vec<BridgeName>,
}

/// Why the daemon did not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It could not start, or failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl RunError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Agent(AgentError::UnknownCapabilities(_) | AgentError::CapabilityFile { .. }) => {
                Exit::BadConfig
            }
            Self::Agent(_) => Exit::Failed,
        }
    }
}

/// Runs until a signal asks to stop.
///
/// # Errors
///
/// When the configuration is wrong, or the daemon cannot start.
pub fn run(args: &Args) -> Result<Exit, RunError> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::parse("")?,
    };
    if !args.bridges.is_empty() {
        config.ovs.bridges = Bridges::Named(args.bridges.iter().cloned().collect());
    }
    agent::run(config)?;
    Ok(Exit::Success)
}
