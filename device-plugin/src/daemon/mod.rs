//! The running plugin: looks at the node, keeps the pools, and keeps kubelet told.
//!
//! ```text
//! kernel events ─┐
//! file changes  ─┼─► look: configuration, devices, ledger, kubelet's count ─► pools ─► sessions ─► kubelet
//! clock         ─┘                                                              └─► log, metrics, CDI specs
//! ```

mod files;
mod looker;
mod server;
mod sessions;
mod stale;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use switchdev::ledger::{Ledger, LedgerError};
use switchdev::{CardError, Sysfs};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::allocate::Allocator;
use crate::answer::cdi::Cdi;
use crate::answer::devinfo::DeviceInfo;
use crate::config::{Config, ConfigError};
use crate::device::read::Reader;
use crate::kubelet::KubeletDir;
use crate::kubelet::service::Shared;
use crate::metrics::Metrics;
use looker::Looker;
use sessions::Sessions;

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file.
    pub config: PathBuf,
    /// The prefix of resources that name none.
    pub resource_prefix: String,
    /// Kubelet's root directory.
    pub kubelet: KubeletDir,
    /// The directory of the VF ledger.
    pub ledger: PathBuf,
    /// The directory of device-info files.
    pub device_info: PathBuf,
    /// The directory of CDI specs, if device files are handed over that way.
    pub cdi: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// How often the node is looked at even when nothing happened.
    pub interval: Duration,
    /// A sysfs tree in the place of this node's.
    pub sysfs: Option<PathBuf>,
}

/// Why the plugin did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The kernel cannot be asked.
    #[error(transparent)]
    Kernel(#[from] CardError),
    /// The metrics address cannot be used.
    #[error(
        "--metrics-listen {address}: {source}; give an address and port of this machine that are free, or off"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The process cannot run.
    #[error("cannot start: {0}")]
    Process(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT. Kubelet is sent no empty list then: it keeps what it knows for as long
/// as it waits for a plugin, so a restart takes nothing from running pods.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: Settings) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), DaemonError> {
    // First, so that a change between the two is seen as one.
    let text = std::fs::read(&settings.config).ok();
    let config = Config::load(&settings.config, &settings.resource_prefix)?;
    let ledger = Ledger::open(&settings.ledger)?;
    let metrics = Arc::new(Metrics::default());
    metrics.configured();
    let device_info = DeviceInfo::new(settings.device_info.clone());
    let allocator = Allocator::new(ledger, device_info, settings.cdi.clone().map(Cdi::new));
    let (published, pools) = watch::channel(Arc::default());
    let health = server::Health::new(settings.interval);
    let _server = server::start(settings.metrics, Arc::clone(&metrics), health.clone())?;
    let pod_resources = settings.kubelet.pod_resources();
    let shared = Arc::new(Shared { pools: pools.clone(), allocator, pod_resources, metrics });
    let changes = files::watch(&settings);
    let (stop, stopped) = watch::channel(false);
    let sessions = Sessions::new(settings.kubelet.clone(), Arc::clone(&shared), changes.sockets);
    let configured = (config, text);
    let looker = Looker::new(settings, configured, shared, published, health, reader_for)?;
    let looking = looker.run(changes.files, stopped);
    tokio::select! {
        () = looking => {}
        () = sessions.run(pools) => {}
        asked = asked_to_stop() => asked?,
    }
    tracing::info!("stopping; devices stay as kubelet knows them until the next start");
    let _ = stop.send(true);
    Ok(())
}

fn reader_for(sysfs: Option<&PathBuf>) -> Result<Reader, CardError> {
    match sysfs {
        Some(root) => Ok(Reader::of_tree(Sysfs::at(root))),
        None => Reader::live(),
    }
}

async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
