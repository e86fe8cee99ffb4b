//! The files the plugin reads are damaged at random, one at a time: a clear error, never a panic, and never
//! a device for a pod that another pod has or that the pool does not want.
//!
//! `CORRUPTION_ROUNDS` says how often, `CORRUPTION_SEED` what is damaged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod node;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use device_plugin::config::Config;
use device_plugin::device::read::{Reader, Wanted};
use device_plugin::device::{DeviceId, Devices, Role};
use device_plugin::holds::{Holds, State, checkpoint, ledger};
use device_plugin::pool::assign::Look;
use device_plugin::pool::{Member, Pools};
use plugin_testkit::{Random, Tree};
use serde_json::json;
use switchdev::Sysfs;
use switchdev::ledger::{Ledger, Reservation};

const ROUNDS: u64 = 500;
const CONFIG: &str = r#"{"resourceList": [
    {"resourceName": "a", "selectors": {"pfNames": ["eth0", "eth1#0-1"]}},
    {"resourceName": "b", "selectors": [{"rootDevices": ["0000:12:00.0"]}, {"pfNames": ["eth3"]}]}]}"#;
const A: &str = "intel.com/a";
const B: &str = "intel.com/b";

/// Eight VFs, and who has them. `a` has the VFs 0 to 3, `b` the others.
///
/// | VF | ledger | kubelet |
/// | --- | --- | --- |
/// | 0, 4 | in a pod's namespace | has forgotten it |
/// | 1, 5 | allocated | counts it |
/// | 2 | | counts it |
/// | 3, 6, 7 | | free |
struct Site {
    dir: tempfile::TempDir,
    devices: Devices,
    vfs: Vec<DeviceId>,
    ledger: Ledger,
}

impl Site {
    fn new() -> Self {
        let tree = Tree::many(8, 4).unwrap();
        let mut reader = Reader::of_tree(Sysfs::at(tree.path()));
        let devices = reader.devices(Wanted::default()).unwrap();
        let is_vf = |id: &&DeviceId| matches!(devices[*id].role, Role::Vf { .. });
        let vfs = devices.keys().filter(is_vf).cloned().collect();
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("ledger")).unwrap();
        let site = Self { dir, devices, vfs, ledger };
        site.record();
        site.remember();
        fs::write(site.config(), CONFIG).unwrap();
        site
    }

    fn record(&self) {
        for (vf, resource) in [(0, A), (1, A), (4, B), (5, B)] {
            let reservation = Reservation { resource: resource.to_owned() };
            let address = self.vfs[vf].address().unwrap();
            self.ledger.reserve(address, reservation, Duration::ZERO).unwrap();
        }
        for vf in [0, 4] {
            node::bind(self.ledger.dir(), self.vfs[vf].as_str(), &node::live_netns());
        }
    }

    fn remember(&self) {
        let entry = |pod: &str, resource: &str, vf: usize| {
            json!({"PodUID": pod, "ContainerName": "main", "ResourceName": resource,
                "DeviceIDs": {"-1": [self.vfs[vf]]}, "AllocResp": "CgA="})
        };
        let entries = [entry("7f0c", A, 1), entry("80aa", A, 2), entry("91bb", B, 5)];
        let registered = json!({A: self.vfs[..4], B: self.vfs[4..]});
        let text = json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}, "Checksum": 1});
        fs::write(self.checkpoint(), text.to_string()).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config.json")
    }

    fn checkpoint(&self) -> PathBuf {
        self.dir.path().join(checkpoint::FILE)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entry = |vf: usize| self.ledger.dir().join(format!("{}.json", self.vfs[vf]));
        vec![self.config(), self.checkpoint(), entry(0), entry(1), entry(4), entry(5)]
    }

    /// The pools as after a start, or nothing where the configuration is refused. Every error names its file.
    fn pools(&self) -> Option<Pools> {
        let config = match Config::load(&self.config(), "intel.com") {
            Ok(config) => config,
            Err(error) => {
                assert!(error.to_string().starts_with("configuration"), "{error}");
                return None;
            }
        };
        let counted = checkpoint::read(&self.checkpoint()).unwrap_or_else(|error| {
            assert!(error.to_string().contains(checkpoint::FILE), "{error}");
            None
        });
        let holds = ledger::holds(&self.ledger).unwrap();
        for (device, hold) in &holds {
            if let State::Unknown(why) = &hold.state {
                assert!(why.contains(&format!("{device}.json")), "{why}");
            }
        }
        let holds = Holds::new(holds, counted.unwrap_or_default());
        let look =
            Look { config: &config, devices: &self.devices, holds: &holds, now: Instant::now() };
        Some(look.assign(&Pools::new()))
    }

    /// What pods could be given: kubelet asks for none that it counts as the same resource's, and what is
    /// in a namespace or cannot be read is refused.
    fn given(&self, pools: &Pools) -> BTreeMap<usize, String> {
        let counts = [(A, 1), (A, 2), (B, 5)];
        let refused = |member: &Member| {
            let hold = ledger::hold_of(&self.ledger, &member.device.id);
            hold.is_some_and(|hold| matches!(hold.state, State::Bound(_) | State::Unknown(_)))
        };
        let mut given = BTreeMap::new();
        for (name, pool) in pools {
            for member in pool.members.values().filter(|member| member.is_healthy()) {
                let vf = self.vfs.iter().position(|vf| *vf == member.device.id);
                let vf = vf.unwrap_or_else(|| panic!("{} is no VF", member.device.id));
                if !refused(member) && !counts.contains(&(name.to_string().as_str(), vf)) {
                    let twice = given.insert(vf, name.to_string());
                    assert_eq!(twice, None, "VF {vf} is in two pools");
                }
            }
        }
        given
    }
}

