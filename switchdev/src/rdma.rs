//! RDMA devices: which network namespace they are in.
//!
//! In the kernel's `exclusive` mode (`rdma system set netns exclusive`) an RDMA device is seen in one
//! network namespace only and is moved like a netdev; in `shared` mode, the default, all see it. The
//! messages are those of `linux/rdma/rdma_netlink.h`: attributes right behind the netlink header.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::netlink::NetlinkError;
use crate::netlink::attr::{AttrError, Attributes, Writer};
use crate::netlink::request::Connection;
use crate::netns;

const NETLINK_RDMA: isize = 20;
/// `RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, …)`.
const NLDEV: u16 = 5 << 10;
const DEVICE_GET: u16 = NLDEV + 1;
const DEVICE_SET: u16 = NLDEV + 2;
const SYSTEM_GET: u16 = NLDEV + 6;

const DEVICE_INDEX: u16 = 1;
const DEVICE_NAME: u16 = 2;
const NETNS_MODE: u16 = 66;
const NETNS_FD: u16 = 68;
const SHARED: u8 = 1;

/// An RDMA device. Its number stays with it in whichever network namespace it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RdmaDevice {
    /// Its number on this node.
    pub index: u32,
    /// Its name, `mlx5_2`.
    pub name: String,
}

/// A connection to the RDMA devices of a network namespace.
#[derive(Debug)]
pub struct Rdma {
    connection: Connection,
}

impl Rdma {
    /// Opens a connection in this thread's network namespace; `None` on a kernel without RDMA, or
    /// one that has not loaded it.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Option<Self>, NetlinkError> {
        match Connection::open(NETLINK_RDMA) {
            Err(error) if error.is(Errno::PROTONOSUPPORT) => Ok(None),
            connection => Ok(Some(Self { connection: connection? })),
        }
    }

    /// Opens a connection in another network namespace.
    ///
    /// # Errors
    /// As [`Rdma::open`].
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Option<Self>, NetlinkError> {
        netns::inside(netns, Self::open)?
    }

    /// Whether a device is seen in one network namespace only.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn is_exclusive(&mut self) -> Result<bool, NetlinkError> {
        let what = "rdma system show";
        let answers = self.connection.request(SYSTEM_GET, 0, &[], what)?;
        let mode = |answer: &Vec<u8>| Attributes::parse(answer)?.u8(NETNS_MODE);
        let modes: Result<Vec<_>, AttrError> = answers.iter().map(mode).collect();
        let modes = modes.map_err(|reason| NetlinkError::malformed(what, &reason))?;
        Ok(modes.into_iter().flatten().any(|mode| mode != SHARED))
    }

    /// The devices of this network namespace, by number.
    ///
    /// # Errors
    /// As every request: [`NetlinkError`].
    pub fn devices(&mut self) -> Result<Vec<RdmaDevice>, NetlinkError> {
        let what = "rdma dev show";
        let answers = self.connection.dump(DEVICE_GET, &[], what)?;
        let devices: Result<Vec<_>, AttrError> = answers.iter().map(|a| parse(a)).collect();
        let mut devices = devices.map_err(|reason| NetlinkError::malformed(what, &reason))?;
        devices.sort();
        Ok(devices)
    }

    /// Moves a device of this network namespace to another.
    ///
    /// # Errors
    /// `ENODEV` where it is not in this namespace, `EOPNOTSUPP` where its driver cannot.
    pub fn move_to_netns(&mut self, device: u32, netns: impl AsFd) -> Result<(), NetlinkError> {
        let fd = netns.as_fd().as_raw_fd().cast_unsigned();
        let payload = Writer::default().u32(DEVICE_INDEX, device).u32(NETNS_FD, fd).into_bytes();
        let what = format!("rdma dev set number {device} netns");
        self.connection.request(DEVICE_SET, 0, &payload, &what).map(drop)
    }
}

fn parse(answer: &[u8]) -> Result<RdmaDevice, AttrError> {
    let attributes = Attributes::parse(answer)?;
    Ok(RdmaDevice {
        index: attributes.require_u32(DEVICE_INDEX, "the device's number")?,
        name: attributes.require_string(DEVICE_NAME, "the device's name")?,
    })
}

impl fmt::Display for RdmaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_is_a_number_and_a_name() {
        let bytes = Writer::default().u32(DEVICE_INDEX, 3).string(DEVICE_NAME, "mlx5_3");
        let device = RdmaDevice { index: 3, name: "mlx5_3".to_owned() };
        assert_eq!(parse(&bytes.into_bytes()), Ok(device));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
