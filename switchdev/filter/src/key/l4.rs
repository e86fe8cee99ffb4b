//! Ports of TCP, UDP and SCTP, and the flags of TCP. Which protocol it is, `ip_proto` says.

use super::said;
use crate::Masked;

/// Ports and TCP flags. Ports need an exact `ip_proto` of TCP, UDP or SCTP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct L4Key {
    /// Source port.
    pub src: Option<PortMatch>,
    /// Destination port.
    pub dst: Option<PortMatch>,
    /// The twelve bits beside TCP's data offset; SYN is 0x002.
    pub tcp_flags: Option<Masked<u16>>,
}

/// The ports a filter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortMatch {
    /// By mask.
    Masked(Masked<u16>),
    /// By range. Few cards can do this.
    Range(PortRange),
}

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    min: u16,
    max: u16,
}

/// A range that holds no port, or that the kernel cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ports {min}-{max}: the lower one must come first, and be at least 1")]
pub struct PortRangeError {
    /// The lower end that was given.
    pub min: u16,
    /// The upper end that was given.
    pub max: u16,
}

impl PortRange {
    /// The ports `min..=max`.
    ///
    /// # Errors
    /// [`PortRangeError`] for an empty range, and for one that begins at 0, which the kernel
    /// takes for "not given" (`fl_set_key_port_range`).
    pub const fn new(min: u16, max: u16) -> Result<Self, PortRangeError> {
        if min == 0 || min > max {
            return Err(PortRangeError { min, max });
        }
        Ok(Self { min, max })
    }

    /// The lowest port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.min
    }

    /// The highest port.
    #[must_use]
    pub fn last(self) -> u16 {
        self.max
    }
}

impl PortMatch {
    /// One port.
    #[must_use]
    pub fn exact(port: u16) -> Self {
        Self::Masked(Masked::exact(port))
    }

    /// Whether a packet with this port matches.
    #[must_use]
    pub fn matches(self, port: u16) -> bool {
        match self {
            Self::Masked(masked) => masked.matches(port),
            Self::Range(range) => (range.min..=range.max).contains(&port),
        }
    }

    /// A range of one port is a port; a mask without a bit says nothing.
    fn normalized(self) -> Option<Self> {
        match self {
            Self::Masked(masked) => masked.unless_any().map(Self::Masked),
            Self::Range(range) if range.min == range.max => Some(Self::exact(range.min)),
            Self::Range(_) => Some(self),
        }
    }
}

impl L4Key {
    pub(super) fn normalized(self) -> Self {
        Self {
            src: self.src.and_then(PortMatch::normalized),
            dst: self.dst.and_then(PortMatch::normalized),
            tcp_flags: said(self.tcp_flags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_one_port_is_a_port() {
        let key = L4Key {
            dst: Some(PortMatch::Range(PortRange::new(80, 80).unwrap())),
            ..L4Key::default()
        };
        assert_eq!(key.normalized().dst, Some(PortMatch::exact(80)));
    }

    #[test]
    fn the_kernel_takes_port_zero_for_no_port() {
        assert!(PortRange::new(0, 10).is_err());
        assert!(PortRange::new(11, 10).is_err());
    }
}
