//! A small world to try filters on: packets of three address bits and two protocols, on two attach points,
//! through rulesets of a few rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tc_filter::action::{Gact, Mirred};
use tc_filter::key::EthKey;
use tc_filter::{
    Action, Attach, ChainId, Cookie, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex,
    Mac, Masked, Prio,
};

use super::{Filters, PrioRoom};

/// Rulesets tried by each property: a few seconds of work. PROPTEST_CASES does not count here.
pub(super) const CASES: u32 = 64;

pub(super) const HOOKS: [Attach; 2] = [Attach::Ingress(IfIndex(1)), Attach::Ingress(IfIndex(2))];
pub(super) const PROTOCOLS: [EtherType; 2] = [EtherType::IPV4, EtherType::ARP];
pub(super) const PLENTY: PrioRoom = PrioRoom { highest: Prio::MAX, free_chains: true };

/// A rule of the small world: which packets, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) protocol: EtherType,
    pub(super) address: Masked<u8>,
    pub(super) action: Action,
}

impl Rule {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let all = EtherType::ALL;
        let protocol =
            self.protocol == other.protocol || self.protocol == all || other.protocol == all;
        protocol && self.address.overlaps(other.address)
    }

    pub(super) fn selects_like(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.address == other.address
    }

    pub(super) fn actions(&self) -> Arc<[Action]> {
        [self.action.clone()].into()
    }

    pub(super) fn filter(&self, attach: Attach, chain: ChainId, prio: u16, handle: u32) -> Filter {
        let mac = |byte| Mac([2, 0, 0, 0, 0, byte]);
        let dst = Masked::new(mac(self.address.value()), Mac([0, 0, 0, 0, 0, self.address.mask()]));
        Filter {
            attach,
            chain,
            prio: Prio::new(prio).unwrap(),
            handle: Handle::new(handle).unwrap(),
            protocol: self.protocol,
            key: FlowerMatch {
                eth: EthKey { dst: Some(dst), src: None },
                ..FlowerMatch::default()
            }
            .normalized()
            .into(),
            actions: self.actions(),
            hw: HwPolicy::SkipSw,
            cookie: Some(Cookie::ours(u64::from(handle))),
        }
    }
}

/// Rules for each hook, the first one wins; those of a later chain; and those of a chain behind that.
pub(super) type World = (Vec<Rule>, Vec<Rule>, Vec<Rule>, Vec<Rule>);

/// A plan with compact prios: overlapping rules on different levels, one protocol a level. A chain's number says nothing
/// of what is in it, so here it depends on something else.
pub(super) fn compile((one, two, deep, deeper): &World) -> Filters {
    let base = 5 + u32::try_from(one.len() % 3).unwrap();
    let numbers = [base, base + 1].map(|number| ChainId::new(number).unwrap());
    let goes = |rules: &[Rule], to: Action| rules.iter().any(|rule| rule.action == to);
    let mut filters = Vec::new();
    for (attach, rules) in HOOKS.into_iter().zip([one, two]) {
        let mut put = |chain: ChainId, rules: &[Rule]| {
            filters.extend(levels(rules).into_iter().map(|at| (attach, chain, at)));
        };
        put(ChainId::ZERO, rules);
        if goes(rules, goto()) {
            put(numbers[0], &total(deep));
            if goes(deep, goto_deeper()) {
                put(numbers[1], &total(deeper));
            }
        }
    }
    let named = filters.into_iter().map(|(attach, chain, (depth, rule))| {
        let action = match rule.action {
            Action::Gact(Gact::Goto(to)) if to == DEEP => Action::Gact(Gact::Goto(numbers[0])),
            Action::Gact(Gact::Goto(_)) => Action::Gact(Gact::Goto(numbers[1])),
            other => other,
        };
        (attach, chain, (depth, Rule { action, ..rule }))
    });
    number(named.collect())
}

/// The rules and a catch-all that passes.
fn total(rules: &[Rule]) -> Vec<Rule> {
    let catch_all =
        Rule { protocol: EtherType::ALL, address: Masked::new(0, 0), action: Action::PASS };
    let others = rules.iter().filter(|rule| !rule.selects_like(&catch_all)).cloned();
    others.chain([catch_all.clone()]).collect()
}

/// What `goto` and `goto_deeper` name until a plan numbers its chains.
const DEEP: ChainId = ChainId::ZERO;

pub(super) fn goto() -> Action {
    Action::Gact(Gact::Goto(DEEP))
}

pub(super) fn goto_deeper() -> Action {
    Action::Gact(Gact::Goto(ChainId::new(1).unwrap()))
}

/// The rules of a chain behind chain 0: they lead to the last one, if anywhere.
pub(super) fn only_to_deeper(mut rules: Vec<Rule>) -> Vec<Rule> {
    let gotos = rules.iter_mut().filter(|rule| rule.action == goto());
    gotos.for_each(|rule| rule.action = goto_deeper());
    rules
}

/// The rules of the last chain.
pub(super) fn flat_rules(rules: Vec<Rule>) -> Vec<Rule> {
    rules.into_iter().filter(|rule| rule.action != goto()).collect()
}

/// How deep under overlapping rules a rule is, and its protocol: one level each.
pub(super) type Depth = (usize, EtherType);

