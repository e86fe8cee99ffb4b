//! Puts operations in an order in which no packet is misforwarded; the module above has the argument.
//!
//! Chains other than 0 change while no packet can be in them. As a rule a changed chain has a new number: it is
//! filled before its first `goto`, and emptied after its last. Where a number has to stay, chain 0 is withdrawn
//! first, from which all `goto`s come. The last prio of a chain, the catch-all, goes in first and out last: a
//! packet that misses in such a chain is lost.

use std::collections::{BTreeMap, BTreeSet};

use switchdev::tc::Op;
use tc_filter::{Attach, ChainId, Filter, HwPolicy, Prio};

use super::Filters;
use super::content::{Slot, does_the_same};

/// Operations whose order does not matter. A step is sent when the step before it is done.
pub type Step = Vec<Op>;

/// The steps from `observed` to `wanted`. Attach points do not depend on each other, so their steps go
/// side by side.
#[must_use]
pub fn steps(wanted: &Filters, observed: &Filters) -> Vec<Step> {
    let mut merged: Vec<Step> = Vec::new();
    for attach in attaches(wanted, observed) {
        let one = Hook { wanted: at(wanted, attach), observed: at(observed, attach) };
        for (index, step) in one.steps().into_iter().enumerate() {
            match merged.get_mut(index) {
                Some(there) => there.extend(step),
                None => merged.push(step),
            }
        }
    }
    merged
}

fn attaches(wanted: &Filters, observed: &Filters) -> BTreeSet<Attach> {
    wanted.keys().chain(observed.keys()).map(|id| id.attach).collect()
}

fn at(filters: &Filters, attach: Attach) -> Chains<'_> {
    let mut chains = Chains::new();
    for filter in filters.values().filter(|filter| filter.attach == attach) {
        chains.entry(filter.chain).or_default().entry(filter.prio).or_default().push(filter);
    }
    chains
}

/// The filters of one attach point, by chain and prio.
type Chains<'a> = BTreeMap<ChainId, Chain<'a>>;
/// The filters of one chain, by prio.
type Chain<'a> = BTreeMap<Prio, Vec<&'a Filter>>;

/// One attach point as it is to be and as it is.
struct Hook<'a> {
    wanted: Chains<'a>,
    observed: Chains<'a>,
}

impl<'a> Hook<'a> {
    fn steps(&self) -> Vec<Step> {
        let cut = self.cut();
        let withdrawn = |filter: &Filter| cut.is_some_and(|cut| filter.prio >= cut);
        let first = &self.chain(&self.observed, ChainId::ZERO);
        let lower = upside_down(first, |filter| withdrawn(filter));
        let upper = upside_down(first, |filter| !withdrawn(filter) && self.is_obsolete(filter));
        let steps = lower
            .chain(self.empty_chains(|chain| self.changes_live(chain)))
            .chain(self.fill_chains())
            .chain(self.put_in(withdrawn))
            .chain(upper)
            .chain(self.empty_chains(|chain| !self.wanted.contains_key(&chain)));
        steps.filter(|step| !step.is_empty()).collect()
    }

