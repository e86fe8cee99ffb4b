//! Tells the neighbours of a pod's link who has its addresses: gratuitous ARP, unsolicited neighbour advertisements.
//!
//! Switches on the way learn where the MAC address is, and hosts that knew the address by another
//! MAC forget that. The frames are written here whole and sent by a packet socket.

#![expect(unsafe_code, reason = "packet sockets' addresses have no safe interface")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use tc_filter::{IfIndex, Mac};

use crate::netlink::NetlinkError;
use crate::netns;

const BROADCAST: [u8; 6] = [0xff; 6];
/// The Ethernet address of `ff02::1`, all nodes (RFC 2464, section 7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETH_ARP: u16 = 0x0806;
const ETH_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;

/// Sends one announcement for each address, from a link of the namespace.
///
/// # Errors
/// [`NetlinkError::Socket`] naming what could not be sent.
pub fn announce(
    netns: BorrowedFd<'_>,
    link: IfIndex,
    mac: Mac,
    addresses: &[IpAddr],
) -> Result<(), NetlinkError> {
    let frames: Vec<Vec<u8>> =
        addresses.iter().map(|address| announcement(mac, *address)).collect();
    let failed = |source| NetlinkError::Socket {
        request: format!("announcing addresses on link {link}"),
        source,
    };
    netns::inside(netns, move || send_all(link, &frames))?.map_err(failed)
}

fn announcement(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(mac, address),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address),
    }
}

fn ethernet(to: [u8; 6], from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// A request for one's own address (RFC 5227, section 3).
fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    const HEADER: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let mut frame = ethernet(BROADCAST, mac, ETH_ARP);
    frame.extend(HEADER);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// To all nodes, with the override flag (RFC 4861, sections 4.4 and 7.2.6).
fn unsolicited_advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let mut body = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend(address.octets());
    body.extend(TARGET_LINK_LAYER_ADDRESS);
    body.extend(mac.0);
    let checksum = icmpv6_checksum(address, ALL_NODES, &body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES_MAC, mac, ETH_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(body.len()).unwrap_or_default().to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(body);
    frame
}

/// Over the pseudo header and the message (RFC 8200, section 8.1).
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6]].concat();
    let words = pseudo.chunks(2).chain(body.chunks(2));
    let word =
        |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn send_all(link: IfIndex, frames: &[Vec<u8>]) -> io::Result<()> {
    let socket = packet_socket(link)?;
    frames.iter().try_for_each(|frame| send(&socket, frame))
}

/// A packet socket that receives nothing (protocol 0) and sends by this link.
fn packet_socket(link: IfIndex) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeros is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_ifindex = i32::try_from(link.0).unwrap_or_default();
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the pointer and the length are those of `address`, which lives through the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a slice that lives through the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn an_arp_announcement_asks_everybody_for_its_own_address() {
        let frame = announcement(MAC, "10.0.0.5".parse().unwrap());
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6]);
        assert_eq!(frame[14..32], [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 5]);
        assert_eq!(frame[32..], [0, 0, 0, 0, 0, 0, 10, 0, 0, 5]);
    }

    #[test]
    fn an_advertisements_checksum_is_right() {
        let address: Ipv6Addr = "fd00::5".parse().unwrap();
        let frame = announcement(MAC, address.into());
        assert_eq!((frame.len(), frame[20], frame[21]), (14 + 40 + 32, ICMPV6, 255));
        // Over a message with its right checksum the sum is 0.
        assert_eq!(icmpv6_checksum(address, ALL_NODES, &frame[54..]), 0);
    }
}
