//! Ports of a Linux bridge: joining and leaving, the VLANs of a port, and the only address that may come from it.
//!
//! The requests are those of `ip link set … master` and `bridge vlan|link|fdb`. The kernel forgets a
//! port's VLANs, flags and addresses when it leaves (`del_nbp()` in `net/bridge/br_if.c`).

use rustix::io::Errno;
use tc_filter::{IfIndex, Mac};

use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::netlink::request::Connection;
use crate::sysfs::{self, Sysfs, SysfsError};

const NETLINK_ROUTE: isize = 0;

/// Numbers of `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_bridge.h` and `linux/neighbour.h`.
mod uapi {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const DEL_LINK: u16 = 17;
    pub(super) const GET_LINK: u16 = 18;
    pub(super) const SET_LINK: u16 = 19;
    pub(super) const NEW_NEIGHBOUR: u16 = 28;
    pub(super) const GET_NEIGHBOUR: u16 = 30;
    pub(super) const CREATE_REPLACE: u16 = 0x500;

    pub(super) const FAMILY_BRIDGE: u8 = 7;
    pub(super) const MASTER: u16 = 10;
    pub(super) const PROTINFO: u16 = 12;
    pub(super) const AF_SPEC: u16 = 26;
    pub(super) const EXT_MASK: u16 = 29;
    pub(super) const WITH_VLANS: u32 = 1 << 1;

    pub(super) const VLAN_INFO: u16 = 2;
    pub(super) const VLAN_PVID: u16 = 1 << 1;
    pub(super) const VLAN_UNTAGGED: u16 = 1 << 2;

    pub(super) const PORT_LEARNING: u16 = 8;
    pub(super) const PORT_LOCKED: u16 = 39;

    pub(super) const NEIGHBOUR_ADDRESS: u16 = 2;
    pub(super) const NEIGHBOUR_VLAN: u16 = 5;
    pub(super) const STATE_REACHABLE_NO_ARP: u16 = 0x02 | 0x40;
    pub(super) const FLAG_MASTER: u8 = 1 << 2;
}

/// A VLAN of a bridge's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortVlan {
    /// The VLAN.
    pub vlan: u16,
    /// Packets without a tag are put into it, and its packets leave the port without one.
    pub untagged: bool,
}

/// What a bridge knows of one of its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortState {
    /// Only addresses that are known to be there may come from it.
    pub locked: bool,
    /// Its VLANs, by number.
    pub vlans: Vec<PortVlan>,
}

/// A connection to the bridges of the network namespace it was opened in.
#[derive(Debug)]
pub struct Bridges {
    connection: Connection,
}

