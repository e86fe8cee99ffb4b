//! The guards that are needed stay, the others go: nothing in hardware takes a packet from a rule that OVS keeps.
//!
//! Since `split`, every packet of a rule that stays in OVS is under a guard. A guard with no filter behind it that could
//! take its packets is not needed, since a packet without a filter goes to OVS anyway. A filter all of whose packets are
//! under one guard is of no use. On a card without `action pass` there are no guards, and the filters behind one go.
//!
//! ```text
//! #0 tpid=none,eth_type=0x800,ip_proto=6 -> pass: ...     #0 tpid=none,eth_type=0x800,ip_proto=6 -> pass: ...
//! #1 tpid=none,eth_type=0x800 -> output:2                 #1 tpid=none,eth_type=0x800 -> output:2
//! #2 tpid=none,eth_type=0x806 -> pass: ...                #2 settled on br0:1: ...
//! ```

use std::collections::BTreeSet;

use super::overlap::Index;
use crate::compile::Input;
use crate::compile::ir::{
    Effect, FlowerEntry, FlowerProgram, Ingress, KeyField, RuleId, Settled, Unguarded,
};
use crate::compile::verdict::Reason;
use crate::openflow::Masked;

pub(in crate::compile) fn run(program: &mut FlowerProgram, input: &Input<'_>) {
    let can_pass = input.capabilities.pass;
    let mut gone = Vec::new();
    let FlowerProgram { chains, ports, settled, unguarded, .. } = program;
    let firsts: BTreeSet<usize> =
        ports.values().filter_map(|port| port.chains.first().copied()).collect();
    for (at, chain) in chains.iter_mut().enumerate() {
        let mut here = Gone::default();
        let entries = &mut chain.entries;
        if !can_pass {
            without_guards(entries);
        }
        take_out_covered(entries, &mut here);
        let idle = take_out_idle_guards(entries, &mut here);
        if firsts.contains(&at) {
            unguarded.extend(idle.iter().filter_map(|guard| unguard(&chain.of, guard)));
        }
        gone.push(here);
    }
    for (ingress, port) in ports {
        let here: BTreeSet<_> = port.chains.iter().flat_map(|chain| &gone[*chain].0).collect();
        settled.extend(here.into_iter().map(|(rule, reason)| Settled {
            rule: *rule,
            ingress: Some(ingress.clone()),
            reason: reason.clone(),
        }));
    }
    settled.sort();
    settled.dedup();
}

/// What becomes of the packets of entries that are taken out.
#[derive(Default)]
struct Gone(BTreeSet<(RuleId, Reason)>);

impl Gone {
    fn note(&mut self, entry: &FlowerEntry, reason: Reason) {
        self.0.extend(entry.rule().map(|rule| (rule, reason)));
    }
}

/// Turns every filter behind a guard into one more guard; then no guard has anything behind it.
fn without_guards(entries: &mut [FlowerEntry]) {
    for at in 0..entries.len() {
        let (before, rest) = entries.split_at_mut(at);
        let Some(entry) = rest.first_mut().filter(|entry| !entry.is_guard()) else { continue };
        let guard = before.iter().find(|other| other.is_guard() && other.key.overlaps(&entry.key));
        if let Some(guard) = guard {
            entry.effect = Effect::Pass(shadow(guard));
        }
    }
}

/// Why a filter behind this guard is not used.
fn shadow(guard: &FlowerEntry) -> Reason {
    match (&guard.effect, guard.rule()) {
        (Effect::Pass(reason), None) => reason.clone(),
        (_, Some(rule)) => Reason::Shadowed(rule),
        (Effect::Act(_) | Effect::Goto { .. }, None) => Reason::NeverMatches,
    }
}

fn take_out_covered(entries: &mut Vec<FlowerEntry>, gone: &mut Gone) {
    let (mut kept, mut index) = (Vec::<FlowerEntry>::new(), Index::default());
    for entry in std::mem::take(entries) {
        match index.over(&entry.key).and_then(|over| kept.get(over)) {
            None => {
                index.add(&entry.key, kept.len());
                kept.push(entry);
            }
            Some(over) => note_covered(&entry, over, gone),
        }
    }
    *entries = kept;
}

/// What another filter does with all packets of an entry is that filter's business; what a guard keeps, stays in OVS.
fn note_covered(entry: &FlowerEntry, over: &FlowerEntry, gone: &mut Gone) {
    match (&entry.effect, over.is_guard()) {
        (_, false) => {}
        (Effect::Pass(reason), true) => gone.note(entry, reason.clone()),
        (_, true) if over.rule() == entry.rule() => {
            if let Effect::Pass(reason) = &over.effect {
                gone.note(entry, reason.clone());
            }
        }
        (Effect::Act(_) | Effect::Goto { .. }, true) => gone.note(entry, shadow(over)),
    }
}

/// The guards with nothing behind them; they are taken out.
fn take_out_idle_guards(entries: &mut Vec<FlowerEntry>, gone: &mut Gone) -> Vec<FlowerEntry> {
    let (mut kept, mut behind) = (Vec::<FlowerEntry>::new(), Index::default());
    let mut idle = Vec::new();
    for entry in std::mem::take(entries).into_iter().rev() {
        match &entry.effect {
            Effect::Pass(reason) if behind.greatest(&entry.key).is_none() => {
                gone.note(&entry, reason.clone());
                idle.push(entry);
                continue;
            }
            Effect::Pass(_) => {}
            Effect::Act(_) | Effect::Goto { .. } => behind.add(&entry.key, 0),
        }
        kept.push(entry);
    }
    kept.reverse();
    *entries = kept;
    idle
}

/// What is told of the packets that such a guard was for: of many that differ in addresses only, one.
fn unguard(ingress: &Ingress, guard: &FlowerEntry) -> Option<Unguarded> {
    let Effect::Pass(reason) = &guard.effect else { return None };
    let key = guard.key.only(|field| KINDS.contains(&field));
    let cast = guard.key.get(KeyField::DstMac).map(|mac| Masked::new(mac.value, mac.mask & GROUP));
    let key = cast.into_iter().fold(key, |key, cast| key.with_masked(KeyField::DstMac, cast));
    let whole = key == guard.key;
    Some(Unguarded { ingress: ingress.clone(), key, whole, reason: reason.clone() })
}

/// The fields that say of which kind a packet is.
const KINDS: [KeyField; 6] = [
    KeyField::Tpid,
    KeyField::VlanId,
    KeyField::EthType,
    KeyField::IpProto,
    KeyField::Frag,
    KeyField::EncKeyId,
];
/// The bit of an address that is for many.
const GROUP: u128 = 0x0100_0000_0000;
