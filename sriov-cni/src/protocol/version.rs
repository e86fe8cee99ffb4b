//! Versions of the CNI specification. What the plugin does is the same in all of them; what is written differs.

use std::fmt;
use std::str::FromStr;

/// A version of the CNI specification, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Lists of interfaces came with it.
    V0_3_1,
    /// CHECK came with it.
    V0_4_0,
    /// Addresses no longer say their family.
    V1_0_0,
    /// GC, STATUS, MTUs and PCI addresses came with it.
    V1_1_0,
}

/// The text is none of the versions that are spoken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cniVersion {0:?} is not spoken here; use one of 0.3.1, 0.4.0, 1.0.0, 1.1.0")]
pub struct UnknownVersion(pub String);

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest.
    pub const LATEST: Self = Self::V1_1_0;
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        })
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |version: &Self| version.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}
