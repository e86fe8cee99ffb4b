//! Gives each wanted chain its number in the kernel, such that no chain changes that packets may be in.
//!
//! A packet's fate is made of what several chains do to it. Were a chain changed in place, a packet could meet half of the
//! old plan and half of the new. So a chain that is as it was keeps its number, whatever the plan calls it now; any
//! other gets a number that nobody has, is filled while nothing leads there, and takes over when the `goto`s do.
//!
//! ```text
//! kernel:  0 ─goto 1─► 1        wanted: 0 ─goto 1─► 1 (changed) ─goto 2─► 2 (what the kernel calls 1)
//! becomes: 0 ─goto 3─► 3 ─goto 1─► 1
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::action::Gact;
use tc_filter::{Action, Attach, ChainId, Filter, FilterId, Handle, Prio};

use super::Filters;

/// Wanted filters in the chains they will have in the kernel, by the names they have in the plan.
pub(super) type Rechained = BTreeMap<FilterId, Filter>;

/// The wanted filters with the kernel's numbers for chains.
pub(super) fn renumber(wanted: &Filters, observed: &Filters) -> Rechained {
    let mut numbers = Numbers::new(wanted, observed);
    let mut rechained = Rechained::new();
    for (attach, chains) in by_attach(wanted) {
        let mut hook = Hook::new(attach, &chains, observed);
        for &chain in chains.keys() {
            hook.resolve(chain, &mut numbers);
        }
        let filters = chains.values().flatten().copied();
        rechained.extend(filters.map(|filter| (filter.id(), hook.renamed(filter))));
    }
    rechained
}

/// The filters of one chain in the order of the plan.
type Chain<'a> = Vec<&'a Filter>;

fn by_attach(filters: &Filters) -> BTreeMap<Attach, BTreeMap<ChainId, Chain<'_>>> {
    let mut hooks: BTreeMap<Attach, BTreeMap<ChainId, Chain<'_>>> = BTreeMap::new();
    for filter in filters.values() {
        hooks.entry(filter.attach).or_default().entry(filter.chain).or_default().push(filter);
    }
    hooks
}

/// What a chain does, whatever it is called: its levels from the top, each in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content(Vec<Vec<Filter>>);

impl Content {
    fn of(filters: impl Iterator<Item = Filter>) -> Content {
        let mut levels: BTreeMap<Prio, Vec<Filter>> = BTreeMap::new();
        for filter in filters {
            let nameless = Filter {
                chain: ChainId::ZERO,
                prio: Prio::MIN,
                handle: Handle::MIN,
                cookie: None,
                ..filter
            };
            levels.entry(filter.prio).or_default().push(nameless);
        }
        levels.values_mut().for_each(|level| level.sort());
        Content(levels.into_values().collect())
    }
}

/// One attach point.
struct Hook<'a> {
    wanted: &'a BTreeMap<ChainId, Chain<'a>>,
    /// The kernel's chains by what they do, and all their numbers.
    there: BTreeMap<Content, Vec<ChainId>>,
    occupied: BTreeSet<ChainId>,
    /// The kernel's number of each wanted chain, so far.
    found: BTreeMap<ChainId, ChainId>,
    /// Chains on the way from the first one asked for to the one looked at.
    path: BTreeSet<ChainId>,
}

impl<'a> Hook<'a> {
    fn new(
        attach: Attach,
        wanted: &'a BTreeMap<ChainId, Chain<'a>>,
        observed: &Filters,
    ) -> Hook<'a> {
        let here = by_attach(observed).remove(&attach).unwrap_or_default();
        let mut there: BTreeMap<Content, Vec<ChainId>> = BTreeMap::new();
        for (&chain, filters) in here.iter().filter(|&(&chain, _)| chain != ChainId::ZERO) {
            let content = Content::of(filters.iter().map(|&filter| filter.clone()));
            there.entry(content).or_default().push(chain);
        }
        let occupied = here.into_keys().collect();
        Hook { wanted, there, occupied, found: BTreeMap::new(), path: BTreeSet::new() }
    }

    /// The kernel's number of a chain; those it leads to are numbered first.
    fn resolve(&mut self, chain: ChainId, numbers: &mut Numbers) -> ChainId {
        if chain == ChainId::ZERO {
            self.resolve_targets(chain, numbers);
            return chain;
        }
        if let Some(&number) = self.found.get(&chain) {
            return number;
        }
        // No plan has a loop; were there one, its chains would keep their numbers and be withdrawn.
        if !self.path.insert(chain) {
            return chain;
        }
        self.resolve_targets(chain, numbers);
        self.path.remove(&chain);
        let number = self.choose(chain, numbers);
        self.found.insert(chain, number);
        number
    }

    fn resolve_targets(&mut self, chain: ChainId, numbers: &mut Numbers) {
        let filters = self.wanted.get(&chain).into_iter().flatten();
        let targets: BTreeSet<ChainId> = filters.filter_map(|filter| target(filter)).collect();
        for target in targets {
            self.resolve(target, numbers);
        }
    }

    /// The number of a chain that does the same, or else one that nobody has.
    fn choose(&mut self, chain: ChainId, numbers: &mut Numbers) -> ChainId {
        let filters = self.wanted.get(&chain).into_iter().flatten();
        let content = Content::of(filters.map(|filter| self.renamed(filter)));
        if let Some(same) = self.there.get_mut(&content).filter(|same| !same.is_empty()) {
            let at = same.iter().position(|&number| number == chain).unwrap_or(0);
            return same.remove(at);
        }
        let taken: BTreeSet<ChainId> =
            self.occupied.iter().chain(self.found.values()).copied().collect();
        numbers.free(chain, &taken)
    }

    /// The filter in the kernel's chains, as far as they are known.
    fn renamed(&self, filter: &Filter) -> Filter {
        let number = |chain: ChainId| self.found.get(&chain).copied().unwrap_or(chain);
        let actions = filter.actions.iter().map(|action| match action {
            Action::Gact(Gact::Goto(chain)) => Action::Gact(Gact::Goto(number(*chain))),
            other => other.clone(),
        });
        Filter { chain: number(filter.chain), actions: actions.collect(), ..filter.clone() }
    }
}

