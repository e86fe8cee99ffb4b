//! ICMP and ICMPv6. Which of the two it is, the EtherType and `ip_proto` say.

use super::said;
use crate::Masked;

/// Type and code of ICMP or ICMPv6.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct IcmpKey {
    /// Type.
    pub kind: Option<Masked<u8>>,
    /// Code.
    pub code: Option<Masked<u8>>,
}

impl IcmpKey {
    pub(super) fn normalized(self) -> Self {
        Self { kind: said(self.kind), code: said(self.code) }
    }
}
