//! The rules of a table that may take a packet of which little is known.
//!
//! What a group asks of the pipeline's fields is tested once for all its rules that ask for the same, and what a shape asks of
//! the packet is looked up by what is known. The rules of all buckets and shapes are in order, and are merged.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeSet, BinaryHeap};
use std::vec;

use rustc_hash::{FxHashMap, FxHashSet};

use super::question;
use super::reads::Reads;
use super::state::{Slot, State};
use super::table::{
    Bucket, Candidate, Clauses, Conjunction, Group, Shape, Table, is_of_the_pipeline,
};
use super::value::{Bits, Test};
use crate::compile::ir::RuleId;
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match, OfPriority};

/// What is asked of a packet so far.
#[derive(Clone, Default)]
struct Asked {
    rest: Match,
    unknown: Option<Reason>,
}

/// A bucket whose rules may take the packet, as far as the pipeline's fields go.
struct Reached<'t> {
    bucket: &'t Bucket,
    asked: Asked,
}

/// Rules of one bucket, in order.
struct Run<'t> {
    asked: &'t Asked,
    rules: Rules<'t>,
}

enum Rules<'t> {
    /// They are looked at one by one.
    Each(vec::IntoIter<usize>),
    /// They are looked for when it is the first one's turn.
    All(&'t Shape),
    /// They were found by what is known of the packet; these are what their fields hold.
    Found(vec::IntoIter<usize>, Vec<Bits>),
}

/// What is known of the packet.
struct Packet<'p> {
    state: &'p State,
    overrides: &'p [(Field, u128)],
}

impl<'a> Table<'a> {
    /// The rules that may take a packet, the highest priority first, up to those of the priority that certainly does. Some may be
    /// left out.
    pub(super) fn candidates(
        &self,
        state: &State,
        overrides: &[(Field, u128)],
        left_out: Option<&FxHashSet<RuleId>>,
        reads: &mut Reads,
    ) -> Vec<Candidate<'a>> {
        let packet = Packet { state, overrides };
        let is_left_out = |at: usize| {
            left_out
                .is_some_and(|rules| self.rules.get(at).is_some_and(|(id, _)| rules.contains(id)))
        };
        let groups = self.groups.iter();
        let reached: Vec<_> = groups.flat_map(|group| packet.buckets(group, reads)).collect();
        let mut runs = self.runs(&packet, &reached);
        let heads = runs.iter().zip(0..).filter_map(|(run, number)| Some((run.head()?, number)));
        let mut heads: BinaryHeap<Reverse<(usize, usize)>> = heads.map(Reverse).collect();
        let mut found = Vec::new();
        let mut last = OfPriority(0);
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((at, number)) = *head;
            if self.rules.get(at).is_some_and(|(_, rule)| rule.priority < last) {
                break;
            }
            let run = &mut runs[number];
            let one = run.next(&packet, reads).filter(|at| !is_left_out(*at));
            match run.head() {
                Some(at) => *head = Reverse((at, number)),
                None => {
                    PeekMut::pop(head);
                }
            }
            let Some(mut one) = one.and_then(|at| self.candidate(at, run, &packet, reads)) else {
                continue;
            };
            if one.is_certain() {
                last = one.rule.priority;
            }
            one.shape = run.is_shape().then_some(number);
            found.push(one);
        }
        found
    }

    /// The rules of all buckets.
    fn runs<'t>(&self, packet: &Packet<'_>, reached: &'t [Reached<'t>]) -> Vec<Run<'t>> {
        let mut runs = Vec::new();
        let each = |places: Vec<usize>| Rules::Each(places.into_iter());
        for Reached { bucket, asked } in reached {
            let few = [each(bucket.few.clone())].into_iter();
            let rules = few.chain(bucket.many.iter().map(Rules::All));
            runs.extend(rules.map(|rules| Run { asked, rules }));
        }
        // Once the conjunction is known, its clauses count no more.
        if !packet.overrides.iter().any(|(field, _)| *field == Field::ConjId) {
            let clauses = self.clauses_of_whole(reached).into_iter();
            runs.extend(clauses.map(|(asked, places)| {
                let places: BTreeSet<usize> = places.into_iter().collect();
                Run { asked, rules: each(places.into_iter().collect()) }
            }));
        }
        runs
    }

    /// The clauses of those conjunctions that still may have a rule for each, bucket by bucket.
    fn clauses_of_whole<'t>(&self, reached: &'t [Reached<'t>]) -> Vec<(&'t Asked, Vec<usize>)> {
        type OfConjunction<'t> = (BTreeSet<u8>, Vec<(usize, &'t Clauses)>);
        let mut found: FxHashMap<Conjunction, OfConjunction<'_>> = FxHashMap::default();
        for (number, one) in reached.iter().enumerate() {
            for (of, clauses) in &one.bucket.clauses {
                let (numbers, all) = found.entry(*of).or_default();
                numbers.extend(&clauses.numbers);
                all.push((number, clauses));
            }
        }
        found.retain(|of, (numbers, _)| {
            self.conjunctions.get(of).is_some_and(|n| *n <= numbers.len())
        });
        let mut places: Vec<_> = reached.iter().map(|one| (&one.asked, Vec::new())).collect();
        for (number, clauses) in found.into_values().flat_map(|(_, all)| all) {
            places[number].1.extend(&clauses.rules);
        }
        places.retain(|(_, places)| !places.is_empty());
        places
    }

    /// A rule of a run, if it may take the packet.
    fn candidate(
        &self,
        at: usize,
        run: &Run<'_>,
        packet: &Packet<'_>,
        reads: &mut Reads,
    ) -> Option<Candidate<'a>> {
        let (id, rule) = *self.rules.get(at)?;
        let mut asked = run.asked.clone();
        if let Some(unsupported) = rule.match_.unsupported().first() {
            asked.unknown = Some(Reason::unknown_match(unsupported));
        }
        let fields = rule.match_.fields().iter().filter(|one| !is_of_the_pipeline(one.field));
        for (number, one) in fields.enumerate() {
            let test = match &run.rules {
                // What is asked of one that was found was read when it was looked for.
                Rules::Found(_, bits) => bits.get(number)?.test(one.masked),
                _ => packet.test(one.field, one.masked, reads),
            };
            if !asked.may_hold(one.field, test) {
                return None;
            }
        }
        let Asked { rest, unknown } = asked;
        Some(Candidate { id, rule, rest, unknown, shape: None })
    }
}