/// Where a filter leads.
pub(super) fn target(filter: &Filter) -> Option<ChainId> {
    filter.actions.iter().find_map(|action| match action {
        Action::Gact(Gact::Goto(chain)) => Some(*chain),
        _ => None,
    })
}

/// Numbers for chains that are new. Ports that share a chain in the plan share its number where they can: a card makes
/// one table of it.
struct Numbers {
    /// Numbers in use anywhere, now or by the plan.
    used: BTreeSet<ChainId>,
    given: BTreeMap<ChainId, ChainId>,
}

impl Numbers {
    fn new(wanted: &Filters, observed: &Filters) -> Numbers {
        let used = wanted.keys().chain(observed.keys()).map(|id| id.chain).collect();
        Numbers { used, given: BTreeMap::new() }
    }

    /// The plan's own number, the one given to another port, or the smallest that nobody uses.
    fn free(&mut self, chain: ChainId, taken: &BTreeSet<ChainId>) -> ChainId {
        let given = self.given.get(&chain).copied();
        if let Some(number) =
            [Some(chain), given].into_iter().flatten().find(|it| !taken.contains(it))
        {
            return number;
        }
        let numbers = (1..=u32::MAX).map_while(|number| ChainId::new(number).ok());
        let number = numbers.into_iter().find(|it| !self.used.contains(it)).unwrap_or(chain);
        self.used.insert(number);
        self.given.insert(chain, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{HOOKS, to};
    use super::*;

    fn chain(number: u32) -> ChainId {
        ChainId::new(number).unwrap()
    }

    fn goto(number: u32) -> Action {
        Action::Gact(Gact::Goto(chain(number)))
    }

    /// Filters as (chain, address, action), from the top.
    fn plan(rules: &[(u32, u8, Action)]) -> Filters {
        let filters = (1u16..).zip(rules).map(|(prio, (number, address, action))| {
            let rule = super::super::world::Rule { action: action.clone(), ..to(1, *address, 7) };
            rule.filter(HOOKS[0], chain(*number), prio, u32::from(prio))
        });
        filters.map(|filter| (filter.id(), filter)).collect()
    }

    /// The chain of each filter, and where it leads.
    fn shape(filters: &Rechained) -> Vec<(u32, Option<u32>)> {
        filters.values().map(|f| (f.chain.get(), target(f).map(ChainId::get))).collect()
    }

    #[test]
    fn chains_that_do_the_same_keep_their_numbers_under_any_name() {
        let kernel = plan(&[(0, 0, goto(1)), (1, 0, goto(2)), (2, 0, Action::DROP)]);
        let wanted = plan(&[(0, 0, goto(8)), (8, 0, goto(3)), (3, 0, Action::DROP)]);
        let found = renumber(&wanted, &kernel);
        let mut shape = shape(&found);
        shape.sort_unstable();
        assert_eq!(shape, [(0, Some(1)), (1, Some(2)), (2, None)]);
    }

    #[test]
    fn a_chain_that_changes_and_all_that_lead_to_it_get_new_numbers() {
        let kernel =
            plan(&[(0, 0, goto(1)), (1, 0, goto(2)), (2, 0, Action::DROP), (3, 0, Action::PASS)]);
        let wanted = plan(&[(0, 0, goto(1)), (1, 0, goto(2)), (2, 0, Action::PASS)]);
        let found = renumber(&wanted, &kernel);
        // 2 now does what 3 did; 1 leads elsewhere, so it is another.
        assert_eq!(shape(&found), [(0, Some(4)), (4, Some(3)), (3, None)]);
    }

    #[test]
    fn without_anything_in_the_kernel_the_plan_is_taken_as_it_is() {
        let wanted = plan(&[(0, 0, goto(5)), (5, 0, Action::PASS)]);
        assert_eq!(renumber(&wanted, &Filters::new()), wanted);
    }
}
