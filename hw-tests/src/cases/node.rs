//! The node itself is what the other cases take it for.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::{Case, Ctx, Kernels};

pub(super) const CASES: &[Case] = &[
    Case { name: "node/two-igb-pfs", kernels: Kernels::All, run: two_igb_pfs },
    Case {
        name: "node/host-root-is-read-only",
        kernels: Kernels::All,
        run: host_root_is_read_only,
    },
];

/// Both PFs can have VFs; the second is driven by igb and the first is kept for nicsim.
fn two_igb_pfs(_: &mut Ctx) -> anyhow::Result<()> {
    // The device has eight; igb keeps the queues of one for itself (igb_probe_vfs).
    for (pf, expected) in [("0000:01:00.0", "8"), ("0000:02:00.0", "7")] {
        let total = fs::read_to_string(format!("/sys/bus/pci/devices/{pf}/sriov_totalvfs"))?;
        ensure!(total.trim() == expected, "{pf} has {} VFs in all, not {expected}", total.trim());
    }
    let driver = |pf: &str| fs::read_link(format!("/sys/bus/pci/devices/{pf}/driver"));
    ensure!(driver("0000:02:00.0")?.ends_with("igb"), "the second PF is not driven by igb");
    ensure!(
        !driver("0000:01:00.0").is_ok_and(|link| link.ends_with("igb")),
        "igb took the first PF"
    );
    Ok(())
}

/// What a case writes stays in the guest.
fn host_root_is_read_only(_: &mut Ctx) -> anyhow::Result<()> {
    let place = Path::new("/linerate-write-test");
    fs::write(place, "x")?;
    fs::remove_file(place)?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    ensure!(
        mounts.lines().any(|line| line.starts_with("overlay / ")),
        "the root is no overlay:\n{mounts}"
    );
    Ok(())
}
