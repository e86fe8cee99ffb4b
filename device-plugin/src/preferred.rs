//! Which of the free devices go best together.
//!
//! Better is, one after the other: fewer devices that the ledger says somebody may still have; fewer NUMA
//! nodes; then, to pack, fewer PFs, or to spread, a more even load on them. Among equals: to pack, the
//! fullest PF that suffices, so that the emptier ones stay whole; then the order of the devices' names.
//!
//! ```text
//! available ∪ must ─► leave out what is held, if there is enough ─► each smallest set of nodes ─► PFs ─► devices
//! ```
//!
//! Every set of nodes of the smallest sufficient size is tried. A node has a handful of those, and with
//! more than [`MOST_NODES`] only the ones with the most devices are looked at.

use std::collections::{BTreeMap, BTreeSet};

use switchdev::PciAddress;

use crate::config::Preference;
use crate::device::DeviceId;

/// A device that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub id: DeviceId,
    /// The memory node it is near to.
    pub numa_node: Option<u16>,
    /// The PF it is on, or is.
    pub pf: PciAddress,
    /// Whether somebody may still have it, whatever kubelet thinks.
    pub held: bool,
    /// Whether it must be chosen.
    pub must: bool,
}

/// How good a choice is; less is better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Devices that may still be held.
    pub held: usize,
    /// NUMA nodes.
    pub nodes: usize,
    /// To pack: the number of PFs. To spread: the devices of each PF, the fullest first.
    pub pfs: Vec<usize>,
}

/// Above this the number of sets of nodes is too large to try them all.
const MOST_NODES: usize = 12;

/// Chooses `size` devices, those that must be among them included; all there are where there are fewer.
#[must_use]
pub fn choose(candidates: &[Candidate], size: usize, preference: Preference) -> Vec<DeviceId> {
    let candidates = usable(candidates, size);
    let nodes = by_node(&candidates);
    let best = node_sets(&nodes, size).into_iter().map(|set| {
        let chosen = within(&set, size, preference);
        (cost(&chosen, preference), broken(&set, &chosen, preference), chosen)
    });
    let best = best
        .min_by_key(|(cost, broken, _)| (cost.clone(), *broken))
        .map(|(_, _, chosen)| chosen)
        .unwrap_or_default();
    let mut ids: Vec<DeviceId> = best.into_iter().map(|candidate| candidate.id).collect();
    ids.sort();
    ids
}

/// What a choice costs.
#[must_use]
pub fn cost(chosen: &[Candidate], preference: Preference) -> Cost {
    let nodes: BTreeSet<_> = chosen.iter().map(|candidate| candidate.numa_node).collect();
    let mut loads: Vec<usize> = by_pf(chosen).into_values().map(|devices| devices.len()).collect();
    loads.sort_unstable_by(|a, b| b.cmp(a));
    let pfs = match preference {
        Preference::Pack => vec![loads.len()],
        Preference::Spread => loads,
    };
    Cost { held: chosen.iter().filter(|candidate| candidate.held).count(), nodes: nodes.len(), pfs }
}

/// To pack: how many devices are left on the PFs that are broken into.
fn broken(set: &[Candidate], chosen: &[Candidate], preference: Preference) -> usize {
    let used: BTreeSet<PciAddress> = chosen.iter().map(|candidate| candidate.pf).collect();
    match preference {
        Preference::Pack => {
            set.iter().filter(|candidate| used.contains(&candidate.pf)).count() - chosen.len()
        }
        Preference::Spread => 0,
    }
}

/// What is free where that is enough; otherwise all that is free must be taken, and some that is held.
fn usable(candidates: &[Candidate], size: usize) -> Vec<Candidate> {
    let without_cost = |candidate: &&Candidate| candidate.must || !candidate.held;
    let free: Vec<Candidate> = candidates.iter().filter(without_cost).cloned().collect();
    if free.len() >= size {
        return free;
    }
    let taken = |candidate: &Candidate| Candidate {
        must: candidate.must || !candidate.held,
        ..candidate.clone()
    };
    candidates.iter().map(taken).collect()
}

type Node = Vec<Candidate>;

fn by_node(candidates: &[Candidate]) -> Vec<Node> {
    let mut nodes: BTreeMap<Option<u16>, Node> = BTreeMap::new();
    for candidate in candidates {
        nodes.entry(candidate.numa_node).or_default().push(candidate.clone());
    }
    let mut nodes: Vec<Node> = nodes.into_values().collect();
    // The sort is stable: nodes with as many devices stay in the order of their numbers.
    nodes.sort_by_key(|node| std::cmp::Reverse((node.iter().any(|c| c.must), node.len())));
    nodes.truncate(MOST_NODES.max(nodes.iter().filter(|node| node.iter().any(|c| c.must)).count()));
    nodes
}

