//! A small world: packets of three address bits and two protocols, on two attach points, through rulesets
//! of a few rules. Every packet is tried after every single operation.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tc_filter::action::{Gact, Mirred};
use tc_filter::key::EthKey;
use tc_filter::{
    Action, Attach, ChainId, Cookie, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex,
    Mac, Masked, Prio,
};

use super::*;

const HOOKS: [Attach; 2] = [Attach::Ingress(IfIndex(1)), Attach::Ingress(IfIndex(2))];
const PROTOCOLS: [EtherType; 2] = [EtherType::IPV4, EtherType::ARP];
const PLENTY: PrioRoom = PrioRoom { highest: Prio::MAX };

/// A rule of the small world: which packets, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    protocol: EtherType,
    address: Masked<u8>,
    action: Action,
}

impl Rule {
    fn overlaps(&self, other: &Self) -> bool {
        let all = EtherType::ALL;
        let protocol =
            self.protocol == other.protocol || self.protocol == all || other.protocol == all;
        protocol && self.address.overlaps(other.address)
    }

    fn selects_like(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.address == other.address
    }

    fn filter(&self, attach: Attach, chain: ChainId, prio: u16, handle: u32) -> Filter {
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
            .normalized(),
            actions: vec![self.action.clone()],
            hw: HwPolicy::SkipSw,
            cookie: Some(Cookie::ours(u64::from(handle))),
        }
    }
}

/// Rules for each hook, the first one wins; and those of chain 5.
type World = (Vec<Rule>, Vec<Rule>, Vec<Rule>);

/// A plan with compact prios: overlapping rules on different levels, one protocol a level.
fn compile((one, two, deep): &World) -> Filters {
    let goes_deep = |rules: &[Rule]| rules.iter().any(|rule| rule.action == goto());
    let mut filters = Vec::new();
    for (attach, rules) in HOOKS.into_iter().zip([one, two]) {
        filters.extend(levels(rules).into_iter().map(|at| (attach, ChainId::ZERO, at)));
        if goes_deep(rules) {
            let catch_all =
                Rule { protocol: EtherType::ALL, address: Masked::new(0, 0), action: Action::PASS };
            let mut total: Vec<_> = deep.iter().filter(|r| !r.selects_like(&catch_all)).collect();
            total.push(&catch_all);
            let total: Vec<Rule> = total.into_iter().cloned().collect();
            filters.extend(levels(&total).into_iter().map(|at| (attach, DEEP(), at)));
        }
    }
    number(filters)
}

#[expect(non_snake_case, reason = "a constant, but for its checked constructor")]
fn DEEP() -> ChainId {
    ChainId::new(5).unwrap()
}

fn goto() -> Action {
    Action::Gact(Gact::Goto(DEEP()))
}

/// How deep under overlapping rules a rule is, and its protocol: one level each.
type Depth = (usize, EtherType);

fn levels(rules: &[Rule]) -> Vec<(Depth, Rule)> {
    let mut placed: Vec<(Depth, Rule)> = Vec::new();
    for rule in rules {
        let above = placed.iter().filter(|(_, other)| other.overlaps(rule));
        let depth = above.map(|((depth, _), _)| depth + 1).max().unwrap_or(0);
        placed.push(((depth, rule.protocol), rule.clone()));
    }
    placed
}

