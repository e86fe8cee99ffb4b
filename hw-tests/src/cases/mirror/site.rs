//! Two pods on VFs, their representors on a bridge, an agent's configuration.

use std::fs;
use std::net::Ipv4Addr;

use crate::cases::Ctx;
use crate::guest::agent::Setup;
use crate::guest::counters::counter;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;

/// The bridge.
pub(super) const BRIDGE: &str = "br-int";
/// The pods' addresses.
pub(super) const POD_IPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
/// Datagrams in one exchange; a socket's buffer holds as many.
pub(super) const BURST: u32 = 50;
/// IP and ARP, both ways.
pub(super) const TWO_WAYS: [&str; 4] = [
    "priority=50,ip,in_port=np0r0,actions=output:np0r1",
    "priority=50,ip,in_port=np0r1,actions=output:np0r0",
    "priority=50,arp,in_port=np0r0,actions=output:np0r1",
    "priority=50,arp,in_port=np0r1,actions=output:np0r0",
];
/// The kernel is looked at this often.
const LOOK_OFTEN: &str = "reconcile:\n  interval: 1s\n";

/// The representor of a VF.
pub(super) fn rep(index: u16) -> String {
    nicsim::representor(index)
}

/// Everything there is. What comes first goes first.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) ovs: Ovs,
    pub(super) pods: [Netns; 2],
    /// The far end of the wire.
    pub(super) rack: Netns,
    pub(super) setup: Setup,
    pub(super) card: Nicsim,
}

impl Site {
    /// Sets it up, with module parameters for the card. The bridge has no rules.
    pub(super) fn up(ctx: &Ctx, card: &str) -> anyhow::Result<Self> {
        let card = Nicsim::load(ctx, card)?;
        card.switchdev(2)?;
        run("ethtool -K np0 hw-tc-offload on")?;
        let pods = [pod(0)?, pod(1)?];
        let rack = quiet("rack")?;
        run("ip link set np0w netns rack")?;
        rack.ip("link set np0w up")?;
        let ovs = Ovs::start()?;
        for index in [0, 1] {
            run(&format!("ip link set {} up", rep(index)))?;
        }
        ovs.bridge(BRIDGE, &[&rep(0), &rep(1)])?;
        // No rule NORMAL after a restart.
        ovs.vsctl(&format!("set-fail-mode {BRIDGE} secure"))?;
        let setup = Setup::new(ctx.binary("offload-agent")?, &ovs, LOOK_OFTEN)?;
        let site = Self { ovs, pods, rack, setup, card };
        site.ofctl("del-flows", "")?;
        Ok(site)
    }

    /// Runs `ovs-ofctl COMMAND br-int RULE`.
    pub(super) fn ofctl(&self, command: &str, rule: &str) -> anyhow::Result<()> {
        let rule = Some(rule).filter(|rule| !rule.is_empty());
        let words: Vec<&str> = ["-OOpenFlow15", command, BRIDGE].into_iter().chain(rule).collect();
        self.ovs.ofctl(&words).map(drop)
    }

    /// Adds rules.
    pub(super) fn add_rules(&self, rules: &[&str]) -> anyhow::Result<()> {
        let file = self.ovs.dir().join("rules.txt");
        fs::write(&file, rules.join("\n"))?;
        self.ofctl("add-flows", &file.display().to_string())
    }

    /// Adds rules that differ in their destination.
    pub(super) fn add_many(&self, count: usize) -> anyhow::Result<()> {
        let rules = (0..count).map(|number| {
            let (high, low) = (number / 250, number % 250);
            format!("priority=60,ip,in_port=np0r0,nw_dst=10.9.{high}.{low},actions=output:np0r1")
        });
        let rules: Vec<String> = rules.collect();
        self.add_rules(&rules.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Packets that the representors received from the card.
    pub(super) fn slow_path(&self) -> anyhow::Result<u64> {
        [0, 1].into_iter().map(|index| counter(&rep(index), "rx_packets")).sum()
    }
}

fn pod(index: u8) -> anyhow::Result<Netns> {
    let netns = quiet(&format!("pod{}", index + 1))?;
    let address = POD_IPS[usize::from(index)];
    netns.take(&nicsim::vf(u16::from(index)), &format!("{address}/24"))?;
    Ok(netns)
}

/// A namespace that sends nothing by itself: IPv6 would look for routers and neighbours.
fn quiet(name: &str) -> anyhow::Result<Netns> {
    let netns = Netns::new(name)?;
    netns.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?))?;
    Ok(netns)
}
