//! The rules that hold a pod to its own addresses, on an OVS bridge that is not OVN's.
//!
//! In switchdev mode no card checks what a VF sends, so the bridge does: a drop rule for everything that comes out of the
//! representor with another source than the pod's. OpenFlow cannot say "any but", so it is said by as many matches as an
//! address has bits ([`complement`](super::complement)). The rules only drop: they stand above whatever pipeline the
//! bridge has and change nothing for the pod's own packets, and they can be put into the card like any other rule.
//!
//! Whoever removes all rules of the bridge removes these too; CHECK tells. On OVN's bridge OVN does this itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use switchdev::PciAddress;
use tc_filter::Mac;

use super::complement::{Prefix, complement};
use super::openflow::{
    ARP_SPA, ETH_SRC, ETH_TYPE, Field, IN_PORT, IPV4_SRC, IPV6_SRC, Match, OpenFlow, OpenFlowError,
};

/// Above all rules of any pipeline.
const PRIORITY: u16 = u16::MAX;
/// The first two bytes of our cookies; the others are the VF's PCI address, which only one port at a time can have.
const COOKIE_MARK: u64 = 0x4c52 << 48;

/// Whether a rule with this cookie is one of these, of any port.
#[must_use]
pub fn is_port_rule(cookie: u64) -> bool {
    cookie >> 48 == COOKIE_MARK >> 48
}

/// How many rules a bridge has, whoever put them there; its management socket is `socket`.
///
/// # Errors
/// The bridge refused, or cannot be reached.
pub fn rules_on(socket: &Path) -> Result<u32, OpenFlowError> {
    OpenFlow::connect(socket)?.count_all()
}

const ETH_IPV4: u128 = 0x0800;
const ETH_ARP: u128 = 0x0806;
const ETH_IPV6: u128 = 0x86dd;

/// The rules of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRules {
    /// The bridge's management socket.
    pub socket: PathBuf,
    /// The VF.
    pub vf: String,
    /// The pod's MAC address.
    pub mac: String,
    /// The pod may also only use its own IP addresses.
    pub addresses: bool,
}

impl PortRules {
    /// The rules for a port on a bridge whose database is at `database`.
    #[must_use]
    pub fn new(database: &Path, bridge: &str, vf: PciAddress, mac: Mac, addresses: bool) -> Self {
        let directory = database.parent().unwrap_or_else(|| Path::new("/"));
        Self {
            socket: directory.join(format!("{bridge}.mgmt")),
            vf: vf.to_string(),
            mac: mac.to_string(),
            addresses,
        }
    }

    /// Puts them in, for the port with this number and a pod with these addresses.
    ///
    /// # Errors
    /// The bridge refused, or cannot be reached.
    pub fn install(&self, port: u16, pod: &[IpAddr]) -> Result<usize, OpenFlowError> {
        let rules = self.drops(port, pod);
        OpenFlow::connect(&self.socket)?.add_drops(self.cookie(), PRIORITY, &rules)?;
        Ok(rules.len())
    }

    /// Takes them out. A bridge that is gone has none.
    ///
    /// # Errors
    /// As [`PortRules::install`].
    pub fn remove(&self) -> Result<(), OpenFlowError> {
        if !self.socket.exists() {
            return Ok(());
        }
        OpenFlow::connect(&self.socket)?.remove(self.cookie())
    }

    /// How many there are.
    ///
    /// # Errors
    /// As [`PortRules::install`].
    pub fn count(&self) -> Result<u32, OpenFlowError> {
        OpenFlow::connect(&self.socket)?.count(self.cookie())
    }

    fn mac_bits(&self) -> u128 {
        let mac: Mac = self.mac.parse().unwrap_or(Mac([0; 6]));
        mac.0.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }

    fn cookie(&self) -> u64 {
        let digits: String = self.vf.chars().filter(char::is_ascii_hexdigit).collect();
        COOKIE_MARK | u64::from_str_radix(&digits, 16).unwrap_or_default()
    }

    fn drops(&self, port: u16, pod: &[IpAddr]) -> Vec<Vec<Match>> {
        let port = Match { field: IN_PORT, value: port.into(), mask: None };
        let mut rules = others(ETH_SRC, &[self.mac_bits()], &[port]);
        if self.addresses {
            rules.extend(other_addresses(port, pod, self.mac_bits()));
        }
        rules
    }
}

/// Drops for all values of a field but those wanted, with the other matches that the field needs.
fn others(field: Field, wanted: &[u128], with: &[Match]) -> Vec<Vec<Match>> {
    let width = u32::try_from(field.width() * 8).unwrap_or(u128::BITS);
    let wanted: Vec<Prefix> = wanted.iter().map(|value| Prefix::exact(*value, width)).collect();
    let rule = |prefix: &Prefix| {
        let (value, mask) = prefix.masked(width);
        let own = (mask != 0).then_some(Match { field, value, mask: Some(mask) });
        with.iter().copied().chain(own).collect()
    };
    complement(&wanted).iter().map(rule).collect()
}

