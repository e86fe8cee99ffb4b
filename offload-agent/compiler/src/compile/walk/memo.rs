//! What is remembered of a place, by what is known of the packet there, as far as that counts.

use rustc_hash::FxHashMap;

use super::reads::{Excerpt, Reads};
use super::state::State;

/// Values by the bits that they depend on, and by what those are.
#[derive(Debug)]
pub(super) struct Memo<T> {
    by_reads: Vec<(Reads, ByPrint<T>)>,
}

/// Values by the fingerprint of an excerpt of the state.
type ByPrint<T> = FxHashMap<u64, Vec<(Excerpt, T)>>;

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Memo { by_reads: Vec::new() }
    }
}

impl<T> Memo<T> {
    /// What was remembered of a packet of which the same is known.
    pub(super) fn find(&self, state: &State) -> Option<&T> {
        self.by_reads.iter().find_map(|(reads, values)| {
            let alike = values.get(&reads.fingerprint(state))?;
            let excerpt = reads.of(state);
            alike.iter().find(|(known, _)| *known == excerpt).map(|(_, value)| value)
        })
    }

    /// Remembers a value that depends on these bits.
    pub(super) fn put(&mut self, reads: Reads, state: &State, value: T) {
        let (print, entry) = (reads.fingerprint(state), (reads.of(state), value));
        match self.by_reads.iter_mut().find(|(other, _)| *other == reads) {
            Some((_, values)) => values.entry(print).or_default().push(entry),
            None => self.by_reads.push((reads, FxHashMap::from_iter([(print, vec![entry])]))),
        }
    }
}
