//! Whole reconciles against a card that refuses and a kernel that fails, every packet tried after every
//! operation.

use proptest::prelude::*;
use switchdev::tc::{Dump, Fake, FakeCard, Faulty};
use tc_filter::{Action, Cookie, Handle, IfIndex, Prio};

use super::super::Withheld;
use super::super::world::*;
use super::*;

const DEVICES: [IfIndex; 2] = [IfIndex(1), IfIndex(2)];
const ROOM: PrioRoom = PrioRoom { highest: Prio::MAX, free_chains: true };

fn hooks() -> BTreeSet<Attach> {
    HOOKS.into_iter().collect()
}

/// A node whose devices have their qdisc.
fn node(card: FakeCard) -> Fake {
    let mut fake = Fake::new(DEVICES).with_card(card);
    let clsact: Vec<Op> = DEVICES.into_iter().map(Op::AddClsact).collect();
    fake.apply(&clsact).unwrap().into_iter().for_each(|outcome| drop(outcome.unwrap()));
    fake
}

/// A card that refuses a fixed third of all filters, guards and all.
fn moody(seed: u8) -> FakeCard {
    FakeCard::new().refusing(move |filter| refuses(seed, filter).then(|| "not today".to_owned()))
}

fn refuses(seed: u8, filter: &Filter) -> bool {
    let dst = filter.key.eth.dst.map_or(0, |dst| dst.value().0[5] ^ dst.mask().0[5]);
    let pass = u8::from(*filter.actions == [Action::PASS]);
    (dst ^ seed ^ filter.protocol.0.to_be_bytes()[1] ^ (pass << 2)).count_ones() % 3 == 2
}

/// A `Tc` that tries every packet after every operation.
struct Watched {
    fake: Fake,
    right: Box<dyn Fn(Packet, Fate) -> bool + Send>,
}

impl Watched {
    fn try_every_packet(&self, op: &Op) {
        for packet in every_packet() {
            let now = fate_on(&self.fake, packet);
            assert!((self.right)(packet, now), "{packet:?} {now:?} after {op:?}");
        }
    }
}

impl Tc for Watched {
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, TcError> {
        let mut outcomes = Vec::new();
        for op in ops {
            outcomes.extend(self.fake.apply(std::slice::from_ref(op))?);
            self.try_every_packet(op);
        }
        Ok(outcomes)
    }

    fn dump(&mut self, attach: Attach) -> Result<Dump, TcError> {
        self.fake.dump(attach)
    }
}

/// What card and kernel together do to a packet: what the card leaves, software tries from the start.
fn fate_on(fake: &Fake, packet: Packet) -> Fate {
    let in_card = fake.filters().filter(|one| one.in_hw == InHw::Yes);
    let hardware = by_id(in_card.map(|one| &one.filter));
    let in_kernel = fake.filters().filter(|one| one.filter.hw != HwPolicy::SkipSw);
    let software = by_id(in_kernel.map(|one| &one.filter));
    match fate(&hardware, packet) {
        Fate::Ovs => fate(&software, packet),
        done => done,
    }
}

fn by_id<'a>(filters: impl Iterator<Item = &'a Filter>) -> Filters {
    filters.map(|filter| (filter.id(), filter.clone())).collect()
}

fn with_policy(mut filters: Filters, hw: HwPolicy) -> Filters {
    filters.values_mut().for_each(|filter| filter.hw = hw);
    filters
}

/// Runs until done and gives the node back.
fn settle(fake: Fake, wanted: &Filters) -> (Fake, Settled) {
    let mut fake = fake;
    let settled = reconcile(&mut fake, &hooks(), wanted, &mut Refusals::default(), ROOM).unwrap();
    (fake, settled)
}

