//! The n-th call goes wrong, for every n, and the node is looked at afterwards.

use anyhow::{Context, bail, ensure};
use switchdev::binding::{Fuse, Mishap};

use super::site::Site;
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::node_state::NodeState;

/// More calls than any binding or release makes.
const ENOUGH: usize = 200;
/// Fewer than any makes.
const TOO_FEW: usize = 10;
/// Every so manieth call in the short form: no divisor of how often anything repeats. In memory the library's own tests try them all.
const STRIDE: usize = 31;

/// Who comes after a program that was killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rescuer {
    /// The runtime, with DEL.
    Del,
    /// The agent, going round.
    Agent,
}

/// Whether the pod is still there then.
#[derive(Clone, Copy, Debug)]
enum PodIs {
    There,
    Gone,
}

const AFTERWARDS: [(Rescuer, PodIs); 4] = [
    (Rescuer::Del, PodIs::There),
    (Rescuer::Agent, PodIs::Gone),
    (Rescuer::Agent, PodIs::There),
    (Rescuer::Del, PodIs::Gone),
];

fn stride(ctx: &Ctx) -> usize {
    if ctx.long { 1 } else { STRIDE }
}

/// A fuse that never blows.
pub(super) fn never() -> Fuse {
    Fuse::new(usize::MAX, Mishap::Refused)
}

/// Kills a binding and a release at every call. Who comes then changes with every call.
pub(super) fn each_kill(ctx: &Ctx, site: &Site) -> anyhow::Result<()> {
    let stride = stride(ctx);
    let before = site.look()?;
    let bind = |fuse: &Fuse| {
        let bound = site.bind(&site.wish, fuse);
        ensure!(bound.is_ok() || fuse.fired().is_some(), "{:?}", bound.err());
        Ok(())
    };
    let release = |fuse: &Fuse| {
        site.bind(&site.wish, &never())?;
        // It fails where it was killed.
        let _ = site.release(fuse);
        Ok(())
    };
    for (what, act) in [("ADD", &bind as &dyn Fn(&Fuse) -> anyhow::Result<()>), ("DEL", &release)] {
        let mut rounds = 0;
        loop {
            let n = rounds * stride;
            let fuse = Fuse::new(n, Mishap::Killed);
            let pod = site.pod()?;
            act(&fuse)?;
            let (rescuer, pod_is) = AFTERWARDS[rounds % AFTERWARDS.len()];
            let call = fuse.fired();
            let told =
                || format!("{what} killed at call {n} ({call:?}), {rescuer:?}, pod {pod_is:?}");
            rescue(site, pod, rescuer, pod_is).with_context(told)?;
            site.ensure_is(&before).with_context(told)?;
            if call.is_none() {
                ensure!(n > TOO_FEW, "{what} made only {n} calls");
                println!("{}: {what} killed at {rounds} of at most {n} calls", site.name);
                break;
            }
            rounds += 1;
            ensure!(n < ENOUGH, "{what} makes more than {ENOUGH} calls");
        }
    }
    Ok(())
}

fn rescue(site: &Site, pod: Netns, rescuer: Rescuer, pod_is: PodIs) -> anyhow::Result<()> {
    match pod_is {
        PodIs::Gone => {
            drop(pod);
            site.rescue(rescuer)
        }
        PodIs::There => {
            let bound = site.is_bound()?;
            site.rescue(rescuer)?;
            if bound && matches!(rescuer, Rescuer::Agent) {
                // What is bound to a living pod is the runtime's to end.
                ensure!(site.is_bound()?, "the agent took a living pod's VF");
                site.rescue(Rescuer::Del)?;
            }
            pod.ensure_empty()
        }
    }
}

/// Every call of a binding and of a release fails once. A binding then leaves nothing; a release does so too, or says that something is
/// left and does so the next time.
pub(super) fn each_mishap(ctx: &Ctx, site: &Site, mishap: Mishap) -> anyhow::Result<()> {
    let before = site.look()?;
    for failing in (0..ENOUGH).step_by(stride(ctx)) {
        let fuse = Fuse::new(failing, mishap);
        let pod = site.pod()?;
        let bound = site.bind(&site.wish, &fuse);
        let Some(call) = fuse.fired() else {
            return release_mishaps(ctx, site, &before, mishap, pod);
        };
        let error = bound.err().with_context(|| format!("{call} failed and nobody noticed"))?;
        ensure!(error.to_string().contains("failed on purpose"), "{call}: {error}");
        pod.ensure_empty()?;
        drop(pod);
        site.ensure_is(&before)
            .with_context(|| format!("call {failing} ({call}), {mishap:?}: {error}"))?;
    }
    bail!("a binding makes more than {ENOUGH} calls")
}

/// `pod` has the VF.
fn release_mishaps(
    ctx: &Ctx,
    site: &Site,
    before: &NodeState,
    mishap: Mishap,
    mut pod: Netns,
) -> anyhow::Result<()> {
    for failing in (0..ENOUGH).step_by(stride(ctx)) {
        let fuse = Fuse::new(failing, mishap);
        let released = site.release(&fuse);
        let call = fuse.fired();
        if let Err(error) = released {
            ensure!(error.to_string().contains("failed on purpose"), "{call:?}: {error}");
            site.release(&never())?;
        }
        pod.ensure_empty()?;
        drop(pod);
        let told = || format!("DEL with call {failing} ({call:?}), {mishap:?}");
        site.ensure_is(before).with_context(told)?;
        if call.is_none() {
            return Ok(());
        }
        pod = site.pod()?;
        site.bind(&site.wish, &never())?;
    }
    bail!("a release makes more than {ENOUGH} calls")
}
