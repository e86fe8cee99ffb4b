//! What the card refused, and the plan that does without it.
//!
//! A refused filter leaves a hole: its packets would fall through to filters below and be stolen from Open
//! vSwitch. So its place is taken by a guard, the same match with `pass`. If the card refuses the guard
//! too, every filter below that may take one of its packets becomes a guard itself.

use std::collections::{BTreeMap, BTreeSet};

use switchdev::tc::Sentence;
use tc_filter::action::Gact;
use tc_filter::{Action, Attach, ChainId, Filter, FilterId, Handle, HwPolicy, Prio};

use super::Filters;
use super::overlap::may_overlap;

/// A filter without its numbers in the kernel, which differ from one plan to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content(Filter);

impl Content {
    fn of(filter: &Filter) -> Self {
        Self(Filter { prio: Prio::MIN, handle: Handle::MIN, cookie: None, ..filter.clone() })
    }
}

/// The filters that the card refused, each with the driver's sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(BTreeMap<Content, Sentence>);

impl Refusals {
    /// Notes a refusal.
    pub fn add(&mut self, filter: &Filter, sentence: Sentence) {
        self.0.insert(Content::of(filter), sentence);
    }

    /// What the driver said of a filter.
    #[must_use]
    pub fn of(&self, filter: &Filter) -> Option<&Sentence> {
        self.0.get(&Content::of(filter))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the refusals of an attach point: its card may think otherwise by now.
    pub fn forget(&mut self, attach: Attach) {
        self.0.retain(|content, _| content.0.attach != attach);
    }
}

/// Why a filter of the plan is not in the kernel as it was planned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withheld {
    /// The card refused it.
    Refused(Sentence),
    /// It could take packets of a filter that the card refused, even as a guard.
    BelowRefused(Sentence),
    /// It leads to a chain whose catch-all the card refused.
    ChainRefused(ChainId, Sentence),
}

impl Withheld {
    /// The driver's words.
    #[must_use]
    pub fn sentence(&self) -> &Sentence {
        match self {
            Self::Refused(words) | Self::BelowRefused(words) | Self::ChainRefused(_, words) => {
                words
            }
        }
    }
}

/// A plan that asks nothing of the card that it refused before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearable {
    /// The filters to install, under the names they have in the plan.
    pub filters: Filters,
    /// The filters of the plan that are not among them, or are only a guard.
    pub withheld: BTreeMap<FilterId, Withheld>,
}

/// Takes out of `wanted` what the card refused, such that no packet is stolen.
#[must_use]
pub fn withhold(wanted: &Filters, refusals: &Refusals) -> Bearable {
    if refusals.is_empty() {
        return Bearable { filters: wanted.clone(), withheld: BTreeMap::new() };
    }
    let mut bearable = Bearable::default();
    let lost = lost_chains(wanted, refusals);
    let mut chains: BTreeMap<(Attach, ChainId), Vec<&Filter>> = BTreeMap::new();
    for filter in wanted.values() {
        chains.entry((filter.attach, filter.chain)).or_default().push(filter);
    }
    for (at, chain) in chains.into_iter().filter(|(at, _)| !lost.contains_key(at)) {
        OneChain::new(at, &chain, refusals, &lost).run(&chain, &mut bearable);
    }
    note_lost(wanted, &lost, &mut bearable);
    bearable
}

/// Chains that cannot be, since the card refused their catch-all: a miss there would lose the packet.
type Lost = BTreeMap<(Attach, ChainId), Sentence>;

fn lost_chains(wanted: &Filters, refusals: &Refusals) -> Lost {
    let mut last: BTreeMap<(Attach, ChainId), &Filter> = BTreeMap::new();
    for filter in wanted.values().filter(|filter| filter.chain != ChainId::ZERO) {
        last.insert((filter.attach, filter.chain), filter);
    }
    let refused = last.into_iter().filter_map(|(at, catch_all)| {
        refusals.of(catch_all).map(|sentence| (at, sentence.clone()))
    });
    refused.collect()
}

