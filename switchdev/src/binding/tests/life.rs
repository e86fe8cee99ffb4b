//! Bindings that end well, fail, or are cut off, at every call; and what is left of them.

use proptest::prelude::*;

use super::super::*;
use super::scene::*;
use crate::eswitch::EswitchMode;
use crate::ledger::{Phase, Reservation};

/// More calls than any binding or release makes.
const ENOUGH: usize = 200;

fn worlds() -> [(FakeVf, Wish); 6] {
    [
        (switchdev_vf(), full_wish(EswitchMode::Switchdev)),
        (without_carrier(switchdev_vf()), full_wish(EswitchMode::Switchdev)),
        (legacy_vf(), full_wish(EswitchMode::Legacy)),
        (igb_vf(), Wish { trust: None, ..full_wish(EswitchMode::Legacy) }),
        (unused(igb_vf()), Wish { trust: None, ..full_wish(EswitchMode::Legacy) }),
        (vfio_vf(), Wish { mtu: None, ..full_wish(EswitchMode::Legacy) }),
    ]
}

#[test]
fn a_pod_has_what_was_wished_and_the_ledger_knows() {
    for (vf, wish) in worlds() {
        let mut world = World::new(FakeNode::new(vf));
        let bound = world.bind(&wish, &never()).unwrap();
        assert!(plan(&bound.observed, "net1", &wish).unwrap().is_empty());
        let entry = world.ledger().entry(super::scene::vf()).unwrap().unwrap();
        assert_eq!(entry.record, Some(bound.record.clone()));
        assert_eq!(bound.record.phase, Phase::Bound);
        assert_eq!(bound.record.external[0].outcome["port"], 7);
        assert_eq!(world.outside.0.len(), 2);
    }
}

#[test]
fn what_is_given_back_is_as_it_was() {
    for (vf, wish) in worlds() {
        let mut world = World::new(FakeNode::new(vf));
        let before = world.state();
        world.bind(&wish, &never()).unwrap();
        world.release(&never()).unwrap();
        assert_eq!(world.state(), before);
    }
}

/// Whoever comes after a program that was killed.
#[derive(Debug, Clone, Copy)]
enum Rescuer {
    /// The runtime calls DEL.
    Del,
    /// The pod's namespace goes first, then DEL.
    DelWithoutPod,
    /// The agent starts.
    Agent,
    /// The pod's namespace goes, and the agent goes round.
    AgentWithoutPod,
}

const RESCUERS: [Rescuer; 4] =
    [Rescuer::Del, Rescuer::DelWithoutPod, Rescuer::Agent, Rescuer::AgentWithoutPod];

fn rescue(world: &mut World, rescuer: Rescuer) {
    match rescuer {
        Rescuer::Del | Rescuer::Agent => {}
        Rescuer::DelWithoutPod | Rescuer::AgentWithoutPod => world.node.pod_dies(),
    }
    match rescuer {
        Rescuer::Del | Rescuer::DelWithoutPod => {
            world.release(&never()).unwrap();
        }
        Rescuer::Agent | Rescuer::AgentWithoutPod => {
            let bound = world.node.pod && phase(world) == Some(Phase::Bound);
            let failed: Vec<_> =
                world.collect().into_iter().filter(Collected::is_failure).collect();
            assert!(failed.is_empty(), "{failed:?}");
            if bound {
                // The agent leaves alone what is bound to a living pod: the runtime, which has no
                // answer to its ADD or DEL, will call DEL.
                assert_eq!(phase(world), Some(Phase::Bound));
                world.release(&never()).unwrap();
            }
        }
    }
}

fn phase(world: &World) -> Option<Phase> {
    let entry = world.ledger().entry(super::scene::vf()).unwrap();
    entry.and_then(|entry| entry.record).map(|record| record.phase)
}

