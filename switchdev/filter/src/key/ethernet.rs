//! Ethernet addresses. The EtherType is the filter's `protocol`.

use super::said;
use crate::{Mac, Masked};

/// Ethernet addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EthKey {
    /// Destination address.
    pub dst: Option<Masked<Mac>>,
    /// Source address.
    pub src: Option<Masked<Mac>>,
}

impl EthKey {
    pub(super) fn normalized(self) -> Self {
        Self { dst: said(self.dst), src: said(self.src) }
    }
}
