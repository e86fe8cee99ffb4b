//! The plugin is killed at random moments while pods hold VFs, some of them in their namespaces.
//!
//! The case kills it a few times, with `LINERATE_LONG=1 hw-tests sim test device-plugin/kills` 200 times, and
//! `hw-tests guest plugin-kills` as often as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use plugin_testkit::kubelet::Registration;
use plugin_testkit::{Plugin, Random};

use super::lab::{Lab, POOL};
use crate::cases::Ctx;
use crate::guest::nicsim::{Nicsim, vf, wait_for_link};
use crate::guest::tool::run;

const VFS: u16 = 7;
const KILLS_OF_THE_CASE: u32 = 12;
const KILLS_OF_THE_LONG_CASE: u32 = 200;
/// The emulated processor needs about this long to start the plugin and have it known.
const LONGEST_LIFE_MS: u64 = 1500;
const MOST_PODS: usize = 4;

pub(super) fn kills(ctx: &mut Ctx) -> anyhow::Result<()> {
    kill_many(ctx, if ctx.long { KILLS_OF_THE_LONG_CASE } else { KILLS_OF_THE_CASE }, 1)
}

/// Kills the plugin so many times; `seed` chooses the moments.
pub fn kill_many(ctx: &Ctx, kills: u32, seed: u64) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(VFS)?;
    let lab = Lab::new(
        ctx,
        Registration::Watcher,
        r#""selectors": [{"pfNames": ["np0"], "linkTypes": ["ether"]}]"#,
    )?;
    let mut story =
        Story { pods: Pods::new(&nic)?, lab, random: Random::new(seed), came: 0, cut_off: 0 };
    for kill in 0..kills {
        story.once().with_context(|| {
            format!("kill {kill} of {kills}, seed {seed}:\n{}", story.lab.dirs.said())
        })?;
        if kill % 10 == 9 {
            println!(
                "{} kills, {} pods came, {} requests were cut off",
                kill + 1,
                story.came,
                story.cut_off
            );
        }
    }
    story.end()
}

struct Story {
    lab: Lab,
    pods: Pods,
    random: Random,
    came: usize,
    cut_off: usize,
}

impl Story {
    /// A start, a life of random length with pods that come and go, a kill, and a look at what is left.
    fn once(&mut self) -> anyhow::Result<()> {
        let mut plugin = self.lab.start()?;
        let life = Duration::from_millis(self.random.below(LONGEST_LIFE_MS));
        if self.random.below(3) > 0 {
            self.lab.healthy(VFS.into())?;
            self.churn(&mut plugin, life)?;
        } else {
            std::thread::sleep(life);
        }
        plugin.kill()?;
        self.check()
    }

    fn churn(&mut self, plugin: &mut Plugin, life: Duration) -> anyhow::Result<()> {
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::sleep(life);
                let ended = plugin.kill();
                killed.store(true, Ordering::Release);
                ended
            });
            while !killed.load(Ordering::Acquire) {
                self.step()?;
            }
            killer.join().map_err(|_| anyhow::anyhow!("the killer panicked"))?
        })
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let held = self.lab.kubelet.held(POOL);
        let leaves = held.len() >= MOST_PODS || (!held.is_empty() && self.random.below(3) == 0);
        if let Some((pod, devices)) = held.iter().next().filter(|_| leaves) {
            devices.iter().try_for_each(|device| self.pods.give_back(device))?;
            return self.lab.kubelet.remove(pod);
        }
        let pod = format!("pod-{}", self.came + self.cut_off);
        match self.lab.kubelet.admit(&pod, POOL, 1) {
            Ok(given) => {
                self.came += 1;
                if self.random.below(2) == 0 {
                    self.pods.take(&given.devices[0])?;
                }
            }
            Err(_) => self.cut_off += 1,
        }
        Ok(())
    }

    /// With no plugin there, what pods hold is recorded and described, each device once.
    fn check(&self) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        for (pod, devices) in self.lab.kubelet.held(POOL) {
            for device in devices {
                ensure!(seen.insert(device.clone()), "{device} was given twice, to {pod} too");
                let info = self.lab.device_info(&device)?;
                ensure!(
                    info["pci"]["pci-address"] == *device,
                    "the device-info of {device} is {info}"
                );
                let representor = info["pci"]["representor-device"].as_str();
                ensure!(
                    representor.is_some_and(|name| name.starts_with("np0r")),
                    "{device}: {info}"
                );
                let entry = self.lab.dirs.ledger().join(format!("{device}.json"));
                ensure!(entry.exists(), "{device} of {pod} is not in the ledger");
            }
        }
        Ok(())
    }

    /// After all of it every VF is in the pool, and no list that kubelet saw was without one.
    fn end(&mut self) -> anyhow::Result<()> {
        let _plugin = self.lab.start()?;
        self.lab.healthy(VFS.into()).context("after the last kill")?;
        let known = self.lab.kubelet.known(POOL).context("no pool")?;
        let short = known.lists.iter().find(|(_, devices)| devices.len() != usize::from(VFS));
        ensure!(short.is_none(), "kubelet was told {short:?}");
        println!("{} pods came, {} requests were cut off", self.came, self.cut_off);
        ensure!(self.came > 0, "no pod came");
        for (pod, devices) in self.lab.kubelet.held(POOL) {
            devices.iter().try_for_each(|device| self.pods.give_back(device))?;
            self.lab.kubelet.remove(&pod)?;
        }
        Ok(())
    }
}

/// The namespaces of pods: one a VF, made once, as a process is dear in the guest.
struct Pods {
    netdevs: BTreeMap<String, String>,
    inside: BTreeSet<String>,
    pod: crate::guest::netns::Netns,
}

impl Pods {
    fn new(nic: &Nicsim) -> anyhow::Result<Self> {
        let netdevs = (0..VFS).map(|index| Ok((nic.vf_address(index)?, vf(index))));
        let netdevs = netdevs.collect::<anyhow::Result<_>>()?;
        Ok(Self { netdevs, inside: BTreeSet::new(), pod: crate::guest::netns::Netns::new("pods")? })
    }

    fn take(&mut self, device: &str) -> anyhow::Result<()> {
        let netdev = self.netdevs.get(device).context("no such VF")?;
        run(&format!("ip link set {netdev} netns {}", self.pod.name()))?;
        self.inside.insert(device.to_owned());
        Ok(())
    }

    fn give_back(&mut self, device: &str) -> anyhow::Result<()> {
        if !self.inside.remove(device) {
            return Ok(());
        }
        let netdev = self.netdevs.get(device).context("no such VF")?;
        self.pod.ip(&format!("link set {netdev} netns 1"))?;
        wait_for_link(netdev)
    }
}
