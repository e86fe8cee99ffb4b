//! Allocations that no pod came for: kubelet gave up between our answer and the CNI.
//!
//! Kubelet counts a device as a pod's a moment after our answer, so one that it does not count is only
//! stale when that has been so for a while. Who cannot ask kubelet frees nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::device::DeviceId;

/// How long kubelet may take from our answer to its books.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Since when reserved devices are in nobody's books.
#[derive(Debug, Default)]
pub(super) struct Unclaimed(BTreeMap<DeviceId, Instant>);

impl Unclaimed {
    /// The devices to free, after a look that found `unclaimed` reserved and in nobody's books.
    pub(super) fn stale(&mut self, unclaimed: BTreeSet<DeviceId>, now: Instant) -> Vec<DeviceId> {
        let since = |id: &DeviceId| self.0.get(id).copied().unwrap_or(now);
        self.0 = unclaimed.into_iter().map(|id| (id.clone(), since(&id))).collect();
        let overdue = self.0.iter().filter(|(_, since)| now.duration_since(**since) >= PATIENCE);
        overdue.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> BTreeSet<DeviceId> {
        ["0000:01:10.0".into()].into()
    }

    #[test]
    fn what_is_in_nobodys_books_for_long_enough_is_stale() {
        let (mut unclaimed, start) = (Unclaimed::default(), Instant::now());
        assert_eq!(unclaimed.stale(device(), start), []);
        assert_eq!(unclaimed.stale(device(), start + PATIENCE / 2), []);
        assert_eq!(unclaimed.stale(device(), start + PATIENCE), ["0000:01:10.0".into()]);
    }

    #[test]
    fn a_pod_that_comes_late_starts_the_clock_anew() {
        let (mut unclaimed, start) = (Unclaimed::default(), Instant::now());
        unclaimed.stale(device(), start);
        unclaimed.stale(BTreeSet::new(), start + PATIENCE / 2);
        assert_eq!(unclaimed.stale(device(), start + PATIENCE), []);
    }
}
