//! The stage: a card with VFs in switchdev mode, two pods, a top-of-rack switch, Open vSwitch with its rules.

use anyhow::Context;
use switchdev::Sysfs;
use switchdev::phys_port::VfIndex;
use switchdev::transition::{Card, KernelCard, Wanted, apply, plan};

use super::story::{say, step};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, PF};
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;

/// VFs on the card; two of them go to pods.
const VFS: u16 = 4;
/// The pods' VLAN on the wire.
pub(super) const VLAN: u16 = 100;
/// The bridge.
pub(super) const BRIDGE: &str = "br-int";
/// The card's port to the wire.
pub(super) const UPLINK: &str = "np0";
/// The other end of the cable.
const WIRE: &str = "np0w";

/// A pod: a namespace with a VF in it.
#[derive(Debug)]
pub(super) struct Pod {
    /// Its namespace.
    pub(super) netns: Netns,
    /// Its VF's representor.
    pub(super) representor: String,
    /// Its address.
    pub(super) ip: &'static str,
    mac: String,
}

/// Everything there is. What comes first goes first: bridges before namespaces, namespaces before the card.
#[derive(Debug)]
pub(super) struct Stage {
    /// Open vSwitch.
    pub(super) ovs: Ovs,
    /// The pods.
    pub(super) pods: [Pod; 2],
    /// The top-of-rack switch.
    pub(super) rack: Netns,
    _card: Nicsim,
}

/// The address behind the wire.
pub(super) const RACK_IP: &str = "10.0.0.100";

impl Stage {
    /// Sets it up, and tells how.
    pub(super) fn set(ctx: &Ctx) -> anyhow::Result<Self> {
        step("A card, four VFs, switchdev mode");
        let card = Nicsim::load(ctx, "")?;
        let representors = to_switchdev()?;
        step("Two pods with a VF each, and the top-of-rack switch behind the wire");
        let pods = [pod("pod1", "np0v0", "10.0.0.1")?, pod("pod2", "np0v1", "10.0.0.2")?];
        let mut pods =
            pods.into_iter().zip(representors).map(|(pod, representor)| Pod { representor, ..pod });
        let pods = [pods.next().context("no pod")?, pods.next().context("no second pod")?];
        let rack = rack()?;
        step("Open vSwitch: ovsdb-server, ovs-vswitchd with the kernel's datapath");
        let ovs = bridge(&pods)?;
        Ok(Self { ovs, pods, rack, _card: card })
    }

    /// The netdevs on which the slow path is seen.
    pub(super) fn ports(&self) -> [&str; 3] {
        [&self.pods[0].representor, &self.pods[1].representor, UPLINK]
    }
}

/// Returns the representors of the first two VFs.
fn to_switchdev() -> anyhow::Result<Vec<String>> {
    let mut card = KernelCard::open(Sysfs::default(), PF)?;
    let wanted = Wanted { vf_driver: Some("nicsim".to_owned()), ..Wanted::switchdev(VFS) };
    let plan = plan(&card.observe()?, &wanted)?;
    say(&plan.to_string());
    apply(&mut card, &plan, &wanted)?;
    let representors = card.representors()?;
    representors
        .iter()
        .for_each(|(vf, representor)| say(&format!("VF {vf} has representor {representor}")));
    let name = |vf| {
        let representor = representors.get(&VfIndex(vf)).context("a VF has no representor")?;
        Ok(representor.name.clone())
    };
    [0, 1].into_iter().map(name).collect()
}

fn pod(name: &str, vf: &str, ip: &'static str) -> anyhow::Result<Pod> {
    let netns = quiet(name)?;
    say(&format!("ip link set {vf} netns {name}; ip -n {name} addr add {ip}/24 dev {vf}"));
    netns.take(vf, &format!("{ip}/24"))?;
    let mac = mac_of(&netns, vf)?;
    Ok(Pod { netns, representor: String::new(), ip, mac })
}