fn fates(fake: &Fake) -> Vec<Fate> {
    every_packet().map(|packet| fate_on(fake, packet)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_card_that_refuses_steals_no_packet(
        (before, after) in a_change(), seed in 0u8..8, both in any::<bool>(),
    ) {
        // A card that gives up in a later chain goes on in software there, which the fake does not model.
        let hw = if both { HwPolicy::Both } else { HwPolicy::SkipSw };
        let (before, after) = if both { (flat(before), flat(after)) } else { (before, after) };
        let (old, new) = (with_policy(compile(&before), hw), with_policy(compile(&after), hw));
        let (fake, _) = settle(node(moody(seed)), &old);

        let start: BTreeMap<_, _> = every_packet().map(|p| (p, fate_on(&fake, p))).collect();
        let goal = new.clone();
        let right = move |packet, now| now == Fate::Ovs || now == start[&packet] || now == fate(&goal, packet);
        let mut watched = Watched { fake, right: Box::new(right) };
        let mut refusals = Refusals::default();
        reconcile(&mut watched, &hooks(), &new, &mut refusals, ROOM).unwrap();

        for packet in every_packet() {
            let now = fate_on(&watched.fake, packet);
            prop_assert!(now == Fate::Ovs || now == fate(&new, packet), "{packet:?} {now:?}");
        }
        let again = reconcile(&mut watched, &hooks(), &new, &mut refusals, ROOM).unwrap();
        prop_assert_eq!(again.ops, 0, "a second run has nothing to do");
    }

    #[test]
    fn killed_or_failing_at_any_operation_the_next_run_converges(
        (before, after) in a_change(), nth in 0usize..30,
    ) {
        let (old, new) = (compile(&before), compile(&after));
        let (fake, _) = settle(node(FakeCard::new()), &old);
        let mut faulty = Faulty::new(fake, nth, TcError::AnswerLost);
        let _ = reconcile(&mut faulty, &hooks(), &new, &mut Refusals::default(), ROOM);
        let (fake, _) = settle(faulty.into_inner(), &new);
        let want: Vec<Fate> = every_packet().map(|packet| fate(&new, packet)).collect();
        prop_assert_eq!(fates(&fake), want);
        prop_assert_eq!(fake.filters().count(), new.len());
    }
}

/// The same without later chains.
fn flat((mut one, mut two, deep, deeper): World) -> World {
    for rule in one.iter_mut().chain(&mut two).filter(|rule| rule.action == goto()) {
        rule.action = Action::PASS;
    }
    (one, two, deep, deeper)
}

fn one_port(rules: &[Rule]) -> Filters {
    compile(&(rules.to_vec(), Vec::new(), Vec::new(), Vec::new()))
}

#[test]
fn a_refused_filter_is_told_in_the_drivers_words_and_its_packets_go_to_ovs() {
    let wanted = one_port(&[to(1, 0, 1), to(2, 0, 0)]);
    let refuse = |f: &Filter| (f.actions == to(1, 0, 1).actions()).then(|| "no mirred".to_owned());
    let (fake, settled) = settle(node(FakeCard::new().refusing(refuse)), &wanted);
    let packet = |address| Packet { hook: HOOKS[0], protocol: PROTOCOLS[0], address };
    assert_eq!(fate_on(&fake, packet(0)), Fate::Ovs);
    assert_eq!(fate_on(&fake, packet(1)), Fate::Out(IfIndex(2)));
    let why: Vec<&Withheld> = settled.bearable.withheld.values().collect();
    assert_eq!(why, [&Withheld::Refused(Sentence::new("no mirred"))]);
}

#[test]
fn a_full_card_keeps_what_fits_and_steals_nothing() {
    let wanted = one_port(&[to(1, 0, 7), to(2, 1, 7), to(3, 2, 7), to(4, 0, 0)]);
    let (fake, settled) = settle(node(FakeCard::new().capacity(2)), &wanted);
    assert_eq!(fake.filters().count(), 2);
    assert_eq!(settled.bearable.withheld.len(), 2);
    for packet in every_packet() {
        let now = fate_on(&fake, packet);
        assert!(now == Fate::Ovs || now == fate(&wanted, packet), "{packet:?} {now:?}");
    }
}

#[test]
fn filters_of_others_stay_and_are_reported() {
    let mut fake = node(FakeCard::new());
    let theirs = Filter {
        cookie: Some(Cookie::new(b"someone else").unwrap()),
        ..to(9, 3, 7).filter(HOOKS[0], tc_filter::ChainId::ZERO, 1, 1)
    };
    let unmarked = Filter {
        cookie: None,
        handle: Handle::new(2).unwrap(),
        ..to(9, 4, 7).filter(HOOKS[0], tc_filter::ChainId::ZERO, 1, 2)
    };
    fake.apply(&[Op::Add(theirs.clone()), Op::Add(unmarked.clone())]).unwrap();
    let (mut fake, settled) = settle(fake, &one_port(&[to(1, 0, 1)]));
    assert_eq!(settled.foreign.len(), 2);
    flush(&mut fake, &hooks()).unwrap();
    let left: Vec<&Filter> = fake.filters().map(|one| &one.filter).collect();
    assert_eq!(left, [&theirs, &unmarked]);
}

#[test]
fn a_port_that_is_gone_holds_up_no_other() {
    let mut fake = node(FakeCard::new());
    fake.remove_device(DEVICES[0]);
    let wanted = compile(&(vec![to(1, 0, 1)], vec![to(2, 0, 1)], Vec::new(), Vec::new()));
    let (fake, settled) = settle(fake, &wanted);
    assert_eq!(settled.placed.filters.len(), 1);
    assert_eq!(fake.filters().count(), 1);
}

#[test]
fn without_the_right_to_change_tc_the_error_says_so() {
    let wanted = one_port(&[to(1, 0, 1)]);
    // The two dumps come first.
    let mut faulty = Faulty::new(node(FakeCard::new()), 2, TcError::NotPermitted);
    let error = reconcile(&mut faulty, &hooks(), &wanted, &mut Refusals::default(), ROOM);
    assert_eq!(error.unwrap_err(), ReconcileError::Tc(TcError::NotPermitted));
}

#[test]
fn an_operation_that_always_fails_ends_the_run_with_the_kernels_words() {
    let mut fake = Fake::new(DEVICES).with_card(FakeCard::new());
    let wanted = one_port(&[to(1, 0, 1)]);
    let error = reconcile(&mut fake, &hooks(), &wanted, &mut Refusals::default(), ROOM);
    let words = error.unwrap_err().to_string();
    assert!(words.contains("1 of 1 operations") && words.contains("clsact"), "{words}");
}
