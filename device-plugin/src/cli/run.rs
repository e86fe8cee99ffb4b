//! Running the plugin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Exit;
use crate::answer::{cdi, devinfo};
use crate::daemon::{self, DaemonError, Settings};
use crate::kubelet::{self, KubeletDir};

/// The flags of the running plugin.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pools, JSON or YAML; read again when it changes.
    #[arg(long, short, alias = "config-file", value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,

    /// The prefix of resources whose pool names none.
    #[arg(long, value_name = "DOMAIN", default_value = PREFIX)]
    pub resource_prefix: String,

    /// Hand device files over by CDI.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub use_cdi: bool,

    /// Where CDI specs are written.
    #[arg(long, value_name = "DIR", default_value = cdi::DEFAULT_DIR)]
    pub cdi_dir: PathBuf,

    /// Kubelet's root directory.
    #[arg(long, value_name = "DIR", default_value = kubelet::DEFAULT_DIR)]
    pub kubelet_dir: PathBuf,

    /// Where it is recorded who has which VF; CNI and agent read it too.
    #[arg(long, value_name = "DIR", default_value = switchdev::ledger::DEFAULT_DIR)]
    pub ledger_dir: PathBuf,

    /// Where Multus looks for device-info files.
    #[arg(long, value_name = "DIR", default_value = devinfo::DEFAULT_DIR)]
    pub devinfo_dir: PathBuf,

    /// Where /metrics and /healthz are served; "off" for nowhere.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = METRICS)]
    pub metrics_listen: Listen,

    /// How often the node is looked at even when the kernel says nothing, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = INTERVAL, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,

    /// A sysfs tree to read instead of this node's; e-switch modes and health are not known of it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub sysfs: Option<PathBuf>,
}

/// Where `sriov-network-device-plugin` has it.
pub(super) const CONFIG: &str = "/etc/pcidp/config.json";
/// What `sriov-network-device-plugin` has.
pub(super) const PREFIX: &str = "intel.com";
const METRICS: &str = "127.0.0.1:9479";
const INTERVAL: u64 = 30;

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| "give ADDRESS:PORT, such as 127.0.0.1:9479, or off".to_owned())
    }
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            config: self.config.clone(),
            resource_prefix: self.resource_prefix.clone(),
            kubelet: KubeletDir::new(self.kubelet_dir.clone()),
            ledger: self.ledger_dir.clone(),
            device_info: self.devinfo_dir.clone(),
            cdi: self.use_cdi.then(|| self.cdi_dir.clone()),
            metrics: self.metrics_listen.0,
            interval: Duration::from_secs(self.interval),
            sysfs: self.sysfs.clone(),
        }
    }
}

/// Runs until a signal asks to stop.
///
/// # Errors
/// When the configuration is wrong, or the plugin cannot start.
pub fn run(args: &Args) -> Result<Exit, DaemonError> {
    daemon::run(args.settings())?;
    Ok(Exit::Success)
}
