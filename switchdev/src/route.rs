//! Routes: which netdevs carry the node's default routes, so that no step cuts a node off, and those a pod gets.

mod add;
mod carriers;

use std::collections::BTreeSet;

use rustix::io::Errno;
use tc_filter::IfIndex;

pub use add::{NewRoute, Routes};
pub use carriers::{Carriers, carriers};

use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes};
use crate::netlink::request::Connection;

const NETLINK_ROUTE: isize = 0;
const GET_ROUTE: u16 = 26;
const RTMSG_BYTES: usize = 12;
const TYPE_UNICAST: u8 = 1;

const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// `struct rtnexthop`: length, flags, hops, interface; then attributes.
const NEXT_HOP_BYTES: usize = 8;

/// The netdevs that any default route of this network namespace leaves by, IPv4 and IPv6.
///
/// # Errors
/// As every request: [`NetlinkError`].
pub fn default_route_netdevs() -> Result<BTreeSet<IfIndex>, NetlinkError> {
    let what = "ip route show default";
    let mut connection = Connection::open(NETLINK_ROUTE)?;
    let mut netdevs = BTreeSet::new();
    for family in [rustix::net::AddressFamily::INET, rustix::net::AddressFamily::INET6] {
        let mut request = [0; RTMSG_BYTES];
        request[0] = family.as_raw().to_ne_bytes()[0];
        let routes = match connection.dump(GET_ROUTE, &request, what) {
            // A kernel without IPv6.
            Err(error) if error.is(Errno::OPNOTSUPP) => continue,
            routes => routes?,
        };
        for route in routes {
            let found = parse(&route).map_err(|reason| NetlinkError::malformed(what, &reason))?;
            netdevs.extend(found);
        }
    }
    Ok(netdevs)
}

/// The netdevs of a route, where it is a default route: to a prefix of length 0, and no blackhole.
fn parse(route: &[u8]) -> Result<Vec<IfIndex>, AttrError> {
    let Some((header, attributes)) = route.split_at_checked(RTMSG_BYTES) else {
        return Ok(Vec::new());
    };
    if header[1] != 0 || header[7] != TYPE_UNICAST {
        return Ok(Vec::new());
    }
    let attributes = Attributes::parse(attributes)?;
    let mut netdevs: Vec<IfIndex> = attributes.u32(RTA_OIF)?.map(IfIndex).into_iter().collect();
    netdevs.extend(next_hops(attributes.get(RTA_MULTIPATH).unwrap_or_default()));
    Ok(netdevs)
}

fn next_hops(mut hops: &[u8]) -> Vec<IfIndex> {
    let mut netdevs = Vec::new();
    while let [l0, l1, _, _, i0, i1, i2, i3, ..] = *hops {
        netdevs.push(IfIndex(u32::from_ne_bytes([i0, i1, i2, i3])));
        let length = usize::from(u16::from_ne_bytes([l0, l1])).max(NEXT_HOP_BYTES);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    netdevs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Writer;
    use proptest::prelude::*;

    fn route(prefix: u8, kind: u8, attributes: Writer) -> Vec<u8> {
        let mut bytes = vec![2, prefix, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
        bytes.extend(attributes.into_bytes());
        bytes
    }

    #[test]
    fn a_default_route_is_one_to_everything() {
        let by_5 = Writer::default().u32(RTA_OIF, 5);
        assert_eq!(parse(&route(0, TYPE_UNICAST, by_5.clone())), Ok(vec![IfIndex(5)]));
        assert_eq!(parse(&route(24, TYPE_UNICAST, by_5.clone())), Ok(vec![]));
        assert_eq!(parse(&route(0, 6, by_5)), Ok(vec![]), "a blackhole");
    }

    #[test]
    fn all_hops_of_a_multipath_route_count() {
        let hop = |ifindex: u8| [16, 0, 0, 0, ifindex, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1];
        let hops = Writer::default().bytes(RTA_MULTIPATH, &[hop(5), hop(7)].concat());
        assert_eq!(parse(&route(0, TYPE_UNICAST, hops)), Ok(vec![IfIndex(5), IfIndex(7)]));
    }

    #[test]
    fn the_kernels_own_routes_are_read() {
        let netdevs = default_route_netdevs().unwrap();
        assert!(!netdevs.contains(&IfIndex(1)), "loopback is nobody's default route");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, hops: Vec<u8>) {
            let _ = (parse(&bytes), next_hops(&hops));
        }
    }
}