fn rack() -> anyhow::Result<Netns> {
    let rack = quiet("rack")?;
    say(&format!("ip link set {WIRE} netns rack; VLAN {VLAN} on it with {RACK_IP}"));
    run(&format!("ip link set {WIRE} netns rack"))?;
    rack.ip(&format!("link set {WIRE} up"))?;
    rack.ip(&format!("link add link {WIRE} name vlan{VLAN} type vlan id {VLAN}"))?;
    rack.ip(&format!("addr add {RACK_IP}/24 dev vlan{VLAN}"))?;
    rack.ip(&format!("link set vlan{VLAN} up"))?;
    Ok(rack)
}

/// A namespace that sends nothing by itself: IPv6 would look for routers and neighbours.
fn quiet(name: &str) -> anyhow::Result<Netns> {
    let netns = Netns::new(name)?;
    netns.enter(|| Ok(std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?))?;
    Ok(netns)
}

fn mac_of(netns: &Netns, netdev: &str) -> anyhow::Result<String> {
    let text = netns.ip(&format!("-brief link show {netdev}"))?;
    text.split_whitespace().nth(2).map(str::to_owned).context("`ip -brief link` shows no address")
}

fn bridge(pods: &[Pod; 2]) -> anyhow::Result<Ovs> {
    for port in [&pods[0].representor, &pods[1].representor, UPLINK] {
        run(&format!("ip link set {port} up"))?;
    }
    let ovs = Ovs::start()?;
    say(&format!(
        "ovs-vsctl add-br {BRIDGE} -- add-port {BRIDGE} {} -- add-port {BRIDGE} {} -- add-port {BRIDGE} {UPLINK}",
        pods[0].representor, pods[1].representor
    ));
    ovs.bridge(BRIDGE, &[&pods[0].representor, &pods[1].representor, UPLINK])?;
    ovs.ofctl(&["-OOpenFlow15", "del-flows", BRIDGE])?;
    for rule in rules(pods) {
        say(&format!("ovs-ofctl add-flow {BRIDGE} '{rule}'"));
        ovs.ofctl(&["-OOpenFlow15", "add-flow", BRIDGE, &rule])?;
    }
    Ok(ovs)
}

/// How many rules there are.
pub(super) const RULES: usize = 10;

/// Pod to pod by address, pod to wire with a VLAN tag and back without, ARP; DHCP is for a controller.
fn rules([one, two]: &[Pod; 2]) -> [String; RULES] {
    let (rep1, rep2) = (&one.representor, &two.representor);
    let push = format!("push_vlan:0x8100,set_field:{}->vlan_vid,output:{UPLINK}", 0x1000 | VLAN);
    let from_wire = format!("in_port={UPLINK},dl_vlan={VLAN}");
    [
        format!("priority=200,udp,in_port={rep1},tp_src=68,tp_dst=67,actions=controller"),
        format!(
            "priority=100,ip,in_port={rep1},dl_dst={},nw_dst={},actions=output:{rep2}",
            two.mac, two.ip
        ),
        format!(
            "priority=100,ip,in_port={rep2},dl_dst={},nw_dst={},actions=output:{rep1}",
            one.mac, one.ip
        ),
        format!("priority=100,ip,in_port={rep1},nw_dst={RACK_IP},actions={push}"),
        format!("priority=100,ip,in_port={rep2},nw_dst={RACK_IP},actions={push}"),
        format!("priority=100,ip,{from_wire},nw_dst={},actions=pop_vlan,output:{rep1}", one.ip),
        format!("priority=100,ip,{from_wire},nw_dst={},actions=pop_vlan,output:{rep2}", two.ip),
        format!("priority=50,arp,in_port={rep1},actions=output:{rep2},{push}"),
        format!("priority=50,arp,in_port={rep2},actions=output:{rep1},{push}"),
        format!("priority=50,arp,{from_wire},actions=pop_vlan,output:{rep1},output:{rep2}"),
    ]
}
