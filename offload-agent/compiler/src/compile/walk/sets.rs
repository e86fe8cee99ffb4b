//! Conjunctions of large sets: which of the sets a packet is in is asked first, by one field, and then the rest.
//!
//! Written out, a conjunction comes to as many ways as its clauses have rules, multiplied; asked one clause after the other, to
//! as many as they have together. Behind the first question all packets that are in the same sets go on as one.
//!
//! ```text
//! ip_src=A -> conjunction(7,1/2)       ip_src=A -> ask(1)          ask(1)  tcp_dst=80 -> (what conj_id=7 does)
//! ip_src=B -> conjunction(7,1/2)       ip_src=B -> ask(1)                  tcp_dst=81 -> (what conj_id=7 does)
//! tcp_dst=80 -> conjunction(7,2/2)     any      -> ask(2)                  (the lower rules)
//! tcp_dst=81 -> conjunction(7,2/2)                                 ask(2)  (the lower rules)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::conjunction::{Clauses, collect};
use super::explore::{Explorer, Lookup, Walk};
use super::graph::{Edge, End, Tail};
use super::reads::Reads;
use super::table::{Candidate, Conjunction, clauses};
use crate::openflow::{Field, Masked, Match};

/// Fewer ways than this are written out.
const WORTH_ASKING: usize = 16;
/// A card with fewer tables has none to spare for the chains that this comes to.
pub(super) const PLENTY_OF_TABLES: usize = 4096;

/// One clause of a conjunction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Clause {
    pub(super) of: Conjunction,
    pub(super) number: u8,
}

/// A field that was asked, and the clauses about it that hold, in order.
pub(super) type Held = (Field, Vec<Clause>);

/// What is known of the conjunctions that may hold, but for their dimensions.
pub(super) type Known = BTreeMap<Conjunction, Clauses>;

/// A question about one field: the sets that its values are in, the narrowest values first, and at last all others.
struct Question {
    field: Field,
    answers: Vec<(Match, Vec<Clause>)>,
}

/// All conjunctions of a table.
type All = BTreeMap<Conjunction, Clauses>;

/// The ways by the sets that the packet is in, if asking for these first comes to fewer.
pub(super) fn edges<'a>(
    explorer: &mut Explorer<'a>,
    walk: &Walk<'a>,
    at: &Lookup,
    reads: &Reads,
    found: &[Candidate<'a>],
) -> Option<Vec<Edge>> {
    let card = explorer.input.capabilities;
    if !card.has_chains() || card.max_tables < PLENTY_OF_TABLES {
        return None;
    }
    let clauses: Vec<_> = found.iter().filter(|one| one.is_clause()).collect();
    let mut all = collect(&clauses, at);
    all.retain(|_, clauses| clauses.is_whole());
    let question = question(found.len() - clauses.len(), &all)?;
    let left = Left::of(question.field, &all, found);
    all.values_mut().for_each(|clauses| clauses.dimensions.clear());
    let all = Rc::new(all);
    let edges = question.answers.into_iter().map(|(takes, held)| {
        let mut walk = walk.fork();
        walk.told(&takes);
        let mut at = Lookup { clauses: all.clone(), ..at.clone() };
        let candidates = left.behind(&held);
        at.held.push((question.field, held));
        let found = || candidates.into_iter().map(|at| found[at].clone()).collect();
        let end = explorer.ask_again(&walk, at, reads, found);
        if let End::Node(node) = end {
            explorer.graph.set_apart(node);
        }
        Edge { takes, tail: Tail { rules: Rc::default(), ops: Rc::default(), end } }
    });
    Some(edges.collect())
}

/// The question that saves most.
fn question(others: usize, all: &All) -> Option<Question> {
    let written_out = others + all.values().map(|clauses| ways(clauses, |_| None)).sum::<usize>();
    if written_out <= WORTH_ASKING {
        return None;
    }
    let dimensions = all.values().flat_map(|clauses| clauses.dimensions.values());
    let fields: BTreeSet<Field> = dimensions.filter_map(|matches| about(matches)).collect();
    let questions = fields.into_iter().map(|field| {
        let question = by_field(field, all);
        let kinds: BTreeSet<&Vec<Clause>> = question.answers.iter().map(|(_, held)| held).collect();
        let behind = kinds.into_iter().map(|held| others + ways_behind(field, held, all));
        (question.answers.len() + behind.sum::<usize>(), question)
    });
    let (cost, question) = questions.min_by_key(|(cost, _)| *cost)?;
    (cost.saturating_mul(2) < written_out).then_some(question)
}

/// Which candidates are left behind a question: no clauses about its field, and none of conjunctions that do not hold.
#[derive(Default)]
struct Left {
    always: Vec<usize>,
    if_held: BTreeMap<Conjunction, Vec<usize>>,
}

