//! VFs given to pods and taken back, with the real kernel: the node is the same afterwards to the byte.
//!
//! Every call to the kernel and to the ledger is in turn the last one before a kill, refused, or loses its answer; then the runtime calls
//! DEL, or the agent goes round, with the pod there or gone. The faults are the library's own ([`switchdev::binding::Fuse`]), so a
//! round takes milliseconds of the kernel and no process but those of the pod and of the look afterwards. `make test` tries some of the
//! calls; all of them with `LINERATE_LONG=1 hw-tests sim test vf-ledger`.

mod rounds;
mod site;

use anyhow::{Context, ensure};
use switchdev::binding::{Mishap, Released, Wish};

use self::rounds::{Rescuer, each_kill, each_mishap, never};
use self::site::Site;
use super::{Case, Ctx, Kernels};
use crate::guest::tool::run;
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] = &[
    stock("vf-ledger/given-back-as-it-was", given_back_as_it_was),
    stock("vf-ledger/killed-anywhere-in-switchdev-mode", killed_in_switchdev_mode),
    stock("vf-ledger/killed-anywhere-in-legacy-mode", killed_in_legacy_mode),
    stock("vf-ledger/killed-anywhere-with-igb", killed_with_igb),
    stock("vf-ledger/each-call-fails-once", each_call_fails_once),
    stock("vf-ledger/the-pod-dies", the_pod_dies),
    stock("vf-ledger/without-the-entry", without_the_entry),
    stock("vf-ledger/the-pod-changes-its-vf", the_pod_changes_its_vf),
];

/// What differs between kernels is in other subjects.
const fn stock(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::Only(&[Flavour::Stock]), run }
}

fn given_back_as_it_was(ctx: &mut Ctx) -> anyhow::Result<()> {
    for site in [Site::switchdev, Site::legacy, Site::igb, Site::igb_unused, Site::vfio] {
        let site = site(ctx)?;
        let before = site.look()?;
        let pod = site.pod()?;
        site.bind(&site.wish, &never()).with_context(|| site.name)?;
        site.release(&never())?;
        drop(pod);
        site.ensure_is(&before)?;
    }
    Ok(())
}

fn killed_in_switchdev_mode(ctx: &mut Ctx) -> anyhow::Result<()> {
    each_kill(ctx, &Site::switchdev(ctx)?)
}

fn killed_in_legacy_mode(ctx: &mut Ctx) -> anyhow::Result<()> {
    each_kill(ctx, &Site::legacy(ctx)?)
}

fn killed_with_igb(ctx: &mut Ctx) -> anyhow::Result<()> {
    each_kill(ctx, &Site::igb(ctx)?)
}

fn each_call_fails_once(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::switchdev(ctx)?;
    each_mishap(ctx, &site, Mishap::Refused)?;
    each_mishap(ctx, &site, Mishap::AnswerLost)
}

/// The namespace goes while the VF is in it; where the pod's name for it is taken on the host, the kernel calls it otherwise.
fn the_pod_dies(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::switchdev(ctx)?;
    let before = site.look()?;
    for (taken, rescuer) in [
        (false, Rescuer::Del),
        (true, Rescuer::Del),
        (false, Rescuer::Agent),
        (true, Rescuer::Agent),
    ] {
        let pod = site.pod()?;
        site.bind(&site.wish, &never())?;
        if taken {
            run("ip link add net1 type dummy")?;
        }
        drop(pod);
        let rescued = site.rescue(rescuer);
        if taken {
            run("ip link del net1")?;
        }
        rescued?;
        site.ensure_is(&before)?;
    }
    Ok(())
}

fn without_the_entry(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::switchdev(ctx)?;
    let before = names()?;
    for dies in [false, true] {
        let pod = site.pod()?;
        site.bind(&Wish::default(), &never())?;
        std::fs::remove_file(site.entry_path())?;
        let pod = if dies {
            drop(pod);
            site.wait_for_vf_at_home()?;
            None
        } else {
            Some(pod)
        };
        let released: Released = site.release(&never())?;
        ensure!(released.to_string().contains("its ledger entry was missing"), "{released}");
        site.sweep_outside();
        drop(pod);
        let after = names()?;
        ensure!(after == before, "links {after:?}, not {before:?}");
    }
    Ok(())
}

fn names() -> anyhow::Result<Vec<String>> {
    let all = switchdev::link::Links::open()?.all()?;
    Ok(all.into_iter().map(|link| link.name).collect())
}

/// A pod with the right to do so renames its interface, changes it, sets it up and down.
fn the_pod_changes_its_vf(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::switchdev(ctx)?;
    let before = site.look()?;
    let pod = site.pod()?;
    site.bind(&site.wish, &never())?;
    for change in [
        "addr add 198.51.100.1/24 dev net1",
        "link set net1 down",
        "link set net1 name mine",
        "link set mine mtu 1300 alias changed up",
    ] {
        pod.ip(change)?;
    }
    site.release(&never())?;
    drop(pod);
    site.ensure_is(&before)
}