fn note_lost(wanted: &Filters, lost: &Lost, bearable: &mut Bearable) {
    for (id, filter) in wanted {
        if let Some(sentence) = lost.get(&(filter.attach, filter.chain)) {
            let why = Withheld::ChainRefused(filter.chain, sentence.clone());
            bearable.withheld.insert(*id, why);
        }
    }
}

/// One chain of one attach point, walked from the top.
struct OneChain<'a> {
    /// What a guard does here: a tracked packet, say, has to be untracked before it passes.
    exit: Vec<Action>,
    refusals: &'a Refusals,
    lost: &'a Lost,
    /// Matches whose packets nothing keeps for Open vSwitch, and why.
    holes: Vec<(Filter, Sentence)>,
}

impl<'a> OneChain<'a> {
    fn new(
        (_, chain): (Attach, ChainId),
        filters: &[&Filter],
        refusals: &'a Refusals,
        lost: &'a Lost,
    ) -> Self {
        let catch_all = filters.last().filter(|_| chain != ChainId::ZERO);
        let exit = catch_all.map_or_else(|| vec![Action::PASS], |last| last.actions.clone());
        Self { exit, refusals, lost, holes: Vec::new() }
    }

    fn run(mut self, filters: &[&Filter], bearable: &mut Bearable) {
        for &filter in filters {
            let why = self.why_not(filter);
            let kept = match &why {
                None => Some(filter.clone()),
                Some(why) => self.guard(filter, why.sentence()),
            };
            bearable.filters.extend(kept.map(|filter| (filter.id(), filter)));
            bearable.withheld.extend(why.map(|why| (filter.id(), why)));
        }
    }

    fn why_not(&self, filter: &Filter) -> Option<Withheld> {
        if let Some(sentence) = self.refusals.of(filter) {
            return Some(Withheld::Refused(sentence.clone()));
        }
        if let Some((chain, sentence)) = leads_to(filter, self.lost) {
            return Some(Withheld::ChainRefused(chain, sentence.clone()));
        }
        if filter.actions == self.exit {
            return None;
        }
        let hole = self.holes.iter().find(|(hole, _)| may_overlap(hole, filter));
        hole.map(|(_, sentence)| Withheld::BelowRefused(sentence.clone()))
    }

    /// The filter as a guard; or a hole, where the card refuses that as well.
    fn guard(&mut self, filter: &Filter, sentence: &Sentence) -> Option<Filter> {
        let guard = Filter { actions: self.exit.clone(), ..filter.clone() };
        if self.refusals.of(&guard).is_none() {
            return Some(guard);
        }
        self.holes.push((guard, sentence.clone()));
        None
    }
}

fn leads_to<'a>(filter: &Filter, lost: &'a Lost) -> Option<(ChainId, &'a Sentence)> {
    filter.actions.iter().find_map(|action| match action {
        Action::Gact(Gact::Goto(chain)) => {
            lost.get(&(filter.attach, *chain)).map(|sentence| (*chain, sentence))
        }
        _ => None,
    })
}

/// The attach points where a card runs some filters and not others, although it was asked: its driver
/// refused without a word.
#[must_use]
pub fn silent_refusals<'a>(
    seen: impl IntoIterator<Item = &'a switchdev::tc::Observed>,
) -> Vec<&'a Filter> {
    let seen: Vec<_> = seen.into_iter().collect();
    let in_hw = |one: &&switchdev::tc::Observed| one.in_hw == tc_filter::InHw::Yes;
    let has_card: BTreeSet<Attach> =
        seen.iter().copied().filter(in_hw).map(|one| one.filter.attach).collect();
    let silent = seen.into_iter().filter(|one| {
        !in_hw(one) && one.filter.hw != HwPolicy::SkipHw && has_card.contains(&one.filter.attach)
    });
    silent.map(|one| &one.filter).collect()
}
