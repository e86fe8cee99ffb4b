//! The plugin is killed at random moments while pods come, go and hold devices.
//!
//! `PLUGIN_KILLS` says how often; 200 is the default. Each kill is followed by a start and a look at what
//! must be so: no device lost, none given twice, the device-info of what pods hold intact.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use node::{Node, POOL};
use plugin_testkit::Random;
use plugin_testkit::kubelet::Registration;

const KILLS: u32 = 200;
const DEVICES: usize = 8;
/// The plugin is killed within so many microseconds after it was started, or after it was well.
const LONGEST_LIFE: u64 = 120_000;

#[test]
fn kills_lose_no_device_and_give_none_twice() {
    let kills = std::env::var("PLUGIN_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seed = std::env::var("PLUGIN_SEED").map_or(1, |text| text.parse().unwrap());
    println!("PLUGIN_KILLS={kills} PLUGIN_SEED={seed}");
    let node = Node::new(Registration::Watcher);
    let mut random = Random::new(seed);
    let mut pods = Pods::default();
    for kill in 0..kills {
        let mut plugin = node.start(&[]);
        if random.below(2) == 0 {
            // In the middle of its first look or of a registration.
            std::thread::sleep(Duration::from_micros(random.below(LONGEST_LIFE)));
        } else {
            node.healthy(DEVICES);
            pods.churn_until_killed(&node, &mut plugin, &mut random);
        }
        plugin.kill().unwrap();
        pods.check_files(&node, kill);
    }
    let _plugin = node.start(&[]);
    node.healthy(DEVICES);
    pods.check_lists(&node);
    pods.check_bound(&node);
    println!("{} pods came, {} requests were cut off", pods.came, pods.cut_off);
    assert!(
        pods.came > 0 && pods.cut_off > 0,
        "{} came, {} were cut off: try other moments",
        pods.came,
        pods.cut_off
    );
}

#[derive(Default)]
struct Pods {
    came: usize,
    cut_off: usize,
    /// The devices that are in a pod's namespace, by pod.
    bound: BTreeMap<String, String>,
}

impl Pods {
    /// Pods come and go until another thread has killed the plugin.
    fn churn_until_killed(
        &mut self,
        node: &Node,
        plugin: &mut plugin_testkit::Plugin,
        random: &mut Random,
    ) {
        let life = Duration::from_micros(random.below(LONGEST_LIFE));
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(life);
                plugin.kill().unwrap();
                killed.store(true, Ordering::Release);
            });
            while !killed.load(Ordering::Acquire) {
                self.step(node, random);
            }
        });
    }

    fn step(&mut self, node: &Node, random: &mut Random) {
        let held = node.kubelet.held(POOL);
        let leaves = held.len() >= 3 || (!held.is_empty() && random.below(3) == 0);
        if let Some(pod) = held.keys().next().filter(|_| leaves) {
            if let Some(device) = self.bound.remove(pod) {
                node::unbind(&node.dirs.ledger(), &device);
            }
            node.kubelet.remove(pod).unwrap();
            return;
        }
        let count = usize::try_from(1 + random.below(2)).unwrap();
        let pod = format!("pod-{}", self.came + self.cut_off);
        match node.kubelet.admit(&pod, POOL, count) {
            Ok(given) => {
                self.came += 1;
                // To some of them the CNI has come.
                if random.below(2) == 0 {
                    node::bind(&node.dirs.ledger(), &given.devices[0], &node::live_netns());
                    self.bound.insert(pod, given.devices[0].clone());
                }
            }
            Err(_) => self.cut_off += 1,
        }
    }

    /// What pods hold is recorded, and described whole, while no plugin runs.
    fn check_files(&self, node: &Node, kill: u32) {
        let mut seen = BTreeSet::new();
        for (pod, devices) in node.kubelet.held(POOL) {
            for device in devices {
                assert!(
                    seen.insert(device.clone()),
                    "kill {kill}: {device} was given twice, to {pod} too"
                );
                let info = fs::read(node.device_info(&device))
                    .unwrap_or_else(|error| panic!("kill {kill}: {device}: {error}"));
                let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
                assert_eq!(info["pci"]["pci-address"], *device, "kill {kill}");
                let entry = fs::read(node.dirs.ledger().join(format!("{device}.json"))).unwrap();
                let entry: serde_json::Value = serde_json::from_slice(&entry).unwrap();
                assert_eq!(
                    entry["reservation"]["resource"], POOL,
                    "kill {kill}: {device} of {pod}"
                );
            }
        }
    }

    /// What is in a pod is not given again, even to a kubelet that has forgotten everything.
    fn check_bound(&self, node: &Node) {
        node.kubelet.lose_books().unwrap();
        for device in self.bound.values() {
            let refused =
                node.kubelet.allocate(POOL, &[vec![device.clone()]]).unwrap_err().to_string();
            assert!(refused.contains("is bound to pod"), "{refused}");
        }
    }

    /// Kubelet never saw a list without all devices, or with one that was not well.
    fn check_lists(&self, node: &Node) {
        for (_, devices) in node.kubelet.known(POOL).unwrap().lists {
            assert_eq!(devices.len(), DEVICES);
            assert!(devices.iter().all(|device| device.health == "Healthy"), "{devices:?}");
        }
    }
}