fn number(filters: Vec<(Attach, ChainId, (Depth, Rule))>) -> Filters {
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
enum Fate {
    Out(IfIndex),
    Dropped,
    Ovs,
    /// A miss in a later chain: OVS drops such a packet.
    Lost,
}

/// A packet of the small world.
#[derive(Clone, Copy, Debug)]
struct Packet {
    hook: Attach,
    protocol: EtherType,
    address: u8,
}

fn every_packet() -> impl Iterator<Item = Packet> {
    HOOKS.into_iter().flat_map(|hook| {
        PROTOCOLS
            .into_iter()
            .flat_map(move |protocol| (0..8).map(move |address| Packet { hook, protocol, address }))
    })
}

fn fate(filters: &Filters, packet: Packet) -> Fate {
    walk(filters, packet, ChainId::ZERO)
}

fn walk(filters: &Filters, packet: Packet, chain: ChainId) -> Fate {
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

fn takes(filter: &Filter, packet: Packet) -> bool {
    let mac = Mac([2, 0, 0, 0, 0, packet.address]);
    (filter.protocol == EtherType::ALL || filter.protocol == packet.protocol)
        && filter.key.eth.dst.is_none_or(|dst| dst.matches(mac))
}

/// The kernel's own rules for an operation (`tc_new_tfilter`, `fl_change`, `tc_del_tfilter`).
fn execute(kernel: &mut Filters, op: &Op) {
    let filter = op.filter();
    let slot = Slot::of(filter);
    let beside = |kernel: &Filters| {
        kernel.values().filter(|f| Slot::of(f) == slot).cloned().collect::<Vec<_>>()
    };
    for there in beside(kernel) {
        assert_eq!(there.protocol, filter.protocol, "one prio has one protocol: {op:?}");
    }
    match op {
        Op::Add(_) => {
            assert!(!kernel.contains_key(&filter.id()), "EEXIST: {op:?}");
            assert!(beside(kernel).iter().all(|f| f.key != filter.key), "same match: {op:?}");
            kernel.insert(filter.id(), filter.clone());
        }
        Op::Replace(_) => {
            let old = kernel.insert(filter.id(), filter.clone()).expect("a filter to replace");
            assert_eq!(old.key, filter.key, "a replacement has the same match");
        }
        Op::Remove(_) => {
            kernel.remove(&filter.id()).expect("ENOENT");
        }
    }
}

fn ours(filters: &Filters) -> Observed {
    Observed { ours: filters.clone(), foreign: BTreeSet::new() }
}

/// The kernel after a first run towards `wanted`.
fn settled(wanted: &Filters, room: PrioRoom) -> Filters {
    let mut kernel = Filters::new();
    let change = plan(wanted, &Observed::default(), room).unwrap();
    change.steps.iter().flatten().for_each(|op| execute(&mut kernel, op));
    kernel
}

/// Runs at most `limit` operations towards `wanted`, trying every packet after each.
fn run(
    kernel: &mut Filters,
    wanted: &Filters,
    room: PrioRoom,
    limit: usize,
    right: &dyn Fn(Packet, Fate) -> bool,
) -> usize {
    let change = plan(wanted, &ours(kernel), room).unwrap();
    let ops: Vec<&Op> = change.steps.iter().flatten().take(limit).collect();
    for op in &ops {
        execute(kernel, op);
        for packet in every_packet() {
            let fate = fate(kernel, packet);
            assert!(right(packet, fate), "{packet:?} {fate:?} after {op:?} of {change:#?}");
        }
    }
    ops.len()
}

fn a_rule() -> impl Strategy<Value = Rule> {
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

fn some_rules(most: usize) -> impl Strategy<Value = Vec<Rule>> {
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

fn a_world() -> impl Strategy<Value = World> {
    let deep = some_rules(4).prop_map(|rules| {
        rules.into_iter().filter(|rule| rule.action != goto()).collect::<Vec<_>>()
    });
    (some_rules(7), some_rules(4), deep)
}

/// Two rulesets, where the second is the first after a few edits, as rulesets change in life.
fn a_change() -> impl Strategy<Value = (World, World)> {
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

fn a_room() -> impl Strategy<Value = PrioRoom> {
    prop_oneof![Just(14u16), Just(24), Just(200), Just(u16::MAX)]
        .prop_map(|highest| PrioRoom { highest: Prio::new(highest).unwrap() })
}

/// The room is enough for any ruleset of the small world, or the case says nothing.
fn fits(world: &World, room: PrioRoom) -> bool {
    plan(&compile(world), &Observed::default(), room).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_meets_its_old_filter_its_new_one_or_ovs(
        (before, after) in a_change(), room in a_room(), killed_after in 0usize..12,
    ) {
        prop_assume!(fits(&before, room) && fits(&after, room));
        let (old, new) = (compile(&before), compile(&after));
        let mut kernel = settled(&old, room);
        let right = |packet, now| now == Fate::Ovs || now == fate(&old, packet) || now == fate(&new, packet);
        // Killed in the middle, then started again: the second run knows nothing of the first.
        run(&mut kernel, &new, room, killed_after, &right);
        run(&mut kernel, &new, room, usize::MAX, &right);
        for packet in every_packet() {
            prop_assert_eq!(fate(&kernel, packet), fate(&new, packet));
        }
        prop_assert_eq!(run(&mut kernel, &new, room, usize::MAX, &right), 0, "a second run has nothing to do");
    }

    #[test]
    fn a_first_run_installs_the_plan_and_nothing_else(world in a_world()) {
        let wanted = compile(&world);
        let kernel = settled(&wanted, PLENTY);
        prop_assert_eq!(kernel.len(), wanted.len());
        for packet in every_packet() {
            prop_assert_eq!(fate(&kernel, packet), fate(&wanted, packet));
        }
    }
}

fn to(port: u32, value: u8, mask: u8) -> Rule {
    Rule {
        protocol: EtherType::IPV4,
        address: Masked::new(value, mask),
        action: Action::Mirred(Mirred::redirect(IfIndex(port))),
    }
}

fn ops_between(before: &[Rule], after: &[Rule]) -> Vec<Op> {
    let world = |rules: &[Rule]| compile(&(rules.to_vec(), Vec::new(), Vec::new()));
    let kernel = settled(&world(before), PLENTY);
    plan(&world(after), &ours(&kernel), PLENTY).unwrap().steps.concat()
}

#[test]
fn one_more_rule_on_top_is_one_operation() {
    let before = [to(1, 0, 1), to(2, 0, 0)];
    let after = [to(3, 0, 3), to(1, 0, 1), to(2, 0, 0)];
    let ops = ops_between(&before, &after);
    assert!(matches!(ops.as_slice(), [Op::Add(_)]), "{ops:?}");
}

#[test]
fn other_actions_replace_the_filter_in_place() {
    let ops = ops_between(&[to(1, 0, 1), to(2, 0, 0)], &[to(4, 0, 1), to(2, 0, 0)]);
    assert!(matches!(ops.as_slice(), [Op::Replace(_)]), "{ops:?}");
}

#[test]
fn one_rule_less_is_one_operation() {
    let ops = ops_between(&[to(3, 0, 3), to(1, 0, 1), to(2, 0, 0)], &[to(1, 0, 1), to(2, 0, 0)]);
    assert!(matches!(ops.as_slice(), [Op::Remove(_)]), "{ops:?}");
}

#[test]
fn another_number_in_the_cookie_is_no_change() {
    let mut renumbered = compile(&(vec![to(1, 0, 1)], Vec::new(), Vec::new()));
    let kernel = settled(&renumbered, PLENTY);
    for filter in renumbered.values_mut() {
        filter.cookie = Some(Cookie::ours(77));
    }
    assert_eq!(plan(&renumbered, &ours(&kernel), PLENTY).unwrap().steps, Vec::<Step>::new());
}

#[test]
fn prios_of_others_are_left_to_them() {
    let wanted = compile(&(vec![to(1, 0, 1), to(2, 0, 0)], Vec::new(), Vec::new()));
    let foreign: BTreeSet<Slot> = (1..=100)
        .map(|prio| Slot { attach: HOOKS[0], chain: ChainId::ZERO, prio: Prio::new(prio).unwrap() })
        .collect();
    let observed = Observed { ours: Filters::new(), foreign: foreign.clone() };
    let placed = plan(&wanted, &observed, PLENTY).unwrap().placed;
    assert!(placed.filters.values().all(|filter| !foreign.contains(&Slot::of(filter))));
}

#[test]
fn more_levels_than_prios_is_an_error_with_both_numbers() {
    let wanted = compile(&(vec![to(1, 0, 3), to(2, 0, 1), to(3, 0, 0)], Vec::new(), Vec::new()));
    let room = PrioRoom { highest: Prio::new(2).unwrap() };
    let error = plan(&wanted, &Observed::default(), room).unwrap_err();
    assert_eq!(error.to_string(), "chain 0 needs 3 prios and the card has room for 2");
}
