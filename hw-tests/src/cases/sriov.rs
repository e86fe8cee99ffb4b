//! VFs, drivers and the way to switchdev and back, on both PFs of the node.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};
use switchdev::eswitch::{EncapMode, InlineMode};
use switchdev::link::{Link, LinkChange, Links, VfChange, VfLinkState, VfSettings};
use switchdev::phys_port::VfIndex;
use switchdev::sriov::{set_drivers_autoprobe, wait_for_netdevs};
use switchdev::transition::{ApplyError, Card, KernelCard, Observed, Wanted, apply, plan};

use super::{Case, Ctx, Kernels};
use crate::guest::igb::{IgbVfs, PF as IGB};
use crate::guest::nicsim::{self, DEVLINK, Nicsim, PF};
use crate::guest::tool::{json, run};

pub(super) const CASES: &[Case] = &[
    case("sriov/to-switchdev-and-back", to_switchdev_and_back),
    case("sriov/a-failed-change-is-taken-back", failed_change_is_taken_back),
    case("sriov/slow-representors-are-waited-for", slow_representors),
    case("sriov/wait-for-vf-netdevs", wait_for_vf_netdevs),
    case("sriov/drivers-are-bound-as-told", drivers_are_bound_as_told),
    case("sriov/legacy-pf-gets-vfs", legacy_pf_gets_vfs),
    case("sriov/vf-settings-of-igb", vf_settings_of_igb),
    case("sriov/vf-settings-of-nicsim", vf_settings_of_nicsim),
    case("sriov/links-are-changed", links_are_changed),
];

const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}

fn open(pf: &str) -> anyhow::Result<KernelCard> {
    Ok(KernelCard::open(Sysfs::default(), pf)?)
}

fn reach(card: &mut KernelCard, wanted: &Wanted) -> anyhow::Result<String> {
    let plan = plan(&card.observe()?, wanted)?;
    let text = plan.to_string();
    apply(card, &plan, wanted).with_context(|| text.clone())?;
    Ok(text)
}

fn with_nicsim_vfs(wanted: Wanted) -> Wanted {
    Wanted { vf_driver: Some("nicsim".to_owned()), ..wanted }
}

/// What of a card a change may not leave behind.
fn state(observed: &Observed) -> String {
    let vfs = observed.pf.vfs().iter().map(|vf| Binding::of(&vf.function).to_string());
    let vfs: Vec<String> = vfs.collect();
    let autoprobe = observed.pf.sriov.as_ref().map(|sriov| sriov.drivers_autoprobe);
    format!("{:?} VFs {vfs:?} autoprobe {autoprobe:?}", observed.pf.eswitch)
}

fn to_switchdev_and_back(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let mut card = open("np0")?;
    let before = state(&card.observe()?);
    let wanted = Wanted {
        inline_mode: Some(InlineMode::Transport),
        encap_mode: Some(EncapMode::None),
        ..with_nicsim_vfs(Wanted::switchdev(4))
    };
    let text = reach(&mut card, &wanted)?;
    let shown = json(&format!("devlink -j dev eswitch show {DEVLINK}"))?["dev"][DEVLINK].clone();
    let expected = serde_json::json!({
        "mode": "switchdev", "inline-mode": "transport", "encap-mode": "none"
    });
    ensure!(shown == expected, "devlink shows {shown} after\n{text}");
    let names: Vec<String> = card.representors()?.into_values().map(|r| r.name).collect();
    ensure!(names == ["np0r0", "np0r1", "np0r2", "np0r3"], "{names:?}");
    for netdev in names.iter().map(String::as_str).chain(["np0"]) {
        let features = run(&format!("ethtool -k {netdev}"))?;
        ensure!(features.contains("hw-tc-offload: on"), "{netdev}:\n{features}");
    }
    let again = reach(&mut card, &wanted)?;
    ensure!(again.contains("nothing to do"), "{again}");
    let back = Wanted {
        inline_mode: Some(InlineMode::None),
        encap_mode: Some(EncapMode::Basic),
        ..Wanted::legacy(0)
    };
    reach(&mut card, &back)?;
    let after = state(&card.observe()?);
    ensure!(after == before, "before {before}, after {after}");
    Ok(())
}

/// The firmware refuses the mode: VFs that were created for it go again, and those that were there
/// before stay, bound as they were.
fn failed_change_is_taken_back(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let mut card = open(PF)?;
    for vfs_before in [0, 2] {
        reach(&mut card, &with_nicsim_vfs(Wanted::legacy(vfs_before)))?;
        let before = state(&card.observe()?);
        nic.set("eswitch_fail", 1)?;
        let wanted = with_nicsim_vfs(Wanted::switchdev(3));
        let plan = plan(&card.observe()?, &wanted)?;
        let error = apply(&mut card, &plan, &wanted).err().context("nothing failed")?;
        let ApplyError::Step { undo, .. } = &error else { anyhow::bail!("{error}") };
        ensure!(undo.failed.is_empty(), "{error}");
        ensure!(
            error.to_string().contains("Firmware failed to change the e-switch mode"),
            "{error}"
        );
        let after = state(&card.observe()?);
        ensure!(after == before, "before {before}, after {after}: {error}");
    }
    Ok(())
}

