//! Bad input gives one clear error that names what was wrong and what would be right, and nothing is
//! half-applied.

use std::thread;

use anyhow::{Context, anyhow, ensure};
use rustix::process::Uid;
use switchdev::devlink::{Devlink, EswitchChange};
use switchdev::eswitch::EswitchMode;
use switchdev::link::{LinkChange, Links};
use switchdev::sriov::set_vf_count;
use switchdev::transition::{Card, DefaultRoute, KernelCard, Wanted, apply, plan};
use switchdev::{CardError, Sysfs};

use super::{Case, Ctx, Kernels};
use crate::guest::nicsim::{self, DEVLINK, Nicsim, PF};
use crate::guest::tool::run;

pub(super) const CASES: &[Case] = &[
    case("bad-input/no-such-pf", no_such_pf),
    case("bad-input/a-vf-is-no-pf", vf_is_no_pf),
    case("bad-input/more-vfs-than-there-can-be", too_many_vfs),
    case("bad-input/a-card-without-eswitch", card_without_eswitch),
    case("bad-input/a-busy-eswitch", busy_eswitch),
    case("bad-input/not-root", not_root),
    case("bad-input/a-driver-that-is-not-loaded", driver_not_loaded),
    case("bad-input/the-default-routes-card", default_routes_card),
];

const fn case(name: &'static str, run: fn(&mut Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}

fn check(error: Option<impl ToString>, expected: &str) -> anyhow::Result<()> {
    let error = error.context("there was no error")?.to_string();
    ensure!(error == expected, "the error was\n  {error}\nand not\n  {expected}");
    Ok(())
}

fn open(pf: &str) -> Result<KernelCard, CardError> {
    KernelCard::open(Sysfs::default(), pf)
}

fn planned(pf: &str, wanted: &Wanted) -> Result<String, CardError> {
    Ok(plan(&open(pf)?.observe()?, wanted)?.to_string())
}

fn no_such_pf(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    let igb = open("0000:02:00.0")?.observe()?.pf.short_name();
    let wanted = |asked: &str| {
        format!("no PF \"{asked}\" on this node: name one of 0000:01:00.0 (np0), {igb}")
    };
    check(open("0000:0a:00.0").err(), &wanted("0000:0a:00.0"))?;
    check(open("enp1s0f7").err(), &wanted("enp1s0f7"))
}

fn vf_is_no_pf(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let vf = nic.vf_address(1)?;
    check(open(&vf).err(), &format!("{vf} is VF 1 of PF {PF}: name the PF instead"))
}

fn too_many_vfs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let total = nicsim::read(nic.sysfs("sriov_totalvfs"))?;
    let expected = format!(
        "PF {PF} (np0): 64 VFs were asked for, it can have {total} (sriov_totalvfs): ask for at \
         most {total}, or raise the limit in the card's firmware"
    );
    check(planned(PF, &Wanted::switchdev(64)).err(), &expected)?;
    check(set_vf_count(&Sysfs::default(), PF.parse()?, 64).err(), &expected)?;
    let left = nicsim::read(nic.sysfs("sriov_numvfs"))?;
    ensure!(left == "2", "the refusal left {left} VFs of 2");
    Ok(())
}

fn card_without_eswitch(_: &mut Ctx) -> anyhow::Result<()> {
    let pf = open("0000:02:00.0")?.observe()?.pf.short_name();
    check(
        planned("0000:02:00.0", &Wanted::switchdev(2)).err(),
        &format!(
            "PF {pf} has no e-switch that devlink shows (driver igb): ask for legacy mode, or \
             name a PF of a card with switchdev mode"
        ),
    )
}

