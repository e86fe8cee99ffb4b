//! Routes for a pod, over one of its links.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use tc_filter::IfIndex;

use super::{GET_ROUTE, NETLINK_ROUTE, RTMSG_BYTES, next_hops};
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::netlink::request::Connection;
use crate::netns;

const NEW_ROUTE: u16 = 24;
const CREATE_EXCLUSIVE: u16 = 0x600;

const DST: u16 = 1;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const METRICS: u16 = 8;
const MULTIPATH: u16 = 9;
const TABLE: u16 = 15;
const METRIC_MTU: u16 = 2;
const METRIC_ADVMSS: u16 = 8;

const INET: u8 = 2;
const INET6: u8 = 10;
const TABLE_MAIN: u8 = 254;
const TABLE_COMPAT: u8 = 252;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;

/// A route over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoute {
    /// Where to: an address, of which this many bits count.
    pub to: (IpAddr, u8),
    /// By which router; without one the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Among several, the smallest is taken.
    pub priority: Option<u32>,
    /// In which table; the main one unless said.
    pub table: Option<u32>,
    /// How far the destination is (`rtnetlink(7)`); found out unless said.
    pub scope: Option<u8>,
    /// The largest packet that goes this way.
    pub mtu: Option<u32>,
    /// The largest TCP segment that is announced.
    pub advmss: Option<u32>,
}

/// A connection to the routes of a network namespace.
#[derive(Debug)]
pub struct Routes {
    connection: Connection,
}

impl Routes {
    /// Opens a connection in another network namespace; the thread stays in its own.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self, NetlinkError> {
        let open = || Ok(Self { connection: Connection::open(NETLINK_ROUTE)? });
        netns::inside(netns, open)?
    }

    /// Adds a route. One that is there already is left as it is.
    ///
    /// # Errors
    /// The kernel's errno and sentence: `ENETUNREACH` or `EINVAL` for a gateway that is on no link.
    pub fn add(&mut self, link: IfIndex, route: &NewRoute) -> Result<(), NetlinkError> {
        let what = format!("ip route add {route} dev index {link}");
        match self.connection.request(NEW_ROUTE, CREATE_EXCLUSIVE, &write(link, route), &what) {
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            added => added.map(drop),
        }
    }

    /// Whether a route is there: to the same place, by the same router, over this link, in the same table.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn has(&mut self, link: IfIndex, route: &NewRoute) -> Result<bool, NetlinkError> {
        let what = "ip route show table all";
        let mut request = [0; RTMSG_BYTES];
        request[0] = family(route.to.0);
        for message in self.connection.dump(GET_ROUTE, &request, what)? {
            let is_it = is(&message, link, route);
            if is_it.map_err(|reason| NetlinkError::malformed(what, &reason))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}

/// Whether a message of the kernel's tells of this route.
fn is(message: &[u8], link: IfIndex, route: &NewRoute) -> Result<bool, AttrError> {
    let Some((header, attributes)) = message.split_at_checked(RTMSG_BYTES) else {
        return Ok(false);
    };
    let (to, length) = route.to;
    if header[1] != length || header[7] != UNICAST {
        return Ok(false);
    }
    let attributes = Attributes::parse(attributes)?;
    let same = |kind, wanted: Option<IpAddr>| attributes.get(kind) == wanted.map(octets).as_deref();
    let table = attributes.u32(TABLE)?.unwrap_or_else(|| header[4].into());
    let hops = next_hops(attributes.get(MULTIPATH).unwrap_or_default());
    let over = attributes.u32(OIF)?.map(IfIndex) == Some(link) || hops.contains(&link);
    Ok(over
        && table == route.table.unwrap_or_else(|| TABLE_MAIN.into())
        && same(DST, (length != 0).then(|| network(to, length)))
        && (!hops.is_empty() || same(GATEWAY, route.gateway)))
}

