//! From what is observed and what is wanted to the steps between: pure.

use super::projection::Projection;
use super::{Change, DefaultRoute, Observed, OffloadPort, Plan, Wanted};
use crate::devlink::EswitchChange;
use crate::driver::Binding;
use crate::error::CardError;
use crate::eswitch::EswitchMode;
use crate::sriov::check_vf_count;

/// Whether VFs must be there when the mode changes, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// VFs are created first, and have no driver while the mode changes.
    VfsFirst,
    /// The mode is changed first, and there are no VFs while it does.
    ModeFirst,
}

/// The steps from `observed` to `wanted`.
///
/// # Errors
/// What can be known to fail is refused here: [`CardError::NoSriov`], [`CardError::TooManyVfs`],
/// [`CardError::NoEswitch`], [`CardError::CarriesDefaultRoute`].
pub fn plan(observed: &Observed, wanted: &Wanted) -> Result<Plan, CardError> {
    check_possible(observed, wanted)?;
    let mut projection = Projection::new(observed);
    reach_mode_and_count(&mut projection, observed, wanted);
    settle_eswitch(&mut projection, wanted);
    switch_offload(&mut projection, wanted);
    bind_vfs(&mut projection, observed, wanted);
    let (pf, pf_name) = (observed.pf.function.address, observed.pf.short_name());
    let plan = Plan { pf, pf_name, steps: projection.into_steps() };
    check_default_route(observed, wanted, &plan)?;
    Ok(plan)
}

fn check_possible(observed: &Observed, wanted: &Wanted) -> Result<(), CardError> {
    let pf = &observed.pf;
    if wanted.vfs > 0 {
        check_vf_count(pf, wanted.vfs)?;
    }
    if wanted.mode == EswitchMode::Switchdev && pf.eswitch.is_none() {
        let driver = pf.function.driver.clone();
        return Err(CardError::NoEswitch { pf: pf.short_name(), driver });
    }
    Ok(())
}

/// A card that needs no change is never refused, whatever it carries.
fn check_default_route(observed: &Observed, wanted: &Wanted, plan: &Plan) -> Result<(), CardError> {
    match &observed.default_route {
        Some(netdev) if wanted.default_route == DefaultRoute::Refuse && !plan.steps.is_empty() => {
            let (pf, netdev) = (plan.pf_name.clone(), netdev.clone());
            Err(CardError::CarriesDefaultRoute { pf, netdev })
        }
        _ => Ok(()),
    }
}

/// `ice` refuses a change of mode while there are VFs (`ice_eswitch_mode_set()`: "Changing eswitch
/// mode is allowed only if there is no VFs created"). `mlx5_core` does not mind, `bnxt_en` wants
/// them (`bnxt_dl_eswitch_mode_set()`), and both make new netdevs for VFs that are bound meanwhile.
fn order_of(driver: Option<&str>) -> Order {
    match driver {
        Some("ice") => Order::ModeFirst,
        _ => Order::VfsFirst,
    }
}

fn reach_mode_and_count(now: &mut Projection, observed: &Observed, wanted: &Wanted) {
    let autoprobe = now.autoprobe;
    let change_mode = now.eswitch.mode != Some(wanted.mode);
    let without_vfs =
        change_mode && order_of(observed.pf.function.driver.as_deref()) == Order::ModeFirst;
    let anew = without_vfs || now.vfs.len() != usize::from(wanted.vfs);
    // A driver that binds a VF as it appears is in the way of a change of mode, of another driver,
    // and of taking back the removal of VFs that had none.
    if anew && (change_mode || wanted.vf_driver.is_some() || !now.vfs.is_empty()) {
        now.plan(Change::DriversAutoprobe(false));
    }
    if anew || change_mode {
        unbind_vfs(now);
    }
    if anew {
        now.plan(Change::VfCount(0));
    }
    if without_vfs {
        now.plan(Change::Eswitch(EswitchChange::Mode(wanted.mode)));
    }
    now.plan(Change::VfCount(wanted.vfs));
    now.plan(Change::Eswitch(EswitchChange::Mode(wanted.mode)));
    now.plan(Change::DriversAutoprobe(autoprobe));
}

/// VFs are unbound before they go, so that taking the removal back binds them again.
fn unbind_vfs(now: &mut Projection) {
    for vf in now.vf_indexes() {
        now.plan(Change::VfBinding(vf, Binding::Unbound));
    }
}

fn settle_eswitch(now: &mut Projection, wanted: &Wanted) {
    if let Some(mode) = wanted.inline_mode {
        now.plan(Change::Eswitch(EswitchChange::InlineMode(mode)));
    }
    if let Some(mode) = wanted.encap_mode {
        now.plan(Change::Eswitch(EswitchChange::EncapMode(mode)));
    }
}

fn switch_offload(now: &mut Projection, wanted: &Wanted) {
    if wanted.mode != EswitchMode::Switchdev {
        return;
    }
    now.plan(Change::HwTcOffload(OffloadPort::Uplink, wanted.hw_tc_offload));
    for vf in now.vf_indexes() {
        now.plan(Change::HwTcOffload(OffloadPort::Representor(vf), wanted.hw_tc_offload));
    }
}

/// VFs come last, when all behind them is as it will be.
fn bind_vfs(now: &mut Projection, observed: &Observed, wanted: &Wanted) {
    for (vf, binding) in now.vf_indexes().into_iter().zip(bindings(observed, wanted)) {
        now.plan(Change::VfBinding(vf, binding));
    }
}

/// What the VFs are to be bound to: the driver that was asked for, else what they were bound to,
/// else what the kernel would have done with new ones.
fn bindings(observed: &Observed, wanted: &Wanted) -> Vec<Binding> {
    let vfs = observed.pf.vfs();
    let autoprobe = observed.pf.sriov.as_ref().is_some_and(|sriov| sriov.drivers_autoprobe);
    match &wanted.vf_driver {
        Some(driver) => vec![Binding::Only(driver.clone()); wanted.vfs.into()],
        None if vfs.len() == usize::from(wanted.vfs) => {
            vfs.iter().map(|vf| Binding::of(&vf.function)).collect()
        }
        None if autoprobe => vec![Binding::Matched; wanted.vfs.into()],
        None => vec![Binding::Unbound; wanted.vfs.into()],
    }
}
