//! A pool as kubelet is told it.

use kubelet_api::deviceplugin::{Device, HEALTHY, NumaNode, TopologyInfo, UNHEALTHY};

use crate::pool::{Member, Pool};

/// The devices of a pool, in the order of their names.
#[must_use]
pub fn devices(pool: &Pool) -> Vec<Device> {
    pool.members.values().map(|member| device(pool, member)).collect()
}

fn device(pool: &Pool, member: &Member) -> Device {
    let health = if member.is_healthy() { HEALTHY } else { UNHEALTHY };
    let node = member.device.numa_node.filter(|_| !pool.config.exclude_topology);
    let topology = node.map(|id| TopologyInfo { nodes: vec![NumaNode { id: id.into() }] });
    Device { id: member.device.id.to_string(), health: health.to_owned(), topology }
}