fn slow_representors(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("rep_slow_ms", 500)?;
    let mut card = open(PF)?;
    reach(&mut card, &with_nicsim_vfs(Wanted::switchdev(2)))?;
    ensure!(card.representors()?.len() == 2, "{:?}", card.representors()?);
    Ok(())
}

fn wait_for_vf_netdevs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("vf_slow_ms", 300)?;
    reach(&mut open(PF)?, &with_nicsim_vfs(Wanted::legacy(2)))?;
    let wait = |vfs: &[u16], time: Duration| {
        let vfs: Vec<VfIndex> = vfs.iter().copied().map(VfIndex).collect();
        wait_for_netdevs(&Sysfs::default(), PF.parse()?, &vfs, Instant::now() + time)
            .map_err(anyhow::Error::from)
    };
    let names = wait(&[0, 1], Duration::from_secs(30))?;
    ensure!(names == ["np0v0", "np0v1"], "{names:?}");
    let never = wait(&[0, 5], Duration::ZERO).err().context("VF 5 has a netdev")?;
    ensure!(never.to_string().starts_with("VF 5 of PF 0000:01:00.0 has no netdev"), "{never}");
    Ok(())
}

/// To another driver, away from all, and back to the kernel's choice.
fn drivers_are_bound_as_told(_: &mut Ctx) -> anyhow::Result<()> {
    let vfs = IgbVfs::new(1)?;
    run("modprobe -a vfio-pci igbvf").map(drop).or_else(built_in)?;
    let sysfs = Sysfs::default();
    let vf = vfs.address(0)?;
    let bound = |expected: Option<&str>| -> anyhow::Result<()> {
        let link = std::fs::read_link(format!("/sys/bus/pci/devices/{vf}/driver")).ok();
        let found = link.as_deref().and_then(|link| link.file_name()).map(|n| n.to_string_lossy());
        ensure!(found.as_deref() == expected, "bound to {found:?}, not {expected:?}");
        Ok(())
    };
    bind(&sysfs, vf.parse()?, &Binding::Only("vfio-pci".to_owned()))?;
    bound(Some("vfio-pci"))?;
    // The kernel's own choice needs its leave; an override does not.
    bind(&sysfs, vf.parse()?, &Binding::Matched)?;
    bound(None)?;
    set_drivers_autoprobe(&sysfs, IGB.parse()?, true)?;
    bind(&sysfs, vf.parse()?, &Binding::Matched)?;
    bound(Some("igbvf"))?;
    bind(&sysfs, vf.parse()?, &Binding::Unbound)?;
    bound(None)
}

/// Our own kernel has them built in.
fn built_in(error: anyhow::Error) -> anyhow::Result<()> {
    let drivers = std::path::Path::new("/sys/bus/pci/drivers");
    ensure!(drivers.join("vfio-pci").exists() && drivers.join("igbvf").exists(), error);
    Ok(())
}

/// A card without switchdev mode takes the plain way, and another number of VFs.
fn legacy_pf_gets_vfs(_: &mut Ctx) -> anyhow::Result<()> {
    let mut card = open(IGB)?;
    for count in [2, 5, 0] {
        reach(&mut card, &Wanted::legacy(count))?;
        let found = nicsim::read(format!("/sys/bus/pci/devices/{IGB}/sriov_numvfs"))?;
        ensure!(found == count.to_string(), "{found} VFs, not {count}");
    }
    Ok(())
}

fn igb_link(links: &mut Links) -> anyhow::Result<Link> {
    let name = KernelCard::open(Sysfs::default(), IGB)?.observe()?;
    let name = name.pf.uplink().context("the igb PF has no netdev")?.name.clone();
    Ok(links.find(&name)?)
}

fn vf_settings_of_igb(_: &mut Ctx) -> anyhow::Result<()> {
    let _vfs = IgbVfs::new(2)?;
    let mut links = Links::open()?;
    let pf = igb_link(&mut links)?;
    let changes = [
        VfChange::Mac("02:00:00:00:00:09".parse()?),
        VfChange::Vlan(Some("100 qos 3 proto 802.1Q".parse()?)),
        VfChange::SpoofCheck(false),
        VfChange::Trust(true),
    ];
    set_and_compare(&mut links, &pf, &changes)?;
    let refused = links.set_vf(pf.ifindex, VfIndex(1), VfChange::LinkState(VfLinkState::Enable));
    let error = refused.err().context("igb has no link state for VFs")?.to_string();
    ensure!(error.contains("vf 1 state enable: Operation not supported"), "{error}");
    let missing = links.set_vf(pf.ifindex, VfIndex(6), VfChange::Trust(true));
    let error = missing.err().context("VF 6 is not there")?.to_string();
    ensure!(error.ends_with("has no VF 6: it has VFs 0 to 1"), "{error}");
    Ok(())
}

