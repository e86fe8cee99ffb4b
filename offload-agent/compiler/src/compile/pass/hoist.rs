//! Behind an address translation a packet cannot go to OVS any more. What would have to is kept from getting there: the
//! guard stands in front of the first `ct`, on what no translation changes.
//!
//! ```text
//! chain 0  tcp -> ct(zone=1,nat),goto 1              chain 0  tcp,ip_ttl=0/0xfe -> pass: its TTL runs out
//! chain 1  est,ip_ttl=0/0xfe -> pass: its TTL ..              tcp -> ct(zone=1,nat),goto 1
//! chain 1  est -> dec_ttl,output:2                   chain 1  est -> dec_ttl,output:2
//! ```
//!
//! A guard asks for less in front than it did behind, so it may keep more packets for OVS. If it asks for nothing that was
//! not asked before, nothing is left to track, and the rule that leads there stays in OVS.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::overlap::Index;
use crate::compile::Input;
use crate::compile::ir::{Bound, Effect, FlowerChain, FlowerEntry, FlowerProgram, Key, KeyField};

/// So many guards are worth it; behind more, the rule that leads there stays in OVS.
const MOST_GUARDS: usize = 2048;
/// `TCA_FLOWER_KEY_CT_FLAGS_ESTABLISHED`.
const ESTABLISHED: u128 = 2;

pub(in crate::compile) fn run(program: &mut FlowerProgram, _: &Input<'_>) {
    let mut fronts = Fronts { chains: &program.chains, known: BTreeMap::new() };
    let entries: Vec<Option<Vec<FlowerEntry>>> =
        (0..fronts.chains.len()).map(|at| fronts.rewritten(at)).collect();
    for (chain, entries) in program.chains.iter_mut().zip(entries) {
        if let Some(entries) = entries {
            chain.entries = entries;
        }
    }
}

/// What a chain does with packets that must not come back, by what can be told before they get there, in order.
type Front = Rc<[Ahead]>;

#[derive(Clone)]
struct Ahead {
    key: Key,
    entry: FlowerEntry,
    safe: bool,
}

struct Fronts<'a> {
    chains: &'a [FlowerChain],
    known: BTreeMap<usize, Front>,
}

impl Fronts<'_> {
    /// The entries of a chain, with the guards that those behind need; `None` if they stay as they are.
    fn rewritten(&mut self, at: usize) -> Option<Vec<FlowerEntry>> {
        let chain = self.chains.get(at)?;
        let binds = |entry: &FlowerEntry| matches!(entry.effect, Effect::Goto { chain, .. } if self.binds(chain));
        if chain.arrival.bound == Bound::Free && !chain.entries.iter().any(binds) {
            return None;
        }
        let mut entries = Vec::new();
        for entry in &chain.entries {
            if is_bound(chain, entry) {
                entries.extend(Some(entry.clone()).filter(|entry| !entry.is_guard()));
                continue;
            }
            match entry.effect {
                Effect::Goto { chain: to, .. } if self.binds(to) => {
                    self.guarded(entry, to, &mut entries);
                }
                _ => entries.push(entry.clone()),
            }
        }
        Some(entries)
    }

    fn binds(&self, to: usize) -> bool {
        self.chains.get(to).is_some_and(|chain| chain.arrival.bound != Bound::Free)
    }

    /// A way to packets that must not come back, behind the guards for those that would.
    fn guarded(&mut self, entry: &FlowerEntry, to: usize, entries: &mut Vec<FlowerEntry>) {
        for ahead in self.front(to).iter() {
            let Some(key) = entry.key.and(&ahead.key) else { continue };
            let everything = key == entry.key;
            let pass = || match &ahead.entry.effect {
                Effect::Pass(reason) => FlowerEntry {
                    effect: Effect::Pass(reason.clone()),
                    trail: ahead.entry.trail.clone(),
                    ..entry.clone()
                },
                _ => entry.clone(),
            };
            let filter = if ahead.safe { entry.clone() } else { pass() };
            entries.push(FlowerEntry { key, ..filter });
            if everything {
                if !ahead.safe {
                    // The rule itself leads to OVS then.
                    let effect = entries.last().map(|last| last.effect.clone());
                    if let Some(effect) = effect {
                        entries.push(FlowerEntry { effect, ..entry.clone() });
                    }
                }
                return;
            }
        }
        entries.push(entry.clone());
    }

    /// What a chain does with packets that must not come back.
    fn front(&mut self, at: usize) -> Front {
        if let Some(front) = self.known.get(&at) {
            return front.clone();
        }
        let mut front = Told::default();
        let Some(chain) = self.chains.get(at) else { return Front::default() };
        let chain: &FlowerChain = chain;
        for entry in chain.entries.iter().filter(|entry| is_bound(chain, entry)) {
            let key = entry.key.only(is_stable);
            let whole = key == entry.key;
            match entry.effect {
                Effect::Pass(_) => {
                    let entry = if whole { entry.clone() } else { less_exact(entry) };
                    front.put(Ahead { key, entry, safe: false });
                }
                Effect::Goto { chain: to, .. } => self.behind(entry, &key, to, whole, &mut front),
                Effect::Act(_) if whole => {
                    front.put(Ahead { key, entry: entry.clone(), safe: true });
                }
                Effect::Act(_) => {}
            }
            if front.all.len() > MOST_GUARDS {
                let unsafe_one = front.all.into_iter().find(|ahead| !ahead.safe);
                let all = |one: Ahead| Ahead { key: Key::any(), entry: wider(&one.entry), ..one };
                front = Told { all: unsafe_one.map(all).into_iter().collect(), ..Told::default() };
                break;
            }
        }
        let front = needed(front.all);
        self.known.insert(at, front.clone());
        front
    }

    fn behind(&mut self, entry: &FlowerEntry, key: &Key, to: usize, whole: bool, front: &mut Told) {
        for ahead in self.front(to).iter() {
            let Some(both) = key.and(&ahead.key) else { continue };
            // What is safe behind is safe here only for packets that certainly get there.
            if whole || !ahead.safe {
                let entry = if whole { ahead.entry.clone() } else { less_exact(&ahead.entry) };
                front.put(Ahead { key: both, entry, safe: ahead.safe });
            }
        }
        if whole {
            front.put(Ahead { key: key.clone(), entry: entry.clone(), safe: true });
        }
    }
}