/// One damage of a kind that disks and editors do.
fn damage(sound: &[u8], others: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    let (from, length) = (random.place(bytes.len()), 1 + random.place(40));
    let to = (from + length).min(bytes.len());
    let any = |random: &mut Random| u8::try_from(random.below(256)).unwrap();
    match random.below(8) {
        0 => bytes[from] ^= 1 << random.below(8),
        1 => bytes[from] = any(random),
        // A digit or letter for another one, as names and numbers are most of a file.
        2 | 3 => bytes[from] = b"0123456789abcdefxyz"[random.place(19)],
        4 => bytes.truncate(from),
        5 => drop(bytes.drain(from..to)),
        6 => {
            let copy = bytes[from..to].to_vec();
            let at = random.place(bytes.len());
            let end = (at + copy.len()).min(bytes.len());
            bytes.splice(at..end, copy);
        }
        _ => {
            let at = random.place(others.len());
            let foreign = &others[at..(at + length).min(others.len())];
            bytes.splice(from..to, foreign.iter().copied());
        }
    }
    bytes
}

#[test]
fn no_damaged_file_gives_a_pod_a_wrong_device() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let (rounds, seed) = (number("CORRUPTION_ROUNDS", ROUNDS), number("CORRUPTION_SEED", 1));
    println!("CORRUPTION_ROUNDS={rounds} CORRUPTION_SEED={seed}");
    let site = Site::new();
    let free: BTreeMap<usize, String> =
        [(3, A), (6, B), (7, B)].map(|(vf, name)| (vf, name.to_owned())).into();
    assert_eq!(site.given(&site.pools().unwrap()), free);
    let files = site.files();
    let sound: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let (mut random, mut refused) = (Random::new(seed), 0);
    for round in 0..rounds {
        let which = random.place(files.len());
        let other = random.place(files.len());
        let damaged = damage(&sound[which], &sound[other], &mut random);
        fs::write(&files[which], &damaged).unwrap();
        let told = || {
            format!(
                "round {round}: {}\n{}",
                files[which].display(),
                String::from_utf8_lossy(&damaged)
            )
        };
        match site.pools() {
            None => refused += 1,
            Some(pools) => {
                let given = site.given(&pools);
                if which == 0 {
                    // Another configuration may want less, or elsewhere, but nothing that pods have.
                    assert!(given.keys().all(|vf| free.contains_key(vf)), "{given:?} {}", told());
                } else {
                    assert_eq!(given, free, "{}", told());
                }
            }
        }
        fs::write(&files[which], &sound[which]).unwrap();
    }
    assert!(refused > 0 || rounds < 100, "no configuration was refused");
    assert_eq!(site.given(&site.pools().unwrap()), free);
}
