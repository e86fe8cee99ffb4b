//! A node for the tests of this directory: a made sysfs tree, a kubelet, the plugin's process.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin_testkit::kubelet::Registration;
use plugin_testkit::{Dirs, Kubelet, Plugin, Tree};
use switchdev::binding::{VfPlace, VfState};
use switchdev::eswitch::EswitchMode;
use switchdev::ledger::{Holder, Ledger, Phase, Pod, Record};
use switchdev::phys_port::VfIndex;

/// Longer than anything takes on a busy machine; nothing is asserted about time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const POOL: &str = "intel.com/net";
pub(crate) const EVERYTHING: &str =
    r#"{"resourceList": [{"resourceName": "net", "selectors": [{"vendors": ["15b3"]}]}]}"#;

pub(crate) struct Node {
    pub(crate) tree: Tree,
    pub(crate) dirs: Dirs,
    pub(crate) kubelet: Kubelet,
    _root: tempfile::TempDir,
}

impl Node {
    /// Eight VFs on four PFs, four of them near each NUMA node.
    pub(crate) fn new(registration: Registration) -> Self {
        Self::with(Tree::many(8, 4).unwrap(), registration)
    }

    pub(crate) fn with(tree: Tree, registration: Registration) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(root.path()).unwrap();
        dirs.configure(EVERYTHING).unwrap();
        let kubelet = Kubelet::start(&dirs.kubelet(), registration).unwrap();
        Self { tree, dirs, kubelet, _root: root }
    }

    pub(crate) fn start(&self, more: &[&str]) -> Plugin {
        let sysfs = self.tree.path().display().to_string();
        // The kernel tells nothing of a made tree, so it is looked at often.
        let mut flags = vec!["--sysfs", &sysfs, "--interval", "1"];
        flags.extend(more);
        Plugin::start(binary(), &self.dirs, &flags).unwrap()
    }

    /// Waits until so many devices of the pool are healthy.
    pub(crate) fn healthy(&self, count: usize) {
        self.kubelet
            .wait_healthy(POOL, count, PATIENCE)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.dirs.said()));
    }

    pub(crate) fn device_info(&self, device: &str) -> PathBuf {
        self.dirs.device_info().join(format!("intel.com-net-{device}-device.json"))
    }

    /// The plugin says so sooner or later.
    pub(crate) fn says(&self, text: &str) {
        self.until(text, || self.dirs.said().contains(text));
    }

    pub(crate) fn until(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !so() {
            assert!(std::time::Instant::now() < deadline, "not so: {what}\n{}", self.dirs.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_device-plugin"))
}

/// What the CNI records when a pod has the VF: it is in the namespace that `netns` names.
pub(crate) fn bind(ledger: &Path, device: &str, netns: &str) {
    let vf = device.parse().unwrap();
    let record = Record {
        phase: Phase::Bound,
        holder: Holder {
            container: "c1".into(),
            ifname: "net1".into(),
            netns: netns.into(),
            netns_id: None,
            network: "underlay".into(),
            pod: Some(Pod { namespace: "default".into(), name: "web".into(), uid: String::new() }),
        },
        boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned(),
        place: VfPlace { pf: vf, index: VfIndex(0), mode: EswitchMode::Legacy },
        original: VfState::default(),
        steps: Vec::new(),
        external: Vec::new(),
    };
    Ledger::open(ledger).unwrap().lock(vf, PATIENCE).unwrap().record(record).unwrap();
}

/// What the CNI records when the pod has given the VF back.
pub(crate) fn unbind(ledger: &Path, device: &str) {
    Ledger::open(ledger)
        .unwrap()
        .lock(device.parse().unwrap(), PATIENCE)
        .unwrap()
        .forget()
        .unwrap();
}

/// This process's own network namespace: there for as long as the test runs.
pub(crate) fn live_netns() -> String {
    format!("/proc/{}/ns/net", std::process::id())
}
