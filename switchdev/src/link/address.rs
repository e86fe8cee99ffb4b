//! The IP addresses of a link that somebody gave it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tc_filter::IfIndex;

use super::Links;
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const CREATE_EXCLUSIVE: u16 = 0x600;

const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const LABEL: u16 = 3;
const BROADCAST: u16 = 4;
const FLAGS: u16 = 8;
const ROUTE_PRIORITY: u16 = 9;

const INET: u8 = 2;
const INET6: u8 = 10;
const PERMANENT: u32 = 0x80;
/// `nodad`, `home`, `mngtmpaddr`, `noprefixroute` and `autojoin`: what somebody sets, and no state of the
/// kernel's.
const SETTABLE: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const SCOPE_LINK: u8 = 253;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, link.
const IFADDRMSG_BYTES: usize = 8;

/// An address of a link, with its network's prefix: `192.0.2.1/24`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The broadcast address, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<Ipv4Addr>,
    /// How far it reaches: a number of `/etc/iproute2/rt_scopes`, 0 for everywhere.
    #[serde(default)]
    pub scope: u8,
    /// The flags that somebody set, `IFA_F_*` of `linux/if_addr.h`.
    #[serde(default)]
    pub flags: u32,
    /// The label of an IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The metric of its prefix's route, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl Address {
    /// A plain address of a prefix, without more.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix, broadcast: None, scope: 0, flags: 0, label: None, metric: None }
    }
}

impl Links {
    /// The addresses that somebody gave the link for good, in order. Those that the kernel makes of
    /// the MAC address or takes from router advertisements are not among them: it makes them anew.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn addresses(&mut self, link: IfIndex) -> Result<Vec<Address>, NetlinkError> {
        let what = format!("ip address show index {link}");
        let answers = self.connection.dump(GET_ADDRESS, &[0; IFADDRMSG_BYTES], &what)?;
        let mut addresses = Vec::new();
        for answer in answers {
            let read = parse(&answer, link);
            addresses.extend(read.map_err(|reason| NetlinkError::malformed(&what, &reason))?);
        }
        addresses.sort();
        Ok(addresses)
    }

    /// Gives the link an address. One that it has already is left as it is.
    ///
    /// # Errors
    /// The kernel's errno and sentence.
    pub fn add_address(&mut self, link: IfIndex, address: &Address) -> Result<(), NetlinkError> {
        let what = format!("ip address add {address} to index {link}");
        let added =
            self.connection.request(NEW_ADDRESS, CREATE_EXCLUSIVE, &write(link, address), &what);
        match added {
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            added => added.map(drop),
        }
    }
}

fn write(link: IfIndex, address: &Address) -> Vec<u8> {
    let (family, bytes) = match address.address {
        IpAddr::V4(v4) => (INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (INET6, v6.octets().to_vec()),
    };
    let [flags, ..] = address.flags.to_ne_bytes();
    let mut payload = vec![family, address.prefix, flags, address.scope];
    payload.extend(link.0.to_ne_bytes());
    let attributes = Writer::default().bytes(LOCAL, &bytes).bytes(ADDRESS, &bytes);
    let attributes =
        attributes.maybe(address.broadcast, |writer, to| writer.bytes(BROADCAST, &to.octets()));
    let attributes = attributes
        .maybe(address.label.as_deref(), |writer, label| writer.string(LABEL, label))
        .maybe(Some(address.flags).filter(|f| *f != 0), |writer, flags| writer.u32(FLAGS, flags))
        .maybe(address.metric, |writer, metric| writer.u32(ROUTE_PRIORITY, metric));
    payload.extend(attributes.into_bytes());
    payload
}

/// `None` for another link's, and for what the kernel made by itself.
fn parse(payload: &[u8], wanted: IfIndex) -> Result<Option<Address>, AttrError> {
    let Some((header, attributes)) = payload.split_at_checked(IFADDRMSG_BYTES) else {
        return Ok(None);
    };
    let link = header[4..].try_into().map(u32::from_ne_bytes).unwrap_or_default();
    let attributes = Attributes::parse(attributes)?;
    let flags = attributes.u32(FLAGS)?.unwrap_or_else(|| header[2].into());
    let by_itself = flags & PERMANENT == 0 || (header[0] == INET6 && header[3] == SCOPE_LINK);
    if link != wanted.0 || by_itself {
        return Ok(None);
    }
    let bytes = attributes.get(LOCAL).or_else(|| attributes.get(ADDRESS)).unwrap_or_default();
    let Some(address) = ip_address(bytes) else { return Ok(None) };
    Ok(Some(Address {
        broadcast: attributes.fixed::<4>(BROADCAST, "4 bytes")?.map(Ipv4Addr::from),
        scope: header[3],
        flags: flags & SETTABLE,
        label: attributes.string(LABEL)?,
        metric: attributes.u32(ROUTE_PRIORITY)?.filter(|metric| *metric != 0),
        ..Address::new(address, header[1])
    }))
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}

impl fmt::Display for Address {
    /// As `ip address show` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        self.broadcast.iter().try_for_each(|to| write!(f, " brd {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str, prefix: u8) -> Address {
        Address::new(text.parse().unwrap(), prefix)
    }

    #[test]
    fn loopback_has_its_address() {
        let found = Links::open().unwrap().addresses(IfIndex(1)).unwrap();
        let shown: Vec<String> = found.iter().map(Address::to_string).collect();
        assert!(shown.contains(&"127.0.0.1/8".to_owned()), "{shown:?}");
    }

    /// What `ip address add 192.0.2.1/24 brd 192.0.2.255 dev lo` (iproute2 6.1) sends after the
    /// netlink header.
    #[test]
    fn the_request_is_that_of_ip_address_add() {
        let broadcast = Some(Ipv4Addr::new(192, 0, 2, 255));
        let bytes = write(IfIndex(1), &Address { broadcast, ..address("192.0.2.1", 24) });
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let iproute2 = "02180000 01000000 08000200 c0000201 08000100 c0000201 08000400 c00002ff";
        assert_eq!(hex, iproute2.replace(' ', ""));
    }

    #[test]
    fn what_is_written_is_read() {
        let full = Address {
            broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
            scope: 253,
            flags: 0x200,
            label: Some("np0v0:1".to_owned()),
            metric: Some(7),
            ..address("192.0.2.1", 24)
        };
        // The kernel adds that it is for good.
        let mut bytes = write(IfIndex(7), &full);
        let flags = bytes.windows(4).position(|w| w == [8, 0, 8, 0]).unwrap() + 4;
        bytes[flags] |= 0x80;
        assert_eq!(parse(&bytes, IfIndex(7)).unwrap(), Some(full));
    }

    #[test]
    fn what_the_kernel_made_by_itself_is_passed_over() {
        let read = |text: &str, flags: u8, scope: u8| {
            let mut bytes = write(IfIndex(7), &address(text, 64));
            (bytes[2], bytes[3]) = (flags, scope);
            parse(&bytes, IfIndex(7)).unwrap()
        };
        assert!(read("2001:db8::1", 0x80, 0).is_some());
        assert!(read("2001:db8::1", 0, 0).is_none(), "from a router advertisement");
        assert!(read("fe80::1", 0x80, SCOPE_LINK).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes, IfIndex(1));
        }
    }
}
