//! Plans read aloud, and what remains of a card when any one step fails.

use super::*;
use crate::devlink::EswitchChange;
use crate::driver::Binding;
use crate::eswitch::Eswitch;
use crate::inventory::tree::Tree;
use crate::inventory::{Inventory, Sriov, Vf};
use crate::phys_port::VfIndex;

/// A card in memory that minds what drivers mind: VFs that are bound are in the way of a change of
/// mode, and a number of VFs that is not 0 is in the way of another. Fails the `fail_at`-th change.
#[derive(Debug, Clone)]
struct FakeCard {
    observed: Observed,
    /// What a VF looks like.
    vf: Vf,
    changes: usize,
    fail_at: Option<usize>,
}

impl FakeCard {
    fn new(driver: &str) -> Self {
        let tree = Tree::new();
        let pf = tree.pf("0000:01:00.0", 7).driver(driver);
        pf.netdev("np0", 2);
        tree.vf(&pf, 0, "0000:01:10.0");
        let mut pf = Inventory::scan(&tree.sysfs()).unwrap().pfs.remove(0);
        let vf = pf.sriov.as_mut().unwrap().vfs.remove(0);
        pf.sriov.as_mut().unwrap().enabled = 0;
        pf.eswitch = Some(Eswitch { mode: Some(EswitchMode::Legacy), ..Eswitch::default() });
        let observed = Observed { pf, hw_tc_offload: BTreeMap::new(), default_route: None };
        Self { observed, vf, changes: 0, fail_at: None }
    }

    fn with_vfs(driver: &str, bindings: &[Binding]) -> Self {
        let mut card = Self::new(driver);
        card.set_count(u16::try_from(bindings.len()).unwrap()).unwrap();
        (0..).zip(bindings).for_each(|(vf, binding)| card.bind(VfIndex(vf), binding));
        card
    }

    fn sriov(&mut self) -> &mut Sriov {
        self.observed.pf.sriov.as_mut().unwrap()
    }

    fn set_count(&mut self, count: u16) -> Result<(), CardError> {
        let autoprobe = self.sriov().drivers_autoprobe;
        if self.sriov().enabled != 0 && count != 0 && self.sriov().enabled != count {
            return Err(refusal("VFs are there already"));
        }
        if self.sriov().enabled != count {
            self.sriov().enabled = count;
            self.sriov().vfs = (0..count).map(|index| self.new_vf(index, autoprobe)).collect();
        }
        Ok(())
    }

    fn new_vf(&self, index: u16, autoprobe: bool) -> Vf {
        let mut vf = Vf { index: VfIndex(index), ..self.vf.clone() };
        vf.function.driver = autoprobe.then(|| "igbvf".to_owned());
        vf
    }

    fn bind(&mut self, vf: VfIndex, binding: &Binding) {
        let function = &mut self.sriov().vfs[usize::from(vf.0)].function;
        match binding {
            Binding::Unbound => function.driver = None,
            Binding::Matched => {
                function.driver_override = None;
                function.driver = Some("igbvf".to_owned());
            }
            Binding::Only(driver) => {
                function.driver_override = Some(driver.clone());
                function.driver = Some(driver.clone());
            }
        }
    }

    fn set_mode(&mut self, mode: EswitchMode) -> Result<(), CardError> {
        let driver = self.observed.pf.function.driver.clone().unwrap();
        if self.sriov().vfs.iter().any(|vf| vf.function.driver.is_some()) {
            return Err(refusal("VFs are bound"));
        }
        if driver == "ice" && self.sriov().enabled != 0 {
            return Err(refusal("mode change is allowed only if there are no VFs"));
        }
        self.observed.pf.eswitch.as_mut().unwrap().mode = Some(mode);
        self.observed.hw_tc_offload.clear();
        Ok(())
    }

    fn set_offload(&mut self, port: OffloadPort, on: bool) -> Result<(), CardError> {
        self.observed.hw_tc_offload.insert(port, on);
        Ok(())
    }
}

fn refusal(why: &str) -> CardError {
    CardError::not_applied(why.to_owned(), "", "")
}

