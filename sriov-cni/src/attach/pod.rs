//! The pod's own side: addresses and routes on its interface, and the word to its neighbours that they are there.
//!
//! There is nothing to take back: addresses and routes go with the interface when it leaves the namespace.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use switchdev::announce::announce;
use switchdev::ledger::Record;
use switchdev::link::{Address, Links};
use switchdev::route::{NewRoute, Routes};
use switchdev::{CardError, netns};

use super::steps::Step;
use crate::protocol::{CniResult, IpNet, Route, read_route};

/// The addresses of a pod's interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSide {
    /// Routes beside those of IPAM, as JSON.
    pub routes: Vec<Value>,
    /// A default route by the network's router.
    pub default_route: bool,
}

/// What went wrong in the pod.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// There is no namespace.
    #[error("CNI_NETNS {0}: there is no network namespace any more")]
    Gone(String),
    /// It cannot be opened.
    #[error("CNI_NETNS {path}: {source}")]
    Open {
        /// Its path.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("in the pod: {0}")]
    Card(#[from] CardError),
    /// The kernel refused.
    #[error("in the pod: {0}")]
    Netlink(#[from] switchdev::netlink::NetlinkError),
}

impl PodSide {
    /// All routes that the interface gets.
    #[must_use]
    pub fn routes(&self, ipam: &CniResult) -> Vec<Route> {
        let asked = self.routes.iter().filter_map(|route| read_route(route, "routes").ok());
        let mut routes: Vec<Route> = ipam.routes.iter().cloned().chain(asked).collect();
        if self.default_route {
            routes.extend(default_routes(ipam, &routes));
        }
        for route in &mut routes {
            route.gw = route.gw.or_else(|| router(ipam, route.dst.address.is_ipv4()));
        }
        routes
    }

    /// Gives the interface its addresses and routes, and announces them.
    ///
    /// # Errors
    /// [`PodError`].
    pub fn configure(&self, path: &Path, ifname: &str, ipam: &CniResult) -> Result<(), PodError> {
        let namespace = open(path)?;
        let mut links = Links::open_in(namespace.as_fd())?;
        let link = links.find(ifname)?;
        for ip in &ipam.ips {
            let IpNet { address, prefix } = ip.address;
            links.add_address(link.ifindex, &Address::new(address, prefix))?;
        }
        let mut routes = Routes::open_in(namespace.as_fd())?;
        for route in self.routes(ipam) {
            routes.add(link.ifindex, &new_route(&route))?;
        }
        let addresses: Vec<IpAddr> = ipam.ips.iter().map(|ip| ip.address.address).collect();
        if let Some(mac) = link.address.filter(|_| !addresses.is_empty()) {
            announce(namespace.as_fd(), link.ifindex, mac, &addresses)?;
        }
        Ok(())
    }
}

/// The routes that ADD gave the pod's interface.
pub(crate) fn routes_of(record: &Record, ipam: &CniResult) -> Vec<NewRoute> {
    let side = record.external.iter().find_map(|step| match Step::from_record(step) {
        Ok(Step::Pod(side)) => Some(side),
        _ => None,
    });
    let routes = side.map_or_else(Vec::new, |side| side.routes(ipam));
    routes.iter().map(new_route).collect()
}

/// The namespace at a path.
pub(crate) fn open(path: &Path) -> Result<std::fs::File, PodError> {
    let shown = || path.display().to_string();
    let file = netns::open(path).map_err(|source| PodError::Open { path: shown(), source })?;
    file.ok_or_else(|| PodError::Gone(shown()))
}

fn router(ipam: &CniResult, v4: bool) -> Option<IpAddr> {
    ipam.ips.iter().filter_map(|ip| ip.gateway).find(|gateway| gateway.is_ipv4() == v4)
}

/// For each family that has a router and no default route yet.
fn default_routes(ipam: &CniResult, routes: &[Route]) -> Vec<Route> {
    let missing = |gateway: &IpAddr| {
        !routes
            .iter()
            .any(|route| route.dst.is_default() && route.dst.address.is_ipv4() == gateway.is_ipv4())
    };
    let routers = [true, false].into_iter().filter_map(|v4| router(ipam, v4)).filter(missing);
    let everything = |gateway: IpAddr| IpNet {
        address: if gateway.is_ipv4() {
            std::net::Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        },
        prefix: 0,
    };
    let route = |gateway| Route {
        dst: everything(gateway),
        gw: Some(gateway),
        mtu: None,
        advmss: None,
        priority: None,
        table: None,
        scope: None,
    };
    routers.map(route).collect()
}

fn new_route(route: &Route) -> NewRoute {
    NewRoute {
        to: (route.dst.address, route.dst.prefix),
        gateway: route.gw,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
        mtu: route.mtu,
        advmss: route.advmss,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ipam() -> CniResult {
        CniResult::from_json(&json!({
            "ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}, {"address": "fd00::5/64", "gateway": "fd00::1"}],
            "routes": [{"dst": "10.9.0.0/16"}, {"dst": "0.0.0.0/0"}],
        }))
        .unwrap()
    }

    fn shown(side: &PodSide) -> Vec<String> {
        let routes = side.routes(&ipam());
        routes.iter().map(|route| format!("{} {}", route.dst, route.gw.unwrap())).collect()
    }

    #[test]
    fn a_route_without_a_router_goes_by_the_networks() {
        assert_eq!(shown(&PodSide::default()), ["10.9.0.0/16 10.0.0.1", "0.0.0.0/0 10.0.0.1"]);
    }

    #[test]
    fn a_default_route_is_added_for_the_family_that_has_none() {
        let side = PodSide {
            routes: vec![json!({"dst": "fd01::/32", "gw": "fd00::9"})],
            default_route: true,
        };
        assert_eq!(shown(&side)[2..], ["fd01::/32 fd00::9", "::/0 fd00::1"]);
    }
}