/// Kills a binding at its n-th call, for every n, and looks whether `rescuer` makes all as it was.
fn kill_bind(vf: &FakeVf, wish: &Wish, rescuer: Rescuer) {
    for n in 0..ENOUGH {
        let mut world = World::new(FakeNode::new(vf.clone()));
        let before = world.state();
        let fuse = Fuse::new(n, Mishap::Killed);
        let bound = world.bind(wish, &fuse);
        let Some(call) = fuse.fired() else {
            assert!(n > 10, "only {n} calls were made: {bound:?}");
            return;
        };
        rescue(&mut world, rescuer);
        assert_eq!(world.state(), before, "killed at call {n} ({call}), then {rescuer:?}");
    }
    panic!("a binding makes more than {ENOUGH} calls");
}

fn kill_release(vf: &FakeVf, wish: &Wish, rescuer: Rescuer) {
    for n in 0..ENOUGH {
        let mut world = World::new(FakeNode::new(vf.clone()));
        let before = world.state();
        world.bind(wish, &never()).unwrap();
        let fuse = Fuse::new(n, Mishap::Killed);
        // A release that ends before the n-th call is the end of the search.
        let released = world.release(&fuse);
        let Some(call) = fuse.fired() else { return assert!(released.is_ok() && n > 10) };
        rescue(&mut world, rescuer);
        assert_eq!(world.state(), before, "killed at call {n} ({call}), then {rescuer:?}");
    }
    panic!("a release makes more than {ENOUGH} calls");
}

#[test]
fn killed_at_any_call_of_a_binding_the_vf_is_not_lost() {
    for (vf, wish) in worlds() {
        RESCUERS.into_iter().for_each(|rescuer| kill_bind(&vf, &wish, rescuer));
    }
}

#[test]
fn killed_at_any_call_of_a_release_the_vf_is_not_lost() {
    for (vf, wish) in worlds() {
        RESCUERS.into_iter().for_each(|rescuer| kill_release(&vf, &wish, rescuer));
    }
}

/// Every call of a binding fails once: an error that names it, and nothing left.
#[test]
fn a_binding_that_fails_leaves_nothing() {
    for ((vf, wish), mishap) in worlds()
        .into_iter()
        .flat_map(|world| [(world.clone(), Mishap::Refused), (world, Mishap::AnswerLost)])
    {
        for n in 0..ENOUGH {
            let mut world = World::new(FakeNode::new(vf.clone()));
            let before = world.state();
            let fuse = Fuse::new(n, mishap);
            let bound = world.bind(&wish, &fuse);
            let Some(call) = fuse.fired() else { break };
            let error = bound.expect_err(&call).to_string();
            assert!(error.contains("failed on purpose"), "call {n} ({call}): {error}");
            assert_eq!(world.state(), before, "call {n} ({call}), {mishap:?}: {error}");
        }
    }
}

/// Every call of a release fails once: it succeeds all the same, or says that something is left, and
/// then it succeeds the next time.
#[test]
fn a_release_that_fails_can_be_repeated() {
    for ((vf, wish), mishap) in worlds()
        .into_iter()
        .flat_map(|world| [(world.clone(), Mishap::Refused), (world, Mishap::AnswerLost)])
    {
        for n in 0..ENOUGH {
            let mut world = World::new(FakeNode::new(vf.clone()));
            let before = world.state();
            world.bind(&wish, &never()).unwrap();
            let fuse = Fuse::new(n, mishap);
            let released = world.release(&fuse);
            let Some(call) = fuse.fired() else { break };
            match released {
                Ok(_) => {}
                Err(error) => {
                    assert!(error.to_string().contains("failed on purpose"), "{call}: {error}");
                    world.release(&never()).unwrap();
                }
            }
            assert_eq!(world.state(), before, "call {n} ({call}), {mishap:?}");
        }
    }
}

#[test]
fn a_release_is_said_to_have_failed_while_anything_is_left() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    world.node.host_names.insert("np0v0".to_owned());
    let error = world.release(&never()).unwrap_err().to_string();
    assert!(
        error.contains("set the VF's netdev name np0v0: the VF in memory: File exists"),
        "{error}"
    );
    let entry = world.ledger().entry(super::scene::vf()).unwrap().unwrap();
    assert_eq!(entry.record.unwrap().phase, Phase::Releasing);
    world.node.host_names.clear();
    assert!(world.collect().iter().all(|collected| !collected.is_failure()));
    assert_eq!(world.ledger().entry(super::scene::vf()).unwrap(), None);
}

