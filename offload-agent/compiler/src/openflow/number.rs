//! The numbers of OpenFlow, each with its own type, so that a table cannot be taken for a port.
//!
//! Ports are 16 bits wide, as they are inside Open vSwitch and in every register that holds one. The 32-bit ports of
//! OpenFlow 1.1 and later are the same numbers with the reserved ones moved up; the wire codec moves them back.

use std::fmt;

/// The name of a bridge, such as `br-int`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeName(pub String);

impl fmt::Display for BridgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for BridgeName {
    fn from(name: &str) -> Self {
        BridgeName(name.to_owned())
    }
}

/// An OpenFlow table, 0 to 254.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u8);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The priority of an OpenFlow rule: the *higher* number wins. TC's `prio` counts the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfPriority(pub u16);

impl OfPriority {
    /// What a rule gets when nobody says otherwise; OVS does not print it.
    pub const DEFAULT: OfPriority = OfPriority(0x8000);
}

impl Default for OfPriority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for OfPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An OpenFlow port of one bridge, or one of the reserved ports below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfPort(pub u16);

impl OfPort {
    /// The first number that is reserved; ports are below it.
    pub const MAX: OfPort = OfPort(0xff00);
    /// No output port decided yet (`UNSET`, only in `actset_output`).
    pub const UNSET: OfPort = OfPort(0xfff7);
    /// The port the packet came in by; the only way to send it back there.
    pub const IN_PORT: OfPort = OfPort(0xfff8);
    /// The first table, for packets that a controller sends.
    pub const TABLE: OfPort = OfPort(0xfff9);
    /// Learning-switch forwarding.
    pub const NORMAL: OfPort = OfPort(0xfffa);
    /// All ports except the input port and those with flooding off.
    pub const FLOOD: OfPort = OfPort(0xfffb);
    /// All ports except the input port.
    pub const ALL: OfPort = OfPort(0xfffc);
    /// The controller, as a packet-in.
    pub const CONTROLLER: OfPort = OfPort(0xfffd);
    /// The bridge's own internal port.
    pub const LOCAL: OfPort = OfPort(0xfffe);
    /// No port (`ANY` in matches and requests).
    pub const NONE: OfPort = OfPort(0xffff);

    const RESERVED: [(OfPort, &'static str); 9] = [
        (OfPort::UNSET, "UNSET"),
        (OfPort::IN_PORT, "IN_PORT"),
        (OfPort::TABLE, "TABLE"),
        (OfPort::NORMAL, "NORMAL"),
        (OfPort::FLOOD, "FLOOD"),
        (OfPort::ALL, "ALL"),
        (OfPort::CONTROLLER, "CONTROLLER"),
        (OfPort::LOCAL, "LOCAL"),
        (OfPort::NONE, "ANY"),
    ];

    /// The port that OpenFlow 1.1 and later write with 32 bits: the reserved ports are the highest numbers there too.
    pub fn from_wide(port: u32) -> Option<OfPort> {
        let reserved = port >= Self::FIRST_RESERVED_WIDE;
        let number = if reserved { port & u32::from(u16::MAX) } else { port };
        u16::try_from(number).ok().map(OfPort)
    }

    /// This port with 32 bits.
    pub fn to_wide(self) -> u32 {
        let high = if self < OfPort::MAX { 0 } else { 0xffff_0000 };
        high | u32::from(self.0)
    }

    const FIRST_RESERVED_WIDE: u32 = 0xffff_ff00;

    /// Whether this names a real port of a bridge; `LOCAL` does.
    pub fn is_physical(self) -> bool {
        self < OfPort::MAX || self == OfPort::LOCAL
    }

    /// The name of a reserved port, as OVS prints it.
    pub fn reserved_name(self) -> Option<&'static str> {
        Self::RESERVED.iter().find(|(port, _)| *port == self).map(|(_, name)| *name)
    }

    /// The reserved port of this name, in upper or lower case; `NONE` is another word for `ANY`.
    pub fn from_reserved_name(name: &str) -> Option<OfPort> {
        if name.eq_ignore_ascii_case("none") {
            return Some(OfPort::NONE);
        }
        Self::RESERVED
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(port, _)| *port)
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reserved_name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// An OpenFlow group of one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An OpenFlow meter of one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId(pub u32);

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The controller's own mark on a rule; it has no meaning to the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_has_a_name_both_ways() {
        for (port, name) in OfPort::RESERVED {
            assert_eq!(port.to_string(), name);
            assert_eq!(OfPort::from_reserved_name(&name.to_lowercase()), Some(port));
        }
    }

    #[test]
    fn a_reserved_port_is_high_in_both_widths() {
        assert_eq!(OfPort::from_wide(0xffff_fffe), Some(OfPort::LOCAL));
        assert_eq!(OfPort::LOCAL.to_wide(), 0xffff_fffe);
        assert_eq!(OfPort::from_wide(7), Some(OfPort(7)));
        assert_eq!(OfPort::from_wide(0x1_0000), None, "OVS has no such port");
    }

    #[test]
    fn local_is_a_port_of_the_bridge_and_normal_is_not() {
        assert!(OfPort::LOCAL.is_physical());
        assert!(OfPort(1).is_physical());
        assert!(!OfPort::NORMAL.is_physical());
    }
}
