//! What sysfs says of a netdev.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use tc_filter::{IfIndex, Mac};

use crate::phys_port::{PhysPortName, SwitchId};
use crate::representor::PlacedNetdev;
use crate::sysfs::{self, Sysfs, SysfsError};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Netdev {
    /// Its name in this network namespace.
    pub name: String,
    /// Its number in this network namespace.
    #[serde(serialize_with = "plain_number")]
    pub ifindex: IfIndex,
    /// Its MAC address; `None` for what is not Ethernet.
    #[serde(serialize_with = "as_text")]
    pub address: Option<Mac>,
    /// The largest packet it takes, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it can carry packets.
    pub link_state: LinkState,
    /// In Mbit/s; `None` while the link is down or where the driver does not know.
    pub speed: Option<u32>,
    /// Which port of an embedded switch it is.
    pub phys_port_name: Option<PhysPortName>,
    /// Which embedded switch it is a port of.
    pub phys_switch_id: Option<SwitchId>,
}

/// RFC 2863's operational state, `operstate` in sysfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The driver does not say; usual for representors and virtual devices.
    Unknown,
    /// A part is missing.
    NotPresent,
    /// No carrier, or not set up.
    Down,
    /// Something below it is down.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Up, but waiting, for 802.1X say.
    Dormant,
    /// Up.
    Up,
}

const LINK_STATES: [(LinkState, &str); 7] = [
    (LinkState::Unknown, "unknown"),
    (LinkState::NotPresent, "notpresent"),
    (LinkState::Down, "down"),
    (LinkState::LowerLayerDown, "lowerlayerdown"),
    (LinkState::Testing, "testing"),
    (LinkState::Dormant, "dormant"),
    (LinkState::Up, "up"),
];

/// All netdevs in the directory `net`, by name. A netdev that goes while it is read is left out,
/// and so is what is no directory: `class/net` holds bonding's control file too.
pub(super) fn scan(net: &Path) -> Result<Vec<Netdev>, SysfsError> {
    let mut netdevs = Vec::new();
    for name in sysfs::list(net)? {
        let dir = net.join(&name);
        if !dir.is_dir() {
            continue;
        }
        match read(&dir, &name) {
            // The kernel takes a netdev's files away before its directory, and none is ever without.
            Err(SysfsError::Missing { .. }) => {}
            Err(_) if !dir.exists() => {}
            netdev => netdevs.push(netdev?),
        }
    }
    Ok(netdevs)
}

/// All netdevs of this network namespace, with the PCI functions they are on.
pub(crate) fn all(sysfs: &Sysfs) -> Result<Vec<PlacedNetdev>, SysfsError> {
    let place = |netdev: Netdev| {
        let device = sysfs::link_name(&sysfs.net_device(&netdev.name).join("device"))?;
        Ok(PlacedNetdev { netdev, parent: device.and_then(|name| name.parse().ok()) })
    };
    scan(&sysfs.net_devices())?.into_iter().map(place).collect()
}

/// The netdev whose directory is `dir`.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Netdev, SysfsError> {
    Ok(Netdev {
        name: name.to_owned(),
        ifindex: IfIndex(sysfs::require(&dir.join("ifindex"), "an interface number")?),
        address: read_address(dir)?,
        mtu: sysfs::require(&dir.join("mtu"), "a number of bytes")?,
        link_state: sysfs::require(&dir.join("operstate"), "an operational state, up or down say")?,
        speed: read_speed(dir)?,
        phys_port_name: read_port_name(dir)?,
        phys_switch_id: sysfs::read_as(&dir.join("phys_switch_id"), "bytes in hexadecimal")?,
    })
}

/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const TYPE_ETHERNET: u16 = 1;

/// What is not Ethernet has addresses of another shape: IPoIB's are 20 bytes, a GRE tunnel's 4.
fn read_address(dir: &Path) -> Result<Option<Mac>, SysfsError> {
    match sysfs::read_as(&dir.join("type"), "a link layer's number")? {
        Some(TYPE_ETHERNET) => sysfs::read_as(&dir.join("address"), "a MAC address"),
        _ => Ok(None),
    }
}

/// A driver that does not know its speed answers -1, some 0, and some `SPEED_UNKNOWN` unsigned.
fn read_speed(dir: &Path) -> Result<Option<u32>, SysfsError> {
    let speed = sysfs::read_as::<i64>(&dir.join("speed"), "a number of Mbit/s, or -1")?;
    Ok(speed.and_then(|s| u32::try_from(s).ok()).filter(|s| *s != 0 && *s != u32::MAX))
}

/// Cards that are no switch have names of their own making here (`p0` and others), so a name that
/// is not a switch port's is none, and no error.
fn read_port_name(dir: &Path) -> Result<Option<PhysPortName>, SysfsError> {
    Ok(sysfs::read(&dir.join("phys_port_name"))?.and_then(|name| name.parse().ok()))
}

impl fmt::Display for Netdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} mtu {}", self.name, self.link_state, self.mtu)?;
        self.speed.iter().try_for_each(|speed| write!(f, " {speed} Mbit/s"))?;
        self.phys_port_name.iter().try_for_each(|name| write!(f, " port {name}"))?;
        self.phys_switch_id.iter().try_for_each(|id| write!(f, " switch {id}"))
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = LINK_STATES.iter().find(|(state, _)| state == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for LinkState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        LINK_STATES.iter().find(|(_, word)| *word == text).map(|(state, _)| *state).ok_or(())
    }
}

fn plain_number<S: Serializer>(ifindex: &IfIndex, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(ifindex.0)
}

fn as_text<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    mac.map(|mac| mac.to_string()).serialize(serializer)
}
