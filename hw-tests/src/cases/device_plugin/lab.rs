//! The fixture: a kubelet and the plugin's directories in the guest, and the plugin itself when asked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use plugin_testkit::kubelet::Registration;
use plugin_testkit::{Dirs, Kubelet, Plugin};
use serde_json::Value;

use crate::cases::Ctx;

/// The resource of all pools here.
pub(super) const POOL: &str = "intel.com/net";
/// Longer than anything takes on a busy host; nothing is asserted about time.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// A kubelet, and where the plugin finds it.
pub(super) struct Lab {
    pub(super) dirs: Dirs,
    pub(super) kubelet: Kubelet,
    binary: PathBuf,
    _root: tempfile::TempDir,
}

impl Lab {
    /// A kubelet, and a configuration with one pool of these keys.
    pub(super) fn new(ctx: &Ctx, registration: Registration, keys: &str) -> anyhow::Result<Self> {
        let binary = ctx.binary("device-plugin")?;
        let root = tempfile::tempdir_in("/run")?;
        let dirs = Dirs::new(root.path())?;
        let kubelet = Kubelet::start(&dirs.kubelet(), registration)?;
        let lab = Self { dirs, kubelet, binary, _root: root };
        lab.configure(keys)?;
        Ok(lab)
    }

    /// Another pool in the place of the one before.
    pub(super) fn configure(&self, keys: &str) -> anyhow::Result<()> {
        self.dirs.configure(&format!(r#"{{"resourceList": [{{"resourceName": "net", {keys}}}]}}"#))
    }

    /// Starts the plugin.
    pub(super) fn start(&self) -> anyhow::Result<Plugin> {
        Plugin::start(&self.binary, &self.dirs, &[])
    }

    /// Waits until so many devices are healthy; when kubelet was told.
    pub(super) fn healthy(&self, count: usize) -> anyhow::Result<Instant> {
        self.kubelet.wait_healthy(POOL, count, PATIENCE).with_context(|| self.dirs.said())
    }

    /// The device-info file of a device.
    pub(super) fn device_info(&self, device: &str) -> anyhow::Result<Value> {
        let path = self.dirs.device_info().join(format!("intel.com-net-{device}-device.json"));
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Waits until the plugin says so.
    pub(super) fn says(&self, text: &str) -> anyhow::Result<()> {
        self.until(&format!("the plugin says {text:?}"), |lab| lab.dirs.said().contains(text))
    }

    /// Waits until it is so.
    pub(super) fn until(&self, what: &str, so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            ensure!(Instant::now() < deadline, "not so: {what}\n{}", self.dirs.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
