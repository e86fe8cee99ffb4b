//! Datagrams from one namespace to another, counted.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::netns::Netns;

/// How long a datagram is waited for that should come. The e-switch delivers before `send` returns, so this is only for the case
/// where it does not.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one is waited for that should not come.
const SILENCE: Duration = Duration::from_millis(300);
/// How long two ends may need to find each other: ARP forgets an address it could not resolve after 3 s, with what waits for it.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// Any port that nobody else in the guest uses.
const PORT: u16 = 47_000;
/// Sent until the ends have found each other; not counted.
const HELLO: &[u8] = b"hello";

/// Sends `count` small datagrams to `address` and says how many arrived.
pub fn exchange(from: &Netns, to: &Netns, address: &str, count: u32) -> anyhow::Result<u32> {
    exchange_sized(from, to, address, count, 64)
}

/// The same with so many bytes in each.
pub fn exchange_sized(
    from: &Netns,
    to: &Netns,
    address: &str,
    count: u32,
    bytes: usize,
) -> anyhow::Result<u32> {
    let path = Path::open(from, to, address)?;
    if !path.meet()? {
        return Ok(0);
    }
    let datagram = vec![0x55; bytes];
    for _ in 0..count {
        path.send(&datagram);
    }
    path.receive(count)
}

/// Whether not one of a few datagrams arrives.
pub fn is_cut(from: &Netns, to: &Netns, address: &str) -> anyhow::Result<bool> {
    let path = Path::open(from, to, address)?;
    for _ in 0..3 {
        path.send(HELLO);
    }
    Ok(path.next(SILENCE)?.is_none())
}

/// A socket at each end.
struct Path<'a> {
    sender: UdpSocket,
    receiver: UdpSocket,
    address: &'a str,
}

impl<'a> Path<'a> {
    fn open(from: &Netns, to: &Netns, address: &'a str) -> anyhow::Result<Self> {
        let receiver = to.enter(|| Ok(UdpSocket::bind((address, PORT))?))?;
        let sender = from.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        Ok(Self { sender, receiver, address })
    }

    /// A namespace without carrier or route refuses to send; that datagram is lost like another.
    fn send(&self, datagram: &[u8]) {
        let _ = self.sender.send_to(datagram, (self.address, PORT));
    }

    /// Greets until a greeting arrives; false when none ever does.
    fn meet(&self) -> anyhow::Result<bool> {
        let start = Instant::now();
        while start.elapsed() < FIRST_CONTACT {
            self.send(HELLO);
            if self.next(SILENCE)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The length of the next datagram, if one comes in time.
    fn next(&self, patience: Duration) -> anyhow::Result<Option<usize>> {
        self.receiver.set_read_timeout(Some(patience))?;
        // Longer datagrams are cut, which is all the same to a count.
        match self.receiver.recv(&mut [0; 64]) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many of `count` datagrams come, late greetings not counted.
    fn receive(&self, count: u32) -> anyhow::Result<u32> {
        let mut received = 0;
        while received < count {
            match self.next(PATIENCE)? {
                None => break,
                Some(length) if length == HELLO.len() => {}
                Some(_) => received += 1,
            }
        }
        Ok(received)
    }
}
