//! Links over rtnetlink: the few changes that the card's netdevs need.
//!
//! The messages are written here rather than by `netlink-packet-route`: a driver that does not know
//! a VF's trust or spoof check reports -1, which those types read as "off", so that a read-back
//! could not tell "refused" from "not reported".

mod address;
mod vf;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use tc_filter::{IfIndex, Mac};

pub use address::Address;
pub use vf::{InvalidVfVlan, VfChange, VfLinkState, VfSettings, VfVlan, VlanProtocol};

use crate::error::CardError;
use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::netlink::request::Connection;
use crate::netns;
use crate::pci::PciAddress;

const NETLINK_ROUTE: isize = 0;

/// Numbers of `linux/rtnetlink.h` and `linux/if_link.h`.
mod uapi {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const GET_LINK: u16 = 18;

    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const IFALIAS: u16 = 20;
    pub(super) const VFINFO_LIST: u16 = 22;
    pub(super) const AF_SPEC: u16 = 26;
    pub(super) const NET_NS_FD: u16 = 28;
    pub(super) const EXT_MASK: u16 = 29;
    pub(super) const PERM_ADDRESS: u16 = 54;
    pub(super) const PARENT_DEV_NAME: u16 = 56;
    pub(super) const PARENT_DEV_BUS_NAME: u16 = 57;

    pub(super) const EXT_MASK_VF: u32 = 1;
    pub(super) const EXT_MASK_SKIP_STATS: u32 = 1 << 3;
    pub(super) const FLAG_UP: u32 = 1;
    pub(super) const FLAG_LOWER_UP: u32 = 1 << 16;

    /// In `AF_SPEC`: the family's number, and below it `IFLA_INET6_FLAGS`.
    pub(super) const INET6: u16 = 10;
    pub(super) const INET6_FLAGS: u16 = 1;
    /// `IF_READY` of `net/if_inet6.h`.
    pub(super) const INET6_READY: u32 = 1 << 31;
}

/// A connection to the links of the network namespace it was opened in.
#[derive(Debug)]
pub struct Links {
    connection: Connection,
}

/// What rtnetlink says of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: String,
    /// Its MAC address; `None` for what is not Ethernet.
    pub address: Option<Mac>,
    /// The MAC address that its driver says is the card's own.
    pub permanent: Option<Mac>,
    /// The largest packet it takes.
    pub mtu: u32,
    /// Whether it is switched on, which says nothing of its carrier.
    pub up: bool,
    /// Whether it is up and somebody is at the other end.
    pub carrier: bool,
    /// Whether IPv6 has begun on it: addresses and routes that the kernel makes by itself are there. It begins when
    /// the carrier first comes, and ends when the link goes down, not when the carrier goes.
    pub ipv6: bool,
    /// A text for people, and for marks.
    pub alias: Option<String>,
    /// The PCI function it is on, in whichever network namespace it is; kernels before 5.14 do not
    /// say.
    pub pci_parent: Option<PciAddress>,
    /// What a PF's driver reports of its VFs in legacy mode.
    pub vfs: Vec<VfSettings>,
}

/// One property of a link and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// Switched on.
    Up,
    /// Switched off.
    Down,
    /// The largest packet.
    Mtu(u32),
    /// The name. Kernels before 6.2 rename only links that are down.
    Name(String),
    /// The MAC address.
    Address(Mac),
    /// The text for people; an empty one removes it.
    Alias(String),
}

