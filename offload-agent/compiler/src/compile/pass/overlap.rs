//! Finds the keys that a key overlaps, or that cover it, without comparing it with each.
//!
//! Keys that ask for the same bits form a shape. Two keys overlap exactly when they agree in the bits both ask for, so for
//! each pair of shapes there is a table by the values of those bits. There are few shapes and many keys, so asking for all keys
//! takes time in proportion to their number.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::compile::ir::{Key, KeyField};

/// The bits a key asks for.
type Bits = [(KeyField, u128)];

/// Keys, each with a number.
#[derive(Default)]
pub(super) struct Index {
    by_bits: FxHashMap<Rc<Bits>, usize>,
    shapes: Vec<Shape>,
    /// For a key of the first shape, which table of the second has the keys that it overlaps.
    pairs: FxHashMap<(usize, usize), usize>,
    scratch: Scratch,
}

/// The keys that ask for the same bits.
struct Shape {
    bits: Rc<Bits>,
    /// The values of each key, one after the other, and its number.
    keys: Vec<u128>,
    numbers: Vec<usize>,
    tables: Vec<Table>,
}

/// The keys of one shape by the values of some of its bits.
struct Table {
    bits: Rc<Bits>,
    /// Of the keys with these values, the greatest number.
    greatest: FxHashMap<Box<[u128]>, usize>,
}

/// Room that is used again and again.
#[derive(Default)]
struct Scratch {
    bits: Vec<(KeyField, u128)>,
    values: Vec<u128>,
}

impl Index {
    /// The greatest number of a key that this one overlaps.
    pub(super) fn greatest(&mut self, key: &Key) -> Option<usize> {
        self.found(key, |_, _| true).max()
    }

    /// The least number of a key that covers this one. Where two keys are equal, that of the greater number counts.
    pub(super) fn over(&mut self, key: &Key) -> Option<usize> {
        self.found(key, |table, shape| {
            table.bits.len() == shape.bits.len() && *table.bits == *shape.bits
        })
        .min()
    }

    /// Adds a key.
    pub(super) fn add(&mut self, key: &Key, number: usize) {
        let id = self.shape(key);
        self.shapes[id].add(key, number, &mut self.scratch.values);
    }

    /// The numbers in those tables that the keys overlapping this one are in.
    fn found(
        &mut self,
        key: &Key,
        of_use: impl Fn(&Table, &Shape) -> bool,
    ) -> impl Iterator<Item = usize> {
        let own = self.shape(key);
        let shapes = 0..self.shapes.len();
        shapes.filter_map(move |other| {
            let table = self.table(own, other)?;
            let shape = &self.shapes[other];
            let table = &shape.tables[table];
            if !of_use(table, shape) {
                return None;
            }
            values(key, &table.bits, &mut self.scratch.values);
            table.greatest.get(self.scratch.values.as_slice()).copied()
        })
    }

    /// The shape of a key.
    fn shape(&mut self, key: &Key) -> usize {
        let bits = &mut self.scratch.bits;
        bits.clear();
        bits.extend(key.fields().map(|(field, masked)| (field, masked.mask)));
        if let Some(id) = self.by_bits.get(bits.as_slice()) {
            return *id;
        }
        let bits: Rc<Bits> = bits.as_slice().into();
        self.by_bits.insert(bits.clone(), self.shapes.len());
        let (keys, numbers, tables) = (Vec::new(), Vec::new(), Vec::new());
        self.shapes.push(Shape { bits, keys, numbers, tables });
        self.shapes.len() - 1
    }

    /// The table of another shape by the bits that both ask for; `None` while that has no keys.
    fn table(&mut self, own: usize, other: usize) -> Option<usize> {
        if self.shapes[other].numbers.is_empty() {
            return None;
        }
        if let Some(table) = self.pairs.get(&(own, other)) {
            return Some(*table);
        }
        let bits = common(&self.shapes[own].bits, &self.shapes[other].bits);
        let table = self.shapes[other].by(&bits);
        self.pairs.insert((own, other), table);
        Some(table)
    }
}

impl Shape {
    /// The table by these bits, made from the keys so far if there is none yet.
    fn by(&mut self, bits: &Bits) -> usize {
        if let Some(known) = self.tables.iter().position(|table| *table.bits == *bits) {
            return known;
        }
        let mut table = Table { bits: bits.into(), greatest: FxHashMap::default() };
        let places: Vec<(usize, u128)> = bits
            .iter()
            .filter_map(|(field, mask)| {
                let at = self.bits.iter().position(|(own, _)| own == field)?;
                Some((at, *mask))
            })
            .collect();
        for (at, number) in self.numbers.iter().enumerate() {
            let key = &self.keys[at * self.bits.len()..];
            let values: Vec<u128> = places.iter().map(|(at, mask)| key[*at] & mask).collect();
            table.note(&values, *number);
        }
        self.tables.push(table);
        self.tables.len() - 1
    }

    fn add(&mut self, key: &Key, number: usize, scratch: &mut Vec<u128>) {
        for table in &mut self.tables {
            values(key, &table.bits, scratch);
            table.note(scratch, number);
        }
        self.keys.extend(key.fields().map(|(_, masked)| masked.value));
        self.numbers.push(number);
    }
}

impl Table {
    fn note(&mut self, values: &[u128], number: usize) {
        match self.greatest.get_mut(values) {
            Some(greatest) => *greatest = number.max(*greatest),
            None => drop(self.greatest.insert(values.into(), number)),
        }
    }
}

fn common(a: &Bits, b: &Bits) -> Vec<(KeyField, u128)> {
    let theirs = |field: KeyField| b.iter().find(|(other, _)| *other == field);
    let both = a.iter().filter_map(|(field, mask)| Some((*field, mask & theirs(*field)?.1)));
    both.filter(|(_, mask)| *mask != 0).collect()
}

/// What a key asks these bits to be. Both are sorted by field.
fn values(key: &Key, bits: &Bits, values: &mut Vec<u128>) {
    values.clear();
    let mut fields = key.fields();
    values.extend(bits.iter().map(|(field, mask)| {
        let asked = fields.find(|(own, _)| own == field);
        asked.map_or(0, |(_, masked)| masked.value & mask)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openflow::Masked;

    fn host(last: u128) -> Key {
        Key::any().with(KeyField::Ipv4Dst, 0x0a00_0000 + last)
    }

    fn net() -> Key {
        Key::any().with_masked(KeyField::Ipv4Dst, Masked::new(0x0a00_0000, 0xff00_0000))
    }

    #[test]
    fn what_overlaps_is_found_whatever_came_first() {
        let mut index = Index::default();
        index.add(&host(1), 1);
        assert_eq!(index.greatest(&host(2)), None);
        assert_eq!(index.greatest(&net()), Some(1));
        index.add(&net(), 2);
        assert_eq!(index.greatest(&host(3)), Some(2));
        assert_eq!(index.greatest(&Key::any().with(KeyField::IpProto, 6)), Some(2));
    }

    #[test]
    fn what_covers_is_found_and_what_only_overlaps_is_not() {
        let mut index = Index::default();
        index.add(&host(1), 1);
        index.add(&Key::any().with(KeyField::IpProto, 6), 2);
        assert_eq!(index.over(&net()), None);
        assert_eq!(index.over(&host(1).with(KeyField::SrcPort, 5)), Some(1));
        index.add(&net(), 3);
        assert_eq!(index.over(&host(1).with(KeyField::IpProto, 6)), Some(1));
        assert_eq!(index.over(&host(2)), Some(3));
        assert_eq!(index.over(&host(2).with(KeyField::IpProto, 6)), Some(2));
    }
}
