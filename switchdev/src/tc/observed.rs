//! What a dump finds.

use std::time::Duration;

use tc_filter::{Cookie, Filter, FilterId, InHw};

/// Everything that hangs on one attach point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dump {
    /// Filters we understand, in the order of chain, prio and handle; ours are those for which
    /// [`Observed::is_ours`] holds.
    pub filters: Vec<Observed>,
    /// What else is there.
    pub undecoded: Vec<Undecoded>,
}

/// One filter and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The filter, in normal form.
    pub filter: Filter,
    /// Whether a card runs it.
    pub in_hw: InHw,
    /// How many cards run it; on a shared block, as many as took it.
    pub in_hw_count: u32,
    /// What the kernel itself handled.
    pub software: Counters,
    /// What cards handled.
    pub hardware: Counters,
    /// How long ago a packet last hit it; `None` where none ever did.
    pub last_used: Option<Duration>,
}

/// Packets and bytes. The bytes are those of the frame without its Ethernet header where software
/// counted them at ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Something on the attach point that is not a filter of the kind we make. It is reported, never
/// left out: it takes packets too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecoded {
    /// Its place, as far as it could be read.
    pub id: Option<FilterId>,
    /// Its classifier: `flower`, `matchall`, `u32`.
    pub kind: String,
    /// What about it is not understood.
    pub why: String,
}

impl Observed {
    /// Whether it carries our mark.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.filter.cookie.as_ref().is_some_and(Cookie::is_ours)
    }
}
