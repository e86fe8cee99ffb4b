//! Each cause of ill health, staged with the kernel's means or nicsim's faults, told to kubelet and healed.

use std::time::Instant;

use anyhow::{Context, ensure};
use plugin_testkit::kubelet::Registration;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::lab::Lab;
use crate::cases::Ctx;
use crate::guest::nicsim::{self, DEVLINK, Nicsim, PF};
use crate::guest::tool::run;

const VFS: usize = 2;

/// A fault: its name, what the plugin says of it, how many VFs stay well, how it is made and unmade.
struct Fault {
    name: &'static str,
    says: &'static str,
    leaves: usize,
    make: fn(&Nicsim) -> anyhow::Result<()>,
    heal: fn(&Nicsim) -> anyhow::Result<()>,
}

const FAULTS: [Fault; 7] = [
    Fault {
        name: "no carrier",
        says: "its PF np0 has no carrier",
        leaves: 0,
        make: |nic| nic.set("link_down", 1),
        heal: |nic| nic.set("link_down", 0),
    },
    Fault {
        name: "no driver",
        says: "drivers wants nicsim, the device has none",
        leaves: 1,
        make: |nic| Ok(bind(&Sysfs::default(), nic.vf_address(1)?.parse()?, &Binding::Unbound)?),
        heal: |nic| {
            let driver = Binding::Only("nicsim".to_owned());
            Ok(bind(&Sysfs::default(), nic.vf_address(1)?.parse()?, &driver)?)
        },
    },
    Fault {
        name: "devlink health",
        says: "the devlink health reporter fw is in error",
        leaves: 0,
        make: |nic| nic.set("fw_hang", 1),
        heal: |_| run(&format!("devlink health recover {DEVLINK} reporter fw")).map(drop),
    },
    Fault {
        name: "e-switch mode",
        says: "eswitchMode wants switchdev, the device has legacy",
        leaves: 0,
        make: |nic| nic.set_mode("legacy"),
        heal: |nic| {
            nic.set_mode("switchdev")?;
            run("ip link set np0 up").map(drop)
        },
    },
    Fault {
        name: "no representor",
        says: "it has no representor",
        leaves: 0,
        make: |nic| {
            nic.set("rep_slow_ms", 1_000_000)?;
            nic.set_mode("legacy")?;
            nic.set_mode("switchdev")
        },
        heal: |nic| {
            nic.set("rep_slow_ms", 0)?;
            nic.set_mode("legacy")?;
            nic.set_mode("switchdev")
        },
    },
    Fault {
        name: "VF gone",
        says: "it is not there any more",
        leaves: 1,
        make: |nic| {
            // The kernel changes no number of VFs to another but by way of none.
            nic.set_vfs(0)?;
            nic.set_vfs(1)
        },
        heal: |nic| {
            nic.set_vfs(0)?;
            nic.set_vfs(2)
        },
    },
    Fault {
        name: "PF unplugged",
        says: "it is not there any more",
        leaves: 0,
        make: |nic| nicsim::write(nic.sysfs("remove"), "1"),
        heal: |nic| {
            nicsim::write("/sys/bus/pci/rescan".into(), "1")?;
            nicsim::bind()?;
            nic.switchdev(2)
        },
    },
];

pub(super) fn faults_reach_kubelet(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let keys = r#""selectors": [{"pfNames": ["np0"], "drivers": ["nicsim"], "eswitchMode": "switchdev"}], "requireCarrier": true"#;
    let lab = Lab::new(ctx, Registration::Watcher, keys)?;
    let mut plugin = lab.start()?;
    lab.healthy(VFS)?;
    for fault in &FAULTS {
        stage(&lab, &nic, fault)
            .with_context(|| format!("{}:\n{}", fault.name, lab.dirs.said()))?;
    }
    ensure!(plugin.is_running(), "the plugin has ended");
    ensure!(nic.sysfs("sriov_numvfs").exists(), "{PF} has gone");
    Ok(())
}

/// Makes the fault, waits until kubelet is told, heals it, and waits again. The times are printed, as
/// from a machine that is emulated.
fn stage(lab: &Lab, nic: &Nicsim, fault: &Fault) -> anyhow::Result<()> {
    let made = Instant::now();
    (fault.make)(nic)?;
    let took = made.elapsed();
    let told = lab.healthy(fault.leaves)?;
    lab.says(fault.says)?;
    let healing = Instant::now();
    (fault.heal)(nic)?;
    let healed = lab.healthy(VFS)?;
    println!(
        "{:16} kubelet told after {:4} ms (of which making it took {} ms), that it is healed after {:4} ms",
        fault.name,
        told.saturating_duration_since(made).as_millis(),
        took.as_millis(),
        healed.saturating_duration_since(healing).as_millis()
    );
    Ok(())
}
