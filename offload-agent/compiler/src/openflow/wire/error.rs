//! What can be wrong with bytes from the switch.

/// Bytes that are not the OpenFlow they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what}: {needed} bytes expected, {left} left; the switch sent a truncated message")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes it has.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// A length that cannot be.
    #[error("{what}: a length of {length} bytes cannot be right")]
    BadLength {
        /// What was being read.
        what: &'static str,
        /// What its length field says.
        length: usize,
    },
    /// A message of another OpenFlow version.
    #[error("OpenFlow version {version:#04x} where 0x06 (OpenFlow 1.5) was agreed")]
    BadVersion {
        /// The version of the message.
        version: u8,
    },
    /// A number without a meaning here.
    #[error("{what}: {value:#x} has no meaning here")]
    BadValue {
        /// What was being read.
        what: &'static str,
        /// What it said.
        value: u64,
    },
    /// Actions inside actions inside actions.
    #[error("actions are nested more than {limit} deep; OVS does not go deeper either")]
    TooDeep {
        /// The most that is read.
        limit: u8,
    },
}
