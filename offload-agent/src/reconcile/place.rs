//! Gives each wanted filter its prio and handle in the kernel.
//!
//! A plan's prios are compact (1, 2, 3) and shift when a rule comes or goes. In the kernel a filter that
//! stays keeps its prio and handle; new levels get numbers between those of their neighbours. So an
//! unchanged ruleset needs no operation, and one more rule needs one, as a rule.
//!
//! A *level* is one prio of one chain of the plan, over all attach points: cards make one table of it
//! ("fs_chains.c" of mlx5), so it keeps one number.

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::{ChainId, Cookie, EtherType, Filter, FilterId, Handle, Prio};

use super::chains::{self, Rechained};
use super::content::{Selector, Slot};
use super::{Filters, Observed};

/// The numbers that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrioRoom {
    /// The highest prio that may be used; the lowest is 1.
    pub highest: Prio,
    /// Chains may have other numbers than in the plan. A card with few chains, or on which they only lead upwards, has no
    /// such freedom: there a chain that changes is withdrawn first.
    pub free_chains: bool,
}

impl PrioRoom {
    /// The first number that may not be used.
    fn beyond(self) -> u32 {
        u32::from(self.highest.get()) + 1
    }
}

/// Distance between new levels, so that later ones find room between them.
const STRIDE: usize = 64;

/// The wanted filters at their places in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The filters, by their names in the kernel.
    pub filters: Filters,
    /// Which wanted filter each is.
    pub origin: BTreeMap<FilterId, FilterId>,
}

/// The card has fewer prios than the plan needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain {chain} needs {levels} prios and the card has room for {room}")]
pub struct NoRoom {
    /// The chain.
    pub chain: ChainId,
    /// How many prios the plan has there.
    pub levels: usize,
    /// How many are free.
    pub room: usize,
}

/// Places `wanted` so that as much of `observed` as possible stays where it is.
///
/// # Errors
///
/// [`NoRoom`] when there are more levels in a chain than free prios.
pub fn place(wanted: &Filters, observed: &Observed, room: PrioRoom) -> Result<Placed, NoRoom> {
    let seats = Seats::of(observed);
    let mut placed = Placed::default();
    let mut handles = Handles::of(observed);
    let renumbered = match room.free_chains {
        true => chains::renumber(wanted, &observed.ours),
        false => wanted.clone(),
    };
    for (chain, levels) in levels_by_chain(&renumbered) {
        let prios = number(chain, &levels, &seats, room)?;
        for (level, prio) in levels.iter().zip(prios) {
            for &(&origin, filter) in level {
                let at = seats.at(filter, prio);
                let seated = seat(filter, prio, at, &mut handles);
                placed.origin.insert(seated.id(), origin);
                placed.filters.insert(seated.id(), seated);
            }
        }
    }
    Ok(placed)
}

/// The filters of one prio of the plan, by their names there.
type Level<'a> = Vec<(&'a FilterId, &'a Filter)>;

fn levels_by_chain(wanted: &Rechained) -> BTreeMap<ChainId, Vec<Level<'_>>> {
    let mut chains: BTreeMap<ChainId, BTreeMap<Prio, Level<'_>>> = BTreeMap::new();
    for (id, filter) in wanted {
        let level = chains.entry(filter.chain).or_default().entry(filter.prio).or_default();
        level.push((id, filter));
    }
    chains.into_iter().map(|(chain, levels)| (chain, levels.into_values().collect())).collect()
}

/// The filter under the name it will have in the kernel, with the mark that it is ours.
fn seat(filter: &Filter, prio: Prio, at: Option<&Filter>, handles: &mut Handles) -> Filter {
    let slot = Slot { attach: filter.attach, chain: filter.chain, prio };
    let handle = at.map_or_else(|| handles.next(slot, filter.handle), |there| there.handle);
    let cookie = at.and_then(|there| there.cookie).or(filter.cookie);
    Filter {
        prio,
        handle,
        cookie: Some(cookie.unwrap_or_else(|| Cookie::ours(0))),
        ..filter.clone()
    }
}

/// Who sits where in the kernel now.
struct Seats<'a> {
    by_selector: BTreeMap<Selector<'a>, Vec<&'a Filter>>,
    protocols: BTreeMap<Slot, EtherType>,
    foreign: &'a BTreeSet<Slot>,
}

impl<'a> Seats<'a> {
    fn of(observed: &'a Observed) -> Self {
        let mut seats = Self {
            by_selector: BTreeMap::new(),
            protocols: BTreeMap::new(),
            foreign: &observed.foreign,
        };
        for filter in observed.ours.values() {
            seats.by_selector.entry(Selector::of(filter)).or_default().push(filter);
            seats.protocols.insert(Slot::of(filter), filter.protocol);
        }
        seats
    }

