//! Datagrams from one namespace to another: counted, and few enough at a time that no socket buffer overflows.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::ensure;

use crate::guest::netns::Netns;

/// Datagrams on the way at one time. A socket's buffer holds some 270 (`net.core.rmem_default`).
const WINDOW: u32 = 50;
/// How long one is waited for. The first of a flow may have to ask for an address, and OVS for its rules.
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 7000;
const PAYLOAD: usize = 512;

/// Sends `count` datagrams and says how many arrived as they were sent. One that is lost stays lost.
pub(super) fn send(from: &Netns, to: &Netns, address: &str, count: u32) -> anyhow::Result<u32> {
    let receiver = to.enter(|| Ok(UdpSocket::bind((address, PORT))?))?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let sender = from.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let (mut sent, mut received) = (0, 0);
    while sent < count {
        // The first one alone: its address is being asked for.
        let window = if sent == 0 { 1 } else { WINDOW.min(count - sent) };
        for number in sent..sent + window {
            sender.send_to(&payload(number), (address, PORT))?;
        }
        received += receive(&receiver, sent, window)?;
        sent += window;
    }
    Ok(received)
}

fn payload(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(PAYLOAD / 4)
}

/// Takes in a window of datagrams, in the order in which they were sent.
fn receive(socket: &UdpSocket, first: u32, count: u32) -> anyhow::Result<u32> {
    let mut buffer = [0; PAYLOAD + 1];
    for number in first..first + count {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                ensure!(buffer[..length] == payload(number), "datagram {number} arrived changed");
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(number - first),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}
