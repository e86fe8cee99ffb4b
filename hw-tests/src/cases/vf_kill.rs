//! The CNI plugin itself, killed or failed at its system calls, and the node the same afterwards to the byte.
//!
//! `strace` first writes down which calls ADD and DEL make, and then meets the plugin when it enters one of them, and kills it, or lets the
//! call fail; the call is not carried out. After a kill the runtime calls DEL or GC, with the pod there or gone, or an agent starts. The
//! node has OVS, nicsim in switchdev mode, and host-local for addresses. A process is dear in the guest, so only [`IN_A_RUN`] calls are
//! tried, another part of them every day, unless all are asked for: `LINERATE_LONG=1 hw-tests sim test --kernel stock vf-kill`.

mod plugin;
mod site;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use self::plugin::{At, Ended, Mishap, is_answer};
use self::site::Site;
use super::{Case, Ctx, Kernels};
use crate::guest::netns::Netns;
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] = &[
    case("vf-kill/killed-anywhere", killed_anywhere),
    case("vf-kill/a-call-fails", a_call_fails),
    case("vf-kill/a-read-of-sysfs-fails", a_read_fails),
];

/// The calls are the same on every kernel.
const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::Only(&[Flavour::Stock]), run }
}

/// So many calls of each kind in every run, other ones each day.
const IN_A_RUN: usize = 4;
/// Fewer calls than any ADD or DEL makes.
const TOO_FEW: usize = 15;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who comes after a plugin that was killed.
#[derive(Clone, Copy, Debug)]
enum Rescuer {
    Del,
    /// The pod's namespace goes first.
    DelWithoutPod,
    /// The runtime lists no attachment any more.
    Gc,
}

const RESCUERS: [Rescuer; 3] = [Rescuer::Del, Rescuer::Gc, Rescuer::DelWithoutPod];

/// The calls that are tried.
fn tried<'a>(ctx: &Ctx, calls: &'a [At]) -> impl Iterator<Item = &'a At> + use<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stride = if ctx.long { 1 } else { calls.len().div_ceil(IN_A_RUN).max(1) };
    let first = usize::try_from(now.as_secs() / DAY.as_secs()).unwrap_or_default() % stride;
    calls.iter().skip(first).step_by(stride)
}

/// What is done to the plugin, and by what it is undone.
#[derive(Clone, Copy)]
struct Trial {
    verb: &'static str,
    mishap: Mishap,
}

impl Trial {
    /// All that must have been before.
    fn prepare(self, site: &Site) -> anyhow::Result<()> {
        if self.verb == "DEL" { site.plugin.done("ADD") } else { Ok(()) }
    }

    /// The calls that it makes. The node is as it was then.
    fn calls(self, site: &Site) -> anyhow::Result<Vec<At>> {
        let _pod = site.pod()?;
        self.prepare(site)?;
        let calls = site.plugin.calls(self.verb, self.mishap)?;
        ensure!(calls.len() > TOO_FEW, "{} made only {} calls", self.verb, calls.len());
        site.plugin.done("DEL")?;
        Ok(calls)
    }

    /// Each call that is to be tried; `afterwards` brings the node back to what it was.
    fn each(
        self,
        ctx: &Ctx,
        site: &Site,
        afterwards: impl Fn(usize, &Ended, Netns) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let before = site.look()?;
        let calls = self.calls(site)?;
        let (mut rounds, mut unhurt) = (0, 0);
        for at in tried(ctx, &calls) {
            let pod = site.pod()?;
            self.prepare(site)?;
            let ended = site.plugin.hurt(self.verb, self.mishap, at)?;
            let told = || format!("{} at {at}: {ended:?}", self.verb);
            afterwards(rounds, &ended, pod).with_context(told)?;
            site.ensure_is(&before).with_context(told)?;
            if ctx.long {
                println!("{}", told());
            }
            rounds += 1;
            unhurt += usize::from(ended == Ended::Unhurt);
        }
        println!("{} {:?} at {rounds} of {} calls", self.verb, self.mishap, calls.len());
        ensure!(unhurt <= rounds / 10, "{unhurt} of {rounds} met no call");
        Ok(())
    }
}

fn killed_anywhere(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    for verb in ["ADD", "DEL"] {
        Trial { verb, mishap: Mishap::Killed }.each(ctx, &site, |round, _, pod| {
            let rescuer = RESCUERS[round % RESCUERS.len()];
            rescue(&site, pod, rescuer).with_context(|| format!("then {rescuer:?}"))
        })?;
    }
    then_an_agent(ctx, &site)
}

fn rescue(site: &Site, pod: Netns, rescuer: Rescuer) -> anyhow::Result<()> {
    match rescuer {
        Rescuer::Del => {
            site.plugin.done("DEL")?;
            pod.ensure_empty()
        }
        Rescuer::Gc => {
            site.plugin.done("GC")?;
            pod.ensure_empty()
        }
        Rescuer::DelWithoutPod => {
            drop(pod);
            site.plugin.done("DEL")
        }
    }
}

/// The agent starts, and gives back what a plugin that was killed left behind: in the middle of its steps, and where the pod is gone.
fn then_an_agent(ctx: &Ctx, site: &Site) -> anyhow::Result<()> {
    let before = site.look()?;
    let trial = Trial { verb: "ADD", mishap: Mishap::Killed };
    let calls = trial.calls(site)?;
    // Half way, which is in the middle of its steps; in the long form a few more.
    let points = if ctx.long { 1..10 } else { 5..6 };
    for at in points.filter_map(|tenth| calls.get(calls.len() * tenth / 10)) {
        let pod = site.pod()?;
        let ended = site.plugin.hurt(trial.verb, trial.mishap, at)?;
        let told = || format!("{} at {at}: {ended:?}, then an agent", trial.verb);
        site.agent_gives_back(ctx).with_context(told)?;
        pod.ensure_empty().with_context(told)?;
        drop(pod);
        site.ensure_is(&before).with_context(told)?;
    }
    let pod = site.pod()?;
    site.plugin.done("ADD")?;
    drop(pod);
    site.agent_gives_back(ctx)?;
    site.ensure_is(&before).context("the pod died, then an agent")
}

fn a_call_fails(ctx: &mut Ctx) -> anyhow::Result<()> {
    each_fails(ctx, Mishap::Failed)
}

fn a_read_fails(ctx: &mut Ctx) -> anyhow::Result<()> {
    each_fails(ctx, Mishap::Unread)
}

/// ADD says so and leaves nothing; DEL says what is left, and succeeds the next time. Where they can do without, they succeed.
fn each_fails(ctx: &Ctx, mishap: Mishap) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    for verb in ["ADD", "DEL"] {
        Trial { verb, mishap }.each(ctx, &site, |_, ended, pod| {
            let cleaned_up = match ended {
                // Who cannot answer is taken for one that failed, and DEL is called.
                Ended::Refused { call, .. } => verb == "ADD" && !is_answer(call),
                Ended::Killed(_) => false,
                // An empty lock is in nobody's way, and goes with the next call.
                Ended::Succeeded(call) => verb == "DEL" && !call.contains(".lock"),
                Ended::Unhurt => verb == "DEL",
            };
            if !cleaned_up {
                site.plugin.done("DEL")?;
            }
            pod.ensure_empty()
        })?;
    }
    Ok(())
}