/// What the pod does to its interface is undone with the rest.
#[test]
fn a_vf_that_the_pod_changed_is_given_back_as_it_was() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    let before = world.state();
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    let netdev = world.node.vf.as_mut().unwrap().state.netdev.as_mut().unwrap();
    (netdev.name, netdev.mtu, netdev.alias) = ("np0v0x".into(), 1280, None);
    world.release(&never()).unwrap();
    assert_eq!(world.state(), before);
}

/// The kernel brings the VF of a dead pod back as `dev42` where the pod's name for it is taken.
#[test]
fn a_vf_that_came_back_under_another_name_is_found() {
    let mut world = World::new(FakeNode::new(legacy_vf()));
    world.node.host_names.insert("net1".to_owned());
    let before = world.state();
    world.bind(&full_wish(EswitchMode::Legacy), &never()).unwrap();
    world.node.pod_dies();
    assert_eq!(world.node.vf.as_ref().unwrap().state.netdev.as_ref().unwrap().name, "dev42");
    world.release(&never()).unwrap();
    assert_eq!(world.state(), before);
}

#[test]
fn a_vf_in_a_living_pod_is_left_alone() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    let bound = world.state();
    assert!(world.collect().is_empty());
    assert_eq!(world.state(), bound);
}

#[test]
fn gc_takes_back_what_the_runtime_disowns() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    let before = world.state();
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    let collected =
        world.with(&never(), |binder| binder.collect(&|holder| holder.container != "c1"));
    assert!(matches!(collected[..], [Collected::GivenBack { .. }]), "{collected:?}");
    assert_eq!(world.state(), before);
}

#[test]
fn a_reservation_outlives_the_pod() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    let reservation = Reservation { resource: "linerate.dev/underlay".to_owned() };
    world.ledger().reserve(super::scene::vf(), reservation, std::time::Duration::ZERO).unwrap();
    let before = std::fs::read(world.dir.path().join("0000:01:10.0.json")).unwrap();
    world.bind(&Wish::default(), &never()).unwrap();
    world.release(&never()).unwrap();
    assert_eq!(std::fs::read(world.dir.path().join("0000:01:10.0.json")).unwrap(), before);
}

/// After a start of the node there is nothing of the kernel's to restore; the bridge port is still there.
#[test]
fn after_a_start_of_the_node_only_what_outlives_it_is_taken_back() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    let fresh = world.node.clone();
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    let mut fresh = FakeNode { boot: "another boot".to_owned(), ..fresh };
    fresh.vf.as_mut().unwrap().state.netdev.as_mut().unwrap().name = "other".to_owned();
    world.node = fresh.clone();
    let collected = world.collect();
    assert!(collected[0].to_string().contains("the node was started anew"), "{collected:?}");
    assert_eq!((world.node, world.outside), (fresh, Outside::default()));
}

fn other() -> crate::ledger::Holder {
    crate::ledger::Holder { container: "c2".to_owned(), ..holder() }
}

#[test]
fn a_vf_is_never_in_two_pods() {
    let mut world = World::new(FakeNode::new(legacy_vf()));
    world.bind(&Wish::default(), &never()).unwrap();
    let bound = world.state();
    let second = world.with(&never(), |binder| {
        binder.bind(super::scene::vf(), other(), &Wish::default(), |_| Ok(Vec::new()))
    });
    let error = second.unwrap_err().to_string();
    assert!(error.contains("bound to container c1 as net1, which is still there"), "{error}");
    assert_eq!(world.state(), bound);
}

/// The kubelet gives a VF to the next pod before the DEL of the last one has come: ADD takes it back
/// itself, and the late DEL leaves the new pod alone.
#[test]
fn a_late_del_does_not_take_the_next_pods_vf() {
    let mut world = World::new(FakeNode::new(legacy_vf()));
    world.bind(&full_wish(EswitchMode::Legacy), &never()).unwrap();
    world.node.pod_dies();
    let gone = world.with(&never(), |binder| {
        binder.bind(super::scene::vf(), other(), &Wish::default(), |_| Ok(Vec::new()))
    });
    assert!(gone.unwrap_err().to_string().contains("the pod's network namespace is gone"));
    world.bind(&full_wish(EswitchMode::Legacy), &never()).unwrap_err();
    world.node.pod = true;
    world
        .with(&never(), |binder| {
            binder.bind(super::scene::vf(), other(), &Wish::default(), |_| Ok(Vec::new()))
        })
        .unwrap();
    let bound = world.state();
    let released = world.release(&never()).unwrap();
    assert!(released.to_string().contains("is with container c2 as net1 now"), "{released}");
    assert_eq!(world.state(), bound);
}

