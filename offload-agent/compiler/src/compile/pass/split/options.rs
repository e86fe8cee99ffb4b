//! Flower compares all options that a packet carries, OVS each by itself. A packet with an option more gets past a filter
//! that asks for one, though its rule takes it, so no filter behind that asks for none may act on it.
//!
//! ```text
//! #0 enc_option=0x1 -> drop             #0 enc_option=0x1 -> drop
//! #1 any -> output:2                    #1 any -> pass: OVS reads each option of a tunnel by itself, ...
//! ```

use crate::compile::ir::{Effect, FlowerEntry, Key, KeyField};
use crate::compile::verdict::Reason;

/// What of these entries, in their order, may act.
pub(super) fn guarded(entries: &mut [FlowerEntry]) {
    let mut asked: Vec<Key> = Vec::new();
    for entry in entries {
        if entry.key.get(KeyField::EncOption).is_some() {
            asked.push(entry.key.clone().without(KeyField::EncOption));
        } else if !entry.is_guard() && asked.iter().any(|key| key.overlaps(&entry.key)) {
            entry.effect = Effect::Pass(Reason::OtherOptions);
        }
    }
}
