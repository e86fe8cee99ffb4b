//! The forms a ruleset takes on its way to filters. Data only; `interp` says what they mean.
//!
//! | form | whose view | made by |
//! | --- | --- | --- |
//! | [`Program`] | OpenFlow's: priorities, `in_port`, what OVS parses | `resolve` … `simplify` |
//! | [`FlowerProgram`] | flower's: an ordered list a port, what TC's dissector parses | `split` … `assign_prios` |
//!
//! Both print as text, one line an entry, which is what the file tests compare.

mod flower;
mod key;
mod program;
mod rule;

pub use flower::{Effect, FlowerEntry, FlowerProgram, Op, Place, protocol};
pub use key::{Key, KeyField, LLC, RAW_802_3, UNTAGGED};
pub use program::{Does, Entry, Ingress, OnUntagged, Program, Settled, Step, covers, overlaps};
pub use rule::{RuleId, Rules, fingerprint, fnv1a};
