//! Which devices go into which pool: the `resourceList` file, as `sriov-network-device-plugin` has it, in
//! JSON or YAML.
//!
//! Reading is in two steps: [`raw`] knows the file's spelling, this file what the values mean. Every error
//! names the pool, the key and the value. What the other plugin would silently take to mean nothing is an
//! error here, or, where a configuration still works with it, a warning.

mod name;
mod range;
mod raw;
mod selector;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use name::{InvalidName, ResourceName};
pub use range::{FunctionRange, Indexes, InvalidRange};
pub use selector::{LinkType, Selector, VdpaType};

/// What an operator may set: the pools, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The first pool that wants a device gets it.
    pub pools: Vec<PoolConfig>,
    /// What the file says to no effect.
    pub warnings: Vec<String>,
}

/// A pool of devices, which kubelet knows as a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// What pods ask for.
    pub name: ResourceName,
    /// Which kind of device it holds.
    pub device_type: DeviceType,
    /// Whether kubelet is not told the NUMA node.
    pub exclude_topology: bool,
    /// A device belongs here when one of these wants it.
    pub selectors: Vec<Selector>,
    /// What `_INFO` says beyond what is found: for all devices (`*`) or for one, by name.
    pub additional_info: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether a device without carrier at its PF is unhealthy.
    pub require_carrier: bool,
    /// How devices are chosen for a container that wants several.
    pub preference: Preference,
    /// Whether kubelet asks again before each start of a container.
    pub pre_start_check: bool,
}

/// The kinds of device, in the file's spelling.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Deserialize,
    serde::Serialize,
)]
pub enum DeviceType {
    /// A PF without VFs, or a VF.
    #[default]
    #[serde(rename = "netDevice")]
    NetDevice,
    /// A PCI function that computes.
    #[serde(rename = "accelerator")]
    Accelerator,
    /// A sub-function.
    #[serde(rename = "auxNetDevice")]
    AuxNetDevice,
}

/// What matters after the NUMA node when devices are chosen together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// As few PFs as can be.
    #[default]
    Pack,
    /// As evenly over PFs as can be.
    Spread,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {}: {source}; give the path of a readable file with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is neither JSON nor YAML, or has a key or a kind of value that there is not.
    #[error("configuration: {place}: {problem}")]
    Syntax {
        /// Where: the keys on the way, and the pool's name where it has one.
        place: String,
        /// What is wrong, in the words of the parser.
        problem: String,
    },
    /// A value that cannot be.
    #[error("configuration: pool {pool}: {key} is {value:?}: {remedy}")]
    Value {
        /// The pool.
        pool: String,
        /// The key, with the keys above it.
        key: String,
        /// What was given.
        value: String,
        /// What would be right.
        remedy: String,
    },
    /// Two pools would be one resource.
    #[error("configuration: pool {0} is there twice: give each pool a resourceName of its own")]
    Twice(ResourceName),
    /// There is nothing to do.
    #[error(
        "configuration: resourceList is empty: give it at least one pool, with a resourceName and selectors"
    )]
    Empty,
}

impl Config {
    /// Reads and checks a file. `prefix` is for pools that name none.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], or what [`Config::parse`] finds.
    pub fn load(path: &Path, prefix: &str) -> Result<Self, ConfigError> {
        let text = std::fs::read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&String::from_utf8_lossy(&text), prefix)
    }

    /// Checks the text of a configuration, JSON or YAML.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, prefix: &str) -> Result<Self, ConfigError> {
        raw::File::parse(text)?.check(prefix)
    }

    /// The pool called so.
    #[must_use]
    pub fn pool(&self, name: &ResourceName) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name == *name)
    }
}

impl PoolConfig {
    /// `additionalInfo` for a device: what is said of all, and over it what is said of this one.
    #[must_use]
    pub fn info_for(&self, device: &str) -> BTreeMap<String, String> {
        let parts =
            [ALL_DEVICES, device].into_iter().filter_map(|key| self.additional_info.get(key));
        parts.flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// The key of `additionalInfo` that stands for every device.
const ALL_DEVICES: &str = "*";

#[cfg(test)]
mod tests;
