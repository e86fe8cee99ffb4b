//! Flower compares all options that a packet carries, OVS each by itself. A packet with an option more gets past a filter
//! that asks for one, though its rule takes it, so a filter behind that asks for none acts on packets with one option only. Where
//! packets get to only by filters that ask for an option, they have that one alone.
//!
//! ```text
//! #0 enc_option=0x1 -> drop             #0 enc_option=0x1 -> drop
//! #1 any -> output:2                    #1 one_option=1 -> output:2
//!                                       #1 any -> pass: OVS reads each option of a tunnel by itself, ...
//! ```

use std::collections::BTreeSet;

use super::super::overlap::Index;
use crate::compile::ir::{Effect, FlowerChain, FlowerEntry, Key, KeyField};
use crate::compile::verdict::Reason;

/// In the chains that packets with any options get to; these are the first ones.
pub(super) fn guard(chains: &mut [FlowerChain], first: usize) {
    let (mut seen, mut todo) = (BTreeSet::new(), Vec::from_iter(0..first));
    while let Some(at) = todo.pop() {
        let Some(chain) = chains.get_mut(at).filter(|_| seen.insert(at)) else { continue };
        chain.entries = guarded(std::mem::take(&mut chain.entries));
        todo.extend(chain.entries.iter().filter_map(with_any_options));
    }
}

/// Where packets with any options go on.
fn with_any_options(entry: &FlowerEntry) -> Option<usize> {
    match entry.effect {
        Effect::Goto { chain, .. } if !asks_option(&entry.key) => Some(chain),
        _ => None,
    }
}

/// What of these entries, in their order, may act.
fn guarded(entries: Vec<FlowerEntry>) -> Vec<FlowerEntry> {
    let mut asked = Index::default();
    let mut guarded = Vec::with_capacity(entries.len());
    for mut entry in entries {
        if asks_option(&entry.key) {
            asked.add(&entry.key.clone().without(KeyField::EncOption), 0);
        } else if !entry.is_guard() && asked.greatest(&entry.key).is_some() {
            guarded.push(with_one_option(&entry));
            entry.effect = Effect::Pass(Reason::OtherOptions);
        }
        guarded.push(entry);
    }
    guarded
}

fn asks_option(key: &Key) -> bool {
    [KeyField::EncOption, KeyField::OneOption].iter().any(|field| key.get(*field).is_some())
}

fn with_one_option(entry: &FlowerEntry) -> FlowerEntry {
    let key = entry.key.clone().with(KeyField::OneOption, 1);
    FlowerEntry { key, ..entry.clone() }
}
