//! KVM if a guest really runs under it, else TCG.
//!
//! `/dev/kvm` may open and still not run a guest: nested virtualisation can fail at the first AVX instruction. So a tiny guest is
//! booted once, and the answer is kept until the machine reboots or QEMU changes.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::system::uname;

use super::kernel::Kernel;
use super::{cache, process, progress};

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";
/// What the initramfs prints when asked whether a guest runs.
const PROBE_ANSWER: &str = "linerate: the guest runs";
/// A guest under a working KVM answers in two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(15);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accel {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        }
    }

    /// Finds out, or remembers.
    pub fn choose(kernel: &Kernel) -> anyhow::Result<Self> {
        if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let place = cache::dir()?.join("accel");
        let key = circumstances()?;
        if let Some(known) = fs::read_to_string(&place).ok().and_then(|text| recall(&text, &key)) {
            return Ok(known);
        }
        progress::say("/dev/kvm is there: trying whether a guest runs under it");
        let found = probe(kernel)?;
        fs::write(&place, format!("{key}\n{}\n", found.name()))
            .with_context(|| format!("cannot write {}", place.display()))?;
        Ok(found)
    }
}

/// What the answer depends on: this boot of the host, its kernel, and QEMU's version.
fn circumstances() -> anyhow::Result<String> {
    let boot =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
    let qemu = process::text(Command::new(QEMU).arg("--version"))?;
    let qemu = qemu.lines().next().unwrap_or_default();
    Ok(format!("{} {} {qemu}", boot.trim(), uname().release().to_string_lossy()))
}

fn recall(kept: &str, key: &str) -> Option<Accel> {
    match kept.trim_end().split_once('\n') {
        Some((found, "KVM")) if found == key => Some(Accel::Kvm),
        Some((found, "TCG")) if found == key => Some(Accel::Tcg),
        _ => None,
    }
}

fn probe(kernel: &Kernel) -> anyhow::Result<Accel> {
    let dir = tempfile::tempdir()?;
    let console = dir.path().join("console");
    let mut qemu = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            QEMU,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args([
            "-machine",
            "q35",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "512",
            "-append",
            "console=ttyS0 panic=-1 linerate.probe",
        ])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(kernel.initramfs()?)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.path().join("stderr"))?)
        .spawn()
        .with_context(|| format!("cannot start {QEMU}"))?;
    let runs = answered(&console, &dir.path().join("stderr"), &mut qemu);
    // It may have ended by itself already.
    let _ = qemu.kill();
    qemu.wait()?;
    Ok(if runs { Accel::Kvm } else { Accel::Tcg })
}

fn answered(console: &Path, stderr: &Path, qemu: &mut std::process::Child) -> bool {
    let until = Instant::now() + PROBE_LIMIT;
    let has = |path: &Path, text: &str| {
        fs::read_to_string(path).is_ok_and(|content| content.contains(text))
    };
    while Instant::now() < until {
        let ended = !matches!(qemu.try_wait(), Ok(None));
        if has(console, PROBE_ANSWER) {
            return true;
        }
        // QEMU stops the guest on this error, and would sit there until the time is over.
        if ended || has(stderr, "KVM internal error") {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_only_in_the_same_circumstances() {
        assert_eq!(recall("boot1 qemu10\nKVM\n", "boot1 qemu10"), Some(Accel::Kvm));
        assert_eq!(recall("boot1 qemu10\nTCG\n", "boot1 qemu10"), Some(Accel::Tcg));
        assert_eq!(recall("boot1 qemu10\nTCG\n", "boot2 qemu10"), None);
        assert_eq!(recall("", "boot1"), None);
    }
}
