//! The stage: a card with VFs in switchdev mode, two pods, a top-of-rack switch, Open vSwitch with its rules.

use anyhow::{Context, ensure};
use switchdev::Sysfs;
use switchdev::ledger::{DEFAULT_DIR, Ledger};
use switchdev::transition::{Card, KernelCard, Wanted, apply, plan};

use super::cluster::{Cluster, Pod, quiet};
use super::story::{say, step};
use crate::cases::Ctx;
use crate::guest::agent::{Agent, Setup};
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

/// Everything there is. What comes first goes first: bridges before namespaces, namespaces before the card.
pub(super) struct Stage {
    /// Open vSwitch.
    pub(super) ovs: Ovs,
    /// The pods.
    pub(super) pods: [Pod; 2],
    /// The top-of-rack switch.
    pub(super) rack: Netns,
    cluster: Cluster,
    _card: Nicsim,
}

/// The address behind the wire.
pub(super) const RACK_IP: &str = "10.0.0.100";

/// The demo asks for counters and does not like to wait for them.
const LOOK_OFTEN: &str = "reconcile:\n  interval: 1s\n";

impl Stage {
    /// Sets it up, and tells how. The agent is there before the pods, as on a node.
    pub(super) fn set(ctx: &Ctx) -> anyhow::Result<(Self, Setup, Agent)> {
        step("A card, four VFs, switchdev mode");
        let card = Nicsim::load(ctx, "")?;
        to_switchdev()?;
        step("Open vSwitch: ovsdb-server, ovs-vswitchd with the kernel's datapath");
        let ovs = bridge()?;
        step("What runs on each node: offload-agent and device-plugin");
        let setup = Setup::new(ctx.binary("offload-agent")?, &ovs, LOOK_OFTEN)?;
        say("offload-agent run --config offload-agent.yaml &");
        let agent = setup.start()?;
        let cluster = Cluster::start(ctx, &ovs, VFS)?;
        step("Two pods that ask for a VF each, and the top-of-rack switch behind the wire");
        let pods = [cluster.run_pod("pod1")?, cluster.run_pod("pod2")?];
        let rack = rack()?;
        step("A controller's rules");
        for rule in rules(&pods) {
            say(&format!("ovs-ofctl add-flow {BRIDGE} '{rule}'"));
            ovs.ofctl(&["-OOpenFlow15", "add-flow", BRIDGE, &rule])?;
        }
        Ok((Self { ovs, pods, rack, cluster, _card: card }, setup, agent))
    }

    /// The netdevs on which the slow path is seen.
    pub(super) fn ports(&self) -> [&str; 3] {
        [&self.pods[0].representor, &self.pods[1].representor, UPLINK]
    }

    /// How many rules the bridge has: the controller's, and those that hold the pods to their addresses.
    pub(super) fn rules(&self) -> anyhow::Result<usize> {
        let text = self.ovs.ofctl(&["-OOpenFlow13", "dump-aggregate", BRIDGE])?;
        let count = text.split("flow_count=").nth(1).and_then(|rest| rest.trim().parse().ok());
        count.with_context(|| format!("ovs-ofctl says no flow_count: {text}"))
    }

    /// The pods end. The ledger then knows of no VF that is with a pod; what kubelet was promised is the device plugin's to
    /// forget.
    pub(super) fn end_pods(&self) -> anyhow::Result<()> {
        self.pods.iter().try_for_each(|pod| self.cluster.end_pod(pod))?;
        for (vf, entry) in Ledger::open(DEFAULT_DIR)?.entries()? {
            ensure!(entry?.record.is_none(), "VF {vf} is still with a pod");
        }
        say(&format!("{DEFAULT_DIR}: no VF is with a pod"));
        Ok(())
    }
}

fn to_switchdev() -> anyhow::Result<()> {
    let mut card = KernelCard::open(Sysfs::default(), PF)?;
    let wanted = Wanted { vf_driver: Some("nicsim".to_owned()), ..Wanted::switchdev(VFS) };
    let plan = plan(&card.observe()?, &wanted)?;
    say(&plan.to_string());
    apply(&mut card, &plan, &wanted)?;
    for (vf, representor) in card.representors()? {
        say(&format!("VF {vf} has representor {representor}"));
    }
    Ok(())
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

fn bridge() -> anyhow::Result<Ovs> {
    run(&format!("ip link set {UPLINK} up"))?;
    let ovs = Ovs::start()?;
    say(&format!("ovs-vsctl add-br {BRIDGE} -- add-port {BRIDGE} {UPLINK}"));
    ovs.bridge(BRIDGE, &[UPLINK])?;
    ovs.ofctl(&["-OOpenFlow15", "del-flows", BRIDGE])?;
    Ok(ovs)
}

/// Pod to pod by address, pod to wire with a VLAN tag and back without, ARP; DHCP is for a controller.
fn rules([one, two]: &[Pod; 2]) -> [String; 10] {
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
