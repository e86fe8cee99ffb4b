//! The daemon's configuration: what an operator may set, checked once, when it is read.
//!
//! The reference with every key is in the crate's `README.md`; a test parses its example. Parsing is in
//! two steps: [`raw`] knows YAML, this file knows what the values mean.

mod duration;
mod raw;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where Open vSwitch is, and which of its bridges are ours to mirror.
    pub ovs: Ovs,
    /// What the card can do, and whether software may help.
    pub hardware: Hardware,
    /// When filters are compared with the ruleset.
    pub reconcile: Reconcile,
    /// Where the status socket is, and our notes of the qdiscs we made.
    pub run_dir: PathBuf,
    /// Where Prometheus fetches metrics.
    pub metrics_listen: SocketAddr,
    /// What becomes of our filters when the daemon is told to stop.
    pub on_exit: OnExit,
    /// The ledger of VFs, and how often VFs of pods that are gone are looked for.
    pub ledger: Ledger,
}

/// The ledger of VFs, and how often VFs of pods that are gone are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Its directory, which device plugin and CNI use too.
    pub dir: PathBuf,
    /// How often; once at the start in any case.
    pub interval: Duration,
}

/// The runtime directory unless the configuration says otherwise.
pub const RUN_DIR: &str = "/run/offload-agent";

/// Where Open vSwitch is, and which of its bridges are ours to mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovs {
    /// The directory of `<bridge>.mgmt` sockets.
    pub run_dir: PathBuf,
    /// The unix socket of ovsdb-server.
    pub database: PathBuf,
    /// The bridges to mirror.
    pub bridges: Bridges,
}

/// The bridges to mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bridges {
    /// Every bridge on the kernel datapath.
    All,
    /// These only.
    Named(BTreeSet<BridgeName>),
}

impl Bridges {
    /// Whether the bridge is one of them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|wanted| wanted.0 == name),
        }
    }
}

/// The name of a bridge, which is the name of a netdev too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgeName(String);

impl fmt::Display for BridgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BridgeName {
    type Err = InvalidBridgeName;

    fn from_str(text: &str) -> Result<Self, InvalidBridgeName> {
        let fits = (1..=MAX_NETDEV_NAME).contains(&text.len());
        let clean = text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
        if fits && clean {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBridgeName(text.to_owned()))
        }
    }
}

/// `IFNAMSIZ` of `linux/if.h` without its closing NUL.
const MAX_NETDEV_NAME: usize = 15;

/// The text cannot be the name of a netdev.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a bridge: give 1 to 15 printable characters without '/', ':' or spaces")]
pub struct InvalidBridgeName(String);

/// What the card can do, and whether software may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Where the card's capabilities come from.
    pub capabilities: CapabilitySource,
    /// Where a filter may live.
    pub policy: HwPolicy,
}

/// Where the card's capabilities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapabilitySource {
    /// A set that the compiler knows by name.
    BuiltIn(String),
    /// A capability file.
    File(PathBuf),
}

/// Where a filter may live, in the words of `tc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HwPolicy {
    /// In hardware and in the kernel's software. What the card refuses, the kernel does.
    Both,
    /// In hardware only. What the card refuses, Open vSwitch does.
    #[default]
    SkipSw,
    /// In the kernel's software only: to look at filters without a card.
    SkipHw,
}

/// When filters are compared with the ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// How long a burst of changes is gathered before it is compiled.
    pub debounce: Duration,
    /// How often the kernel's filters are compared even when nothing changed.
    pub interval: Duration,
}

/// What becomes of our filters when the daemon is told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExit {
    /// They stay: traffic keeps its speed while the daemon is replaced.
    #[default]
    Keep,
    /// They go: traffic goes back to Open vSwitch.
    Flush,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML, or has a key that there is not.
    #[error("configuration is not what the reference in README.md describes: {0}")]
    Syntax(String),
    /// A value that cannot be.
    #[error("configuration: {field} is {value:?}: {remedy}")]
    Value {
        /// The key, with dots.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        remedy: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or [`Config::parse`] refuses its text.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Checks the text of a configuration. An empty text is the default configuration.
    ///
    /// # Errors
    ///
    /// Names the first key that is unknown or has a value that cannot be.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        raw::Config::parse(text)?.check()
    }
}

#[cfg(test)]
mod tests;
