//! Finds the keys that a key overlaps, without comparing it with each.
//!
//! Keys that ask for the same bits form a shape. Two keys overlap exactly when they agree in the bits both ask for, so for
//! each pair of shapes there is a table by the values of those bits. There are few shapes and many keys, so placing all keys
//! takes time in proportion to their number.

use std::collections::BTreeMap;

use crate::compile::ir::{Key, KeyField};

/// The bits a key asks for.
type Shape = Vec<(KeyField, u128)>;

/// How deep each key lies: one below the deepest of the earlier keys it overlaps.
#[derive(Default)]
pub(super) struct Depths {
    shapes: BTreeMap<Shape, Members>,
}

/// The keys of one shape: by the values of some of their bits, how deep the deepest lies.
#[derive(Default)]
struct Members {
    keys: Vec<(Key, usize)>,
    by_bits: BTreeMap<Shape, BTreeMap<Vec<u128>, usize>>,
}

impl Depths {
    /// Places one more key, behind all earlier ones.
    pub(super) fn place(&mut self, key: &Key) -> usize {
        let shape = shape(key);
        let mut depth = 0;
        for (other, members) in &mut self.shapes {
            let common = common(&shape, other);
            let values = values(key, &common);
            let above = members.by(common).get(&values);
            depth = depth.max(above.map_or(0, |above| above + 1));
        }
        self.shapes.entry(shape).or_default().add(key, depth);
        depth
    }
}

impl Members {
    /// The table by these bits, made from the keys so far if there is none yet.
    fn by(&mut self, bits: Shape) -> &BTreeMap<Vec<u128>, usize> {
        let keys = &self.keys;
        self.by_bits.entry(bits).or_insert_with_key(|bits| {
            let mut table = BTreeMap::new();
            for (key, depth) in keys {
                note(&mut table, values(key, bits), *depth);
            }
            table
        })
    }

    fn add(&mut self, key: &Key, depth: usize) {
        for (bits, table) in &mut self.by_bits {
            note(table, values(key, bits), depth);
        }
        self.keys.push((key.clone(), depth));
    }
}

fn note(table: &mut BTreeMap<Vec<u128>, usize>, values: Vec<u128>, depth: usize) {
    let deepest = table.entry(values).or_insert(depth);
    *deepest = depth.max(*deepest);
}

fn shape(key: &Key) -> Shape {
    key.fields().map(|(field, masked)| (field, masked.mask)).collect()
}

fn common(a: &Shape, b: &Shape) -> Shape {
    let theirs = |field: KeyField| b.iter().find(|(other, _)| *other == field);
    let both = a.iter().filter_map(|(field, mask)| Some((*field, mask & theirs(*field)?.1)));
    both.filter(|(_, mask)| *mask != 0).collect()
}

fn values(key: &Key, bits: &Shape) -> Vec<u128> {
    let value = |(field, mask): &(KeyField, u128)| key.get(*field).map_or(0, |m| m.value & mask);
    bits.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openflow::Masked;

    #[test]
    fn only_what_overlaps_lies_deeper() {
        let host = |last: u128| Key::any().with(KeyField::Ipv4Dst, 0x0a00_0000 + last);
        let net = Key::any().with_masked(KeyField::Ipv4Dst, Masked::new(0x0a00_0000, 0xff00_0000));
        let mut depths = Depths::default();
        let order = [host(1), host(2), net.clone(), host(3), Key::any().with(KeyField::IpProto, 6)];
        let placed: Vec<usize> = order.iter().map(|key| depths.place(key)).collect();
        assert_eq!(placed, [0, 0, 1, 2, 3]);
    }
}
