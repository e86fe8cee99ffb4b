//! Switchdev mode: representors, and the slow path through them.

use anyhow::ensure;
use switchdev::ethtool::Ethtool;

use crate::cases::Ctx;
use crate::guest::counters::counter;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{DEVLINK, Nicsim, read};
use crate::guest::tool;
use crate::guest::udp::{exchange, exchange_sized, is_cut};

use super::{net, present};

/// Representors are the PF's netdevs, named by port, all of one switch; legacy mode has none and keeps the VFs.
pub(super) fn representors(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(3)?;
    nic.set_mode("switchdev")?;
    let id = read(net("np0").join("phys_switch_id"))?;
    ensure!(!id.is_empty(), "the switch has no id");
    for (netdev, port) in [("np0", "p0"), ("np0r0", "pf0vf0"), ("np0r2", "pf0vf2")] {
        ensure!(read(net(netdev).join("phys_port_name"))? == port, "{netdev} is not {port}");
        ensure!(read(net(netdev).join("phys_switch_id"))? == id, "{netdev} is of another switch");
        ensure!(nic.sysfs("net").join(netdev).exists(), "{netdev} is not the PF's");
    }
    // A rename makes devlink look at the netdev again, and complain where the two disagree.
    tool::run("ip link set np0 name np0-renamed")?;
    let renamed = read(net("np0-renamed").join("phys_port_name"))?;
    tool::run("ip link set np0-renamed name np0")?;
    ensure!(renamed == "p0", "a renamed uplink is {renamed}");
    nic.set_mode("legacy")?;
    ensure!(!present("np0r0") && present("np0v0"), "representors go, VFs stay");
    Ok(())
}

/// A software bridge over uplink and representors, two pods, and the top-of-rack switch.
struct Bridge {
    a: Netns,
    b: Netns,
    tor: Netns,
    nic: Nicsim,
}

impl Bridge {
    fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        nic.set_vfs(2)?;
        nic.set_mode("switchdev")?;
        tool::run("ip link add nicsim-br type bridge")?;
        let rack = Self { a: Netns::new("a")?, b: Netns::new("b")?, tor: Netns::new("tor")?, nic };
        tool::run("ip link set nicsim-br up")?;
        for port in ["np0", "np0r0", "np0r1"] {
            tool::run(&format!("ip link set {port} master nicsim-br up"))?;
        }
        rack.a.take("np0v0", "10.9.0.1/24")?;
        rack.b.take("np0v1", "10.9.0.2/24")?;
        rack.tor.take("np0w", "10.9.0.9/24")?;
        Ok(rack)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        tool::undo("ip link del nicsim-br");
    }
}

/// With an empty flow table every packet is seen by a representor on its way.
pub(super) fn slow_path(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Bridge::new(ctx)?;
    let before = (counter("np0r0", "rx_packets")?, counter("np0r1", "tx_packets")?);
    ensure!(exchange(&rack.a, &rack.b, "10.9.0.2", 100)? == 100, "VF to VF loses datagrams");
    let seen = (counter("np0r0", "rx_packets")?, counter("np0r1", "tx_packets")?);
    ensure!(seen.0 >= before.0 + 100 && seen.1 >= before.1 + 100, "{before:?} then {seen:?}");
    let uplink = counter("np0", "tx_packets")?;
    ensure!(exchange(&rack.a, &rack.tor, "10.9.0.9", 100)? == 100, "VF to wire loses datagrams");
    ensure!(counter("np0", "tx_packets")? >= uplink + 100, "the uplink did not see them");
    ensure!(exchange(&rack.tor, &rack.b, "10.9.0.2", 100)? == 100, "wire to VF loses datagrams");
    tool::run("ip link set np0r1 down")?;
    ensure!(is_cut(&rack.a, &rack.b, "10.9.0.2")?, "a VF receives with its representor down");
    Ok(())
}

/// 9000 bytes and no more; what a receiver has no room for is dropped and counted there.
pub(super) fn mtu(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Bridge::new(ctx)?;
    tool::refused("ip link set np0 mtu 9001")?;
    rack.a.ip("link set np0v0 mtu 9000")?;
    let dropped = counter("np0r0", "rx_dropped")?;
    ensure!(rack.send_large()? == 0, "1500 bytes of MTU took 8000 bytes");
    ensure!(counter("np0r0", "rx_dropped")? > dropped, "the drop was not counted");
    for port in ["np0r0", "np0r1", "nicsim-br"] {
        tool::run(&format!("ip link set {port} mtu 9000"))?;
    }
    rack.b.ip("link set np0v1 mtu 9000")?;
    ensure!(rack.send_large()? == 1, "8000 bytes were lost with an MTU of 9000 everywhere");
    Ok(())
}

impl Bridge {
    /// A datagram of 8000 bytes from pod to pod; how many arrive.
    fn send_large(&self) -> anyhow::Result<u32> {
        exchange_sized(&self.a, &self.b, "10.9.0.2", 1, 8000)
    }
}

/// In switchdev mode tc and devlink decide; of `ip link set vf` only the MAC is left.
pub(super) fn legacy_settings_are_refused(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    for setting in ["vlan 7", "spoofchk off", "trust on", "state enable", "max_tx_rate 100"] {
        tool::refused(&format!("ip link set np0 vf 0 {setting}"))?;
    }
    tool::run("ip link set np0 vf 0 mac 02:00:00:00:dd:01")?;
    Ok(())
}

/// VFs that are created in switchdev mode have representors, and take them along.
pub(super) fn vfs_come_and_go(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_mode("switchdev")?;
    nic.set_vfs(2)?;
    ensure!(present("np0r1") && !present("np0r2"), "not one representor for each VF");
    nic.set_vfs(0)?;
    ensure!(!present("np0r0") && present("np0"), "representors outlive their VFs");
    Ok(())
}

/// Pods talk in both modes without being touched.
pub(super) fn pods_survive_mode_changes(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Bridge::new(ctx)?;
    rack.nic.set_mode("legacy")?;
    ensure!(exchange(&rack.a, &rack.b, "10.9.0.2", 20)? == 20, "no traffic in legacy mode");
    rack.nic.set_mode("switchdev")?;
    ensure!(is_cut(&rack.a, &rack.b, "10.9.0.2")?, "traffic with nobody at the representors");
    for port in ["np0r0", "np0r1"] {
        tool::run(&format!("ip link set {port} master nicsim-br up"))?;
    }
    ensure!(exchange(&rack.a, &rack.b, "10.9.0.2", 20)? == 20, "no traffic back in switchdev");
    Ok(())
}

/// While a filter is in hardware, what it was translated for stays as it is.
pub(super) fn filters_pin_settings(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    let mut ethtool = Ethtool::open()?;
    ethtool.set_hw_tc_offload("np0r0", false)?;
    ethtool.set_hw_tc_offload("np0r0", true)?;
    tool::run("tc qdisc add dev np0r0 clsact")?;
    tool::run("tc filter add dev np0r0 ingress prio 1 protocol ip flower skip_sw action drop")?;
    ensure!(
        ethtool.set_hw_tc_offload("np0r0", false).is_err() && ethtool.hw_tc_offload("np0r0")?,
        "hw-tc-offload was turned off under a filter"
    );
    let encap = format!("devlink dev eswitch set {DEVLINK} encap-mode none");
    let error = tool::refused(&encap)?;
    ensure!(error.contains("Filters are in hardware"), "no reason is given: {error}");
    tool::run("tc filter del dev np0r0 ingress")?;
    tool::run(&encap)?;
    // Refused a moment ago, and not any more.
    ethtool.set_hw_tc_offload("np0r0", false)?;
    Ok(())
}
