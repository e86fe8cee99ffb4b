//! One TC flower filter, and what names it.

use std::fmt;
use std::sync::Arc;

use crate::{Action, Attach, ChainId, Cookie, EtherType, FlowerMatch, Handle, Prio};

/// What names a filter in the kernel. Within one attach point the order of chain, prio and handle
/// is the order in which a dump lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId {
    /// Where it hangs.
    pub attach: Attach,
    /// The chain it stands in.
    pub chain: ChainId,
    /// Its place in the chain: lower is tried first. All filters of one prio have one protocol.
    pub prio: Prio,
    /// Its name within the prio.
    pub handle: Handle,
}

/// As `tc` takes it, with devices by number.
impl fmt::Display for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attach, chain, prio, handle } = self;
        write!(f, "{attach} chain {chain} prio {prio} handle {:#x}", handle.get())
    }
}

/// One flower filter: which packets it takes, and what happens to them.
///
/// A filter that is read from the kernel equals the one that was written if both are in normal
/// form, see [`Filter::normalized`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// Where it hangs.
    pub attach: Attach,
    /// The chain it stands in.
    pub chain: ChainId,
    /// Its place in the chain.
    pub prio: Prio,
    /// Its name within the prio.
    pub handle: Handle,
    /// The outermost EtherType it takes, or [`EtherType::ALL`].
    pub protocol: EtherType,
    /// Which packets it takes. Filters of many ports may share it.
    pub key: Arc<FlowerMatch>,
    /// What happens to them, in this order.
    pub actions: Arc<[Action]>,
    /// Where it may run.
    pub hw: HwPolicy,
    /// Our mark, kept by the kernel with each action. A filter without an action cannot carry one.
    pub cookie: Option<Cookie>,
}

/// Where a filter may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HwPolicy {
    /// In the kernel, and in the card if its driver takes it.
    #[default]
    Both,
    /// In the card only: the kernel refuses the filter if the driver does.
    SkipSw,
    /// In the kernel only: the driver is not asked.
    SkipHw,
}

/// Whether a card runs a filter, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InHw {
    /// At least one driver took it.
    Yes,
    /// No driver took it.
    No,
}

impl Filter {
    /// The most actions one filter has (`TCA_ACT_MAX_PRIO`).
    pub const MAX_ACTIONS: usize = 32;

    /// What names it in the kernel.
    #[must_use]
    pub fn id(&self) -> FilterId {
        FilterId { attach: self.attach, chain: self.chain, prio: self.prio, handle: self.handle }
    }

    /// The same filter as the kernel would give it back: keys that match everything are left out,
    /// ranges of one port are a port, a burst is what the kernel's clock can express.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.key = Arc::new(Arc::unwrap_or_clone(self.key).normalized());
        self.actions = self.actions.iter().cloned().map(Action::normalized).collect();
        if self.actions.is_empty() {
            self.cookie = None;
        }
        self
    }
}
