//! Whether some packet of a region is in none of a list of keys.
//!
//! A packet is looked for: it must differ from each key in one of its bits, so one key after the other is left by each of its bits in turn. A
//! packet is found soon where there are many; where there is none, few keys take all.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use crate::compile::ir::{Key, KeyField};
use crate::openflow::Masked;

/// So many steps are worth it; then there may be one.
const PATIENCE: usize = 20_000;

/// Whether some packet may be left; never wrongly no.
pub(super) fn may_leave(region: &Key, keys: &[&Key]) -> bool {
    Search { steps: PATIENCE }.leaves(region, keys)
}

struct Search {
    steps: usize,
}

impl Search {
    fn leaves(&mut self, region: &Key, keys: &[&Key]) -> bool {
        if self.steps == 0 {
            return true;
        }
        self.steps -= 1;
        let near: Vec<&Key> = keys.iter().copied().filter(|key| key.overlaps(region)).collect();
        // The one with the fewest bits to differ in has the fewest ways out.
        let Some(closest) = near.iter().min_by_key(|key| open_bits(region, key)) else {
            return true;
        };
        let mut inside = region.clone();
        for (field, bit) in bits(region, closest) {
            let asked = closest.get(field).map_or(0, |asked| asked.value & bit);
            let outside = with_bit(&inside, field, bit, asked ^ bit);
            if self.leaves(&outside, &near) {
                return true;
            }
            inside = with_bit(&inside, field, bit, asked);
        }
        false
    }
}

/// Keys, to find out whether one of them takes all of another. Few ask for different bits, so a look at each list of bits is enough.
#[derive(Default)]
pub(super) struct Keys(BTreeMap<Vec<(KeyField, u128)>, FxHashSet<Vec<u128>>>);

impl Keys {
    pub(super) fn add(&mut self, key: &Key) {
        let bits = key.fields().map(|(field, asked)| ((field, asked.mask), asked.value));
        let (shape, values): (Vec<_>, Vec<_>) = bits.unzip();
        self.0.entry(shape).or_default().insert(values);
    }

    /// Whether one of the keys takes all packets of this one.
    pub(super) fn cover(&self, key: &Key) -> bool {
        self.0.iter().any(|(shape, values)| {
            let known = shape.iter().map(|(field, mask)| {
                let asked = key.get(*field).filter(|asked| asked.mask & mask == *mask)?;
                Some(asked.value & mask)
            });
            let known: Option<Vec<u128>> = known.collect();
            known.is_some_and(|known| values.contains(&known))
        })
    }
}

/// How many bits of a key the region leaves open.
fn open_bits(region: &Key, key: &Key) -> u32 {
    key.fields().map(|(field, asked)| (asked.mask & !known(region, field)).count_ones()).sum()
}

fn known(region: &Key, field: KeyField) -> u128 {
    region.get(field).map_or(0, |known| known.mask)
}

/// Each bit of a key that the region leaves open.
fn bits(region: &Key, key: &Key) -> Vec<(KeyField, u128)> {
    let fields = key.fields().map(|(field, asked)| (field, asked.mask & !known(region, field)));
    fields
        .flat_map(|(field, open)| {
            let each = (0..u128::BITS).map(|at| 1 << at).filter(move |bit| open & bit != 0);
            each.map(move |bit| (field, bit))
        })
        .collect()
}

fn with_bit(region: &Key, field: KeyField, bit: u128, value: u128) -> Key {
    let known = region.get(field).unwrap_or(Masked { value: 0, mask: 0 });
    let masked = Masked { value: known.value & !bit | value, mask: known.mask | bit };
    region.clone().with_masked(field, masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(value: u128, mask: u128) -> Key {
        Key::any().with_masked(KeyField::DstPort, Masked::new(value, mask))
    }

    #[test]
    fn what_no_key_takes_is_found() {
        let tcp = Key::any().with(KeyField::IpProto, 6);
        assert!(may_leave(&tcp, &[]));
        assert!(may_leave(&tcp, &[&port(80, 0xffff)]));
        assert!(!may_leave(&tcp, &[&Key::any()]));
        assert!(!may_leave(&tcp, &[&tcp]));
    }

    #[test]
    fn keys_take_together_what_none_takes_alone() {
        let halves = [port(0, 0x8000), port(0x8000, 0xc000), port(0xc000, 0xc000)];
        assert!(!may_leave(&Key::any(), &halves.each_ref()));
        assert!(may_leave(&Key::any(), &halves[..2].iter().collect::<Vec<_>>()));
    }

    #[test]
    fn a_key_that_takes_all_of_another_is_found() {
        let mut keys = Keys::default();
        let tcp = Key::any().with(KeyField::IpProto, 6);
        keys.add(&tcp.clone().with_masked(KeyField::DstPort, Masked::new(80, 0xfff0)));
        assert!(keys.cover(&tcp.clone().with(KeyField::DstPort, 81)));
        assert!(!keys.cover(&tcp.clone().with(KeyField::DstPort, 96)));
        assert!(!keys.cover(&tcp));
        keys.add(&Key::any());
        assert!(keys.cover(&tcp));
    }

    #[test]
    fn a_key_elsewhere_takes_nothing() {
        let udp = Key::any().with(KeyField::IpProto, 17);
        assert!(may_leave(&Key::any().with(KeyField::IpProto, 6), &[&udp]));
    }
}
