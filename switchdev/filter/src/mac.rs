//! An Ethernet address.

use std::fmt;
use std::str::FromStr;

use crate::mask::Bits;

/// An Ethernet address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text that is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an Ethernet address: it must be six hexadecimal bytes, like 02:00:00:00:00:01"
)]
pub struct MacError(pub String);

impl Bits for Mac {
    const NONE: Self = Self([0; 6]);
    const ALL: Self = Self([0xff; 6]);

    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        parse(text).ok_or_else(|| MacError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = hex_byte(parts.next()?)?;
    }
    parts.next().is_none().then_some(Mac(bytes))
}

fn hex_byte(text: &str) -> Option<u8> {
    let digits = text.len() <= 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u8::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_both_ways() {
        let mac: Mac = "02:00:0A:0b:00:fe".parse().unwrap();
        assert_eq!(mac, Mac([2, 0, 10, 11, 0, 254]));
        assert_eq!(mac.to_string(), "02:00:0a:0b:00:fe");
    }

    #[test]
    fn what_is_not_six_bytes_is_refused() {
        for text in
            ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "+2:00:00:00:00:00", "zz:0:0:0:0:0"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
