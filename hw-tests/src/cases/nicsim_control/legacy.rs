//! Legacy mode: a bridge in the NIC, and what the hypervisor may decide for a VF.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, read};
use crate::guest::tool;
use crate::guest::udp::{exchange, is_cut};

use super::net;

/// Two pods with a VF each, and the top-of-rack switch on the wire. The NIC goes last: namespaces give their netdevs back first.
struct Rack {
    a: Netns,
    b: Netns,
    tor: Netns,
    _nic: Nicsim,
}

impl Rack {
    fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        nic.set_vfs(2)?;
        tool::run("ip link set np0 up")?;
        let rack =
            Self { a: Netns::new("a")?, b: Netns::new("b")?, tor: Netns::new("tor")?, _nic: nic };
        rack.a.take("np0v0", "10.9.0.1/24")?;
        rack.b.take("np0v1", "10.9.0.2/24")?;
        rack.tor.take("np0w", "10.9.0.9/24")?;
        Ok(rack)
    }
}

fn arrive(what: &str, from: &Netns, to: &Netns, address: &str) -> anyhow::Result<()> {
    let arrived = exchange(from, to, address, 50)?;
    ensure!(arrived == 50, "{what}: {arrived} of 50 datagrams arrived");
    Ok(())
}

pub(super) fn bridges(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Rack::new(ctx)?;
    arrive("VF to VF", &rack.a, &rack.b, "10.9.0.2")?;
    arrive("VF to wire", &rack.a, &rack.tor, "10.9.0.9")?;
    arrive("wire to VF", &rack.tor, &rack.b, "10.9.0.2")
}

/// A VF with a VLAN is an access port: tagged on the wire, cut off from VFs without.
pub(super) fn vf_vlan(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Rack::new(ctx)?;
    tool::run("ip link set np0 vf 0 vlan 100 qos 3")?;
    ensure!(is_cut(&rack.a, &rack.b, "10.9.0.2")?, "VLAN 100 reaches a VF without a VLAN");
    rack.tor.ip("link add link np0w name w100 type vlan id 100")?;
    rack.tor.ip("addr add 10.9.1.9/24 dev w100")?;
    rack.tor.ip("link set w100 up")?;
    rack.a.ip("addr add 10.9.1.1/24 dev np0v0")?;
    arrive("VF in VLAN 100 to VLAN 100 on the wire", &rack.a, &rack.tor, "10.9.1.9")?;
    arrive("and back", &rack.tor, &rack.a, "10.9.1.1")?;
    tool::run("ip link set np0 vf 1 vlan 100")?;
    arrive("two VFs of VLAN 100", &rack.a, &rack.b, "10.9.0.2")?;
    tool::run("ip link set np0 vf 1 vlan 100 proto 802.1ad")?;
    ensure!(is_cut(&rack.a, &rack.b, "10.9.0.2")?, "an 802.1Q tag passes for 802.1ad");
    Ok(())
}

/// A frame whose source is not the VF's own is dropped, until spoofchk is off.
pub(super) fn spoofchk(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rack = Rack::new(ctx)?;
    arrive("with its own MAC", &rack.a, &rack.tor, "10.9.0.9")?;
    // The VF changes its MAC to one that the hypervisor did not give it, which only a trusted VF may.
    tool::run("ip link set np0 vf 0 mac 02:00:00:00:bb:01")?;
    tool::run("ip link set np0 vf 0 trust on")?;
    rack.a.ip("link set np0v0 address 02:00:00:00:bb:02")?;
    ensure!(is_cut(&rack.a, &rack.tor, "10.9.0.9")?, "a spoofed frame reached the wire");
    tool::run("ip link set np0 vf 0 spoofchk off")?;
    arrive("with spoofchk off", &rack.a, &rack.tor, "10.9.0.9")
}

/// The hypervisor's MAC is the VF's at once, and only a trusted VF changes it.
pub(super) fn mac_and_trust(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    tool::run("ip link set np0 vf 0 mac 02:00:00:00:cc:01")?;
    ensure!(read(net("np0v0").join("address"))? == "02:00:00:00:cc:01", "the VF has another MAC");
    tool::refused("ip link set np0v0 address 02:00:00:00:cc:02")?;
    tool::run("ip link set np0 vf 0 trust on")?;
    tool::run("ip link set np0v0 address 02:00:00:00:cc:02")?;
    Ok(())
}

/// `auto` follows the cable, `enable` and `disable` do not.
pub(super) fn link_state(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    tool::run("ip link set np0v0 up")?;
    for (wire, state, carrier) in [
        ("down", "auto", "0"),
        ("up", "auto", "1"),
        ("up", "disable", "0"),
        ("down", "enable", "1"),
    ] {
        tool::run(&format!("ip link set np0w {wire}"))?;
        tool::run(&format!("ip link set np0 vf 0 state {state}"))?;
        let found = read(net("np0v0").join("carrier"))?;
        ensure!(found == carrier, "wire {wire}, state {state}: carrier is {found}");
    }
    Ok(())
}

/// What was set is what `ip link` shows, and a new VF starts afresh.
pub(super) fn settings_are_returned(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    tool::run(
        "ip link set np0 vf 1 vlan 7 qos 2 min_tx_rate 100 max_tx_rate 900 \
         spoofchk off trust on state enable",
    )?;
    let shown = vf_info(1)?;
    let vlan = json!([{"vlan": 7, "qos": 2}]);
    ensure!(shown["vlan_list"] == vlan, "VLAN is {}", shown["vlan_list"]);
    let rate = json!({"max_tx": 900, "min_tx": 100});
    ensure!(shown["rate"] == rate, "rate is {}", shown["rate"]);
    ensure!(shown["spoofchk"] == false && shown["trust"] == true, "{shown}");
    ensure!(shown["link_state"] == "enable", "link state is {}", shown["link_state"]);
    tool::refused("ip link set np0 vf 1 min_tx_rate 900 max_tx_rate 100")?;
    tool::refused("ip link set np0 vf 2 vlan 7")?;
    nic.set_vfs(0)?;
    nic.set_vfs(2)?;
    ensure!(vf_info(1)?["spoofchk"] == true, "a new VF has the settings of an old one");
    Ok(())
}

fn vf_info(index: usize) -> anyhow::Result<Value> {
    let shown = tool::json("ip -j -d link show np0")?;
    let list = shown[0]["vfinfo_list"].as_array().context("np0 shows no VFs")?;
    list.get(index).cloned().with_context(|| format!("np0 shows no VF {index}"))
}