impl Left {
    fn of(field: Field, all: &All, found: &[Candidate<'_>]) -> Left {
        let is_asked = |matches: &Vec<Match>| about(matches) == Some(field);
        let mut left = Left::default();
        for (at, candidate) in found.iter().enumerate() {
            if !candidate.is_clause() {
                left.always.push(at);
            }
            for (of, number, _) in clauses(candidate.rule) {
                let Some(conjunction) = all.get(&of) else { continue };
                let dimensions = &conjunction.dimensions;
                if dimensions.get(&number).is_some_and(is_asked) {
                    continue;
                }
                match dimensions.values().any(is_asked) {
                    true => left.if_held.entry(of).or_default().push(at),
                    false => left.always.push(at),
                }
            }
        }
        left
    }

    fn behind(&self, held: &[Clause]) -> BTreeSet<usize> {
        let held = held.iter().filter_map(|clause| self.if_held.get(&clause.of));
        self.always.iter().chain(held.flatten()).copied().collect()
    }
}

/// How many ways are left behind the question.
fn ways_behind(field: Field, held: &[Clause], all: &All) -> usize {
    let ways = all.iter().map(|(of, clauses)| {
        ways(clauses, |number| {
            let asked = about(clauses.dimensions.get(&number)?) == Some(field);
            asked.then(|| held.binary_search(&Clause { of: *of, number }).is_ok())
        })
    });
    ways.sum()
}

/// In how many ways a conjunction holds, where it is known of some of its clauses whether they do.
fn ways(clauses: &Clauses, known: impl Fn(u8) -> Option<bool>) -> usize {
    let each = clauses.dimensions.iter().map(|(number, matches)| match known(*number) {
        Some(holds) => usize::from(holds),
        None => matches.len(),
    });
    each.fold(usize::from(clauses.is_whole()), usize::saturating_mul)
}

/// The field that all matches of a clause are about, and nothing else, where they are prefixes of it.
pub(super) fn about(matches: &[Match]) -> Option<Field> {
    let one = |takes: &Match| match takes.fields() {
        [only] if takes.unsupported().is_empty() => {
            let below = only.field.full_mask() & !only.masked.mask;
            (below & below.wrapping_add(1) == 0).then_some(only.field)
        }
        _ => None,
    };
    let first = one(matches.first()?)?;
    matches.iter().all(|takes| one(takes) == Some(first)).then_some(first)
}

/// The sets that the values of a field are in.
fn by_field(field: Field, all: &All) -> Question {
    let mut sets: BTreeMap<Masked, BTreeSet<Clause>> = BTreeMap::new();
    for (of, clauses) in all {
        for (number, matches) in &clauses.dimensions {
            if about(matches) == Some(field) {
                let clause = Clause { of: *of, number: *number };
                let values = matches.iter().filter_map(|takes| takes.get(field));
                values.for_each(|value| {
                    sets.entry(value).or_default().insert(clause);
                });
            }
        }
    }
    let masks: BTreeSet<u128> = sets.keys().map(|value| value.mask).collect();
    // Of two prefixes the longer one is the greater number, and what overlaps it lies within it or around it.
    let masks: Vec<u128> = masks.into_iter().rev().collect();
    let mut answers = Vec::new();
    for (at, mask) in masks.iter().enumerate() {
        for value in sets.keys().filter(|value| value.mask == *mask) {
            let around =
                masks[at..].iter().filter_map(|wide| sets.get(&Masked::new(value.value, *wide)));
            let held: BTreeSet<Clause> = around.flatten().copied().collect();
            let takes = Match::any().with_masked(field, value.value, value.mask);
            answers.push((takes, held.into_iter().collect()));
        }
    }
    answers.push((Match::any(), Vec::new()));
    Question { field, answers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openflow::OfPriority;

    fn clauses(dimensions: &[&[(u128, u128)]]) -> Clauses {
        let of =
            |(value, mask): &(u128, u128)| Match::any().with_masked(Field::IpSrc, *value, *mask);
        let dimensions =
            dimensions.iter().zip(1..).map(|(one, number)| (number, one.iter().map(of).collect()));
        let dimensions: BTreeMap<u8, Vec<Match>> = dimensions.collect();
        let wanted = dimensions.len().try_into().unwrap();
        Clauses { dimensions, wanted, ..Clauses::default() }
    }

    fn all(of: &[&[(u128, u128)]]) -> All {
        let each = of.iter().zip(1..).map(|(one, id)| ((OfPriority(9), id), clauses(&[one])));
        each.collect()
    }

    fn held(question: &Question) -> Vec<(String, Vec<u32>)> {
        let answers = question.answers.iter();
        answers
            .map(|(takes, held)| (takes.to_string(), held.iter().map(|one| one.of.1).collect()))
            .collect()
    }

    #[test]
    fn an_address_is_in_its_own_sets_and_in_those_of_its_networks() {
        const ALL: u128 = 0xffff_ffff;
        let sets = all(&[
            &[(0x0a00_0001, ALL), (0x0a00_0002, ALL)],
            &[(0x0a00_0000, 0xff00_0000)],
            &[(0x0a00_0002, ALL)],
        ]);
        let question = by_field(Field::IpSrc, &sets);
        assert_eq!(
            held(&question),
            [
                ("nw_src=10.0.0.1".to_owned(), vec![1, 2]),
                ("nw_src=10.0.0.2".to_owned(), vec![1, 2, 3]),
                ("nw_src=10.0.0.0/8".to_owned(), vec![2]),
                (String::new(), vec![])
            ]
        );
    }

    #[test]
    fn what_is_no_prefix_is_not_asked_first() {
        let sets = all(&[&[(0x0a00_0000, 0xff00_0000)], &[(1, 0xff)]]);
        assert_eq!(
            held(&by_field(Field::IpSrc, &sets)),
            [("nw_src=10.0.0.0/8".to_owned(), vec![1]), (String::new(), vec![])]
        );
    }
}
