//! The planned steps, one operation at a time: every packet is tried after each.

use std::collections::BTreeSet;

use proptest::prelude::*;
use switchdev::tc::Op;
use tc_filter::{ChainId, Cookie, Filter, Prio};

use super::world::*;
use super::*;

/// The kernel's own rules for an operation (`tc_new_tfilter`, `fl_change`, `tc_del_tfilter`).
fn execute(kernel: &mut Filters, op: &Op) {
    match op {
        Op::Add(filter) => {
            assert!(!kernel.contains_key(&filter.id()), "EEXIST: {op:?}");
            let twin = beside(kernel, filter).find(|f| f.key == filter.key);
            assert_eq!(twin, None, "one prio has each match once: {op:?}");
            check_protocol(kernel, filter);
            kernel.insert(filter.id(), filter.clone());
        }
        Op::Replace(filter) => {
            check_protocol(kernel, filter);
            let old = kernel.insert(filter.id(), filter.clone()).expect("a filter to replace");
            assert_eq!(old.key, filter.key, "a replacement has the same match");
        }
        Op::Delete(id) => {
            kernel.remove(id).expect("ENOENT");
        }
        Op::AddClsact(_) | Op::DelClsact(_) => unreachable!("a plan has filters only"),
    }
}

fn beside<'a>(kernel: &'a Filters, filter: &Filter) -> impl Iterator<Item = &'a Filter> {
    let slot = Slot::of(filter);
    kernel.values().filter(move |other| Slot::of(other) == slot)
}

fn check_protocol(kernel: &Filters, filter: &Filter) {
    for other in beside(kernel, filter) {
        assert_eq!(other.protocol, filter.protocol, "one prio has one protocol: {filter:?}");
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

fn a_room() -> impl Strategy<Value = PrioRoom> {
    let highest = prop_oneof![Just(14u16), Just(24), Just(200), Just(u16::MAX)];
    (highest, any::<bool>()).prop_map(|(highest, free_chains)| PrioRoom {
        highest: Prio::new(highest).unwrap(),
        free_chains,
    })
}

/// The room is enough for any ruleset of the small world, or the case says nothing.
fn fits(world: &World, room: PrioRoom) -> bool {
    plan(&compile(world), &Observed::default(), room).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

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

/// Two rulesets that differ behind a `goto` only.
fn a_change_in_the_depths() -> impl Strategy<Value = (World, World)> {
    (a_world(), some_rules(4), some_rules(4)).prop_map(|(before, deep, deeper)| {
        let after = (before.0.clone(), before.1.clone(), only_to_deeper(deep), flat_rules(deeper));
        (before, after)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_in_a_later_chain_sends_no_packet_to_ovs_on_the_way((before, after) in a_change_in_the_depths()) {
        let (old, new) = (compile(&before), compile(&after));
        let mut kernel = settled(&old, PLENTY);
        let right = |packet, now| now == fate(&old, packet) || now == fate(&new, packet);
        run(&mut kernel, &new, PLENTY, usize::MAX, &right);
        prop_assert_eq!(kernel.len(), new.len(), "nothing of the old chains is left");
        prop_assert_eq!(run(&mut kernel, &new, PLENTY, usize::MAX, &right), 0);
    }
}

fn ops_between(before: &[Rule], after: &[Rule]) -> Vec<Op> {
    let world = |rules: &[Rule]| compile(&(rules.to_vec(), Vec::new(), Vec::new(), Vec::new()));
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
    assert!(matches!(ops.as_slice(), [Op::Delete(_)]), "{ops:?}");
}

#[test]
fn another_number_in_the_cookie_is_no_change() {
    let mut renumbered = compile(&(vec![to(1, 0, 1)], Vec::new(), Vec::new(), Vec::new()));
    let kernel = settled(&renumbered, PLENTY);
    for filter in renumbered.values_mut() {
        filter.cookie = Some(Cookie::ours(77));
    }
    assert_eq!(plan(&renumbered, &ours(&kernel), PLENTY).unwrap().steps, Vec::<Step>::new());
}

#[test]
fn prios_of_others_are_left_to_them() {
    let wanted = compile(&(vec![to(1, 0, 1), to(2, 0, 0)], Vec::new(), Vec::new(), Vec::new()));
    let foreign: BTreeSet<Slot> = (1..=100)
        .map(|prio| Slot { attach: HOOKS[0], chain: ChainId::ZERO, prio: Prio::new(prio).unwrap() })
        .collect();
    let observed = Observed { ours: Filters::new(), foreign: foreign.clone() };
    let placed = plan(&wanted, &observed, PLENTY).unwrap().placed;
    assert!(placed.filters.values().all(|filter| !foreign.contains(&Slot::of(filter))));
}

#[test]
fn more_levels_than_prios_is_an_error_with_both_numbers() {
    let wanted =
        compile(&(vec![to(1, 0, 3), to(2, 0, 1), to(3, 0, 0)], Vec::new(), Vec::new(), Vec::new()));
    let room = PrioRoom { highest: Prio::new(2).unwrap(), free_chains: true };
    let error = plan(&wanted, &Observed::default(), room).unwrap_err();
    assert_eq!(error.to_string(), "chain 0 needs 3 prios and the card has room for 2");
}
