//! Datagrams from one namespace to another, counted.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use super::netns::Netns;

/// How long a datagram is waited for that should come. The e-switch delivers before `send` returns, so this is only for the case
/// where it does not.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one is waited for that should not come.
const SILENCE: Duration = Duration::from_millis(300);
const PORT: u16 = 4789 + 1;

/// Sends `count` datagrams to `address` and says how many arrived.
pub fn exchange(from: &Netns, to: &Netns, address: &str, count: u32) -> anyhow::Result<u32> {
    let receiver = to.enter(|| Ok(UdpSocket::bind((address, PORT))?))?;
    let sender = from.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    for number in 0..count {
        // A namespace without carrier or route refuses to send; that datagram is lost like another.
        let _ = sender.send_to(&number.to_be_bytes(), (address, PORT));
    }
    receive(&receiver, count)
}

/// Whether not one of a few datagrams arrives.
pub fn is_cut(from: &Netns, to: &Netns, address: &str) -> anyhow::Result<bool> {
    let receiver = to.enter(|| Ok(UdpSocket::bind((address, PORT))?))?;
    let sender = from.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    for _ in 0..3 {
        let _ = sender.send_to(b"cut?", (address, PORT));
    }
    Ok(receive_within(&receiver, 1, SILENCE)? == 0)
}

fn receive(socket: &UdpSocket, count: u32) -> anyhow::Result<u32> {
    receive_within(socket, count, PATIENCE)
}

fn receive_within(socket: &UdpSocket, count: u32, patience: Duration) -> anyhow::Result<u32> {
    socket.set_read_timeout(Some(patience))?;
    let mut buffer = [0; 64];
    for received in 0..count {
        match socket.recv(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}