/// Without its entry a VF comes home under the name its mark says, and the answer says what is lost.
#[test]
fn without_the_entry_what_the_kernel_shows_is_gone_by() {
    for corrupt in [false, true] {
        for dies in [false, true] {
            let mut world = World::new(FakeNode::new(legacy_vf()));
            world.bind(&full_wish(EswitchMode::Legacy), &never()).unwrap();
            let entry = world.dir.path().join("0000:01:10.0.json");
            if corrupt {
                std::fs::write(&entry, "half an ent").unwrap();
            } else {
                std::fs::remove_file(&entry).unwrap();
            }
            if dies {
                world.node.pod_dies();
            }
            let released = world.release(&never()).unwrap().to_string();
            assert!(released.contains("its ledger entry was missing"), "{released}");
            assert!(!entry.exists());
            let vf = world.node.vf.as_ref().unwrap();
            let netdev = vf.state.netdev.as_ref().unwrap();
            assert_eq!(
                (vf.side, netdev.name.as_str(), &netdev.alias),
                (Side::Host, "np0v0", &None)
            );
            let legacy = vf.state.legacy.as_ref().unwrap();
            assert_eq!((legacy.vlan, legacy.trust, legacy.max_tx_rate), (None, Some(false), 0));
        }
    }
}

#[test]
fn del_of_what_was_never_added_or_is_given_back_succeeds() {
    let mut world = World::new(FakeNode::new(legacy_vf()));
    let before = world.state();
    let released = world.release(&never()).unwrap().to_string();
    assert!(released.contains("nothing is recorded, nothing to give back"), "{released}");
    assert_eq!(world.state(), before);
}

#[test]
fn a_vf_that_was_pulled_is_forgotten() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    world.bind(&Wish::default(), &never()).unwrap();
    world.node.vf = None;
    let released = world.release(&never()).unwrap().to_string();
    assert!(released.contains("VF 0000:01:10.0 is no more"), "{released}");
    assert_eq!(
        (world.ledger().entry(super::scene::vf()).unwrap(), world.outside.0.len()),
        (None, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the VF was, whatever was wished, whenever it was cut off, whoever comes then.
    #[test]
    fn any_vf_is_given_back_as_it_was(
        (vf, wish) in any_vf().prop_flat_map(|vf| (Just(vf.clone()), any_wish(&vf))),
        kill in 0usize..60,
        rescuer in 0usize..4,
    ) {
        let mut world = World::new(FakeNode::new(vf));
        let before = world.state();
        let fuse = Fuse::new(kill, Mishap::Killed);
        let bound = world.bind(&wish, &fuse);
        prop_assert!(bound.is_ok() || fuse.fired().is_some(), "{:?}", bound);
        match (bound, RESCUERS[rescuer]) {
            (Ok(_), Rescuer::Agent) => drop(world.release(&never()).unwrap()),
            (_, rescuer) => rescue(&mut world, rescuer),
        }
        prop_assert_eq!(world.state(), before);
    }
}

/// What somebody took off the bridge of a pod that is alive is there again after a round; the VF stays with the pod.
#[test]
fn what_is_missing_under_a_living_pod_is_put_back() {
    let mut world = World::new(FakeNode::new(switchdev_vf()));
    world.bind(&full_wish(EswitchMode::Switchdev), &never()).unwrap();
    assert!(world.collect().is_empty(), "all is there");
    let attached = world.state();
    world.outside.0.remove("get an address");
    let collected: Vec<String> = world.collect().iter().map(Collected::to_string).collect();
    assert_eq!(collected, ["VF 0000:01:10.0: get an address"]);
    assert_eq!(world.state(), attached);
}
