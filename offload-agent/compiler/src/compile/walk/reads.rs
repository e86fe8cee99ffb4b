//! Which bits of a state something depends on: what makes two states one for what follows.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::masks::Masks;
use super::state::{Slot, State, is_ct, is_translated, narrow};
use super::value::Bits;
use crate::openflow::{Field, Masked, Match, Subfield, low_bits};

/// Bits of places of the state, and of what is known about the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::compile) struct Reads {
    slots: Masks<Slot>,
    told: Masks<Field>,
}

/// What a state holds in those bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Excerpt {
    slots: Vec<Bits>,
    told: Vec<Masked>,
}

impl Reads {
    pub(super) fn slot(&mut self, slot: Slot, mask: u128) {
        self.slots.add(slot, mask);
    }

    pub(super) fn field(&mut self, field: Field, mask: u128) {
        self.slot(Slot::Field(field), mask);
    }

    /// What is known of the packet's own bits.
    pub(super) fn told(&mut self, field: Field, mask: u128) {
        self.told.add(field, mask);
    }

    /// A test of a field: the place, and what is known of the bits of the packet it stands for.
    pub(super) fn test(&mut self, state: &State, field: Field, mask: u128) {
        self.test_at(state, Slot::Field(field), mask);
    }

    /// The same of any place.
    pub(super) fn test_at(&mut self, state: &State, slot: Slot, mask: u128) {
        self.slot(slot, mask);
        state.peek(slot, |bits| bits.sources(mask, |source, there| self.told(source, there)));
    }

    pub(super) fn part(&mut self, part: Subfield) {
        narrow(part).into_iter().for_each(|part| self.field(part.field, part.mask()));
    }

    pub(super) fn merge(&mut self, other: &Reads) {
        self.slots.merge(&other.slots);
        self.told.merge(&other.told);
    }

    /// The same without some bits.
    pub(in crate::compile) fn without(&self, other: &Reads) -> Reads {
        let mut rest = self.clone();
        for (slot, mask) in other.slots.iter() {
            rest.slots.cut(slot, mask);
        }
        rest
    }

    /// The places that something depends on, with the bits.
    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, u128)> {
        self.slots.iter()
    }

    /// Whether something depends on what is known of a field of the packet.
    pub(super) fn asks(&self, field: Field) -> bool {
        self.told.get(field) != 0
    }

    /// Whether a place has a bit that something depends on.
    pub(super) fn needs(&self, slot: Slot, mask: u128) -> bool {
        self.slots.get(slot) & mask != 0
    }

    /// Before a constant was written, nothing depended on what stood there.
    pub(super) fn before_load(&mut self, field: Field, mask: u128) {
        self.slots.cut(Slot::Field(field), mask);
    }

    /// Before a copy, what depended on the copy depended on the original.
    pub(super) fn before_move(&mut self, from: Subfield, to: Subfield) {
        let needed = self.take(to);
        self.add(from, needed);
    }

    pub(super) fn before_push(&mut self, from: Subfield, depth: u8) {
        let needed = self.slots.cut(Slot::Stack(depth), u128::MAX);
        self.add(from, needed);
    }

    pub(super) fn before_pop(&mut self, to: Subfield, depth: u8) {
        let needed = self.take(to);
        self.slot(Slot::Stack(depth), needed);
    }

    /// Before a tag that is there now was here.
    pub(super) fn before_tag(&mut self, there: Slot, here: Slot) {
        let needed = self.slots.cut(there, u128::MAX);
        self.slots.cut(here, u128::MAX);
        self.slot(here, needed);
    }

    /// Takes out the bits of a part; they are returned right-justified.
    fn take(&mut self, part: Subfield) -> u128 {
        let (mut taken, mut at) = (0, 0);
        for part in narrow(part) {
            taken |= self.slots.cut(Slot::Field(part.field), part.mask()) >> part.offset << at;
            at += part.n_bits;
        }
        taken
    }

    fn add(&mut self, part: Subfield, bits: u128) {
        let mut at = 0;
        for part in narrow(part) {
            self.field(part.field, (bits >> at & low_bits(part.n_bits)) << part.offset);
            at += part.n_bits;
        }
    }

    /// Before the match, what it tells was not known.
    pub(super) fn before_match(&mut self, takes: &Match) {
        for field in takes.fields() {
            self.told.cut(field.field, field.masked.mask);
        }
    }

    /// Before connection tracking, its fields and those it may change were others.
    pub(super) fn before_tracking(&mut self, translated: bool) {
        let changed = |field: Field| is_ct(field) || translated && is_translated(field);
        self.slots.retain(|slot| !matches!(slot, Slot::Field(field) if changed(field)));
        self.told.retain(|field| !changed(field));
    }

    /// Before the packet came to this bridge, the pipeline's fields were those of another.
    pub(super) fn before_crossing(&mut self, kept: impl Fn(Field) -> bool) {
        self.slots.retain(|slot| match slot {
            Slot::Field(field) => kept(field),
            Slot::Stack(_) => false,
            Slot::InnerTag => true,
        });
    }

    /// The same with whole fields of the packet: fewer different sets of bits are quicker to look through.
    pub(super) fn widened(&self) -> Reads {
        Reads { slots: self.slots.clone(), told: self.told.widened() }
    }

    /// The places, with what a state holds there in these bits, what is known of the packet put in.
    pub(in crate::compile) fn settled(
        &self,
        state: &State,
    ) -> impl Iterator<Item = (Slot, u128, Bits)> {
        let slots = self.slots.iter();
        slots.map(|(slot, mask)| (slot, mask, state.settled(slot).masked(mask)))
    }

    /// Tells what states hold in these bits apart, mostly.
    pub(super) fn fingerprint(&self, state: &State) -> u64 {
        let mut hasher = FxHasher::default();
        for (slot, mask) in self.slots.iter() {
            state.peek(slot, |bits| bits.hash_masked(mask, &mut hasher));
        }
        self.told.iter().for_each(|told| told_of(told, state).hash(&mut hasher));
        hasher.finish()
    }

    /// What a state holds in these bits.
    pub(in crate::compile) fn of(&self, state: &State) -> Excerpt {
        let slots = self.slots.iter().map(|(slot, mask)| state.get(slot).masked(mask)).collect();
        let told = self.told.iter().map(|told| told_of(told, state));
        Excerpt { slots, told: told.collect() }
    }
}

/// What is known of some bits of a field.
fn told_of((field, mask): (Field, u128), state: &State) -> Masked {
    let told = state.told.get(field).unwrap_or(Masked { value: 0, mask: 0 });
    Masked::new(told.value, told.mask & mask)
}
