//! Which device is in which pool.
//!
//! Asked in this order, the first answer holds:
//! 1. the pool that a pod got the device from, as long as the pod has it, and no other;
//! 2. the first pool in the file with a selector that wants it;
//! 3. the pool it was in before, where it stays, unhealthy, until it fits a pool again or is gone for good.

use std::sync::Arc;
use std::time::Instant;

use super::health::{self, Cause, FORGET_AFTER};
use super::select::{Refusal, select};
use super::{Member, Pool, Pools};
use crate::config::{Config, PoolConfig, ResourceName};
use crate::device::{Device, DeviceId, Devices};
use crate::holds::{Hold, Holds};

/// What a look at the node found.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The pools there should be.
    pub config: &'a Config,
    /// The devices there are.
    pub devices: &'a Devices,
    /// Who has which.
    pub holds: &'a Holds,
    /// When.
    pub now: Instant,
}

impl Look<'_> {
    /// The pools that follow from it.
    #[must_use]
    pub fn assign(self, before: &Pools) -> Pools {
        let mut pools: Pools = self.config.pools.iter().map(empty).collect();
        for device in self.devices.values() {
            self.place(device, before, &mut pools);
        }
        self.keep_gone(before, &mut pools);
        self.keep_retired(before, &mut pools);
        pools
    }

    fn place(self, device: &Arc<Device>, before: &Pools, pools: &mut Pools) {
        let hold = self.holds.of(&device.id);
        let home = match hold.and_then(Hold::given_as) {
            Some(name) => self.holder_pool(name, device, before),
            None => self.wanting_pool(device).or_else(|| self.pool_before(device, before)),
        };
        let Some((name, selector)) = home else { return };
        let Some(pool) = pools.get_mut(&name) else { return };
        let Some(asks) = pool.config.selectors.get(selector) else { return };
        let causes = health::causes(&pool.config, asks, device, hold);
        let device = Arc::clone(device);
        let member = Member { device, selector, causes, hold: hold.cloned(), gone_since: None };
        pool.members.insert(member.device.id.clone(), member);
    }

    /// The pool that the device was given out of; none, and no other either, where the file no longer has
    /// it. Which selector it came by is asked anew; where none fits while the netdev is away, it is the one
    /// from before, and after a restart the one that comes nearest.
    fn holder_pool(
        self,
        name: &ResourceName,
        device: &Device,
        before: &Pools,
    ) -> Option<(ResourceName, usize)> {
        let config = self.config.pool(name)?;
        let was = || before.get(name)?.members.get(&device.id).map(|member| member.selector);
        let selector = match select(config, device) {
            Ok(selector) => selector,
            Err(Refusal::Key { selector: nearest, .. }) => was().unwrap_or(nearest),
            Err(_) => was().unwrap_or_default(),
        };
        // The file may have fewer selectors than before.
        Some((name.clone(), selector.min(config.selectors.len().saturating_sub(1))))
    }

    fn wanting_pool(self, device: &Device) -> Option<(ResourceName, usize)> {
        let mut pools = self.config.pools.iter();
        pools.find_map(|pool| Some((pool.name.clone(), select(pool, device).ok()?)))
    }

    /// Only while the pool is what it was: another configuration is another question.
    fn pool_before(self, device: &Device, before: &Pools) -> Option<(ResourceName, usize)> {
        let (name, pool) = before.iter().find(|(_, pool)| pool.members.contains_key(&device.id))?;
        let member = pool.members.get(&device.id)?;
        let unchanged = self.config.pool(name).is_some_and(|config| *config == *pool.config);
        unchanged.then(|| (name.clone(), member.selector))
    }

    /// Devices that have gone stay for a while, or as long as a pod counts on them.
    fn keep_gone(self, before: &Pools, pools: &mut Pools) {
        for (name, pool) in before {
            let Some(now) = pools.get_mut(name) else { continue };
            let gone = pool.members.iter().filter(|(id, _)| !self.devices.contains_key(*id));
            now.members
                .extend(gone.filter_map(|(id, member)| Some((id.clone(), self.gone(id, member)?))));
        }
    }

    fn gone(self, id: &DeviceId, member: &Member) -> Option<Member> {
        let hold = self.holds.of(id).cloned();
        let since = member.gone_since.unwrap_or(self.now);
        let forgotten = self.now.duration_since(since) >= FORGET_AFTER;
        let held = hold.as_ref().is_some_and(Hold::is_held);
        (!forgotten || held).then(|| Member {
            causes: vec![Cause::Gone],
            hold,
            gone_since: Some(since),
            ..member.clone()
        })
    }

    /// A pool that left the configuration stays for the devices that pods hold, and offers no others.
    fn keep_retired(self, before: &Pools, pools: &mut Pools) {
        for (name, pool) in before.iter().filter(|(name, _)| self.config.pool(name).is_none()) {
            let still = |id: &DeviceId| self.holds.of(id).and_then(Hold::given_as) == Some(name);
            let held = pool.members.iter().filter(|(id, _)| still(id));
            let members: std::collections::BTreeMap<_, _> =
                held.map(|(id, member)| (id.clone(), member.clone())).collect();
            if !members.is_empty() {
                pools.insert(
                    name.clone(),
                    Pool { config: Arc::clone(&pool.config), members, retired: true },
                );
            }
        }
    }
}

fn empty(config: &PoolConfig) -> (ResourceName, Pool) {
    let members = std::collections::BTreeMap::new();
    (config.name.clone(), Pool { config: Arc::new(config.clone()), members, retired: false })
}
