//! An address with the length of its network's prefix: `10.0.0.5/24`, `fd00::5/64`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpNet {
    /// The address, with its host part.
    pub address: IpAddr,
    /// How many of its first bits are the network's.
    pub prefix: u8,
}

/// The text is no address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address with the length of its prefix, such as 10.0.0.5/24 or fd00::5/64")]
pub struct InvalidIpNet(pub String);

impl IpNet {
    /// The prefix that has only this address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: bits(address) }
    }

    /// Whether it is everything: `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.prefix == 0 && self.address.is_unspecified()
    }
}

/// How many bits an address has.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for IpNet {
    type Err = InvalidIpNet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidIpNet(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= bits(address)).then_some(IpNet { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_fits_its_family() {
        for text in ["10.0.0.5/24", "fd00::5/64", "0.0.0.0/0"] {
            assert_eq!(text.parse::<IpNet>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.5", "10.0.0.5/33", "fd00::/129", "10.0.0/8", "10.0.0.5/-1", ""] {
            assert!(text.parse::<IpNet>().is_err(), "{text}");
        }
    }
}
