//! "Something about the cards may have changed": kernel events without their content.
//!
//! Three sources say so: kobject uevents (VFs and drivers come and go), link messages (carrier, names,
//! representors) and devlink's notifications (ports, e-switch, health). Whoever is woken reads the
//! inventory anew, so what a message says is not read, and one that is lost costs nothing: the kernel's
//! word for "messages were lost" (`ENOBUFS`) wakes as any other does.

use std::io;
use std::time::Duration;

use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_KOBJECT_UEVENT, NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::devlink;
use crate::netlink::NetlinkError;

/// The group of uevents as the kernel sends them; udev's own are in group 2.
const UEVENTS_OF_THE_KERNEL: u32 = 1;
/// `RTNLGRP_LINK`.
const LINKS: u32 = 1;

/// The kernel's events from now on.
pub struct Events {
    sockets: Vec<Socket>,
}

impl Events {
    /// Listens in this thread's network namespace. A kernel without devlink has no events of it.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        let mut sockets = vec![
            listen(NETLINK_KOBJECT_UEVENT, UEVENTS_OF_THE_KERNEL)?,
            listen(NETLINK_ROUTE, LINKS)?,
        ];
        match devlink::notifications() {
            Ok(group) => sockets.push(listen(NETLINK_GENERIC, group)?),
            Err(NetlinkError::NoFamily { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { sockets })
    }

    /// Waits until something happens, for at most as long as told; whether it did.
    ///
    /// # Errors
    /// What `poll` answers.
    pub fn wait(&mut self, at_most: Duration) -> io::Result<bool> {
        let mut waiting: Vec<PollFd<'_>> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(at_most).ok();
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(waiting);
        // All of them, also when the first one had something.
        let heard = self.sockets.iter().map(drain).filter(|heard| *heard);
        Ok(heard.count() > 0)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("sockets", &self.sockets.len()).finish()
    }
}

fn listen(protocol: isize, group: u32) -> Result<Socket, NetlinkError> {
    let open = || {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        socket.add_membership(group)?;
        Ok(socket)
    };
    open().map_err(|source| NetlinkError::Socket {
        request: format!("listening to group {group} of netlink protocol {protocol}"),
        source,
    })
}

/// Takes what has come; whether there was anything, messages that were lost included.
fn drain(socket: &Socket) -> bool {
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut any = false;
    loop {
        buffer.clear();
        match socket.recv_from(&mut buffer, 0) {
            Ok(_) => any = true,
            Err(error) => return any || error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_no_event() {
        // Other programs' links may come and go on this machine, so silence is looked for a few times.
        let mut events = Events::open().unwrap();
        assert!((0..20).any(|_| !events.wait(Duration::from_millis(1)).unwrap()));
    }
}