impl Card for FakeCard {
    fn observe(&mut self) -> Result<Observed, CardError> {
        let mut observed = self.observed.clone();
        let switchdev = observed.pf.eswitch.unwrap().mode == Some(EswitchMode::Switchdev);
        let count = observed.pf.vfs().len();
        // A netdev that was not switched is off; one that is not there is not shown.
        let vfs = (0..).take(count).map(|vf| OffloadPort::Representor(VfIndex(vf)));
        let ports = std::iter::once(OffloadPort::Uplink).chain(vfs).filter(|_| switchdev);
        let shown = ports.map(|p| (p, observed.hw_tc_offload.get(&p).copied().unwrap_or(false)));
        observed.hw_tc_offload = shown.collect();
        Ok(observed)
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        self.changes += 1;
        if self.fail_at == Some(self.changes) {
            return Err(refusal("a fault on purpose"));
        }
        match change {
            Change::DriversAutoprobe(on) => self.sriov().drivers_autoprobe = *on,
            Change::VfCount(count) => self.set_count(*count)?,
            Change::VfBinding(vf, binding) => self.bind(*vf, binding),
            Change::Eswitch(EswitchChange::Mode(mode)) => self.set_mode(*mode)?,
            Change::Eswitch(EswitchChange::InlineMode(mode)) => {
                self.observed.pf.eswitch.as_mut().unwrap().inline_mode = Some(*mode);
            }
            Change::Eswitch(EswitchChange::EncapMode(mode)) => {
                self.observed.pf.eswitch.as_mut().unwrap().encap_mode = Some(*mode);
            }
            Change::HwTcOffload(port, on) => self.set_offload(*port, *on)?,
        }
        Ok(())
    }
}

fn steps(card: &mut FakeCard, wanted: &Wanted) -> String {
    plan(&card.observe().unwrap(), wanted).unwrap().to_string()
}

fn check(mut card: FakeCard, wanted: &Wanted, lines: &[&str]) {
    let text = steps(&mut card, wanted);
    let found: Vec<&str> =
        text.lines().skip(1).map(|line| line.split_once(". ").unwrap().1).collect();
    assert_eq!(found, lines);
    let plan = plan(&card.observe().unwrap(), wanted).unwrap();
    apply(&mut card, &plan, wanted).unwrap();
    assert_eq!(steps(&mut card, wanted), "PF 0000:01:00.0 (np0): nothing to do\n");
}

#[test]
fn vfs_are_kept_unbound_while_the_mode_changes() {
    let wanted = Wanted { vf_driver: Some("nicsim".to_owned()), ..Wanted::switchdev(2) };
    check(
        FakeCard::new("nicsim"),
        &wanted,
        &[
            "keep new VFs from the kernel's drivers",
            "create 2 VFs",
            "set the e-switch to mode switchdev",
            "offer new VFs to the kernel's drivers",
            "switch on hw-tc-offload of the uplink",
            "switch on hw-tc-offload of the representor of VF 0",
            "switch on hw-tc-offload of the representor of VF 1",
            "bind VF 0 to driver nicsim",
            "bind VF 1 to driver nicsim",
        ],
    );
}

#[test]
fn vfs_in_use_are_unbound_and_bound_as_they_were() {
    let card =
        FakeCard::with_vfs("mlx5_core", &[Binding::Matched, Binding::Only("vfio-pci".to_owned())]);
    check(
        card,
        &Wanted::switchdev(2),
        &[
            "unbind VF 0 from its driver",
            "unbind VF 1 from its driver",
            "set the e-switch to mode switchdev",
            "switch on hw-tc-offload of the uplink",
            "switch on hw-tc-offload of the representor of VF 0",
            "switch on hw-tc-offload of the representor of VF 1",
            "bind VF 0 to the kernel's choice of driver",
            "bind VF 1 to driver vfio-pci",
        ],
    );
}

#[test]
fn ice_changes_its_mode_while_it_has_no_vfs() {
    check(
        FakeCard::with_vfs("ice", &[Binding::Matched]),
        &Wanted::switchdev(1),
        &[
            "keep new VFs from the kernel's drivers",
            "unbind VF 0 from its driver",
            "remove all VFs",
            "set the e-switch to mode switchdev",
            "create 1 VF",
            "offer new VFs to the kernel's drivers",
            "switch on hw-tc-offload of the uplink",
            "switch on hw-tc-offload of the representor of VF 0",
            "bind VF 0 to the kernel's choice of driver",
        ],
    );
}

#[test]
fn the_first_vfs_of_a_legacy_card_take_one_step() {
    check(FakeCard::new("igb"), &Wanted::legacy(4), &["create 4 VFs"]);
}

#[test]
fn inline_and_encap_come_after_the_mode() {
    let wanted = Wanted {
        inline_mode: Some(InlineMode::Transport),
        encap_mode: Some(EncapMode::Basic),
        ..Wanted::switchdev(0)
    };
    check(
        FakeCard::new("mlx5_core"),
        &wanted,
        &[
            "set the e-switch to mode switchdev",
            "set the e-switch to inline-mode transport",
            "set the e-switch to encap-mode basic",
            "switch on hw-tc-offload of the uplink",
        ],
    );
}