/// The devices of every set of nodes of the smallest size that suffices. Nodes with a device that must
/// be chosen are in each.
fn node_sets(nodes: &[Node], size: usize) -> Vec<Node> {
    let (needed, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().partition(|node| node.iter().any(|c| c.must));
    let base: Node = needed.into_iter().flatten().cloned().collect();
    for extra in 0..=others.len() {
        let sets = subsets(&others, extra)
            .into_iter()
            .map(|more| base.iter().chain(more.into_iter().flatten()).cloned().collect::<Node>());
        let enough: Vec<Node> = sets.filter(|set| set.len() >= size).collect();
        if !enough.is_empty() {
            return enough;
        }
    }
    // There are not as many devices as are asked for.
    vec![nodes.iter().flatten().cloned().collect()]
}

fn subsets<'a>(nodes: &[&'a Node], size: usize) -> Vec<Vec<&'a Node>> {
    match (size, nodes.split_first()) {
        (0, _) => vec![Vec::new()],
        (_, None) => Vec::new(),
        (_, Some((first, rest))) => {
            let mut with = subsets(rest, size - 1);
            with.iter_mut().for_each(|set| set.insert(0, first));
            with.extend(subsets(rest, size));
            with
        }
    }
}

/// The best choice from a set of nodes.
fn within(candidates: &[Candidate], size: usize, preference: Preference) -> Vec<Candidate> {
    let (mut chosen, free): (Vec<Candidate>, Vec<Candidate>) =
        candidates.iter().cloned().partition(|candidate| candidate.must);
    let mut pfs = by_pf(&free);
    while chosen.len() < size {
        let wanted = size - chosen.len();
        let next = match preference {
            Preference::Pack => fullest_that_suffices(&pfs, &chosen, wanted),
            Preference::Spread => emptiest(&pfs, &chosen),
        };
        let Some(devices) = next.and_then(|pf| pfs.get_mut(&pf)) else { break };
        let take = if preference == Preference::Pack { wanted.min(devices.len()) } else { 1 };
        chosen.extend(devices.drain(..take));
        pfs.retain(|_, devices| !devices.is_empty());
    }
    chosen
}

/// A PF that is used already; or the one with the fewest devices of those that have enough; or the one
/// with the most.
fn fullest_that_suffices(
    pfs: &BTreeMap<PciAddress, Vec<Candidate>>,
    chosen: &[Candidate],
    wanted: usize,
) -> Option<PciAddress> {
    let used = |pf: &PciAddress| chosen.iter().any(|candidate| candidate.pf == *pf);
    let rank = |(pf, devices): &(&PciAddress, &Vec<Candidate>)| {
        let suffices = devices.len() >= wanted;
        let fit = if suffices { devices.len() } else { usize::MAX - devices.len() };
        (!used(pf), !suffices, fit)
    };
    pfs.iter().min_by_key(rank).map(|(pf, _)| *pf)
}

/// The PF with the fewest chosen devices; of those the one with the most left.
fn emptiest(
    pfs: &BTreeMap<PciAddress, Vec<Candidate>>,
    chosen: &[Candidate],
) -> Option<PciAddress> {
    let load = |pf: &PciAddress| chosen.iter().filter(|candidate| candidate.pf == *pf).count();
    let rank = |(pf, devices): &(&PciAddress, &Vec<Candidate>)| {
        (load(pf), std::cmp::Reverse(devices.len()))
    };
    pfs.iter().min_by_key(rank).map(|(pf, _)| *pf)
}