fn other_addresses(port: Match, pod: &[IpAddr], mac: u128) -> Vec<Vec<Match>> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in pod {
        match address {
            IpAddr::V4(address) => v4.push(u128::from(address.to_bits())),
            IpAddr::V6(address) => v6.push(address.to_bits()),
        }
    }
    // Before a pod has an address it sends from none (DAD, ARP probes); IPv6 also has the one made of the MAC address.
    let arp = [&v4[..], &[0]].concat();
    v6.extend([0, link_local(mac)]);
    let of_type = |kind| [port, Match { field: ETH_TYPE, value: kind, mask: None }];
    let mut rules = others(IPV4_SRC, &v4, &of_type(ETH_IPV4));
    rules.extend(others(ARP_SPA, &arp, &of_type(ETH_ARP)));
    rules.extend(others(IPV6_SRC, &v6, &of_type(ETH_IPV6)));
    rules
}

/// The link-local address that the kernel makes of a MAC address (RFC 4291, appendix A).
fn link_local(mac: u128) -> u128 {
    let (high, low) = (mac >> 24, mac & 0xff_ffff);
    let host = high << 40 | 0xff_fe << 24 | low;
    0xfe80 << 112 | (host ^ 1 << 57)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(addresses: bool) -> PortRules {
        PortRules::new(
            Path::new("/run/ovs/db.sock"),
            "br0",
            "0000:01:10.0".parse().unwrap(),
            Mac([2, 0, 0, 0, 0, 1]),
            addresses,
        )
    }

    /// Whether a rule takes a packet with these values, as far as it asks.
    fn takes(rule: &[Match], values: &[(Field, u128)]) -> bool {
        rule.iter().all(|wanted| {
            let found = values.iter().find(|(field, _)| *field == wanted.field);
            found.is_some_and(|(_, value)| {
                (value ^ wanted.value) & wanted.mask.unwrap_or(u128::MAX) == 0
            })
        })
    }

    fn dropped(addresses: bool, values: &[(Field, u128)]) -> bool {
        let pod = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let mut packet = vec![(IN_PORT, 3)];
        packet.extend(values);
        rules(addresses).drops(3, &pod).iter().any(|rule| takes(rule, &packet))
    }

    #[test]
    fn only_another_mac_address_is_dropped() {
        assert!(!dropped(false, &[(ETH_SRC, 0x0200_0000_0001)]));
        for other in [0x0200_0000_0000, 0x0200_0000_0003, 0x8200_0000_0001, 0] {
            assert!(dropped(false, &[(ETH_SRC, other)]), "{other:x}");
        }
        assert!(!dropped(
            false,
            &[(ETH_SRC, 0x0200_0000_0001), (ETH_TYPE, ETH_IPV4), (IPV4_SRC, 7)]
        ));
    }

    #[test]
    fn with_port_security_only_the_pods_addresses_pass() {
        let own = (ETH_SRC, 0x0200_0000_0001);
        let v4 = |address: [u8; 4]| {
            [own, (ETH_TYPE, ETH_IPV4), (IPV4_SRC, u32::from_be_bytes(address).into())]
        };
        assert!(!dropped(true, &v4([10, 0, 0, 5])));
        assert!(dropped(true, &v4([10, 0, 0, 6])));
        assert!(dropped(true, &v4([0, 0, 0, 0])), "DHCP is not for a pod with addresses");
        let arp = |spa: u128| [own, (ETH_TYPE, ETH_ARP), (ARP_SPA, spa)];
        assert!(!dropped(true, &arp(0x0a00_0005)) && !dropped(true, &arp(0)));
        assert!(dropped(true, &arp(0x0a00_0001)), "nobody may say they are the router");
        let v6 = |address: &str| {
            let address: std::net::Ipv6Addr = address.parse().unwrap();
            [own, (ETH_TYPE, ETH_IPV6), (IPV6_SRC, address.to_bits())]
        };
        for address in ["fd00::5", "fe80::ff:fe00:1", "::"] {
            assert!(!dropped(true, &v6(address)), "{address}");
        }
        assert!(dropped(true, &v6("fd00::6")) && dropped(true, &v6("fe80::1")));
    }

    #[test]
    fn rules_are_known_by_the_vf() {
        assert_eq!(rules(false).cookie(), 0x4c52_0000_0000_1100);
        assert!(is_port_rule(rules(false).cookie()) && !is_port_rule(0x4c53_0000_0000_1100));
        assert_eq!(rules(false).socket, Path::new("/run/ovs/br0.mgmt"));
    }
}