impl Links {
    /// Opens a connection in this thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { connection: Connection::open(NETLINK_ROUTE)? })
    }

    /// Opens a connection in another network namespace; the thread stays in its own.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`], also where the namespace cannot be entered.
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self, NetlinkError> {
        netns::inside(netns, Self::open)?
    }

    /// All links of the network namespace, without what PFs say of their VFs.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn all(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let what = "ip link show";
        let attributes = Writer::default().u32(uapi::EXT_MASK, uapi::EXT_MASK_SKIP_STATS);
        let payload = message(IfIndex(0), 0, 0, attributes);
        let answers = self.connection.dump(uapi::GET_LINK, &payload, what)?;
        let read = |answer: &Vec<u8>| {
            parse(answer).map_err(|reason| NetlinkError::malformed(what, &reason))
        };
        answers.iter().map(read).collect()
    }

    /// The link called `name`.
    ///
    /// # Errors
    /// [`CardError::NoSuchNetdev`] where this network namespace has none.
    pub fn find(&mut self, name: &str) -> Result<Link, CardError> {
        let by_name = Writer::default().string(uapi::IFNAME, name);
        self.get(IfIndex(0), by_name, name)
    }

    /// The link numbered `ifindex`.
    ///
    /// # Errors
    /// As [`Links::find`].
    pub fn get_by_index(&mut self, ifindex: IfIndex) -> Result<Link, CardError> {
        self.get(ifindex, Writer::default(), &format!("number {ifindex}"))
    }

    /// Changes one property.
    ///
    /// # Errors
    /// The kernel's errno and sentence: `ERANGE` or `EINVAL` for an MTU the driver does not take,
    /// `EEXIST` for a name that is taken.
    pub fn change(&mut self, link: IfIndex, change: &LinkChange) -> Result<(), NetlinkError> {
        let what = format!("ip link set index {link} {change}");
        self.set(&write_change(link, change), &what)
    }

    /// Moves a link to another network namespace, and renames it on the way where `name` is given.
    /// The link is down when it arrives.
    ///
    /// # Errors
    /// The kernel's errno and sentence: `EINVAL` for a link that cannot be moved, as representors
    /// of some drivers.
    pub fn move_to_netns(
        &mut self,
        link: IfIndex,
        netns: impl AsFd,
        name: Option<&str>,
    ) -> Result<(), NetlinkError> {
        let what = format!("ip link set index {link} netns");
        let fd = netns.as_fd().as_raw_fd().cast_unsigned();
        let attributes = Writer::default().u32(uapi::NET_NS_FD, fd);
        let attributes = attributes.maybe(name, |writer, name| writer.string(uapi::IFNAME, name));
        self.set(&message(link, 0, 0, attributes), &what)
    }

    fn get(&mut self, index: IfIndex, by: Writer, shown: &str) -> Result<Link, CardError> {
        let what = format!("ip link show {shown}");
        let mask = uapi::EXT_MASK_VF | uapi::EXT_MASK_SKIP_STATS;
        let payload = message(index, 0, 0, by.u32(uapi::EXT_MASK, mask));
        let answers = match self.connection.request(uapi::GET_LINK, 0, &payload, &what) {
            Err(error) if error.is(Errno::NODEV) => {
                return Err(CardError::NoSuchNetdev { netdev: shown.to_owned() });
            }
            answers => answers?,
        };
        let answer = answers.first().map(Vec::as_slice).unwrap_or_default();
        Ok(parse(answer).map_err(|reason| NetlinkError::malformed(&what, &reason))?)
    }

    fn set(&mut self, payload: &[u8], what: &str) -> Result<(), NetlinkError> {
        self.connection.request(uapi::NEW_LINK, 0, payload, what).map(drop)
    }
}

fn write_change(link: IfIndex, change: &LinkChange) -> Vec<u8> {
    let writer = Writer::default();
    match change {
        LinkChange::Up => message(link, uapi::FLAG_UP, uapi::FLAG_UP, writer),
        LinkChange::Down => message(link, 0, uapi::FLAG_UP, writer),
        LinkChange::Mtu(mtu) => message(link, 0, 0, writer.u32(uapi::MTU, *mtu)),
        LinkChange::Name(name) => message(link, 0, 0, writer.string(uapi::IFNAME, name)),
        LinkChange::Address(mac) => message(link, 0, 0, writer.bytes(uapi::ADDRESS, &mac.0)),
        LinkChange::Alias(alias) => message(link, 0, 0, writer.string(uapi::IFALIAS, alias)),
    }
}

/// `struct ifinfomsg` (family, type, index, flags, and which flags to change) and attributes.
fn message(link: IfIndex, flags: u32, change: u32, attributes: Writer) -> Vec<u8> {
    let mut payload = vec![0; 4];
    payload.extend(link.0.to_ne_bytes());
    payload.extend(flags.to_ne_bytes());
    payload.extend(change.to_ne_bytes());
    payload.extend(attributes.into_bytes());
    payload
}

const IFINFO_BYTES: usize = 16;

