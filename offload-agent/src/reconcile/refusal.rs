//! What the card refused, and the plan that does without it.
//!
//! A refused filter leaves a hole: its packets would fall through to filters below and be stolen from Open
//! vSwitch. So its place is taken by a guard, the same match with `pass`. If the card refuses the guard
//! too, every filter below that may take one of its packets becomes a guard itself.
//!
//! Behind `ct nat` a packet may no longer be as it came, so there it cannot be left to Open vSwitch: a chain there
//! is whole or it is not at all, and what leads to it becomes a guard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use switchdev::tc::Sentence;
use tc_filter::action::Ct;
use tc_filter::{Action, Attach, ChainId, Filter, FilterId, Handle, HwPolicy, Prio};

use super::Filters;
use super::chains::target;
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

/// Chains that cannot be: the card refused their catch-all, and a miss there would lose the packet; or it refused
/// anything at all of a chain whose packets cannot be given back.
type Lost = BTreeMap<ChainAt, Sentence>;
/// A chain of an attach point.
type ChainAt = (Attach, ChainId);

fn lost_chains(wanted: &Filters, refusals: &Refusals) -> Lost {
    let mut last: BTreeMap<ChainAt, &Filter> = BTreeMap::new();
    for filter in wanted.values().filter(|filter| filter.chain != ChainId::ZERO) {
        last.insert((filter.attach, filter.chain), filter);
    }
    let translated = translated_chains(wanted);
    let needed = wanted.values().filter(|filter| translated.contains(&at(filter)));
    let refused =
        last.values().copied().chain(needed.clone()).filter_map(|filter| {
            refusals.of(filter).map(|sentence| (at(filter), sentence.clone()))
        });
    let mut lost: Lost = refused.collect();
    // A chain that has to be whole is not when it leads to one that cannot be.
    while let Some((chain, sentence)) = needed
        .clone()
        .filter(|filter| !lost.contains_key(&at(filter)))
        .find_map(|filter| leads_to(filter, &lost).map(|(_, words)| (at(filter), words.clone())))
    {
        lost.insert(chain, sentence);
    }
    lost
}

fn at(filter: &Filter) -> ChainAt {
    (filter.attach, filter.chain)
}

/// The chains in which a packet may have another address than it came with.
fn translated_chains(wanted: &Filters) -> BTreeSet<ChainAt> {
    let mut found = BTreeSet::new();
    loop {
        let translates = |filter: &&Filter| {
            found.contains(&at(filter)) || filter.actions.iter().any(is_translation)
        };
        let led_to = wanted.values().filter(translates);
        let chains = led_to.filter_map(|filter| Some((filter.attach, target(filter)?)));
        let more: BTreeSet<ChainAt> = chains.filter(|chain| !found.contains(chain)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn is_translation(action: &Action) -> bool {
    matches!(action, Action::Ct(Ct::Track(track)) if track.nat.is_some())
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
    exit: Arc<[Action]>,
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
        let exit = catch_all.map_or_else(|| [Action::PASS].into(), |last| last.actions.clone());
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
    let chain = target(filter)?;
    lost.get(&(filter.attach, chain)).map(|sentence| (chain, sentence))
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

#[cfg(test)]
mod tests {
    use tc_filter::CtZone;
    use tc_filter::action::{CtNat, CtTrack, Gact};

    use super::super::world::{HOOKS, Rule, to};
    use super::*;

    fn goto(number: u32) -> Action {
        Action::Gact(Gact::Goto(ChainId::new(number).unwrap()))
    }

    fn track(nat: Option<CtNat>) -> Action {
        let zone = CtZone(7);
        Action::Ct(Ct::Track(CtTrack { zone, nat, ..CtTrack::default() }))
    }

    /// Chain 0 tracks and leads to 1, that to 2; each chain has two filters and a catch-all.
    fn pipeline(nat: Option<CtNat>) -> Filters {
        let rules = [
            (0, 1, vec![track(nat), goto(1)]),
            (0, 2, to(3, 2, 7).actions().to_vec()),
            (1, 1, vec![goto(2)]),
            (1, 7, vec![Action::Ct(Ct::Clear), Action::PASS]),
            (2, 1, to(4, 1, 7).actions().to_vec()),
            (2, 7, vec![Action::Ct(Ct::Clear), Action::PASS]),
        ];
        let filters = (1u16..).zip(rules).map(|(prio, (chain, address, actions))| {
            let rule = Rule { ..to(1, address, 7) };
            let chain = ChainId::new(chain).unwrap();
            Filter {
                actions: actions.into(),
                ..rule.filter(HOOKS[0], chain, prio, u32::from(prio))
            }
        });
        filters.map(|filter| (filter.id(), filter)).collect()
    }

    /// What is left in each chain when the card refuses the output of chain 2.
    fn left(nat: Option<CtNat>) -> Vec<(u32, Vec<Action>)> {
        let wanted = pipeline(nat);
        let mut refusals = Refusals::default();
        let output =
            wanted.values().find(|filter| filter.actions == to(4, 1, 7).actions()).unwrap();
        refusals.add(output, Sentence::new("no mirred".to_owned()));
        let bearable = withhold(&wanted, &refusals);
        bearable
            .filters
            .into_values()
            .map(|filter| (filter.chain.get(), filter.actions.to_vec()))
            .collect()
    }

    #[test]
    fn before_any_translation_a_refused_filter_is_a_guard_where_it_stands() {
        let pass = vec![Action::Ct(Ct::Clear), Action::PASS];
        assert_eq!(left(None).last(), Some(&(2, pass.clone())));
        assert_eq!(
            left(None).iter().filter(|(chain, actions)| *chain == 2 && *actions == pass).count(),
            2
        );
    }

    #[test]
    fn behind_a_translation_the_packets_stay_away_from_the_start() {
        let left = left(Some(CtNat::Committed));
        assert_eq!(left, [(0, vec![Action::PASS]), (0, to(3, 2, 7).actions().to_vec())]);
    }
}