/// What a plan may not leave changed: inline and encap modes that the driver did not report before
/// cannot be taken back, so they are not part of this.
fn assert_failures_leave_no_trace(card: &FakeCard, wanted: &Wanted) {
    let before = card.clone().observe().unwrap();
    let plan = plan(&before, wanted).unwrap();
    for n in 1..=plan.steps.len() {
        let mut card = FakeCard { fail_at: Some(n), ..card.clone() };
        card.changes = 0;
        let error = apply(&mut card, &plan, wanted).unwrap_err().to_string();
        assert!(error.contains(&format!("step {n} of {}", plan.steps.len())), "{error}");
        assert!(error.ends_with("what was done has been taken back"), "{error}");
        let after = card.observe().unwrap();
        assert_eq!(bindings(&after), bindings(&before), "step {n}\n{plan}");
        assert_eq!(after.hw_tc_offload, before.hw_tc_offload, "step {n}");
        assert_eq!(after.pf.eswitch, before.pf.eswitch, "step {n}");
        let autoprobe = |o: &Observed| o.pf.sriov.as_ref().unwrap().drivers_autoprobe;
        assert_eq!(autoprobe(&after), autoprobe(&before), "step {n}");
    }
}

fn bindings(observed: &Observed) -> Vec<Binding> {
    observed.pf.vfs().iter().map(|vf| Binding::of(&vf.function)).collect()
}

#[test]
fn whichever_step_fails_the_card_is_as_it_was() {
    let named = Wanted { vf_driver: Some("nicsim".to_owned()), ..Wanted::switchdev(3) };
    assert_failures_leave_no_trace(&FakeCard::new("nicsim"), &named);
    let used = [Binding::Matched, Binding::Unbound, Binding::Only("vfio-pci".to_owned())];
    for driver in ["mlx5_core", "ice"] {
        let card = FakeCard::with_vfs(driver, &used);
        assert_failures_leave_no_trace(&card, &Wanted::switchdev(3));
        assert_failures_leave_no_trace(&card, &Wanted::switchdev(5));
        assert_failures_leave_no_trace(&card, &Wanted::legacy(0));
    }
}

#[test]
fn what_cannot_be_taken_back_is_told() {
    let wanted = Wanted::switchdev(2);
    let mut card = FakeCard::with_vfs("mlx5_core", &[Binding::Matched]);
    let plan = plan(&card.observe().unwrap(), &wanted).unwrap();
    let error = apply(&mut Broken(&mut card, 3), &plan, &wanted).unwrap_err().to_string();
    assert!(error.contains("not all could be taken back; "), "{error}");
}

/// A card that takes a few changes and then no more.
struct Broken<'a>(&'a mut FakeCard, usize);

impl Card for Broken<'_> {
    fn observe(&mut self) -> Result<Observed, CardError> {
        self.0.observe()
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        if self.0.changes >= self.1 {
            return Err(refusal("broken"));
        }
        self.0.change(change)
    }
}

#[test]
fn a_card_that_says_yes_and_does_not_is_found_out() {
    let wanted = Wanted::legacy(2);
    let mut card = FakeCard::new("igb");
    let plan = plan(&card.observe().unwrap(), &wanted).unwrap();
    let error = apply(&mut Deaf(&mut card), &plan, &wanted).unwrap_err().to_string();
    assert!(error.contains("not as wanted after all steps: create 2 VFs"), "{error}");
}

/// A card that acknowledges everything and does nothing.
struct Deaf<'a>(&'a mut FakeCard);

impl Card for Deaf<'_> {
    fn observe(&mut self) -> Result<Observed, CardError> {
        self.0.observe()
    }

    fn change(&mut self, _: &Change) -> Result<(), CardError> {
        Ok(())
    }
}

fn refused(observed: &Observed, wanted: &Wanted) -> String {
    plan(observed, wanted).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_is_refused_before_the_first_step() {
    let mut card = FakeCard::new("igb");
    let mut observed = card.observe().unwrap();
    let error = refused(&observed, &Wanted::switchdev(8));
    assert!(
        error.starts_with("PF 0000:01:00.0 (np0): 8 VFs were asked for, it can have 7"),
        "{error}"
    );
    observed.pf.eswitch = None;
    let error = refused(&observed, &Wanted::switchdev(1));
    assert!(
        error.starts_with("PF 0000:01:00.0 (np0) has no e-switch that devlink shows (driver igb)"),
        "{error}"
    );
    observed.pf.sriov = None;
    assert!(refused(&observed, &Wanted::legacy(1)).contains("has no SR-IOV"));
}

#[test]
fn the_default_routes_card_is_left_alone_without_an_explicit_word() {
    let mut card = FakeCard::new("mlx5_core");
    card.observed.default_route = Some("bond0".to_owned());
    let observed = card.observe().unwrap();
    let error = refused(&observed, &Wanted::switchdev(1));
    assert!(error.contains("carries the node's default route (over bond0)"), "{error}");
    let accept = Wanted { default_route: DefaultRoute::Accept, ..Wanted::switchdev(1) };
    assert!(!plan(&observed, &accept).unwrap().steps.is_empty());
    assert!(
        plan(&observed, &Wanted::legacy(0)).unwrap().steps.is_empty(),
        "nothing to do is no risk"
    );
}