fn parse(payload: &[u8]) -> Result<Link, AttrError> {
    let (header, attributes) = payload.split_at_checked(IFINFO_BYTES).unwrap_or((&[0; 16], &[]));
    let word =
        |at: usize| header[at..at + 4].try_into().map(u32::from_ne_bytes).unwrap_or_default();
    let attributes = Attributes::parse(attributes)?;
    Ok(Link {
        ifindex: IfIndex(word(4)),
        name: attributes.require_string(uapi::IFNAME, "the link's name")?,
        address: attributes.get(uapi::ADDRESS).and_then(|a| a.try_into().ok()).map(Mac),
        permanent: attributes.get(uapi::PERM_ADDRESS).and_then(|a| a.try_into().ok()).map(Mac),
        mtu: attributes.require_u32(uapi::MTU, "the link's MTU")?,
        up: word(8) & uapi::FLAG_UP != 0,
        carrier: word(8) & uapi::FLAG_LOWER_UP != 0,
        ipv6: parse_ipv6(&attributes)?,
        alias: attributes.string(uapi::IFALIAS)?,
        pci_parent: parse_pci_parent(&attributes)?,
        vfs: vf::parse_list(&attributes)?,
    })
}

/// A link without IPv6 has no such attribute.
fn parse_ipv6(attributes: &Attributes<'_>) -> Result<bool, AttrError> {
    let Some(families) = attributes.nested(uapi::AF_SPEC)? else { return Ok(false) };
    let Some(inet6) = families.nested(uapi::INET6)? else { return Ok(false) };
    Ok(inet6.u32(uapi::INET6_FLAGS)?.is_some_and(|flags| flags & uapi::INET6_READY != 0))
}

fn parse_pci_parent(attributes: &Attributes<'_>) -> Result<Option<PciAddress>, AttrError> {
    let bus = attributes.string(uapi::PARENT_DEV_BUS_NAME)?;
    let name = attributes.string(uapi::PARENT_DEV_NAME)?.filter(|_| bus.as_deref() == Some("pci"));
    Ok(name.and_then(|name| name.parse().ok()))
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "down" };
        write!(f, "{}: {} mtu {} {state}", self.ifindex, self.name, self.mtu)?;
        self.address.iter().try_for_each(|mac| write!(f, " {mac}"))?;
        self.alias.iter().try_for_each(|alias| write!(f, " alias {alias:?}"))?;
        self.vfs.iter().try_for_each(|vf| write!(f, "\n  {vf}"))
    }
}

impl fmt::Display for LinkChange {
    /// In the words of `ip link set`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down => f.write_str("down"),
            Self::Mtu(mtu) => write!(f, "mtu {mtu}"),
            Self::Name(name) => write!(f, "name {name}"),
            Self::Address(mac) => write!(f, "address {mac}"),
            Self::Alias(alias) => write!(f, "alias {alias:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_is_found_by_name_and_number() {
        let mut links = Links::open().unwrap();
        let lo = links.find("lo").unwrap();
        assert_eq!((lo.name.as_str(), lo.ifindex), ("lo", IfIndex(1)));
        assert_eq!(links.get_by_index(IfIndex(1)).unwrap(), lo);
        assert_eq!(lo.carrier, lo.up);
    }

    #[test]
    fn a_link_that_is_not_there_is_named() {
        let error = Links::open().unwrap().find("no-such-link").unwrap_err().to_string();
        assert!(
            error.starts_with("no netdev \"no-such-link\" in this network namespace"),
            "{error}"
        );
    }

    #[test]
    fn up_changes_that_flag_only() {
        let bytes = write_change(IfIndex(7), &LinkChange::Up);
        assert_eq!(bytes, [0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        let bytes = write_change(IfIndex(7), &LinkChange::Down);
        assert_eq!(bytes, [0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    }

    fn link(flags: u32, inet6_flags: u32) -> Link {
        let inet6 = Writer::default().u32(uapi::INET6_FLAGS, inet6_flags);
        let attributes = Writer::default()
            .string(uapi::IFNAME, "np0r0")
            .u32(uapi::MTU, 1500)
            .nested(uapi::AF_SPEC, Writer::default().nested(uapi::INET6, inet6));
        parse(&message(IfIndex(7), flags, 0, attributes)).unwrap()
    }

    #[test]
    fn ipv6_stays_when_the_carrier_goes() {
        let ready_without_carrier = link(uapi::FLAG_UP, 0x8000_0000);
        assert!(ready_without_carrier.up && !ready_without_carrier.carrier);
        assert!(ready_without_carrier.ipv6);
        let not_begun = link(uapi::FLAG_UP | uapi::FLAG_LOWER_UP, 0x10);
        assert!(not_begun.carrier && !not_begun.ipv6);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
