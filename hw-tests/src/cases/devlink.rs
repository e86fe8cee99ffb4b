//! devlink, ethtool and representors: what we read is what the system's tools print, and what we
//! change they see.

use anyhow::{Context, ensure};
use serde_json::Value;
use switchdev::devlink::{
    Devlink, EswitchChange, Handle, Health, PortFunctionChange, PortIndex, RateChange, RateTarget,
};
use switchdev::eswitch::{EncapMode, EswitchMode, InlineMode};
use switchdev::ethtool::Ethtool;
use switchdev::phys_port::VfIndex;
use switchdev::representor::PortMap;
use switchdev::{Inventory, Sysfs};

use super::{Case, Ctx, Kernels};
use crate::guest::nicsim::{DEVLINK, Nicsim, PF, representor};
use crate::guest::tool::{json, run};

pub(super) const CASES: &[Case] = &[
    case("devlink/eswitch-settings-both-ways", eswitch_settings_both_ways),
    case("devlink/info-agrees", info_agrees),
    case("devlink/ports-agree", ports_agree),
    case("devlink/port-function-mac", port_function_mac),
    case("devlink/rates", rates),
    case("devlink/health-recovers", health_recovers),
    case("devlink/a-refusal-keeps-the-drivers-sentence", refusal_keeps_sentence),
    case("devlink/representors-by-devlink-and-by-name", representors_both_ways),
    case("ethtool/hw-tc-offload-both-ways", hw_tc_offload_both_ways),
];

const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}

fn card() -> anyhow::Result<Handle> {
    Ok(DEVLINK.parse()?)
}

fn eswitch_settings_both_ways(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let (card, mut devlink) = (card()?, Devlink::open()?);
    for change in [
        EswitchChange::Mode(EswitchMode::Switchdev),
        EswitchChange::InlineMode(InlineMode::Network),
        EswitchChange::EncapMode(EncapMode::Basic),
    ] {
        devlink.set_eswitch(&card, change)?;
        let shown =
            json(&format!("devlink -j dev eswitch show {DEVLINK}"))?["dev"][DEVLINK].clone();
        let words = change.to_string();
        let (key, value) = words.split_once(' ').context("a setting and its value")?;
        ensure!(shown[key] == value, "after {words}, devlink shows {shown}");
    }
    run(&format!("devlink dev eswitch set {DEVLINK} encap-mode none"))?;
    let read = devlink.eswitch(&card)?.to_string();
    ensure!(read == "mode switchdev inline-mode network encap-mode none", "{read}");
    Ok(())
}

fn info_agrees(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let shown = json(&format!("devlink -j dev info {DEVLINK}"))?["info"][DEVLINK].clone();
    let info = Devlink::open()?.info(&card()?)?;
    ensure!(shown["driver"] == info.driver.as_deref().unwrap_or_default(), "{info}\n{shown}");
    ensure!(shown["serial_number"] == info.serial_number.as_deref().unwrap_or_default(), "{info}");
    let versions = serde_json::json!({
        "fixed": info.fixed, "running": info.running, "stored": info.stored
    });
    ensure!(shown["versions"] == versions, "{versions}\n{shown}");
    Ok(())
}

fn ports_agree(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(3)?;
    let shown = json("devlink -j port show")?["port"].clone();
    let ports = Devlink::open()?.ports()?;
    ensure!(Some(ports.len()) == shown.as_object().map(serde_json::Map::len), "{shown}");
    for port in ports {
        let theirs = &shown[format!("{}/{}", port.card, port.index)];
        let netdev = port.netdev.as_ref().map(|netdev| netdev.name.as_str());
        ensure!(theirs["netdev"] == netdev.unwrap_or_default(), "{port}\n{theirs}");
        let text = port.to_string();
        for key in ["flavour", "pfnum", "vfnum", "controller"] {
            ensure!(
                theirs[key].is_null() || text.contains(&word(key, &theirs[key])),
                "{port}\n{theirs}"
            );
        }
    }
    Ok(())
}