impl Bridges {
    /// Opens a connection in this thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { connection: Connection::open(NETLINK_ROUTE)? })
    }

    /// Makes a link a port of a bridge.
    ///
    /// # Errors
    /// The kernel's errno and sentence: `EBUSY` for a link that is a port of another.
    pub fn join(&mut self, port: IfIndex, bridge: IfIndex) -> Result<(), NetlinkError> {
        let what = format!("ip link set index {port} master index {bridge}");
        self.set_master(port, bridge.0, &what)
    }

    /// Takes a port off its bridge. A link that is on none is left alone.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn leave(&mut self, port: IfIndex) -> Result<(), NetlinkError> {
        self.set_master(port, 0, &format!("ip link set index {port} nomaster"))
    }

    /// Adds a VLAN to a port.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn add_vlan(&mut self, port: IfIndex, vlan: PortVlan) -> Result<(), NetlinkError> {
        let what = format!("bridge vlan add dev index {port} vid {}", vlan.vlan);
        let flags = if vlan.untagged { uapi::VLAN_PVID | uapi::VLAN_UNTAGGED } else { 0 };
        let request = link(uapi::FAMILY_BRIDGE, port, vlan_info(flags, vlan.vlan));
        self.connection.request(uapi::SET_LINK, 0, &request, &what).map(drop)
    }

    /// Removes a VLAN from a port. One that it does not have is no error.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn remove_vlan(&mut self, port: IfIndex, vlan: u16) -> Result<(), NetlinkError> {
        let what = format!("bridge vlan del dev index {port} vid {vlan}");
        let request = link(uapi::FAMILY_BRIDGE, port, vlan_info(0, vlan));
        match self.connection.request(uapi::DEL_LINK, 0, &request, &what) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Lets nothing in from a port but what comes from this address (`locked on learning off`, and
    /// the address put there for good).
    ///
    /// # Errors
    /// The kernel's errno and sentence: `EINVAL` before Linux 5.18, which has no locked ports.
    pub fn allow_only(
        &mut self,
        port: IfIndex,
        mac: Mac,
        vlan: Option<u16>,
    ) -> Result<(), NetlinkError> {
        let what = format!("bridge fdb replace {mac} dev index {port} master static");
        let request = neighbour(port, uapi::STATE_REACHABLE_NO_ARP, mac, vlan);
        self.connection.request(uapi::NEW_NEIGHBOUR, uapi::CREATE_REPLACE, &request, &what)?;
        let what = format!("bridge link set dev index {port} locked on learning off");
        let flags = Writer::default().u8(uapi::PORT_LEARNING, 0).u8(uapi::PORT_LOCKED, 1);
        let request =
            link(uapi::FAMILY_BRIDGE, port, Writer::default().nested(uapi::PROTINFO, flags));
        self.connection.request(uapi::SET_LINK, 0, &request, &what).map(drop)
    }

    /// What its bridge knows of a port; `None` for a link that is on none.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn port(&mut self, port: IfIndex) -> Result<Option<PortState>, NetlinkError> {
        let what = "bridge -d vlan show";
        let vlans = Writer::default().u32(uapi::EXT_MASK, uapi::WITH_VLANS);
        let all = link(uapi::FAMILY_BRIDGE, IfIndex(0), vlans);
        for message in self.connection.dump(uapi::GET_LINK, &all, what)? {
            let found = parse_port(&message, port);
            if let Some(state) = found.map_err(|reason| NetlinkError::malformed(what, &reason))? {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Whether the port's bridge knows this address to be behind it.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn knows(
        &mut self,
        port: IfIndex,
        mac: Mac,
        vlan: Option<u16>,
    ) -> Result<bool, NetlinkError> {
        let what = format!("bridge fdb get {mac} dev index {port} master");
        let request = neighbour(port, 0, mac, vlan);
        match self.connection.request(uapi::GET_NEIGHBOUR, 0, &request, &what) {
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            // It may be known behind another port; each answer begins with `struct ndmsg`.
            answers => Ok(answers?.iter().any(|answer| index_in(answer) == Some(port))),
        }
    }

    fn set_master(&mut self, port: IfIndex, master: u32, what: &str) -> Result<(), NetlinkError> {
        let request = link(0, port, Writer::default().u32(uapi::MASTER, master));
        self.connection.request(uapi::NEW_LINK, 0, &request, what).map(drop)
    }
}

/// What a link is part of: a bridge, a bond, Open vSwitch's datapath.
///
/// # Errors
/// sysfs could not be read.
pub fn master(sysfs: &Sysfs, netdev: &str) -> Result<Option<String>, SysfsError> {
    sysfs::link_name(&sysfs.net_device(netdev).join("master"))
}

/// Whether a bridge looks at VLANs.
///
/// # Errors
/// sysfs could not be read.
pub fn filters_vlans(sysfs: &Sysfs, bridge: &str) -> Result<bool, SysfsError> {
    let filtering = sysfs.net_device(bridge).join("bridge/vlan_filtering");
    Ok(sysfs::read(&filtering)?.as_deref() == Some("1"))
}

/// The VLAN that a bridge's ports get when they join; `None` is none.
///
/// # Errors
/// sysfs could not be read.
pub fn default_vlan(sysfs: &Sysfs, bridge: &str) -> Result<Option<u16>, SysfsError> {
    let pvid = sysfs.net_device(bridge).join("bridge/default_pvid");
    Ok(sysfs::read_as(&pvid, "a VLAN's number")?.filter(|vlan| *vlan != 0))
}

/// `struct ifinfomsg` and attributes.
fn link(family: u8, index: IfIndex, attributes: Writer) -> Vec<u8> {
    let mut payload = vec![family, 0, 0, 0];
    payload.extend(index.0.to_ne_bytes());
    payload.extend([0; 8]);
    payload.extend(attributes.into_bytes());
    payload
}

/// `struct bridge_vlan_info`.
fn vlan_info(flags: u16, vlan: u16) -> Writer {
    let info = [flags.to_ne_bytes(), vlan.to_ne_bytes()].concat();
    Writer::default().nested(uapi::AF_SPEC, Writer::default().bytes(uapi::VLAN_INFO, &info))
}

/// The bytes of `struct ifinfomsg`.
const IFINFOMSG_BYTES: usize = 16;

/// The interface's number, which is at the same place in `struct ifinfomsg` and `struct ndmsg`.
fn index_in(message: &[u8]) -> Option<IfIndex> {
    message.get(4..8)?.try_into().ok().map(|index| IfIndex(u32::from_ne_bytes(index)))
}

/// `None` for another link, or where its driver speaks and not its bridge.
fn parse_port(message: &[u8], port: IfIndex) -> Result<Option<PortState>, AttrError> {
    let Some((_, attributes)) = message.split_at_checked(IFINFOMSG_BYTES) else { return Ok(None) };
    if index_in(message) != Some(port) {
        return Ok(None);
    }
    let attributes = Attributes::parse(attributes)?;
    let Some(flags) = attributes.nested(uapi::PROTINFO)? else { return Ok(None) };
    let vlans = match attributes.nested(uapi::AF_SPEC)? {
        Some(list) => list.all(uapi::VLAN_INFO).filter_map(read_vlan).collect(),
        None => Vec::new(),
    };
    Ok(Some(PortState { locked: flags.u8(uapi::PORT_LOCKED)? == Some(1), vlans }))
}

/// `struct bridge_vlan_info`.
fn read_vlan(info: &[u8]) -> Option<PortVlan> {
    let [f0, f1, v0, v1] = *info else { return None };
    let flags = u16::from_ne_bytes([f0, f1]);
    let untagged = flags & uapi::VLAN_PVID != 0 && flags & uapi::VLAN_UNTAGGED != 0;
    Some(PortVlan { vlan: u16::from_ne_bytes([v0, v1]), untagged })
}

/// `struct ndmsg` and attributes.
fn neighbour(port: IfIndex, state: u16, mac: Mac, vlan: Option<u16>) -> Vec<u8> {
    let mut payload = vec![uapi::FAMILY_BRIDGE, 0, 0, 0];
    payload.extend(port.0.to_ne_bytes());
    payload.extend(state.to_ne_bytes());
    payload.extend([uapi::FLAG_MASTER, 0]);
    let attributes = Writer::default().bytes(uapi::NEIGHBOUR_ADDRESS, &mac.0);
    let attributes = attributes.maybe(vlan, |writer, vlan| writer.u16(uapi::NEIGHBOUR_VLAN, vlan));
    payload.extend(attributes.into_bytes());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_vlan_is_written_as_bridge_vlan_add_pvid_untagged_writes_it() {
        let bytes = link(7, IfIndex(5), vlan_info(uapi::VLAN_PVID | uapi::VLAN_UNTAGGED, 100));
        assert_eq!(bytes[..8], [7, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(bytes[20..], [8, 0, 2, 0, 6, 0, 100, 0]);
    }

    #[test]
    fn an_address_is_written_as_bridge_fdb_replace_writes_it() {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let bytes = neighbour(IfIndex(5), uapi::STATE_REACHABLE_NO_ARP, mac, Some(100));
        assert_eq!(bytes[..12], [7, 0, 0, 0, 5, 0, 0, 0, 0x42, 0, 4, 0]);
        assert_eq!(bytes[12..22], [10, 0, 2, 0, 2, 0, 0, 0, 0, 9]);
        assert_eq!(bytes[24..], [6, 0, 5, 0, 100, 0, 0, 0]);
    }

    #[test]
    fn a_port_is_read_as_bridge_vlan_show_reads_it() {
        let vlan = |flags: u16, vlan: u16| [flags.to_ne_bytes(), vlan.to_ne_bytes()].concat();
        let message = |attributes: Writer| link(7, IfIndex(5), attributes);
        let flags = Writer::default().u8(uapi::PORT_LEARNING, 0).u8(uapi::PORT_LOCKED, 1);
        let vlans = Writer::default()
            .bytes(uapi::VLAN_INFO, &vlan(6, 100))
            .bytes(uapi::VLAN_INFO, &vlan(0, 7));
        let message =
            message(Writer::default().nested(uapi::PROTINFO, flags).nested(uapi::AF_SPEC, vlans));
        let vlans = [(100, true), (7, false)].map(|(vlan, untagged)| PortVlan { vlan, untagged });
        let state = PortState { locked: true, vlans: vlans.to_vec() };
        assert_eq!(parse_port(&message, IfIndex(5)), Ok(Some(state)));
        assert_eq!(parse_port(&message, IfIndex(6)), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (parse_port(&bytes, IfIndex(5)), index_in(&bytes));
        }
    }
}