/// `struct rtmsg` (family, lengths of destination and source, TOS, table, protocol, scope, type, flags) and attributes.
fn write(link: IfIndex, route: &NewRoute) -> Vec<u8> {
    let (to, length) = route.to;
    let family = family(to);
    let near = if route.gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
    let table = route.table.map_or(TABLE_MAIN, |table| u8::try_from(table).unwrap_or(TABLE_COMPAT));
    let scope = route.scope.unwrap_or(near);
    let mut payload = vec![family, length, 0, 0, table, PROTOCOL_STATIC, scope, UNICAST];
    payload.extend([0; 4]);
    let attributes = Writer::default()
        .maybe((length != 0).then_some(to), |writer, to| {
            writer.bytes(DST, &octets(network(to, length)))
        })
        .maybe(route.gateway, |writer, gateway| writer.bytes(GATEWAY, &octets(gateway)))
        .u32(OIF, link.0)
        .maybe(route.priority, |writer, priority| writer.u32(PRIORITY, priority))
        .maybe(route.table, |writer, table| writer.u32(TABLE, table))
        .maybe(metrics(route), |writer, metrics| writer.nested(METRICS, metrics));
    payload.extend(attributes.into_bytes());
    payload
}

fn metrics(route: &NewRoute) -> Option<Writer> {
    let any = route.mtu.is_some() || route.advmss.is_some();
    let metrics = Writer::default()
        .maybe(route.mtu, |writer, mtu| writer.u32(METRIC_MTU, mtu))
        .maybe(route.advmss, |writer, advmss| writer.u32(METRIC_ADVMSS, advmss));
    any.then_some(metrics)
}

/// The kernel refuses a destination with bits behind its prefix.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl fmt::Display for NewRoute {
    /// In the words of `ip route add`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.to.0, self.to.1)?;
        self.gateway.iter().try_for_each(|gateway| write!(f, " via {gateway}"))?;
        self.priority.iter().try_for_each(|priority| write!(f, " metric {priority}"))?;
        self.table.iter().try_for_each(|table| write!(f, " table {table}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, length: u8, gateway: Option<&str>) -> NewRoute {
        NewRoute {
            to: (to.parse().unwrap(), length),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            priority: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
        }
    }

    #[test]
    fn a_route_by_a_router_is_written_as_ip_route_add_writes_it() {
        let bytes = write(IfIndex(7), &route("10.1.2.3", 16, Some("10.0.0.1")));
        assert_eq!(bytes[..12], [2, 16, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            bytes[12..],
            [8, 0, 1, 0, 10, 1, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1, 8, 0, 4, 0, 7, 0, 0, 0]
        );
    }

    #[test]
    fn a_route_that_was_written_is_known_again() {
        let ours = route("10.1.2.3", 16, Some("10.0.0.1"));
        let message = write(IfIndex(7), &ours);
        assert_eq!(is(&message, IfIndex(7), &ours), Ok(true));
        assert_eq!(is(&message, IfIndex(8), &ours), Ok(false));
        for other in [
            route("10.2.0.0", 16, Some("10.0.0.1")),
            route("10.1.0.0", 17, Some("10.0.0.1")),
            route("10.1.0.0", 16, Some("10.0.0.2")),
            route("10.1.0.0", 16, None),
            NewRoute { table: Some(100), ..ours },
        ] {
            assert_eq!(is(&message, IfIndex(7), &other), Ok(false), "{other}");
        }
        let default = route("::", 0, None);
        assert_eq!(is(&write(IfIndex(7), &default), IfIndex(7), &default), Ok(true));
    }

    #[test]
    fn a_default_route_has_no_destination_and_one_on_the_link_is_near() {
        let bytes = write(IfIndex(7), &route("::", 0, None));
        assert_eq!(bytes[..8], [10, 0, 0, 0, 254, 4, 253, 1]);
        assert_eq!(bytes[12..], [8, 0, 4, 0, 7, 0, 0, 0]);
    }
}