    /// The filter with the same selector at this prio.
    fn at(&self, filter: &'a Filter, prio: Prio) -> Option<&'a Filter> {
        self.same(filter).find(|there| there.prio == prio)
    }

    fn same(&self, filter: &'a Filter) -> impl Iterator<Item = &'a Filter> {
        self.by_selector.get(&Selector::of(filter)).into_iter().flatten().copied()
    }

    /// Whether a level can be at `prio` beside what is there.
    fn welcomes(&self, level: &Level<'_>, prio: Prio) -> bool {
        level.iter().all(|(_, filter)| {
            let slot = Slot { attach: filter.attach, chain: filter.chain, prio };
            let protocol = self.protocols.get(&slot);
            !self.foreign.contains(&slot) && protocol.is_none_or(|&it| it == filter.protocol)
        })
    }

    /// Prios of a chain where something sits, ours or not.
    fn taken(&self, chain: ChainId) -> BTreeSet<Prio> {
        let slots = self.protocols.keys().chain(self.foreign);
        slots.filter(|slot| slot.chain == chain).map(|slot| slot.prio).collect()
    }

    fn taken_by_others(&self, chain: ChainId) -> BTreeSet<Prio> {
        self.foreign.iter().filter(|slot| slot.chain == chain).map(|slot| slot.prio).collect()
    }
}

/// Hands out handles that nobody has in their slot.
struct Handles {
    taken: BTreeSet<(Slot, Handle)>,
}

impl Handles {
    fn of(observed: &Observed) -> Self {
        let taken =
            observed.ours.values().map(|filter| (Slot::of(filter), filter.handle)).collect();
        Self { taken }
    }

    /// The plan's own handle, or the next one that is free: a filter on its way out may still have it.
    fn next(&mut self, slot: Slot, wish: Handle) -> Handle {
        let upwards = (wish.get()..=u32::MAX).filter_map(|number| Handle::new(number).ok());
        let free = upwards.into_iter().find(|&handle| !self.taken.contains(&(slot, handle)));
        let handle = free.unwrap_or(Handle::MIN);
        self.taken.insert((slot, handle));
        handle
    }
}

/// One prio for each level, ascending.
fn number(
    chain: ChainId,
    levels: &[Level<'_>],
    seats: &Seats<'_>,
    room: PrioRoom,
) -> Result<Vec<Prio>, NoRoom> {
    let kept = keep_most(&votes(levels, seats));
    let around = fill(levels.len(), &kept, &seats.taken(chain), room);
    // No room between those that stay: everyone gets a new number, and `order` withdraws first.
    let others = seats.taken_by_others(chain);
    let anew = || fill(levels.len(), &BTreeMap::new(), &others, room);
    around.or_else(anew).ok_or_else(|| NoRoom {
        chain,
        levels: levels.len(),
        room: usize::from(room.highest.get()).saturating_sub(others.len()),
    })
}

/// How many filters of a level are at a prio already.
#[derive(Clone, Copy, Debug)]
struct Vote {
    level: usize,
    prio: Prio,
    filters: usize,
}

/// All votes, by level and prio.
fn votes(levels: &[Level<'_>], seats: &Seats<'_>) -> Vec<Vote> {
    let mut votes = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let mut counts: BTreeMap<Prio, usize> = BTreeMap::new();
        for there in level.iter().flat_map(|(_, filter)| seats.same(filter)) {
            *counts.entry(there.prio).or_default() += 1;
        }
        let welcome = counts.into_iter().filter(|&(prio, _)| seats.welcomes(level, prio));
        votes.extend(welcome.map(|(prio, filters)| Vote { level: index, prio, filters }));
    }
    votes
}

/// The ascending choice of votes that lets the most filters stay: the heaviest increasing subsequence.
fn keep_most(votes: &[Vote]) -> BTreeMap<usize, Prio> {
    let mut best: Vec<(usize, Option<usize>)> = Vec::with_capacity(votes.len());
    for (i, vote) in votes.iter().enumerate() {
        let before = (0..i)
            .filter(|&j| votes[j].level < vote.level && votes[j].prio < vote.prio)
            .max_by_key(|&j| best[j].0);
        let weight = before.map_or(0, |j| best[j].0) + vote.filters;
        best.push((weight, before));
    }
    let mut chosen = BTreeMap::new();
    let mut next = (0..votes.len()).max_by_key(|&i| best[i].0);
    while let Some(i) = next {
        chosen.insert(votes[i].level, votes[i].prio);
        next = best[i].1;
    }
    chosen
}

/// Numbers the levels that `kept` does not, each between its neighbours. `None` when a gap is too small.
fn fill(
    levels: usize,
    kept: &BTreeMap<usize, Prio>,
    taken: &BTreeSet<Prio>,
    room: PrioRoom,
) -> Option<Vec<Prio>> {
    let mut prios = Vec::with_capacity(levels);
    let mut below = 0;
    while prios.len() < levels {
        let next = kept.range(prios.len()..).next();
        let end = next.map_or(levels, |(&level, _)| level);
        let above = next.map_or_else(|| room.beyond(), |(_, prio)| u32::from(prio.get()));
        prios.extend(spread(below, above, end - prios.len(), taken)?);
        if let Some((_, &prio)) = next {
            prios.push(prio);
            below = u32::from(prio.get());
        }
    }
    Some(prios)
}

/// `count` free prios between two, evenly, at most [`STRIDE`] apart.
fn spread(below: u32, above: u32, count: usize, taken: &BTreeSet<Prio>) -> Option<Vec<Prio>> {
    let numbers = (below + 1..above).filter_map(|number| u16::try_from(number).ok());
    let free: Vec<Prio> = numbers
        .filter_map(|number| Prio::new(number).ok())
        .filter(|prio| !taken.contains(prio))
        .collect();
    let step = (free.len() / (count + 1)).clamp(1, STRIDE);
    (1..=count).map(|i| free.get(i * step - 1).copied()).collect()
}