fn vf_settings_of_nicsim(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let mut links = Links::open()?;
    let pf = links.find("np0")?;
    let changes = [
        VfChange::Mac("02:00:00:00:00:19".parse()?),
        VfChange::Vlan(Some("7 qos 2 proto 802.1Q".parse()?)),
        VfChange::SpoofCheck(false),
        VfChange::Trust(true),
        VfChange::Rate { min: 100, max: 500 },
        VfChange::LinkState(VfLinkState::Disable),
        VfChange::Vlan(None),
    ];
    set_and_compare(&mut links, &pf, &changes)
}

/// After each change `ip` shows VF 1 as we read it, and VF 0 as it was.
fn set_and_compare(links: &mut Links, pf: &Link, changes: &[VfChange]) -> anyhow::Result<()> {
    for change in changes {
        let others = |links: &mut Links| -> anyhow::Result<Vec<VfSettings>> {
            let vfs = links.get_by_index(pf.ifindex)?.vfs;
            Ok(vfs.into_iter().filter(|settings| settings.vf != VfIndex(1)).collect())
        };
        let before = others(links)?;
        links.set_vf(pf.ifindex, VfIndex(1), *change)?;
        ensure!(others(links)? == before, "{change} of VF 1 changed another VF");
        compare_with_ip(links, pf).with_context(|| change.to_string())?;
    }
    Ok(())
}

fn compare_with_ip(links: &mut Links, pf: &Link) -> anyhow::Result<()> {
    let shown = json(&format!("ip -j -d link show {}", pf.name))?[0]["vfinfo_list"][1].clone();
    let read = links.get_by_index(pf.ifindex)?.vfs.into_iter().nth(1).context("no VF 1")?;
    let vlan = &shown["vlan_list"][0];
    let (id, qos) = read.vlan.map_or((0, 0), |vlan| (vlan.id.get(), vlan.qos.get()));
    let theirs = serde_json::json!({
        "mac": shown["address"],
        "vlan": [vlan["vlan"].as_u64().unwrap_or(0), vlan["qos"].as_u64().unwrap_or(0)],
        "rate": [shown["rate"]["min_tx"], shown["rate"]["max_tx"]],
        "spoofchk": shown["spoofchk"],
        "trust": shown["trust"],
        "link_state": shown["link_state"],
    });
    let ours = serde_json::json!({
        "mac": read.mac.to_string(),
        "vlan": [id, qos],
        "rate": [read.min_tx_rate, read.max_tx_rate],
        "spoofchk": read.spoof_check,
        "trust": read.trust,
        "link_state": read.link_state.to_string(),
    });
    ensure!(ours == theirs, "we read {ours}, ip shows {shown}");
    Ok(())
}

fn links_are_changed(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    reach(&mut open(PF)?, &with_nicsim_vfs(Wanted::legacy(1)))?;
    let pf = PF.parse()?;
    let soon = Instant::now() + Duration::from_secs(30);
    let name = wait_for_netdevs(&Sysfs::default(), pf, &[VfIndex(0)], soon)?.remove(0);
    let mut links = Links::open()?;
    let link = links.find(&name)?.ifindex;
    for change in [
        LinkChange::Mtu(1400),
        LinkChange::Address("02:00:00:00:00:42".parse()?),
        LinkChange::Alias("for a test".to_owned()),
        LinkChange::Name("pod0".to_owned()),
        LinkChange::Up,
    ] {
        links.change(link, &change)?;
    }
    let shown = links.find("pod0")?.to_string();
    let wanted = format!("{link}: pod0 mtu 1400 up 02:00:00:00:00:42 alias \"for a test\"");
    ensure!(shown == wanted, "{shown}");
    let ip = json("ip -j -d link show pod0")?[0].clone();
    ensure!(ip["mtu"] == 1400 && ip["address"] == "02:00:00:00:00:42", "{ip}");
    ensure!(ip["ifalias"] == "for a test", "{ip}");
    move_to_pod(&mut links, link)
}

/// A link arrives in the other namespace under its new name, and is gone from this one.
fn move_to_pod(links: &mut Links, link: switchdev::IfIndex) -> anyhow::Result<()> {
    let pod = crate::guest::netns::Netns::new("pod")?;
    let netns = std::fs::File::open("/run/netns/pod")?;
    links.move_to_netns(link, &netns, Some("net1"))?;
    ensure!(links.find("pod0").is_err(), "pod0 is still here");
    let moved = pod.ip("link show net1")?;
    ensure!(moved.contains("net1"), "{moved}");
    Ok(())
}
