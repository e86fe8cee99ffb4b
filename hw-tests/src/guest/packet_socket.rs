//! A packet socket (packet(7)) on one link: sends frames as they are, receives them with the VLAN tag put back.
//!
//! The kernel hands the outer VLAN tag over beside the frame (PACKET_AUXDATA), and neither the standard library nor rustix reads
//! that; so this file, and no other, calls libc.
#![expect(
    unsafe_code,
    reason = "packet sockets' addresses and auxiliary data have no safe interface"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Context;
use libc::{c_int, c_void, socklen_t};

/// Longest frame: a jumbo frame.
const MAX_FRAME: usize = 16 * 1024;
/// Where the VLAN tag stands in a frame: behind the two addresses.
const TAG_OFFSET: usize = 12;
/// `TP_STATUS_VLAN_VALID` of linux/if_packet.h: there is a tag.
const VLAN_VALID: u32 = 1 << 4;

/// A socket bound to a link of the calling thread's namespace.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket that sees every frame that comes in at the link, and none that goes out.
    pub fn open(link: &str) -> anyhow::Result<Self> {
        let index = link_index(link).with_context(|| format!("there is no link {link}"))?;
        let socket = Self::any().context("cannot open a packet socket")?;
        socket.option(libc::PACKET_AUXDATA, 1).context("cannot ask for VLAN tags")?;
        socket.option(libc::PACKET_IGNORE_OUTGOING, 1).context("cannot leave out what goes out")?;
        socket.bind(index).with_context(|| format!("cannot bind to {link}"))?;
        Ok(socket)
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and length are those of a slice that lives through the call.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for a frame.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: one pollfd is given and one is said to be there.
        match unsafe { libc::poll(&raw mut poll, 1, millis) } {
            0 => Ok(None),
            1.. => self.take().map(Some),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn any() -> io::Result<Self> {
        let protocol = c_int::from(every_protocol());
        // SAFETY: takes no pointer.
        let fd =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    fn option(&self, name: c_int, value: c_int) -> io::Result<()> {
        // SAFETY: the option's value is a c_int, which lives through the call.
        checked(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                name,
                (&raw const value).cast(),
                length_of::<c_int>(),
            )
        })
    }

    fn bind(&self, index: c_int) -> io::Result<()> {
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = every_protocol();
        address.sll_ifindex = index;
        // SAFETY: the address is a sockaddr_ll of the length given.
        checked(unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        })
    }

    fn take(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0_u8; MAX_FRAME];
        // u64, so that the control messages in it are aligned.
        let mut control = [0_u64; 16];
        let mut part =
            libc::iovec { iov_base: frame.as_mut_ptr().cast::<c_void>(), iov_len: frame.len() };
        // SAFETY: all zeros is a valid msghdr.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to buffers of the lengths given, which live through the call.
        let length = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
        // SAFETY: recvmsg has just filled the header and the control buffer it points to.
        if let Some(tag) = unsafe { vlan_tag(&message) } {
            frame.splice(TAG_OFFSET..TAG_OFFSET, tag);
        }
        Ok(frame)
    }
}

/// The four bytes of the VLAN tag that came beside a frame.
///
/// # Safety
/// The header must be one that recvmsg filled, with its control buffer still there.
unsafe fn vlan_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: as promised by the caller; the pointer is looked at only if it is not null.
    let data = unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if header.cmsg_level != libc::SOL_PACKET || header.cmsg_type != libc::PACKET_AUXDATA {
            return None;
        }
        libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned()
    };
    if data.tp_status & VLAN_VALID == 0 {
        return None;
    }
    let ([t0, t1], [c0, c1]) = (data.tp_vlan_tpid.to_be_bytes(), data.tp_vlan_tci.to_be_bytes());
    Some([t0, t1, c0, c1])
}

/// `ETH_P_ALL` in network order.
fn every_protocol() -> u16 {
    u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be()
}

/// The index of a link in the calling thread's namespace. `/sys/class/net` would show that of whoever mounted it.
fn link_index(link: &str) -> anyhow::Result<c_int> {
    let name = std::ffi::CString::new(link)?;
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error().into()),
        index => Ok(c_int::try_from(index)?),
    }
}

fn checked(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}