impl Asked {
    /// Adds what a test of a field came to; `false` if the packet is none of the rule's.
    fn may_hold(&mut self, field: Field, test: Test) -> bool {
        match test {
            Test::Never => false,
            Test::Unknown => {
                self.unknown = Some(Reason::NotKnown(field));
                true
            }
            Test::If(parts) => question::add(&mut self.rest, parts),
        }
    }
}

impl<'t> Run<'t> {
    /// Which rule is the next, or, where that has not been looked for yet, which one may be.
    fn head(&self) -> Option<usize> {
        match &self.rules {
            Rules::Each(places) | Rules::Found(places, _) => places.as_slice().first().copied(),
            Rules::All(shape) => shape.rules.first().map(|(at, _)| *at),
        }
    }

    /// Whether all its rules ask for the same bits.
    fn is_shape(&self) -> bool {
        !matches!(self.rules, Rules::Each(_))
    }

    /// Takes the next rule; `None` if it has to be looked for first, which is done.
    fn next(&mut self, packet: &Packet<'_>, reads: &mut Reads) -> Option<usize> {
        match &mut self.rules {
            Rules::Each(places) | Rules::Found(places, _) => places.next(),
            Rules::All(shape) => {
                let (places, bits) = packet.find(shape, reads);
                self.rules = Rules::Found(places.into_iter(), bits);
                None
            }
        }
    }
}

impl Packet<'_> {
    fn test(&self, field: Field, asked: Masked, reads: &mut Reads) -> Test {
        if let Some((_, value)) = self.overrides.iter().find(|(other, _)| *other == field) {
            return if asked.covers(*value) { Test::always() } else { Test::Never };
        }
        reads.test(self.state, field, asked.mask);
        self.state.test(field, asked)
    }

    /// The value of some bits of a field.
    fn value(&self, field: Field, mask: u128, reads: &mut Reads) -> Option<u128> {
        if let Some((_, value)) = self.overrides.iter().find(|(other, _)| *other == field) {
            return Some(value & mask);
        }
        reads.test(self.state, field, mask);
        self.state.peek(Slot::Field(field), |bits| bits.value(mask))
    }

    /// The buckets of a group.
    fn buckets<'t>(&self, group: &'t Group, reads: &mut Reads) -> Vec<Reached<'t>> {
        let mut values = Vec::with_capacity(group.asked.len());
        for (number, (field, mask)) in group.asked.iter().enumerate() {
            let Some(value) = self.value(*field, *mask, reads) else {
                return self.each_bucket(group, reads);
            };
            if number == 0 && !group.first.contains(&value) {
                return Vec::new();
            }
            values.push(value);
        }
        let bucket = group.by_value.get(&values);
        let asked = Asked::default();
        bucket.map(|bucket| Reached { bucket, asked }).into_iter().collect()
    }

    /// The same where some of the fields that the group asks for are not known.
    fn each_bucket<'t>(&self, group: &'t Group, reads: &mut Reads) -> Vec<Reached<'t>> {
        let buckets = group.by_value.iter().filter_map(|(values, bucket)| {
            let mut asked = Asked::default();
            let mut fields = group.asked.iter().zip(values);
            let holds = fields.all(|((field, mask), value)| {
                asked.may_hold(*field, self.test(*field, Masked::new(*value, *mask), reads))
            });
            holds.then_some(Reached { bucket, asked })
        });
        buckets.collect()
    }

    /// The rules of a shape that nothing known rules out, and what its fields hold.
    fn find(&self, shape: &Shape, reads: &mut Reads) -> (Vec<usize>, Vec<Bits>) {
        let (mut known, mut values) = (0, Vec::new());
        let mut held = Vec::with_capacity(shape.asked.len());
        for (number, ((field, mask), asked)) in shape.asked.iter().zip(&shape.values).enumerate() {
            reads.test(self.state, *field, *mask);
            let bits = self.state.settled(Slot::Field(*field));
            let value = bits.value(*mask);
            held.push(bits);
            let Some(value) = value else { continue };
            if !asked.contains(&value) {
                return (Vec::new(), held);
            }
            known |= 1 << number;
            values.push(value);
        }
        let mut by_known = shape.by_known.borrow_mut();
        let by_value = by_known.entry(known).or_insert_with(|| shape.by(known));
        (by_value.get(&values).cloned().unwrap_or_default(), held)
    }
}
