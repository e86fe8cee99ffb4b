//! The pools follow the kernel: VFs that come and go, drivers, namespaces, routes.

use anyhow::ensure;
use plugin_testkit::kubelet::Registration;
use switchdev::Sysfs;
use switchdev::driver::{Binding, bind};

use super::lab::{Lab, PATIENCE, POOL};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{self, Nicsim, wait_for_link};
use crate::guest::tool::{run, undo};

const ON_NP0: &str = r#""selectors": [{"rootDevices": ["0000:01:00.0"]}]"#;

/// More VFs, fewer VFs, another driver; one that has gone is not given.
pub(super) fn vfs_come_and_go(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    let lab = Lab::new(
        ctx,
        Registration::Watcher,
        r#""selectors": [{"rootDevices": ["0000:01:00.0"], "drivers": ["nicsim"]}]"#,
    )?;
    let _plugin = lab.start()?;
    lab.says("is served on")?;
    nic.set_vfs(2)?;
    lab.healthy(2)?;
    nic.set_vfs(0)?;
    lab.healthy(0)?;
    nic.set_vfs(3)?;
    lab.healthy(3)?;
    let vf = nic.vf_address(2)?;
    bind(&Sysfs::default(), vf.parse()?, &Binding::Unbound)?;
    lab.healthy(2)?;
    bind(&Sysfs::default(), vf.parse()?, &Binding::Only("nicsim".to_owned()))?;
    lab.healthy(3)?;
    nic.set_vfs(0)?;
    nic.set_vfs(2)?;
    lab.healthy(2)?;
    let refused = lab.kubelet.allocate(POOL, &[vec![vf]]).err();
    ensure!(
        refused.is_some_and(|error| error.to_string().contains("it is not there any more")),
        "a VF that has gone was given"
    );
    Ok(())
}

/// Its netdev is in the pod's namespace, where no selector can see it, and the plugin is started anew.
pub(super) fn vf_in_a_pod(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let lab = Lab::new(
        ctx,
        Registration::Watcher,
        r#""selectors": [{"pfNames": ["np0"], "linkTypes": ["ether"]}]"#,
    )?;
    let mut plugin = lab.start()?;
    lab.healthy(2)?;
    let given = lab.kubelet.admit("web", POOL, 1)?;
    let index = if given.devices == [nic.vf_address(0)?] { 0 } else { 1 };
    let pod = Netns::new("web")?;
    pod.take(&nicsim::vf(index), "10.0.0.1/24")?;
    plugin.kill()?;
    plugin = lab.start()?;
    lab.kubelet.wait_for(POOL, PATIENCE, |devices| {
        devices.values().all(|healthy| *healthy) && devices.len() == 2
    })?;
    ensure!(plugin.is_running(), "the plugin has ended");
    // A VF that is away with nobody known to have it is another matter.
    let other = Netns::new("other")?;
    other.take(&nicsim::vf(1 - index), "10.0.0.2/24")?;
    lab.healthy(1)?;
    drop(other);
    wait_for_link(&nicsim::vf(1 - index))?;
    lab.healthy(2).map(drop)
}

/// A file that wants less, one that wants nothing, one that is wrong, and the first one again, while a pod
/// has a VF that those in between would not take.
pub(super) fn new_configuration(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(4)?;
    let keys =
        |pf: &str| format!(r#""selectors": {{"pfNames": ["{pf}"], "linkTypes": ["ether"]}}"#);
    let lab = Lab::new(ctx, Registration::Watcher, &keys("np0#0"))?;
    let _plugin = lab.start()?;
    lab.healthy(1)?;
    let first = lab.kubelet.admit("web", POOL, 1)?.devices.remove(0);
    lab.configure(&keys("np0"))?;
    lab.healthy(4)?;
    let pod = Netns::new("web")?;
    pod.take(&nicsim::vf(0), "10.0.0.1/24")?;
    for (pf, others) in [("np0#2-3", vec![2, 3]), ("eth99", vec![])] {
        lab.configure(&keys(pf))?;
        let others = others.into_iter().map(|index| nic.vf_address(index));
        let wanted: Vec<String> =
            std::iter::once(Ok(first.clone())).chain(others).collect::<anyhow::Result<_>>()?;
        lab.kubelet.wait_for(POOL, PATIENCE, |devices| {
            devices.keys().eq(&wanted) && devices.values().all(|healthy| *healthy)
        })?;
    }
    lab.configure(&keys("np0#x"))?;
    lab.says(r#""x" is no list of indexes"#)?;
    ensure!(lab.kubelet.devices(POOL) == [(first, true)].into(), "a wrong file changed the pool");
    lab.configure(&keys("np0"))?;
    lab.healthy(4)?;
    drop(pod);
    wait_for_link(&nicsim::vf(0))
}

/// The card that the node's default route leaves by is in no pool, whatever the selectors say.
pub(super) fn default_route_is_barred(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    wait_for_link("np0v0")?;
    run("ip addr add 192.0.2.1/24 dev np0v0")?;
    run("ip link set np0v0 up")?;
    run("ip route add default via 192.0.2.2 dev np0v0")?;
    let lab = Lab::new(ctx, Registration::Watcher, ON_NP0)?;
    let plugin = lab.start().and_then(|plugin| lab.healthy(1).map(|_| plugin));
    let free = lab.kubelet.free(POOL);
    undo("ip route del default dev np0v0");
    let _plugin = plugin?;
    ensure!(
        free == [nic.vf_address(1)?],
        "{free:?} can be given, and the default route leaves by VF 0"
    );
    Ok(())
}
