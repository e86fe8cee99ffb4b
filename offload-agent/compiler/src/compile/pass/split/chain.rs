//! Chains, one for every kind of packets that comes to them: by tag and EtherType.
//!
//! A packet that is to be tracked is TCP or UDP over IPv4 or IPv6, and whole; everything else of the entry stays in OVS.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::super::overlap::Index;
use super::{Here, options, protocols, special, split, unread};
use crate::capabilities::Capabilities;
use crate::compile::Input;
use crate::compile::ir::{
    Chain, Does, Effect, Filling, FlowerChain, FlowerEntry, Ingress, Key, KeyField, PortChains,
    Program, Step, Trail,
};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};

/// What a chain's packets are told apart by.
const BASE: [KeyField; 2] = [KeyField::Tpid, KeyField::EthType];
/// A key with no more fields than this may cover many others.
const FEW_FIELDS: usize = 3;

/// The chains, and those of each port.
pub(super) fn chains(
    program: &Program,
    input: &Input<'_>,
) -> (Vec<FlowerChain>, BTreeMap<Ingress, PortChains>) {
    let mut split = Split {
        from: &program.chains,
        capabilities: input.capabilities,
        chains: Vec::new(),
        made_of: Vec::new(),
        known: FxHashMap::default(),
    };
    let mut firsts = Vec::new();
    for (ingress, chains) in &program.ports {
        if let Some(first) = chains.first() {
            split.chain(*first, Key::any());
            firsts.push(ingress);
        }
    }
    let mut next = 0;
    while let Some((from, base)) = split.made_of.get(next).cloned() {
        let special = firsts.get(next).map(|ingress| special::entries(protocols(ingress, input)));
        split.fill(next, from, &base, &special.unwrap_or_default());
        next += 1;
    }
    let mut chains = split.chains;
    options::guard(&mut chains, firsts.len());
    let ports = firsts.into_iter().enumerate().map(|(first, ingress)| {
        (ingress.clone(), PortChains { chains: reachable(first, &chains), uses: Vec::new() })
    });
    let ports = ports.collect();
    (chains, ports)
}

/// The chains that packets get to from this one, which is the first.
fn reachable(first: usize, chains: &[FlowerChain]) -> Vec<usize> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![first]);
    let no_matter = Filling::from([]);
    while let Some(at) = todo.pop() {
        let Some(chain) = chains.get(at).filter(|_| found.insert(at)) else { continue };
        todo.extend(chain.leads_to(&no_matter).map(|(to, _)| to));
    }
    found.into_iter().collect()
}

struct Split<'a> {
    from: &'a [Chain],
    capabilities: &'a Capabilities,
    chains: Vec<FlowerChain>,
    /// Which chain of OpenFlow's view each is, for which kind of packets.
    made_of: Vec<(usize, Key)>,
    known: FxHashMap<(usize, Key), usize>,
}

impl Split<'_> {
    /// The chain for packets of one kind.
    fn chain(&mut self, from: usize, base: Key) -> usize {
        let next = self.chains.len();
        let number = *self.known.entry((from, base.clone())).or_insert(next);
        if number == next
            && let Some(chain) = self.from.get(from)
        {
            self.made_of.push((from, base.clone()));
            self.chains.push(FlowerChain::new(chain.of.clone(), base, chain.arrival));
        }
        number
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
            chain.entries = unread::guarded(filters, here);
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
