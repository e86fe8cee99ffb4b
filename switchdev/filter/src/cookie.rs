//! Our mark on what we put into the kernel.

use std::fmt;

/// Bytes that the kernel keeps with each action of a filter and hands back in a dump.
///
/// It has 1 to 15 bytes: the kernel would take 16, but OVS takes every 16-byte cookie for one of
/// its own flow ids (`tc.c`, `nl_parse_act_cookie`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie {
    /// Its bytes, and zeros behind them.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

/// A cookie of the wrong length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a cookie of {0} bytes: it must have 1 to 15, since OVS takes 16 bytes for its own flow id"
)]
pub struct CookieTooLong(pub usize);

impl Cookie {
    /// The most bytes a cookie of ours has.
    pub const MAX_LEN: usize = 15;
    /// How each cookie of ours begins.
    pub const MARK: [u8; 4] = *b"lnrt";

    /// Takes any bytes.
    ///
    /// # Errors
    /// [`CookieTooLong`] unless there are 1 to 15 of them.
    pub fn new(bytes: &[u8]) -> Result<Self, CookieTooLong> {
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(CookieTooLong(bytes.len()));
        }
        Ok(Self::of(bytes))
    }

    /// Our mark, followed by a number of the caller's.
    #[must_use]
    pub fn ours(number: u64) -> Self {
        Self::of(&[&Self::MARK[..], &number.to_be_bytes()].concat())
    }

    /// Bytes that are not too many.
    fn of(bytes: &[u8]) -> Self {
        let mut cookie = Self { bytes: [0; Self::MAX_LEN], len: 0 };
        for (place, byte) in cookie.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            cookie.len += 1;
        }
        cookie
    }

    /// Whether it begins with our mark.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.bytes().starts_with(&Self::MARK)
    }

    /// The number given to [`Cookie::ours`].
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let rest = self.bytes().strip_prefix(&Self::MARK)?;
        rest.try_into().ok().map(u64::from_be_bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_belong_to_ovs() {
        assert_eq!(Cookie::new(&[0; 16]), Err(CookieTooLong(16)));
        assert!(Cookie::new(&[0; 15]).is_ok());
    }

    #[test]
    fn ours_are_known_and_keep_their_number() {
        let cookie = Cookie::ours(0x1234);
        assert!(cookie.is_ours());
        assert_eq!(cookie.number(), Some(0x1234));
        assert_eq!(cookie.to_string(), "6c6e72740000000000001234");
        assert!(!Cookie::new(b"lnr").unwrap().is_ours());
    }
}
