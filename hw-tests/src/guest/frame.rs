//! Frames for traffic tests, each with a marker in its payload so that it is known again among others.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use etherparse::{PacketBuilder, VlanId};

/// A MAC address.
pub type Mac = [u8; 6];

/// Eight bytes that no other traffic carries, different for each exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker([u8; 8]);

impl Marker {
    /// A marker not used before in this process.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut bytes = *b"LNRT\0\0\0\0";
        bytes[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self(bytes)
    }

    /// Whether a frame carries it.
    #[must_use]
    pub fn is_in(self, frame: &[u8]) -> bool {
        frame.windows(self.0.len()).any(|window| window == self.0)
    }
}

/// A UDP packet over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source and destination address of the frame.
    pub mac: (Mac, Mac),
    /// The VLAN it is tagged with.
    pub vlan: Option<u16>,
    /// Source and destination address of the packet.
    pub ip: (Ipv4Addr, Ipv4Addr),
    /// Source and destination port.
    pub port: (u16, u16),
}

impl Udp {
    /// The frame's bytes, with a marker as payload.
    pub fn bytes(&self, marker: Marker) -> anyhow::Result<Vec<u8>> {
        let ethernet = PacketBuilder::ethernet2(self.mac.0, self.mac.1);
        let (source, destination) = (self.ip.0.octets(), self.ip.1.octets());
        let packet = match self.vlan {
            None => ethernet.ipv4(source, destination, 64),
            Some(id) => ethernet
                .single_vlan(VlanId::try_new(id).context("a VLAN id has 12 bits")?)
                .ipv4(source, destination, 64),
        };
        let packet = packet.udp(self.port.0, self.port.1);
        let mut bytes = Vec::with_capacity(packet.size(marker.0.len()));
        packet.write(&mut bytes, &marker.0).context("cannot build a UDP packet")?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Udp = Udp {
        mac: ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]),
        vlan: None,
        ip: (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)),
        port: (1000, 2000),
    };

    #[test]
    fn a_frame_carries_its_marker_and_no_other() {
        let (one, other) = (Marker::fresh(), Marker::fresh());
        let frame = PACKET.bytes(one).unwrap();
        assert!(one.is_in(&frame));
        assert!(!other.is_in(&frame));
    }

    #[test]
    fn a_tag_stands_behind_the_addresses() {
        let frame = Udp { vlan: Some(100), ..PACKET }.bytes(Marker::fresh()).unwrap();
        assert_eq!(frame[12..18], [0x81, 0, 0, 100, 8, 0]);
        assert!(Udp { vlan: Some(5000), ..PACKET }.bytes(Marker::fresh()).is_err());
    }
}
