//! The configuration as YAML spells it, and the step from there to values that are known to be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{
    BridgeName, Bridges, CapabilitySource, ConfigError, Hardware, HwPolicy, Ledger, OnExit, Ovs,
    RUN_DIR, Reconcile, duration,
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Config {
    ovs: OvsKeys,
    hardware: HardwareKeys,
    reconcile: ReconcileKeys,
    run_dir: String,
    metrics: MetricsKeys,
    on_exit: OnExit,
    ledger: LedgerKeys,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct OvsKeys {
    run_dir: String,
    database: Option<String>,
    bridges: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct HardwareKeys {
    capabilities: String,
    policy: HwPolicy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ReconcileKeys {
    debounce: String,
    interval: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct MetricsKeys {
    listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LedgerKeys {
    dir: String,
    interval: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ovs: OvsKeys::default(),
            hardware: HardwareKeys::default(),
            reconcile: ReconcileKeys::default(),
            run_dir: RUN_DIR.to_owned(),
            metrics: MetricsKeys::default(),
            on_exit: OnExit::Keep,
            ledger: LedgerKeys::default(),
        }
    }
}

impl Default for OvsKeys {
    fn default() -> Self {
        Self { run_dir: "/var/run/openvswitch".to_owned(), database: None, bridges: Vec::new() }
    }
}

impl Default for HardwareKeys {
    fn default() -> Self {
        Self { capabilities: "mlx5".to_owned(), policy: HwPolicy::SkipSw }
    }
}

impl Default for ReconcileKeys {
    fn default() -> Self {
        Self { debounce: "50ms".to_owned(), interval: "10s".to_owned() }
    }
}

impl Default for MetricsKeys {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9478".to_owned() }
    }
}

impl Default for LedgerKeys {
    fn default() -> Self {
        Self { dir: switchdev::ledger::DEFAULT_DIR.to_owned(), interval: "30s".to_owned() }
    }
}

impl Config {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        if is_blank(text) {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))
    }

    pub(super) fn check(self) -> Result<super::Config, ConfigError> {
        Ok(super::Config {
            ovs: self.ovs.check()?,
            hardware: self.hardware.check()?,
            reconcile: self.reconcile.check()?,
            run_dir: absolute("runDir", &self.run_dir)?,
            metrics_listen: self.metrics.check()?,
            on_exit: self.on_exit,
            ledger: self.ledger.check()?,
        })
    }
}

/// A file of comments only is a null document to YAML, and the default configuration to us.
fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

impl OvsKeys {
    fn check(self) -> Result<Ovs, ConfigError> {
        let run_dir = absolute("ovs.runDir", &self.run_dir)?;
        let database = match self.database {
            Some(path) => absolute("ovs.database", &path)?,
            None => run_dir.join("db.sock"),
        };
        Ok(Ovs { run_dir, database, bridges: bridges(&self.bridges)? })
    }
}

fn bridges(names: &[String]) -> Result<Bridges, ConfigError> {
    if names.is_empty() {
        return Ok(Bridges::All);
    }
    let named = names.iter().map(|name| {
        name.parse::<BridgeName>().map_err(|error| invalid("ovs.bridges", name, error))
    });
    Ok(Bridges::Named(named.collect::<Result<_, _>>()?))
}

impl HardwareKeys {
    fn check(self) -> Result<Hardware, ConfigError> {
        let capabilities = if self.capabilities.contains('/') {
            CapabilitySource::File(absolute("hardware.capabilities", &self.capabilities)?)
        } else {
            CapabilitySource::BuiltIn(self.capabilities)
        };
        Ok(Hardware { capabilities, policy: self.policy })
    }
}

impl ReconcileKeys {
    fn check(&self) -> Result<Reconcile, ConfigError> {
        Ok(Reconcile {
            debounce: within(
                "reconcile.debounce",
                &self.debounce,
                Duration::ZERO..=Duration::from_secs(10),
            )?,
            interval: within(
                "reconcile.interval",
                &self.interval,
                Duration::from_secs(1)..=Duration::from_secs(3600),
            )?,
        })
    }
}

impl MetricsKeys {
    fn check(&self) -> Result<SocketAddr, ConfigError> {
        self.listen.parse().map_err(|_| {
            invalid("metrics.listen", &self.listen, "give ADDRESS:PORT, such as 127.0.0.1:9478")
        })
    }
}

impl LedgerKeys {
    fn check(&self) -> Result<Ledger, ConfigError> {
        Ok(Ledger {
            dir: absolute("ledger.dir", &self.dir)?,
            interval: within(
                "ledger.interval",
                &self.interval,
                Duration::from_secs(1)..=Duration::from_secs(3600),
            )?,
        })
    }
}

fn within(
    field: &'static str,
    text: &str,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let value = duration::parse(text).map_err(|error| invalid(field, text, error))?;
    if range.contains(&value) {
        return Ok(value);
    }
    Err(invalid(field, text, format!("give {:?} to {:?}", range.start(), range.end())))
}

fn absolute(field: &'static str, text: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(invalid(field, text, "give a path that starts with '/'"))
    }
}

fn invalid(field: &'static str, value: &str, remedy: impl ToString) -> ConfigError {
    ConfigError::Value { field, value: value.to_owned(), remedy: remedy.to_string() }
}