fn by_pf(candidates: &[Candidate]) -> BTreeMap<PciAddress, Vec<Candidate>> {
    let mut pfs: BTreeMap<PciAddress, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        pfs.entry(candidate.pf).or_default().push(candidate.clone());
    }
    pfs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// VF `index` of the PF on bus `bus`: buses 1 and 2 are near node 0, 3 and 4 near node 1.
    fn vf(bus: u8, index: u8) -> Candidate {
        let address = PciAddress::new(0, bus, 2, index).unwrap();
        let (pf, numa_node) = (PciAddress::new(0, bus, 0, 0).unwrap(), Some(u16::from(bus > 2)));
        Candidate { id: address.into(), numa_node, pf, held: false, must: false }
    }

    /// As many free VFs on the PFs of buses 1 to 4 as told.
    fn node(free: [u8; 4]) -> Vec<Candidate> {
        (1..)
            .zip(free)
            .flat_map(|(bus, count)| (0..count).map(move |index| vf(bus, index)))
            .collect()
    }

    fn must(mut candidates: Vec<Candidate>, bus: u8, index: u8) -> Vec<Candidate> {
        let id = vf(bus, index).id;
        candidates.iter_mut().filter(|c| c.id == id).for_each(|c| c.must = true);
        candidates
    }

    fn held(mut candidates: Vec<Candidate>, bus: u8, index: u8) -> Vec<Candidate> {
        let id = vf(bus, index).id;
        candidates.iter_mut().filter(|c| c.id == id).for_each(|c| c.held = true);
        candidates
    }

    /// How many devices of each PF are chosen.
    fn chosen(candidates: &[Candidate], size: usize, preference: Preference) -> [usize; 4] {
        let ids = choose(candidates, size, preference);
        let on = |bus: u8| {
            ids.iter().filter(|id| id.as_str().starts_with(&format!("0000:{bus:02x}"))).count()
        };
        [on(1), on(2), on(3), on(4)]
    }

    #[test]
    fn one_node_comes_before_one_pf() {
        assert_eq!(chosen(&node([2, 2, 3, 0]), 4, Preference::Pack), [2, 2, 0, 0]);
    }

    #[test]
    fn packing_takes_the_fullest_pf_that_suffices() {
        assert_eq!(chosen(&node([4, 2, 4, 3]), 2, Preference::Pack), [0, 2, 0, 0]);
        assert_eq!(chosen(&node([4, 2, 4, 3]), 3, Preference::Pack), [0, 0, 0, 3]);
        assert_eq!(chosen(&node([1, 1, 1, 4]), 4, Preference::Pack), [0, 0, 0, 4]);
    }

    #[test]
    fn spreading_loads_the_pfs_of_a_node_evenly() {
        assert_eq!(chosen(&node([4, 4, 4, 4]), 4, Preference::Spread), [2, 2, 0, 0]);
        assert_eq!(chosen(&node([1, 4, 0, 4]), 4, Preference::Spread), [1, 3, 0, 0]);
    }

    #[test]
    fn more_than_a_node_has_is_taken_from_two() {
        assert_eq!(chosen(&node([2, 2, 2, 2]), 6, Preference::Pack), [2, 2, 2, 0]);
        assert_eq!(chosen(&node([2, 2, 2, 2]), 6, Preference::Spread).iter().sum::<usize>(), 6);
    }

    #[test]
    fn what_must_be_chosen_decides_the_node() {
        assert_eq!(chosen(&must(node([4, 4, 4, 1]), 4, 0), 3, Preference::Pack), [0, 0, 2, 1]);
        assert_eq!(chosen(&must(node([4, 4, 4, 2]), 4, 0), 2, Preference::Pack), [0, 0, 0, 2]);
    }

    #[test]
    fn what_may_still_be_held_is_the_last_to_be_taken() {
        let candidates = held(held(node([2, 0, 1, 1]), 1, 0), 1, 1);
        assert_eq!(chosen(&candidates, 2, Preference::Pack), [0, 0, 1, 1]);
        assert_eq!(chosen(&candidates, 3, Preference::Pack), [1, 0, 1, 1]);
    }

    #[test]
    fn fewer_than_asked_for_are_all_taken() {
        assert_eq!(chosen(&node([1, 0, 1, 0]), 5, Preference::Pack), [1, 0, 1, 0]);
        assert_eq!(choose(&[], 2, Preference::Pack), []);
    }

    /// Any node, and any choice that kubelet could make by itself: of the right size, with what it must.
    fn any_choice() -> impl Strategy<Value = (Vec<Candidate>, Vec<Candidate>)> {
        let free = prop::array::uniform4(0..5u8);
        let flags = prop::collection::vec((any::<bool>(), 0..10u8), 16);
        (free, flags, 0..12usize).prop_flat_map(|(free, flags, size)| {
            let mut candidates = node(free);
            for (candidate, (held, must)) in candidates.iter_mut().zip(flags) {
                (candidate.held, candidate.must) = (held, must == 0);
            }
            let (must, rest): (Vec<_>, Vec<_>) = candidates.iter().cloned().partition(|c| c.must);
            let more = size.min(rest.len());
            (Just(candidates), prop::sample::subsequence(rest, more))
                .prop_map(move |(all, others)| (all, must.iter().cloned().chain(others).collect()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_choice_of_kubelet_is_better((candidates, theirs) in any_choice(), spread: bool) {
            let preference = if spread { Preference::Spread } else { Preference::Pack };
            let ids = choose(&candidates, theirs.len(), preference);
            let ours: Vec<Candidate> =
                candidates.iter().filter(|c| ids.contains(&c.id)).cloned().collect();
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert!(candidates.iter().filter(|c| c.must).all(|c| ids.contains(&c.id)));
            prop_assert!(cost(&ours, preference) <= cost(&theirs, preference), "{:?}", ids);
        }
    }
}