/// `pfnum 0`: a key and its value as devlink prints them.
fn word(key: &str, value: &Value) -> String {
    format!("{key} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn port_function_mac(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let (card, mut devlink) = (card()?, Devlink::open()?);
    let index = port_of(&mut devlink, &representor(1))?;
    let mac = "02:00:00:00:00:77".parse()?;
    devlink.set_port_function(&card, index, PortFunctionChange::HwAddr(mac))?;
    let read = devlink.port(&card, index)?.function.and_then(|function| function.hw_addr);
    ensure!(read == Some(mac), "read back {read:?}");
    let shown = json(&format!("devlink -j port show {DEVLINK}/{index}"))?["port"].clone();
    let shown = &shown[format!("{DEVLINK}/{index}")]["function"]["hw_addr"];
    ensure!(shown == "02:00:00:00:00:77", "devlink shows {shown}");
    Ok(())
}

fn port_of(devlink: &mut Devlink, netdev: &str) -> anyhow::Result<PortIndex> {
    let ports = devlink.ports()?;
    let port = ports.iter().find(|port| port.netdev.as_ref().is_some_and(|n| n.name == netdev));
    Ok(port.with_context(|| format!("no port of {netdev}"))?.index)
}

fn rates(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let (card, mut devlink) = (card()?, Devlink::open()?);
    let leaf = RateTarget::Leaf(port_of(&mut devlink, &representor(0))?);
    devlink.add_rate_node(&card, "gold")?;
    let node = RateTarget::Node("gold".to_owned());
    devlink.set_rate(&card, &node, &RateChange::TxMax("10gbit".parse()?))?;
    devlink.set_rate(&card, &leaf, &RateChange::TxShare("100mbit".parse()?))?;
    devlink.set_rate(&card, &leaf, &RateChange::Parent(Some("gold".to_owned())))?;
    let shown = run("devlink port function rate show")?;
    ensure!(shown.contains(&format!("{DEVLINK}/gold: type node tx_max 10Gbit")), "{shown}");
    ensure!(shown.contains("type leaf tx_share 100Mbit parent gold"), "{shown}");
    let busy = devlink.remove_rate_node(&card, "gold").map_err(|error| error.errno());
    ensure!(busy == Err(Some(16)), "a node with a leaf is removed: {busy:?}");
    devlink.set_rate(&card, &leaf, &RateChange::Parent(None))?;
    devlink.remove_rate_node(&card, "gold")?;
    let left = devlink.rates()?;
    ensure!(left.iter().all(|rate| rate.parent.is_none() && rate.target != node), "{left:?}");
    Ok(())
}

fn health_recovers(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let (card, mut devlink) = (card()?, Devlink::open()?);
    let state = |devlink: &mut Devlink| -> anyhow::Result<(Health, u64)> {
        let all = devlink.health()?;
        let fw = all.iter().find(|reporter| reporter.name == "fw").context("no reporter fw")?;
        Ok((fw.state, fw.errors))
    };
    ensure!(state(&mut devlink)? == (Health::Healthy, 0), "{:?}", devlink.health()?);
    nic.set("fw_hang", 1)?;
    ensure!(state(&mut devlink)? == (Health::Error, 1), "{:?}", devlink.health()?);
    devlink.recover(&card, "fw")?;
    ensure!(state(&mut devlink)? == (Health::Healthy, 1), "{:?}", devlink.health()?);
    Ok(())
}

fn refusal_keeps_sentence(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("eswitch_fail", 1)?;
    let refused =
        Devlink::open()?.set_eswitch(&card()?, EswitchChange::Mode(EswitchMode::Switchdev));
    let error = refused.err().context("the change was not refused")?;
    ensure!(
        error.to_string()
            == "devlink dev eswitch set pci/0000:01:00.0 mode switchdev: Input/output error \
                (os error 5): nicsim: Firmware failed to change the e-switch mode",
        "{error}"
    );
    Ok(())
}

fn representors_both_ways(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(4)?;
    // A name that says nothing: what is found is found by its port.
    run("ip link set np0r2 down")?;
    run("ip link set np0r2 name eth77")?;
    let sysfs = Sysfs::default();
    let pf = Inventory::scan(&sysfs)?.pf(PF.parse()?)?.clone();
    for devlink in [Some(&mut Devlink::open()?), None] {
        let ports = PortMap::read(&sysfs, devlink)?;
        let found: Vec<String> = ports.representors(&pf).into_values().map(|r| r.name).collect();
        ensure!(found == ["np0r0", "np0r1", "eth77", "np0r3"], "{found:?}");
    }
    nic.set_mode("legacy")?;
    let pf = Inventory::scan(&sysfs)?.pf(PF.parse()?)?.clone();
    let ports = PortMap::read(&sysfs, Some(&mut Devlink::open()?))?;
    let error = ports.representor(&pf, VfIndex(0)).err().context("a representor in legacy mode")?;
    ensure!(error.to_string().contains("the e-switch is in legacy mode"), "{error}");
    Ok(())
}

fn hw_tc_offload_both_ways(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(1)?;
    let (mut ethtool, netdev) = (Ethtool::open()?, representor(0));
    for on in [false, true] {
        ethtool.set_hw_tc_offload(&netdev, on)?;
        let shown = run(&format!("ethtool -k {netdev}"))?;
        let wanted = format!("hw-tc-offload: {}", if on { "on" } else { "off" });
        ensure!(shown.lines().any(|line| line.starts_with(&wanted)), "no {wanted} in\n{shown}");
    }
    run(&format!("ethtool -K {netdev} hw-tc-offload off"))?;
    ensure!(!ethtool.hw_tc_offload(&netdev)?, "ethtool switched it off, we read on");
    Ok(())
}