pub(super) fn levels(rules: &[Rule]) -> Vec<(Depth, Rule)> {
    let mut placed: Vec<(Depth, Rule)> = Vec::new();
    for rule in rules {
        let above = placed.iter().filter(|(_, other)| other.overlaps(rule));
        let depth = above.map(|((depth, _), _)| depth + 1).max().unwrap_or(0);
        placed.push(((depth, rule.protocol), rule.clone()));
    }
    placed
}

pub(super) fn number(filters: Vec<(Attach, ChainId, (Depth, Rule))>) -> Filters {
    let mut prios: BTreeMap<(ChainId, Depth), u16> =
        filters.iter().map(|(_, chain, (depth, _))| ((*chain, *depth), 0)).collect();
    for (index, prio) in (1..).zip(prios.values_mut()) {
        *prio = index;
    }
    let with_handle = (1..).zip(filters);
    with_handle
        .map(|(handle, (attach, chain, (depth, rule)))| {
            let filter = rule.filter(attach, chain, prios[&(chain, depth)], handle);
            (filter.id(), filter)
        })
        .collect()
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Out(IfIndex),
    Dropped,
    Ovs,
    /// A miss in a later chain: OVS drops such a packet.
    Lost,
}

/// A packet of the small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packet {
    pub(super) hook: Attach,
    pub(super) protocol: EtherType,
    pub(super) address: u8,
}

pub(super) fn every_packet() -> impl Iterator<Item = Packet> {
    HOOKS.into_iter().flat_map(|hook| {
        PROTOCOLS
            .into_iter()
            .flat_map(move |protocol| (0..8).map(move |address| Packet { hook, protocol, address }))
    })
}

pub(super) fn fate(filters: &Filters, packet: Packet) -> Fate {
    walk(filters, packet, ChainId::ZERO)
}

pub(super) fn walk(filters: &Filters, packet: Packet, chain: ChainId) -> Fate {
    let here = filters.values().filter(|f| f.attach == packet.hook && f.chain == chain);
    let first = here.filter(|filter| takes(filter, packet)).min_by_key(|filter| filter.prio);
    match first.map(|filter| &filter.actions[0]) {
        None if chain == ChainId::ZERO => Fate::Ovs,
        None => Fate::Lost,
        Some(Action::Gact(Gact::Goto(next))) => walk(filters, packet, *next),
        Some(Action::Gact(Gact::Drop)) => Fate::Dropped,
        Some(Action::Mirred(Mirred { to, .. })) => Fate::Out(*to),
        Some(_) => Fate::Ovs,
    }
}

pub(super) fn takes(filter: &Filter, packet: Packet) -> bool {
    let mac = Mac([2, 0, 0, 0, 0, packet.address]);
    (filter.protocol == EtherType::ALL || filter.protocol == packet.protocol)
        && filter.key.eth.dst.is_none_or(|dst| dst.matches(mac))
}

pub(super) fn to(port: u32, value: u8, mask: u8) -> Rule {
    Rule {
        protocol: EtherType::IPV4,
        address: Masked::new(value, mask),
        action: Action::Mirred(Mirred::redirect(IfIndex(port))),
    }
}

pub(super) fn a_rule() -> impl Strategy<Value = Rule> {
    let protocol = prop_oneof![Just(EtherType::IPV4), Just(EtherType::ARP), Just(EtherType::ALL)];
    let action = prop_oneof![
        4 => (1u32..5).prop_map(|to| Action::Mirred(Mirred::redirect(IfIndex(to)))),
        1 => Just(Action::DROP),
        1 => Just(Action::PASS),
        1 => Just(goto()),
    ];
    (protocol, 0u8..8, 0u8..8, action).prop_map(|(protocol, value, mask, action)| Rule {
        protocol,
        address: Masked::new(value, mask),
        action,
    })
}

pub(super) fn some_rules(most: usize) -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(a_rule(), 0..most).prop_map(|rules| {
        let mut distinct: Vec<Rule> = Vec::new();
        for rule in rules {
            if !distinct.iter().any(|other| other.selects_like(&rule)) {
                distinct.push(rule);
            }
        }
        distinct
    })
}

pub(super) fn a_world() -> impl Strategy<Value = World> {
    let (deep, deeper) =
        (some_rules(4).prop_map(only_to_deeper), some_rules(3).prop_map(flat_rules));
    (some_rules(7), some_rules(4), deep, deeper)
}

/// Two rulesets, where the second is the first after a few edits, as rulesets change in life.
pub(super) fn a_change() -> impl Strategy<Value = (World, World)> {
    let edit = (0usize..8, prop::option::of(a_rule()));
    let edited = (a_world(), prop::collection::vec(edit, 1..4)).prop_map(|(before, edits)| {
        let mut after = before.clone();
        for (at, rule) in edits {
            let rules = &mut after.0;
            match rule {
                Some(rule) if !rules.iter().any(|other| other.selects_like(&rule)) => {
                    rules.insert(at.min(rules.len()), rule);
                }
                _ if at < rules.len() => drop(rules.remove(at)),
                _ => {}
            }
        }
        (before, after)
    });
    prop_oneof![edited, (a_world(), a_world())]
}
