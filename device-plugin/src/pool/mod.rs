//! Pools: which device is in which, and how each of them is.
//!
//! ```text
//! Config × Devices × Holds × the pools before ─► assign ─► Pools ─► what kubelet is told
//!                                                  │
//!                              select (does it belong?) · health (is it well?) · changes (what to log)
//! ```
//!
//! All of it is computed; nothing here reads the node. The pools before are asked for one thing only: a
//! device that was in a pool and fits no more stays there, unhealthy, so that kubelet is told what broke.

pub mod assign;
pub mod changes;
pub mod health;
pub mod select;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub use health::Cause;

use crate::config::{PoolConfig, ResourceName, Selector};
use crate::device::{Device, DeviceId};
use crate::holds::Hold;

/// All pools, by name.
pub type Pools = BTreeMap<ResourceName, Pool>;

/// A pool and its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What its configuration says.
    pub config: Arc<PoolConfig>,
    /// Its devices.
    pub members: BTreeMap<DeviceId, Member>,
    /// Whether the configuration no longer has it: it is there for the devices that pods still hold.
    pub retired: bool,
}

/// A device in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What was last known of it.
    pub device: Arc<Device>,
    /// Which of the pool's selectors it came by.
    pub selector: usize,
    /// Why it must not be given to a pod; nothing where it is well.
    pub causes: Vec<Cause>,
    /// Who has it.
    pub hold: Option<Hold>,
    /// Since when it has not been there.
    pub gone_since: Option<Instant>,
}

impl Member {
    /// Whether it can be given to a pod.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.causes.is_empty()
    }

    /// Whether a pod has it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_held)
    }
}

impl Pool {
    /// The selector that a member came by.
    #[must_use]
    pub fn selector_of(&self, member: &Member) -> Option<&Selector> {
        self.config.selectors.get(member.selector)
    }
}
