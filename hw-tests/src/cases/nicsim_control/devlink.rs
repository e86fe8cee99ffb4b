//! devlink, as iproute2 prints it.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cases::Ctx;
use crate::guest::nicsim::{DEVLINK, Nicsim, read};
use crate::guest::tool;

use super::net;

/// The value that `devlink -j` prints for our card under that heading (`dev`, `info`).
fn card(line: &str, heading: &str) -> anyhow::Result<Value> {
    let value = tool::json(line)?;
    Ok(value[heading][DEVLINK].clone())
}

/// What `devlink -j port show` says of a port.
fn port(index: u16) -> anyhow::Result<Value> {
    let name = format!("{DEVLINK}/{index}");
    let value = tool::json(&format!("devlink -j port show {name}"))?;
    Ok(value["port"][&name].clone())
}

fn must_be(what: &str, found: &Value, expected: Value) -> anyhow::Result<()> {
    ensure!(*found == expected, "{what} is {found}, not {expected}");
    Ok(())
}

pub(super) fn info(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let info = card(&format!("devlink -j dev info {DEVLINK}"), "info")?;
    must_be("driver", &info["driver"], json!("nicsim"))?;
    must_be("serial number", &info["serial_number"], json!("NS-0000:01:00.0"))?;
    let versions = &info["versions"];
    must_be("board", &versions["fixed"]["board.id"], json!("NICSIM-25G-1P"))?;
    ensure!(versions["running"]["fw"] == versions["stored"]["fw"], "two firmwares: {versions}");
    ensure!(versions["running"]["fw"].is_string(), "no firmware version: {versions}");
    Ok(())
}

pub(super) fn modes_are_kept(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let show = || card(&format!("devlink -j dev eswitch show {DEVLINK}"), "dev");
    must_be("first mode", &show()?["mode"], json!("legacy"))?;
    nic.set_mode("switchdev")?;
    tool::run(&format!("devlink dev eswitch set {DEVLINK} inline-mode transport"))?;
    tool::run(&format!("devlink dev eswitch set {DEVLINK} encap-mode none"))?;
    let expected = json!({"mode": "switchdev", "inline-mode": "transport", "encap-mode": "none"});
    must_be("e-switch", &show()?, expected)?;
    nic.set_mode("legacy")?;
    must_be("mode", &show()?["mode"], json!("legacy"))
}

/// A physical port in both modes; a pcivf port for each VF in switchdev mode only.
pub(super) fn ports_name_their_netdevs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let uplink = port(65535)?;
    must_be("uplink's flavour", &uplink["flavour"], json!("physical"))?;
    must_be("uplink's netdev", &uplink["netdev"], json!("np0"))?;
    ensure!(port(2).is_err(), "a VF has a port in legacy mode");
    nic.set_mode("switchdev")?;
    let vf = port(2)?;
    must_be("flavour", &vf["flavour"], json!("pcivf"))?;
    must_be("VF", &vf["vfnum"], json!(1))?;
    must_be("netdev", &vf["netdev"], json!("np0r1"))?;
    must_be("state", &vf["function"]["opstate"], json!("attached"))
}

/// The MAC given to a port function is the VF's, now and when it is bound again.
pub(super) fn port_function_mac(ctx: &mut Ctx) -> anyhow::Result<()> {
    const MAC: &str = "02:00:00:00:aa:01";
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    tool::run(&format!("devlink port function set {DEVLINK}/1 hw_addr {MAC}"))?;
    must_be("hw_addr", &port(1)?["function"]["hw_addr"], json!(MAC))?;
    ensure!(read(net("np0v0").join("address"))? == MAC, "the VF has another MAC");
    let multicast = format!("devlink port function set {DEVLINK}/1 hw_addr 01:00:5e:00:00:01");
    let error = tool::refused(&multicast)?;
    ensure!(error.contains("unicast"), "no reason is given: {error}");
    Ok(())
}

pub(super) fn port_function_state(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    tool::run("ip link set np0r0 up")?;
    tool::run("ip link set np0v0 up")?;
    let carrier = || read(net("np0v0").join("carrier"));
    ensure!(carrier()? == "1", "the VF has no carrier");
    tool::run(&format!("devlink port function set {DEVLINK}/1 state inactive"))?;
    must_be("state", &port(1)?["function"]["state"], json!("inactive"))?;
    ensure!(carrier()? == "0", "an inactive VF has carrier");
    tool::run(&format!("devlink port function set {DEVLINK}/1 state active"))?;
    ensure!(carrier()? == "1", "the VF did not come back");
    Ok(())
}

/// Leaves and nodes keep what they are given; nodes keep the e-switch in its mode.
pub(super) fn rates(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    let node = format!("{DEVLINK}/gold");
    tool::run(&format!("devlink port function rate add {node} tx_max 8gbit"))?;
    let leaf = format!("{DEVLINK}/1");
    tool::run(&format!("devlink port function rate set {leaf} tx_share 1gbit parent gold"))?;
    let shown = tool::json(&format!("devlink -j port function rate show {leaf}"))?;
    let shown = shown["rate"].get(&leaf).context("the VF has no rate leaf")?.clone();
    must_be("parent", &shown["parent"], json!("gold"))?;
    // In bytes a second.
    must_be("tx_share", &shown["tx_share"], json!(125_000_000))?;
    ensure!(nic.set_mode("legacy").is_err(), "the mode changed under a rate node");
    tool::run(&format!("devlink port function rate set {leaf} noparent"))?;
    tool::run(&format!("devlink port function rate del {node}"))?;
    nic.set_mode("legacy")
}
