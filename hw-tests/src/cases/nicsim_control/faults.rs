//! Faults on demand happen when asked for, say what they are, and end.

use anyhow::ensure;
use serde_json::Value;

use crate::cases::Ctx;
use crate::guest::nicsim::{DEVLINK, Nicsim, read, wait_for_link};
use crate::guest::tool;

use super::{net, present};

fn set_switchdev_refused() -> anyhow::Result<String> {
    tool::refused(&format!("devlink dev eswitch set {DEVLINK} mode switchdev"))
}

pub(super) fn eswitch_change_fails(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("eswitch_busy", 1)?;
    let error = set_switchdev_refused()?;
    ensure!(error.contains("E-switch is busy"), "no reason: {error}");
    ensure!(error.contains("Device or resource busy"), "no EBUSY: {error}");
    nic.set("eswitch_busy", 0)?;
    nic.set("eswitch_fail", 2)?;
    for _ in 0..2 {
        let error = set_switchdev_refused()?;
        ensure!(error.contains("Firmware failed"), "no reason: {error}");
    }
    ensure!(nic.get("eswitch_fail")? == "0", "the failures are not counted down");
    nic.set_mode("switchdev")
}

fn reporter() -> anyhow::Result<Value> {
    let shown = tool::json(&format!("devlink -j health show {DEVLINK} reporter fw"))?;
    Ok(shown["health"][DEVLINK][0].clone())
}

/// A hung firmware is a health event, answers nothing, and needs a person.
pub(super) fn firmware_hang(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    ensure!(reporter()?["state"] == "healthy", "{}", reporter()?);
    nic.set("fw_hang", 1)?;
    let hung = reporter()?;
    ensure!(hung["state"] == "error" && hung["error"] == 1, "{hung}");
    let error = set_switchdev_refused()?;
    ensure!(error.contains("Firmware does not answer"), "no reason: {error}");
    ensure!(nic.set_vfs(1).is_err(), "a hung firmware created VFs");
    tool::run(&format!("devlink health recover {DEVLINK} reporter fw"))?;
    ensure!(reporter()?["state"] == "healthy", "{}", reporter()?);
    nic.set_mode("switchdev")
}

/// Netdevs that come late do come, and are no trouble when they are taken back before.
pub(super) fn slow_netdevs(ctx: &mut Ctx) -> anyhow::Result<()> {
    const LATE_MS: u32 = 700;
    let nic = Nicsim::load(ctx, "")?;
    nic.set("vf_slow_ms", LATE_MS)?;
    nic.set("rep_slow_ms", LATE_MS)?;
    nic.set_vfs(1)?;
    ensure!(!present("np0v0"), "the VF's netdev was there at once");
    nic.set_mode("switchdev")?;
    ensure!(!present("np0r0"), "the representor was there at once");
    wait_for_link("np0v0")?;
    wait_for_link("np0r0")?;
    nic.set_mode("legacy")?;
    nic.set_mode("switchdev")?;
    nic.set_vfs(0)?;
    ensure!(!present("np0r0"), "a representor came after its VF had gone");
    Ok(())
}

/// Before udev has renamed it, a representor is known by its port name only.
pub(super) fn unnamed_representors(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("rep_unnamed", 1)?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    ensure!(!present("np0r0"), "the representor has its final name");
    let netdevs = std::fs::read_dir(nic.sysfs("net"))?.flatten();
    let found = netdevs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| read(net(name).join("phys_port_name")).is_ok_and(|port| port == "pf0vf0"));
    ensure!(found.is_some_and(|name| name.starts_with("eth")), "no eth%d with port pf0vf0");
    Ok(())
}

pub(super) fn link_down(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    tool::run("ip link set np0 up")?;
    tool::run("ip link set np0w up")?;
    for (down, carrier) in [(0, "1"), (1, "0"), (0, "1")] {
        nic.set("link_down", down)?;
        for netdev in ["np0", "np0w"] {
            let found = read(net(netdev).join("carrier"))?;
            ensure!(found == carrier, "link_down {down}: {netdev} has carrier {found}");
        }
    }
    Ok(())
}

/// The hypervisor's settings survive a reset, the VF's own do not.
pub(super) fn function_level_reset(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    tool::run("ip link set np0 vf 0 mac 02:00:00:00:ee:01")?;
    tool::run("ip link set np0 vf 0 trust on")?;
    tool::run("ip link set np0v0 address 02:00:00:00:ee:02")?;
    nic.set("flr", 0)?;
    let mac = read(net("np0v0").join("address"))?;
    ensure!(mac == "02:00:00:00:ee:01", "after the reset the VF's MAC is {mac}");
    ensure!(nic.set("flr", 1).is_err(), "a VF that is not there was reset");
    Ok(())
}

pub(super) fn wrong_values_are_refused(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "profile=ice capacity=12")?;
    ensure!(nic.get("profile")? == "ice" && nic.get("capacity")? == "12", "parameters are lost");
    ensure!(nic.set("profile", "mlx4").is_err(), "profile mlx4 was accepted");
    ensure!(nic.get("profile")? == "ice", "a refused profile changed something");
    nic.set("profile", "mlx5")?;
    ensure!(nic.get("profile")? == "mlx5", "profile mlx5 was not taken");
    Ok(())
}
