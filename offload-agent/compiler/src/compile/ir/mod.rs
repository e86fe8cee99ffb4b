//! The forms a ruleset takes on its way to filters. Data only; `interp` says what they mean.
//!
//! | form | whose view | made by |
//! | --- | --- | --- |
//! | [`Program`] | OpenFlow's: for each port what OVS parses, tables and registers gone | `unfold` |
//! | [`FlowerProgram`] | flower's: the same chains, what TC's dissector parses | `split` … `assign_prios` |
//!
//! Both print as text, one line an entry, which is what the file tests compare.

mod filling;
mod flower;
mod key;
mod program;
mod rule;

pub use filling::{Filling, HeaderBits, OpenBits};
pub use flower::{
    Effect, FlowerChain, FlowerEntry, FlowerProgram, Op, PortChains, Table, Unguarded, Use,
    protocol,
};
pub use key::{Key, KeyField, LLC, RAW_802_3, TAG_TYPES, UNTAGGED};
pub use program::{
    Arrival, Bound, Chain, CtAsked, CtStep, Does, Encap, Entry, Ingress, OnUntagged, PortRef,
    Program, Settled, Step, Trail, TunnelOptionKey, both, covers, overlaps,
};
pub use rule::{RuleId, Rules, fingerprint, fnv1a};