/// A guard that asks for less in front than it did behind. What is said of odd frames still is: their oddity is stable.
fn less_exact(entry: &FlowerEntry) -> FlowerEntry {
    let odd = matches!(&entry.effect, Effect::Pass(reason) if reason.is_marginal());
    if odd { entry.clone() } else { wider(entry) }
}

/// A guard for other packets than those it is about.
fn wider(entry: &FlowerEntry) -> FlowerEntry {
    let effect = match &entry.effect {
        Effect::Pass(reason) => Effect::Pass(reason.with_no_way_back()),
        other => other.clone(),
    };
    FlowerEntry { effect, ..entry.clone() }
}

/// What has been told so far of the packets of a chain.
#[derive(Default)]
struct Told {
    all: Vec<Ahead>,
    index: Index,
}

impl Told {
    /// Puts one more at the end, unless all its packets are told already.
    fn put(&mut self, ahead: Ahead) {
        if self.index.over(&ahead.key).is_none() {
            self.index.add(&ahead.key, self.all.len());
            self.all.push(ahead);
        }
    }
}

/// Leaves out what no guard stands behind, and what only keeps packets from guards that do not want them.
fn needed(front: Vec<Ahead>) -> Front {
    let (mut kept, mut guards) = (Vec::new(), Index::default());
    for ahead in front.into_iter().rev() {
        if !ahead.safe {
            guards.add(&ahead.key, 0);
            kept.push(ahead);
        } else if guards.greatest(&ahead.key).is_some() {
            kept.push(ahead);
        }
    }
    kept.reverse();
    kept.into()
}

/// Whether packets of the entry must not come back.
fn is_bound(chain: &FlowerChain, entry: &FlowerEntry) -> bool {
    match chain.arrival.bound {
        Bound::Free => false,
        Bound::All => true,
        Bound::Established => entry
            .key
            .get(KeyField::CtState)
            .is_none_or(|state| state.mask & ESTABLISHED == 0 || state.value & ESTABLISHED != 0),
    }
}

/// What no translation and no tracking changes.
fn is_stable(field: KeyField) -> bool {
    use KeyField::*;
    !matches!(
        field,
        Ipv4Src | Ipv4Dst | Ipv6Src | Ipv6Dst | SrcPort | DstPort | IcmpType | IcmpCode
    ) && !matches!(field, CtState | CtMark | CtLabel)
}
