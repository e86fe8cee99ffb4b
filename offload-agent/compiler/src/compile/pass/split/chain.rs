//! Chains, one for every kind of packets that comes to them: by tag and EtherType.
//!
//! A packet that is to be tracked is TCP or UDP over IPv4 or IPv6, and whole; everything else of the entry stays in OVS.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::overlap::Index;
use super::{Here, split};
use crate::capabilities::Capabilities;
use crate::compile::ir::{
    Chain, Does, Effect, FlowerChain, FlowerEntry, Key, KeyField, Step, Trail,
};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};

/// What a chain's packets are told apart by.
const BASE: [KeyField; 2] = [KeyField::Tpid, KeyField::EthType];
/// A key with no more fields than this may cover many others.
const FEW_FIELDS: usize = 3;

pub(super) fn chains(
    chains: &[Chain],
    special: &[(Match, Reason)],
    capabilities: &Capabilities,
) -> Vec<FlowerChain> {
    let mut split =
        Split { from: chains, capabilities, chains: Vec::new(), known: BTreeMap::new() };
    split.chain(0, Key::any());
    let mut next = 0;
    while let Some((from, base)) = split.todo(next) {
        split.fill(next, from, &base, if next == 0 { special } else { &[] });
        next += 1;
    }
    split.chains
}

struct Split<'a> {
    from: &'a [Chain],
    capabilities: &'a Capabilities,
    chains: Vec<FlowerChain>,
    known: BTreeMap<(usize, Key), usize>,
}

impl Split<'_> {
    /// The chain for packets of one kind.
    fn chain(&mut self, from: usize, base: Key) -> usize {
        let next = self.chains.len();
        let number = *self.known.entry((from, base.clone())).or_insert(next);
        if number == next {
            let arrival = self.from.get(from).map(|chain| chain.arrival).unwrap_or_default();
            self.chains.push(FlowerChain::new(base, arrival));
        }
        number
    }

    fn todo(&self, number: usize) -> Option<(usize, Key)> {
        let entry = self.known.iter().find(|(_, known)| **known == number);
        entry.map(|((from, base), _)| (*from, base.clone()))
    }

    fn fill(&mut self, number: usize, from: usize, base: &Key, special: &[(Match, Reason)]) {
        let Some(chain) = self.from.get(from) else { return };
        let (tracked, capabilities) = (chain.arrival.tracked, self.capabilities);
        let here = Here { base, tracked, capabilities };
        let mut filters = Vec::new();
        let nobody = Rc::new(Trail::default());
        for (takes, reason) in special {
            filters.extend(split(&nobody, takes, &Does::Ovs(reason.clone()), here));
        }
        let mut wide = Wide::default();
        for entry in &chain.entries {
            for (takes, does) in to_track(&entry.takes, &entry.does, tracked) {
                for filter in split(&entry.trail, &takes, &does, here) {
                    let goes = matches!(filter.effect, Effect::Goto { .. });
                    if !goes || !wide.covers(&filter.key) {
                        wide.note(&filter.key);
                        filters.push(self.on_its_way(filter));
                    }
                }
            }
        }
        if let Some(chain) = self.chains.get_mut(number) {
            chain.entries = filters;
        }
    }

    /// A filter that goes to a chain goes to the one for its kind of packets.
    fn on_its_way(&mut self, mut filter: FlowerEntry) -> FlowerEntry {
        if let Effect::Goto { chain, .. } = &mut filter.effect {
            let base = filter.key.only(|field| BASE.contains(&field));
            *chain = self.chain(*chain, base);
        }
        filter
    }
}

/// Keys of few fields so far: what they cover is not worth a chain.
#[derive(Default)]
struct Wide(Index);

impl Wide {
    fn note(&mut self, key: &Key) {
        if key.fields().len() <= FEW_FIELDS {
            self.0.add(key, 0);
        }
    }

    fn covers(&mut self, key: &Key) -> bool {
        self.0.over(key).is_some()
    }
}

fn tracks(does: &Does) -> bool {
    match does {
        Does::Goto { through, .. } => !through.is_empty(),
        Does::Steps(steps) => steps.iter().any(|step| matches!(step, Step::Track(_))),
        Does::Ovs(_) => false,
    }
}

/// The packets that can be tracked, by protocol, and the others.
fn to_track(takes: &Match, does: &Does, tracked: bool) -> Vec<(Match, Does)> {
    if tracked || !tracks(does) {
        return vec![(takes.clone(), does.clone())];
    }
    let mut kinds = Vec::new();
    for ethertype in [0x0800, 0x86dd] {
        for protocol in [6, 17] {
            let kind = Match::any()
                .with(Field::EthType, ethertype)
                .with(Field::NwProto, protocol)
                .with(Field::IpFrag, 0);
            let whole = crate::compile::ir::both(takes, &kind);
            kinds.extend(whole.map(|whole| (whole, does.clone())));
        }
    }
    kinds.push((takes.clone(), Does::Ovs(Reason::NotTracked)));
    kinds
}
