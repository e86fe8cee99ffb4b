//! Bits of several places, in order. They are few, and merged far more often than looked for.

use std::cmp::Ordering;

/// Which bits of each place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Masks<K>(Vec<(K, u128)>);

impl<K> Default for Masks<K> {
    fn default() -> Masks<K> {
        Masks(Vec::new())
    }
}

impl<K: Copy + Ord> Masks<K> {
    /// Adds bits of a place.
    pub(super) fn add(&mut self, key: K, mask: u128) {
        if mask == 0 {
            return;
        }
        match self.position(key) {
            Ok(at) => self.0[at].1 |= mask,
            Err(at) => self.0.insert(at, (key, mask)),
        }
    }

    /// Adds the bits of others.
    pub(super) fn merge(&mut self, others: &Masks<K>) {
        let (mut here, mut at) = (0, 0);
        while let Some((key, mask)) = others.0.get(at) {
            let order = self.0.get(here).map_or(Ordering::Greater, |(ours, _)| ours.cmp(key));
            match order {
                Ordering::Less => here += 1,
                Ordering::Equal => {
                    self.0[here].1 |= mask;
                    (here, at) = (here + 1, at + 1);
                }
                // The first that is new here: from it on both are put together again.
                Ordering::Greater => {
                    let ours = self.0.split_off(here);
                    self.0.reserve(ours.len() + others.0.len() - at);
                    self.zip(&ours, &others.0[at..]);
                    return;
                }
            }
        }
    }

    /// Appends two ordered lists as one.
    fn zip(&mut self, mut ours: &[(K, u128)], mut others: &[(K, u128)]) {
        while let ([(key, mask), our_rest @ ..], [(other, more), other_rest @ ..]) = (ours, others)
        {
            match key.cmp(other) {
                Ordering::Less => {
                    self.0.push((*key, *mask));
                    ours = our_rest;
                }
                Ordering::Greater => {
                    self.0.push((*other, *more));
                    others = other_rest;
                }
                Ordering::Equal => {
                    self.0.push((*key, mask | more));
                    (ours, others) = (our_rest, other_rest);
                }
            }
        }
        self.0.extend_from_slice(ours);
        self.0.extend_from_slice(others);
    }

    /// Takes bits of a place out, and says which there were.
    pub(super) fn cut(&mut self, key: K, mask: u128) -> u128 {
        let Ok(at) = self.position(key) else { return 0 };
        let gone = self.0[at].1 & mask;
        self.0[at].1 &= !mask;
        if self.0[at].1 == 0 {
            self.0.remove(at);
        }
        gone
    }

    /// The bits of a place.
    pub(super) fn get(&self, key: K) -> u128 {
        self.position(key).map_or(0, |at| self.0[at].1)
    }

    /// Only some of the places.
    pub(super) fn retain(&mut self, mut kept: impl FnMut(K) -> bool) {
        self.0.retain(|(key, _)| kept(*key));
    }

    /// The same places, all bits of each.
    pub(super) fn widened(&self) -> Masks<K> {
        Masks(self.0.iter().map(|(key, _)| (*key, u128::MAX)).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, u128)> {
        self.0.iter().copied()
    }

    fn position(&self, key: K) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(known, _)| *known)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn masks(of: &[(u8, u128)]) -> Masks<u8> {
        let mut masks = Masks::default();
        of.iter().for_each(|(key, mask)| masks.add(*key, *mask));
        masks
    }

    fn map(of: &[(u8, u128)]) -> BTreeMap<u8, u128> {
        let mut map = BTreeMap::new();
        of.iter().for_each(|(key, mask)| *map.entry(*key).or_default() |= mask);
        map
    }

    fn some() -> impl Strategy<Value = Vec<(u8, u128)>> {
        proptest::collection::vec((0..6_u8, 1..16_u128), 0..8)
    }

    proptest! {
        #[test]
        fn merged_they_have_the_bits_of_both(a in some(), b in some()) {
            let mut merged = masks(&a);
            merged.merge(&masks(&b));
            let both = map(&[a, b].concat());
            prop_assert_eq!(merged.iter().collect::<BTreeMap<_, _>>(), both.clone());
            prop_assert!(merged.iter().map(|(key, _)| key).eq(both.into_keys()));
        }

        #[test]
        fn what_was_cut_is_gone(a in some(), key in 0..6_u8, mask in 0..16_u128) {
            let mut left = masks(&a);
            let before = left.get(key);
            prop_assert_eq!(left.cut(key, mask), before & mask);
            prop_assert_eq!(left.get(key), before & !mask);
            prop_assert!(left.iter().all(|(_, mask)| mask != 0));
        }
    }
}