fn busy_eswitch(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set("eswitch_busy", 1)?;
    let mut card = open(PF)?;
    let wanted = Wanted::switchdev(0);
    let plan = plan(&card.observe()?, &wanted)?;
    check(
        apply(&mut card, &plan, &wanted).err(),
        &format!(
            "PF {PF} (np0): step 1 of 2 (set the e-switch to mode switchdev) failed: the e-switch \
             of PF {PF} is busy and stays at mode legacy inline-mode none encap-mode basic (mode \
             switchdev was asked for): nicsim: E-switch is busy: another user holds its mode; \
             remove its filters, unbind its VFs, wait for other changes to end, and try again; \
             what was done has been taken back"
        ),
    )
}

/// Reading needs no privilege; each way of changing something says what it lacks.
fn not_root(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    thread::scope(|scope| {
        let unprivileged = scope.spawn(|| -> anyhow::Result<()> {
            // The identity is the thread's own; it takes all its capabilities with it.
            rustix::thread::set_thread_uid(Uid::from_raw(65534))?;
            let up = Links::open()?.find("np0")?.ifindex;
            check(
                set_vf_count(&Sysfs::default(), PF.parse()?, 0).err(),
                &format!(
                    "cannot write \"0\" to /sys/bus/pci/devices/{PF}/sriov_numvfs: Permission \
                     denied (os error 13): run as root"
                ),
            )?;
            let mode = EswitchChange::Mode(EswitchMode::Switchdev);
            check(
                Devlink::open()?.set_eswitch(&DEVLINK.parse()?, mode).err(),
                "devlink dev eswitch set pci/0000:01:00.0 mode switchdev: Operation not permitted \
                 (os error 1): run as root or with CAP_NET_ADMIN",
            )?;
            check(
                Links::open()?.change(up, &LinkChange::Up).err(),
                &format!(
                    "ip link set index {up} up: Operation not permitted (os error 1): run as root \
                     or with CAP_NET_ADMIN"
                ),
            )
        });
        unprivileged.join().map_err(|_| anyhow!("the unprivileged thread panicked"))?
    })?;
    let left = nicsim::read(nic.sysfs("sriov_numvfs"))?;
    ensure!(left == "1", "without privilege the VFs became {left}");
    Ok(())
}

fn driver_not_loaded(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let wanted = Wanted { vf_driver: Some("no-such-driver".to_owned()), ..Wanted::legacy(1) };
    let mut card = open(PF)?;
    let plan = plan(&card.observe()?, &wanted)?;
    let error = apply(&mut card, &plan, &wanted).err().context("there was no error")?.to_string();
    ensure!(
        error.contains("no PCI driver no-such-driver is loaded: modprobe no-such-driver"),
        "{error}"
    );
    let left = nicsim::read(nic.sysfs("sriov_numvfs"))?;
    ensure!(left == "0", "{left} VFs were left behind: {error}");
    Ok(())
}

/// Directly and through a device stacked on it; with an explicit word it is done.
fn default_routes_card(ctx: &mut Ctx) -> anyhow::Result<()> {
    let _nic = Nicsim::load(ctx, "")?;
    run("ip link set np0 up")?;
    run("ip address add 192.0.2.2/24 dev np0")?;
    run("ip route add default via 192.0.2.1")?;
    let refusal = |netdev: &str| {
        format!(
            "PF {PF} (np0) carries the node's default route (over {netdev}), a change may cut the \
             node off: accept that explicitly, or name another PF"
        )
    };
    check(planned(PF, &Wanted::switchdev(1)).err(), &refusal("np0"))?;
    let accept = Wanted { default_route: DefaultRoute::Accept, ..Wanted::switchdev(1) };
    planned(PF, &accept)?;
    run("ip address del 192.0.2.2/24 dev np0")?;
    planned(PF, &Wanted::switchdev(1))?;
    run("ip link add link np0 name np0.7 up type vlan id 7")?;
    run("ip address add 192.0.2.2/24 dev np0.7")?;
    run("ip route add default via 192.0.2.1")?;
    check(planned(PF, &Wanted::switchdev(1)).err(), &refusal("np0.7"))
}