    fn chain(&self, chains: &Chains<'a>, id: ChainId) -> Chain<'a> {
        chains.get(&id).cloned().unwrap_or_default()
    }

    /// The prio of chain 0 from which on the old filters must be out before new ones can come in.
    fn cut(&self) -> Option<Prio> {
        let first = self.chain(&self.observed, ChainId::ZERO);
        if self.observed.keys().any(|&chain| self.changes_live(chain)) {
            return first.keys().next().copied();
        }
        let wanted = self.chain(&self.wanted, ChainId::ZERO);
        let in_the_way = first.iter().find(|(prio, old)| {
            wanted.get(prio).is_some_and(|new| !is_alike(old, new) || self.leaves_the_card(old))
        });
        in_the_way.map(|(&prio, _)| prio)
    }

    /// Whether a replacement may end in software only, where the card still has filters below: the driver may
    /// refuse the new filter, and the old one is gone then. A `skip_sw` filter stays as it was.
    fn leaves_the_card(&self, old: &[&Filter]) -> bool {
        old.iter().any(|old| {
            let new = self.counterpart(&self.wanted, old);
            new.is_some_and(|new| new.hw == HwPolicy::Both && !does_the_same(old, new))
        })
    }

    /// Whether a chain that packets may be led to becomes another.
    fn changes_live(&self, id: ChainId) -> bool {
        let (old, new) = (self.observed.get(&id), self.wanted.get(&id));
        id != ChainId::ZERO && new.is_some() && old.is_some_and(|old| !is_same(old, new))
    }

    /// Whether an old filter is in no place where the new ones have one with its match.
    fn is_obsolete(&self, old: &Filter) -> bool {
        self.counterpart(&self.wanted, old).is_none()
    }

    /// The filter with the same name on the other side.
    fn counterpart(&self, side: &Chains<'a>, filter: &Filter) -> Option<&'a Filter> {
        let slot = side.get(&filter.chain)?.get(&filter.prio)?;
        slot.iter().find(|there| there.handle == filter.handle).copied()
    }

    /// Chain 0, from the lowest prio upwards.
    fn put_in(&self, withdrawn: impl Fn(&Filter) -> bool) -> impl Iterator<Item = Step> {
        self.chain(&self.wanted, ChainId::ZERO).into_values().map(move |level| {
            let ops = level.into_iter().filter_map(|new| {
                let old = self.counterpart(&self.observed, new).filter(|old| !withdrawn(old));
                match old {
                    None => Some(Op::Add(new.clone())),
                    Some(old) if does_the_same(old, new) => None,
                    Some(_) => Some(Op::Replace(new.clone())),
                }
            });
            ops.collect()
        })
    }

    /// The chains that packets are not led to yet: their catch-alls, then the rest.
    fn fill_chains(&self) -> impl Iterator<Item = Step> {
        let new = self.wanted.iter().filter(|&(&chain, _)| {
            chain != ChainId::ZERO
                && (!self.observed.contains_key(&chain) || self.changes_live(chain))
        });
        let chains: Vec<_> = new.map(|(_, chain)| chain).collect();
        let last = chains.iter().filter_map(|chain| chain.values().next_back());
        let catch_alls: Step = last.flatten().map(|&filter| Op::Add(filter.clone())).collect();
        let others = chains.iter().flat_map(|chain| chain.values().rev().skip(1));
        let rest: Step = others.flatten().map(|&filter| Op::Add(filter.clone())).collect();
        [catch_alls, rest].into_iter()
    }

    /// The chains that packets are not led to any more: all but the catch-alls, then those.
    fn empty_chains(&self, is_out: impl Fn(ChainId) -> bool) -> impl Iterator<Item = Step> {
        let out =
            self.observed.iter().filter(|&(&chain, _)| chain != ChainId::ZERO && is_out(chain));
        let chains: Vec<_> = out.map(|(_, chain)| chain).collect();
        let others = chains.iter().flat_map(|chain| chain.values().rev().skip(1));
        let first: Step = others.flatten().map(|&filter| Op::Delete(filter.id())).collect();
        let last = chains.iter().filter_map(|chain| chain.values().next_back());
        let catch_alls = last.flatten().map(|&filter| Op::Delete(filter.id())).collect();
        [first, catch_alls].into_iter()
    }
}

/// Whether old and new filters can be in one prio: the kernel has one protocol for it.
fn is_alike(old: &[&Filter], new: &[&Filter]) -> bool {
    let protocol = |level: &[&Filter]| level.first().map(|filter| filter.protocol);
    protocol(old) == protocol(new)
}

fn is_same(old: &Chain<'_>, new: Option<&Chain<'_>>) -> bool {
    let flat = |chain: &Chain<'_>| chain.values().flatten().copied().cloned().collect::<Vec<_>>();
    let (old, new) = (flat(old), new.map(flat).unwrap_or_default());
    old.len() == new.len()
        && old.iter().zip(&new).all(|(old, new)| {
            Slot::of(old) == Slot::of(new) && old.handle == new.handle && does_the_same(old, new)
        })
}

/// Removals from the highest prio downwards, of the filters that `is_out` names.
fn upside_down<'a>(
    chain: &'a Chain<'_>,
    is_out: impl Fn(&Filter) -> bool + 'a,
) -> impl Iterator<Item = Step> + 'a {
    chain.values().rev().map(move |level| {
        let out = level.iter().filter(|filter| is_out(filter));
        out.map(|&filter| Op::Delete(filter.id())).collect()
    })
}
