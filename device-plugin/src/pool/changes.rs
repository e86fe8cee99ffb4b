//! What is different between two looks, for the log and the metrics.

use std::fmt;

use super::{Cause, Member, Pools};
use crate::config::ResourceName;
use crate::device::DeviceId;

/// Something that happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The pool.
    pub pool: ResourceName,
    /// The device.
    pub device: DeviceId,
    /// What happened.
    pub kind: Kind,
}

/// What can happen to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It came into the pool, well or not.
    Joined(Vec<Cause>),
    /// It left the pool.
    Left,
    /// It must not be given to a pod any more, or for another reason than before.
    Unhealthy {
        /// All that is wrong with it.
        causes: Vec<Cause>,
        /// What of that was not before.
        new: Vec<Cause>,
    },
    /// It may be given to a pod again.
    Healthy,
}

/// All changes, by pool and device.
#[must_use]
pub fn between(before: &Pools, after: &Pools) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, pool) in after {
        let was = before.get(name);
        for (id, member) in &pool.members {
            let kind = of(was.and_then(|pool| pool.members.get(id)), member);
            changes.extend(kind.map(|kind| Change {
                pool: name.clone(),
                device: id.clone(),
                kind,
            }));
        }
    }
    for (name, pool) in before {
        let now = after.get(name);
        let left =
            pool.members.keys().filter(|id| now.is_none_or(|pool| !pool.members.contains_key(*id)));
        changes.extend(left.map(|id| Change {
            pool: name.clone(),
            device: id.clone(),
            kind: Kind::Left,
        }));
    }
    changes
}

fn of(before: Option<&Member>, after: &Member) -> Option<Kind> {
    match before {
        None => Some(Kind::Joined(after.causes.clone())),
        Some(before) if before.causes == after.causes => None,
        Some(_) if after.is_healthy() => Some(Kind::Healthy),
        Some(before) => Some(unhealthy(&before.causes, &after.causes)),
    }
}

fn unhealthy(before: &[Cause], after: &[Cause]) -> Kind {
    let new = after.iter().filter(|cause| !before.contains(cause));
    Kind::Unhealthy { causes: after.to_vec(), new: new.cloned().collect() }
}

/// Causes as one clause.
#[must_use]
pub fn sentence(causes: &[Cause]) -> String {
    causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, device, kind } = self;
        match kind {
            Kind::Joined(causes) if causes.is_empty() => write!(f, "{device} is in pool {pool}"),
            Kind::Joined(causes) => {
                write!(f, "{device} is in pool {pool}, unhealthy: {}", sentence(causes))
            }
            Kind::Left => write!(f, "{device} has left pool {pool}"),
            Kind::Unhealthy { causes, .. } => {
                write!(f, "{device} of pool {pool} is unhealthy: {}", sentence(causes))
            }
            Kind::Healthy => write!(f, "{device} of pool {pool} is healthy again"),
        }
    }
}
