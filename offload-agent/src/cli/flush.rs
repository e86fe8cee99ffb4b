//! `offload-agent flush`: takes our filters away; Open vSwitch forwards.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use switchdev::tc::{Kernel, TcError};

use super::Exit;
use crate::agent::mirror::{Mirror, MirrorError};
use crate::agent::server::socket_path;
use crate::config::RUN_DIR;

/// `offload-agent flush`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes away every filter that carries our mark, on whatever device, the last ones first, so that no
packet is misforwarded on the way; and the clsact qdiscs that we made, where nobody else uses them.
Filters of others stay. A running daemon would put the filters back, so it has to be stopped first.

Example:
  systemctl stop offload-agent && offload-agent flush")]
pub struct Args {
    /// The daemon's `runDir`.
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    pub run_dir: PathBuf,
}

/// Why not everything of ours is gone.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The daemon would put them back.
    #[error("the daemon runs (it answers on {}) and would put the filters back; stop it first", .0.display())]
    DaemonRuns(PathBuf),
    /// The kernel cannot be asked.
    #[error(transparent)]
    Tc(#[from] TcError),
    /// The kernel did not answer, or refused.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Takes everything of ours away.
///
/// # Errors
///
/// When the daemon runs, or the kernel does not do as asked.
pub fn run(args: &Args) -> Result<Exit, FlushError> {
    let socket = socket_path(&args.run_dir);
    if UnixStream::connect(&socket).is_ok() {
        return Err(FlushError::DaemonRuns(socket));
    }
    let filters = Mirror::open(Box::new(Kernel::open()?), &args.run_dir)?.flush()?;
    println!("{filters} filters removed");
    Ok(Exit::Success)
}
