//! The nicsim NIC: the module loaded, the first PF bound to it. All is taken back on drop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::tool::{run, undo};
use crate::cases::Ctx;

/// The PF that nicsim drives.
pub const PF: &str = "0000:01:00.0";
/// Its name in devlink.
pub const DEVLINK: &str = "pci/0000:01:00.0";

/// The PF's netdev, which is the uplink in switchdev mode.
pub const UPLINK: &str = "np0";
/// The other end of its cable.
pub const WIRE: &str = "np0w";
/// For a netdev to appear, which happens in a workqueue if at all.
const APPEAR_LIMIT: Duration = Duration::from_secs(10);

/// The netdev of a VF.
#[must_use]
pub fn vf(index: u16) -> String {
    format!("np0v{index}")
}

/// The netdev of a VF's representor.
#[must_use]
pub fn representor(index: u16) -> String {
    format!("np0r{index}")
}

/// The module is loaded and drives [`PF`].
#[derive(Debug)]
pub struct Nicsim(());

impl Nicsim {
    /// Loads the module and binds the PF. `options` are module parameters, such as `profile=mlx5`.
    pub fn load(ctx: &Ctx, options: &str) -> anyhow::Result<Self> {
        let module = ctx.nicsim_ko()?;
        load_dependencies(&module)?;
        run(&format!("insmod {} {options}", module.display()))?;
        let nic = Self(());
        bind()?;
        Ok(nic)
    }

    /// Creates VFs and goes to switchdev mode, with representors, uplink and wire up, and offload on.
    pub fn switchdev(&self, vfs: u16) -> anyhow::Result<()> {
        self.set_vfs(vfs)?;
        self.set_mode("switchdev")?;
        run(&format!("ip link set {WIRE} up"))?;
        for link in (0..vfs).map(representor).chain([UPLINK.to_owned()]) {
            wait_for_link(&link)?;
            run(&format!("ip link set {link} up"))?;
            run(&format!("ethtool -K {link} hw-tc-offload on"))?;
        }
        Ok(())
    }

    /// Creates that many VFs.
    pub fn set_vfs(&self, count: u16) -> anyhow::Result<()> {
        write(self.sysfs("sriov_numvfs"), &count.to_string())
    }

    /// Changes the e-switch mode: `legacy` or `switchdev`.
    pub fn set_mode(&self, mode: &str) -> anyhow::Result<()> {
        run(&format!("devlink dev eswitch set {DEVLINK} mode {mode}")).map(drop)
    }

    /// Writes a file of `/sys/kernel/debug/nicsim/<pci>/`: a limit or a fault.
    pub fn set(&self, knob: &str, value: impl ToString) -> anyhow::Result<()> {
        write(Path::new("/sys/kernel/debug/nicsim").join(PF).join(knob), &value.to_string())
    }

    /// Reads one.
    pub fn get(&self, knob: &str) -> anyhow::Result<String> {
        read(Path::new("/sys/kernel/debug/nicsim").join(PF).join(knob))
    }

    /// A path below the PF in sysfs.
    #[must_use]
    pub fn sysfs(&self, below: &str) -> PathBuf {
        Path::new("/sys/bus/pci/devices").join(PF).join(below)
    }

    /// The PCI address of a VF.
    pub fn vf_address(&self, index: u16) -> anyhow::Result<String> {
        let link = self.sysfs(&format!("virtfn{index}"));
        let target =
            fs::read_link(&link).with_context(|| format!("there is no {}", link.display()))?;
        Ok(target.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl Drop for Nicsim {
    fn drop(&mut self) {
        undo("rmmod nicsim");
    }
}

/// insmod does not look for the modules that a module needs.
fn load_dependencies(module: &Path) -> anyhow::Result<()> {
    let needed = run(&format!("modinfo -F depends {}", module.display()))?;
    let mut names = needed.trim().split(',').filter(|name| !name.is_empty());
    names.try_for_each(|name| run(&format!("modprobe {name}")).map(drop))
}

/// Waits until a link of that name is there.
pub fn wait_for_link(name: &str) -> anyhow::Result<()> {
    let until = Instant::now() + APPEAR_LIMIT;
    while !Path::new("/sys/class/net").join(name).exists() {
        ensure!(Instant::now() < until, "no link {name} within {} s", APPEAR_LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until a link that is up has carrier: a driver may tell of it much later.
pub fn wait_for_carrier(name: &str) -> anyhow::Result<()> {
    let carrier = Path::new("/sys/class/net").join(name).join("carrier");
    let until = Instant::now() + APPEAR_LIMIT;
    while read(&carrier).ok().as_deref() != Some("1") {
        ensure!(
            Instant::now() < until,
            "{name} has no carrier within {} s",
            APPEAR_LIMIT.as_secs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Gives the PF to nicsim, whoever has it now.
pub fn bind() -> anyhow::Result<()> {
    let device = Path::new("/sys/bus/pci/devices").join(PF);
    if device.join("driver").exists() {
        write(device.join("driver/unbind"), PF)?;
    }
    write(device.join("driver_override"), "nicsim")?;
    write(PathBuf::from("/sys/bus/pci/drivers_probe"), PF)
}

/// Writes a sysfs or debugfs file.
pub fn write(path: PathBuf, value: &str) -> anyhow::Result<()> {
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// Reads one, without the newline.
pub fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}
