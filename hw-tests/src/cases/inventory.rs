//! The inventory says what sysfs, `ip` and `devlink` say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use serde_json::Value;
use switchdev::devlink::Devlink;
use switchdev::inventory::{Netdev, PciFunction, Pf};
use switchdev::{Inventory, Sysfs};

use super::{Case, Ctx, Kernels};
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::tool::json;

pub(super) const CASES: &[Case] = &[
    case("inventory/agrees-with-ip-and-sysfs", agrees_with_ip_and_sysfs),
    case("inventory/lists-pfs-of-both-drivers", lists_pfs_of_both_drivers),
    case("inventory/scans-while-vfs-come-and-go", scans_while_vfs_come_and_go),
];

const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}

fn scan() -> anyhow::Result<Inventory> {
    Ok(Inventory::scan(&Sysfs::default())?)
}

/// The nicsim PF as the inventory shows it.
fn nicsim_pf() -> anyhow::Result<Pf> {
    Ok(scan()?.find(nicsim::PF)?.clone())
}

/// Every netdev of a card in switchdev mode is as `ip` shows it, every function as sysfs does.
fn agrees_with_ip_and_sysfs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let links = links()?;
    let pf = nicsim_pf()?;
    let functions = pf.vfs().iter().map(|vf| &vf.function).chain([&pf.function]);
    for function in functions {
        check_function(function)?;
        function.netdevs.iter().try_for_each(|netdev| check_netdev(netdev, &links))?;
    }
    let names: Vec<&str> = pf.function.netdevs.iter().map(|n| n.name.as_str()).collect();
    ensure!(names == ["np0", "np0r0", "np0r1"], "the PF's netdevs are {names:?}");
    ensure!(
        pf.uplink().is_some_and(|uplink| uplink.name == "np0"),
        "the uplink is {:?}",
        pf.uplink()
    );
    Ok(())
}

/// What `ip` says of each link, by name.
fn links() -> anyhow::Result<BTreeMap<String, Value>> {
    let links = json("ip -j -d link show")?;
    let links = links.as_array().context("ip printed no list")?.iter();
    Ok(links.map(|link| (text(link, "ifname"), link.clone())).collect())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn check_netdev(netdev: &Netdev, links: &BTreeMap<String, Value>) -> anyhow::Result<()> {
    let link = links.get(&netdev.name).with_context(|| format!("ip has no {}", netdev.name))?;
    let ours = [
        netdev.ifindex.to_string(),
        netdev.mtu.to_string(),
        netdev.address.map(|mac| mac.to_string()).unwrap_or_default(),
        netdev.link_state.to_string(),
        netdev.phys_port_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        netdev.phys_switch_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    ];
    let theirs = [
        link["ifindex"].to_string(),
        link["mtu"].to_string(),
        text(link, "address"),
        text(link, "operstate").to_lowercase(),
        text(link, "phys_port_name"),
        text(link, "phys_switch_id"),
    ];
    ensure!(ours == theirs, "{}: {ours:?}, and ip says {theirs:?}", netdev.name);
    Ok(())
}

fn check_function(function: &PciFunction) -> anyhow::Result<()> {
    let dir = Path::new("/sys/bus/pci/devices").join(function.address.to_string());
    let target = |link: &str| {
        let target = fs::read_link(dir.join(link)).ok();
        target.and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()))
    };
    let ours = (function.driver.clone(), function.iommu_group.map(|group| group.to_string()));
    let theirs = (target("driver"), target("iommu_group"));
    ensure!(ours == theirs, "{}: {ours:?}, and sysfs says {theirs:?}", function.address);
    ensure!(function.iommu_group.is_some(), "{} has no IOMMU group", function.address);
    let vendor = nicsim::read(dir.join("vendor"))?;
    ensure!(vendor == format!("0x{:04x}", function.vendor.id), "{}", function.vendor);
    Ok(())
}

fn lists_pfs_of_both_drivers(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(3)?;
    let inventory = scan()?.with_eswitches(&mut Devlink::open()?)?;
    let with_eswitch: Vec<bool> = inventory.pfs.iter().map(|pf| pf.eswitch.is_some()).collect();
    ensure!(with_eswitch == [true, false], "{inventory}");
    let mut shown = Vec::new();
    for (pf, sriov) in inventory.sriov_pfs() {
        let total =
            nicsim::read(format!("/sys/bus/pci/devices/{}/sriov_totalvfs", pf.function.address))?;
        ensure!(total == sriov.total.to_string(), "{pf}: sysfs says {total} VFs in all");
        let driver = pf.function.driver.clone().unwrap_or_default();
        shown.push((pf.function.address.to_string(), driver, pf.vfs().len()));
    }
    let expected = [("0000:01:00.0", "nicsim", 3), ("0000:02:00.0", "igb", 0)];
    let expected = expected.map(|(pf, driver, vfs)| (pf.to_owned(), driver.to_owned(), vfs));
    ensure!(shown == expected, "{shown:?}");
    Ok(())
}

/// VFs that go between two reads of a scan are left out, and are no error.
fn scans_while_vfs_come_and_go(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let churned = (0..10).try_for_each(|_| nic.set_vfs(7).and_then(|()| nic.set_vfs(0)));
            done.store(true, Ordering::Release);
            churned
        });
        let mut scans = 0;
        while !done.load(Ordering::Acquire) {
            let pf = nicsim_pf().with_context(|| format!("scan {scans}"))?;
            ensure!(pf.vfs().len() <= 7, "{} VFs", pf.vfs().len());
            scans += 1;
        }
        churn.join().map_err(|_| anyhow::anyhow!("the thread that makes VFs panicked"))?
    })
}
