//! Random rulesets on the real Open vSwitch, the same packets with and without our filters in the card: the same packets
//! come out at the same places, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::ir::{Ingress, overlaps};
use flow_compiler::openflow::{Action, BridgeName, BridgeRules, OfPort, Rule, Ruleset};
use flow_compiler::plan::Plan;
use flow_compiler::ports::{
    BridgePorts, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole,
};
use switchdev::tc::{Kernel, Op, Tc};
use tc_filter::IfIndex;

use super::{Case, Ctx, Kernels};
use crate::differential::chance::Chance;
use crate::differential::generate::{mixed, packets};
use crate::differential::packet::Network;
use crate::guest::nicsim::{self, Nicsim, UPLINK, WIRE};
use crate::guest::ovs::Ovs;
use crate::guest::packet_socket::PacketSocket;

pub(super) const CASES: &[Case] = &[Case {
    name: "same-traffic/random-rulesets-with-and-without-offload",
    kernels: Kernels::All,
    run: random_rulesets,
}];

const BRIDGE: &str = "br-int";
/// So many rules of a ruleset may be refused by OVS.
const MOST_REFUSED: usize = 12;
const RULESETS: u64 = 50;
/// In every run; all of them with `LINERATE_LONG=1`.
const FEW_RULESETS: u64 = 10;
const PACKETS: u16 = 16;
/// Ports 1 to 3 are VFs, 4 is the wire: the numbers that random rulesets use most.
const VFS: u16 = 3;
const WIRE_PORT: u16 = 4;
/// The first seed; a failure names the one it is about.
const FIRST_SEED: u64 = 1000;
/// A packet that is still on its way after this much silence is lost.
const SILENCE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(20);

/// What came out: for each packet its copies, by where they came out.
type Seen = BTreeMap<u16, Vec<(u16, Vec<u8>)>>;

fn random_rulesets(ctx: &mut Ctx) -> anyhow::Result<()> {
    let rulesets = if ctx.long { RULESETS } else { FEW_RULESETS };
    let node = Node::up(ctx)?;
    let mut kernel = Kernel::open()?;
    let (mut in_hardware, mut filters, mut arrived) = (0, 0, 0);
    for seed in FIRST_SEED..FIRST_SEED + rulesets {
        let mut chance = Chance::from_seed(seed);
        let ruleset = forwardable(mixed::ruleset(&mut chance)?);
        let ruleset = node.load(ruleset).with_context(|| format!("seed {seed}"))?;
        let plan = flow_compiler::compile(&ruleset, &node.ports, &Capabilities::nicsim()).plan;
        let sent = node.packets(&mut chance, &ruleset);

        let without = node.exchange(&sent).with_context(|| format!("seed {seed}"))?;
        node.forget()?;
        install(&mut kernel, &plan)?;
        let before = node.slow_path()?;
        let with = node.exchange(&sent)?;
        in_hardware += usize::from(node.slow_path()? - before < u64::try_from(sent.len())?);
        remove(&mut kernel, &plan)?;
        node.forget()?;

        filters += plan.filters.len();
        arrived += without.values().map(Vec::len).sum::<usize>();
        compare(seed, &ruleset, &sent, &without, &with)?;
    }
    ensure!(arrived > 0, "no packet arrived with any ruleset: the test sees nothing");
    ensure!(in_hardware > 0, "the card forwarded no packet of any ruleset");
    println!(
        "{rulesets} rulesets, {filters} filters, {arrived} packets arrived; {in_hardware} rulesets had packets in hardware"
    );
    Ok(())
}

/// The card, the bridge and a socket at every end.
struct Node {
    // What comes first goes first.
    sockets: BTreeMap<u16, PacketSocket>,
    ovs: Ovs,
    ports: PortMap,
    _card: Nicsim,
}

/// A packet and where it is sent in.
struct Sent {
    port: u16,
    frame: Vec<u8>,
}

impl Node {
    fn up(ctx: &Ctx) -> anyhow::Result<Node> {
        let card = Nicsim::load(ctx, "")?;
        card.switchdev(VFS)?;
        let ends = (0..VFS).map(nicsim::vf).chain([WIRE.to_owned()]);
        let mut sockets = BTreeMap::new();
        for (number, end) in (1..).zip(ends) {
            fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")?;
            crate::guest::tool::run(&format!("ip link set {end} up arp off"))?;
            sockets.insert(number, PacketSocket::open(&end)?);
        }
        for link in (0..VFS).map(nicsim::representor).chain([UPLINK.to_owned()]) {
            fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1")?;
        }
        let ovs = Ovs::start()?;
        let mut words = format!("add-br {BRIDGE} -- set-fail-mode {BRIDGE} secure");
        for (number, device) in (1..=WIRE_PORT).zip(devices()) {
            words.push_str(&format!(
                " -- add-port {BRIDGE} {device} -- set Interface {device} ofport_request={number}"
            ));
        }
        ovs.vsctl(&words)?;
        ovs.wait_for_bridge(BRIDGE)?;
        let node = Node { sockets, ovs, ports: ports()?, _card: card };
        Ok(node)
    }

    /// Exchanges the rules; those that OVS refuses are left out, and what is left is returned.
    fn load(&self, mut ruleset: Ruleset) -> anyhow::Result<Ruleset> {
        let file = self.ovs.dir().join("rules.txt");
        let name = file.display().to_string();
        let rules = ruleset.bridges.get_mut(&BridgeName::from(BRIDGE)).context("no bridge")?;
        for _ in 0..MOST_REFUSED {
            let text: String = rules.rules.values().map(|rule| format!("{rule}\n")).collect();
            fs::write(&file, text)?;
            let loaded = self.ovs.ofctl(&["-OOpenFlow15", "replace-flows", BRIDGE, &name]);
            let Err(error) = loaded else { return Ok(ruleset) };
            let error = format!("{error:#}");
            let line = error.rsplit("rules.txt:").next().and_then(|rest| rest.split(':').next());
            let line = line.and_then(|line| line.parse::<usize>().ok()).context(error.clone())?;
            let key = rules.rules.keys().nth(line.saturating_sub(1)).cloned();
            key.and_then(|key| rules.rules.remove(&key)).context(error)?;
        }
        anyhow::bail!("OVS refuses {MOST_REFUSED} rules of a ruleset")
    }

    /// OVS and the kernel forget what they learned from packets.
    fn forget(&self) -> anyhow::Result<()> {
        self.ovs.appctl("dpctl/flush-conntrack")?;
        self.ovs.appctl("revalidator/purge").map(drop)
    }

    fn slow_path(&self) -> anyhow::Result<u64> {
        devices().map(|device| crate::guest::counters::counter(&device, "rx_packets")).sum()
    }

    /// Packets aimed at the rules, each with its number as its last bytes.
    fn packets(&self, chance: &mut Chance, ruleset: &Ruleset) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..PACKETS {
            let (Ingress { port: OfPort(port), .. }, mut spec) =
                packets::aimed(chance, ruleset, &self.ports);
            let trackable = !matches!(spec.network, Network::Other { .. });
            if !self.sockets.contains_key(&port) || !trackable {
                continue;
            }
            // One connection a packet: in which order they meet connection tracking is not ours to say.
            if let Some(ip) = spec.ip().filter(|ip| matches!(ip.protocol, 6 | 17)) {
                ip.src = 20_000 + number;
            }
            spec.payload = spec.payload.max(8);
            spec.marker = Some(marker(number));
            sent.push(Sent { port, frame: spec.frame().0 });
        }
        sent
    }

    fn exchange(&self, sent: &[Sent]) -> anyhow::Result<Seen> {
        self.drain()?;
        for packet in sent {
            let socket = self.sockets.get(&packet.port).context("no socket")?;
            socket.send(&packet.frame)?;
        }
        let mut seen = Seen::new();
        let (started, mut last) = (Instant::now(), Instant::now());
        while last.elapsed() < SILENCE && started.elapsed() < LONGEST {
            for (port, socket) in &self.sockets {
                while let Some(frame) = socket.receive(Duration::from_millis(1))? {
                    if let Some(number) = number(&frame) {
                        seen.entry(number).or_default().push((*port, frame));
                        last = Instant::now();
                    }
                }
            }
        }
        seen.values_mut().for_each(|copies| copies.sort());
        Ok(seen)
    }

    fn drain(&self) -> anyhow::Result<()> {
        for socket in self.sockets.values() {
            while socket.receive(Duration::ZERO)?.is_some() {}
        }
        Ok(())
    }
}

/// Rules whose outcome depends on the packet alone: nothing is learned, told or chosen.
fn forwardable(ruleset: Ruleset) -> Ruleset {
    let bridge = BridgeName::from(BRIDGE);
    let rules = ruleset.bridges.get(&bridge).map(|rules| rules.rules.clone()).unwrap_or_default();
    let kept = rules.into_values().filter(is_forwardable);
    let kept: BridgeRules = without_ties(kept).into_iter().collect();
    Ruleset { bridges: BTreeMap::from([(bridge, kept)]) }
}

/// Which of two rules of one priority takes a packet of both, OpenFlow leaves open, and OVS may answer differently twice.
fn without_ties(rules: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut kept: Vec<Rule> = Vec::new();
    for rule in rules {
        let ties = |other: &Rule| {
            (other.table, other.priority) == (rule.table, rule.priority)
                && overlaps(&other.match_, &rule.match_)
        };
        if !kept.iter().any(ties) {
            kept.push(rule);
        }
    }
    kept
}

fn is_forwardable(rule: &Rule) -> bool {
    const UNSURE: [&str; 7] =
        ["NORMAL", "CONTROLLER", "group:", "meter:", "strip_vlan", "TUN_", "tun_"];
    let text = rule.to_string();
    let waits = rule.actions.iter().any(|action| matches!(action, Action::Learn(_)));
    !waits && UNSURE.iter().all(|word| !text.contains(word))
}

fn compare(
    seed: u64,
    ruleset: &Ruleset,
    sent: &[Sent],
    without: &Seen,
    with: &Seen,
) -> anyhow::Result<()> {
    let numbers: BTreeSet<&u16> = without.keys().chain(with.keys()).collect();
    for number_of in numbers {
        let (off, on) = (without.get(number_of), with.get(number_of));
        if off == on {
            continue;
        }
        let rules: String = ruleset
            .bridges
            .values()
            .flat_map(|bridge| bridge.rules.values())
            .map(|rule| format!("  {rule}\n"))
            .collect();
        let packet = sent.iter().find(|packet| number(&packet.frame) == Some(*number_of));
        let packet = packet.map(|packet| format!("port {} {}", packet.port, hex(&packet.frame)));
        anyhow::bail!(
            "seed {seed}: packet {number_of} ({}) came out as {} without offload and as {} with it; rules:\n{rules}",
            packet.unwrap_or_default(),
            copies(off),
            copies(on)
        );
    }
    Ok(())
}

fn copies(copies: Option<&Vec<(u16, Vec<u8>)>>) -> String {
    let copies = copies.map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<String> =
        copies.iter().map(|(port, frame)| format!("port {port} {}", hex(frame))).collect();
    format!("[{}]", shown.join(", "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const MARK: [u8; 6] = *b"LNRTst";

fn marker(number: u16) -> [u8; 8] {
    let mut marker = [0; 8];
    marker[..6].copy_from_slice(&MARK);
    marker[6..].copy_from_slice(&number.to_be_bytes());
    marker
}

/// The number of a packet of ours. A short frame may have been padded on its way.
fn number(frame: &[u8]) -> Option<u16> {
    let at = frame.windows(MARK.len()).rposition(|window| window == MARK)?;
    let bytes = frame.get(at + MARK.len()..at + MARK.len() + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn devices() -> impl Iterator<Item = String> {
    (0..VFS).map(nicsim::representor).chain([UPLINK.to_owned()])
}

fn ports() -> anyhow::Result<PortMap> {
    let mut ports = BTreeMap::new();
    for (number, name) in (1..).zip(devices()) {
        let role = if name == UPLINK { SwitchRole::Uplink } else { SwitchRole::Representor };
        let switch = Some(SwitchPort { id: "nicsim".to_owned(), role });
        ports.insert(
            OfPort(number),
            Port { ifindex: Some(ifindex(&name)?), name, switch, ..Port::default() },
        );
    }
    let local = Port {
        name: BRIDGE.to_owned(),
        ifindex: Some(ifindex(BRIDGE)?),
        kind: PortKind::Internal,
        ..Port::default()
    };
    ports.insert(OfPort::LOCAL, local);
    let bridge =
        BridgePorts { datapath_type: "system".to_owned(), ports, ..BridgePorts::default() };
    Ok(PortMap { bridges: BTreeMap::from([(BridgeName::from(BRIDGE), bridge)]) })
}

fn ifindex(device: &str) -> anyhow::Result<PortIfIndex> {
    Ok(PortIfIndex(nicsim::read(format!("/sys/class/net/{device}/ifindex"))?.parse()?))
}

/// Puts the filters in, in the order that a plan has; a card may refuse one, the kernel may not.
fn install(kernel: &mut Kernel, plan: &Plan) -> anyhow::Result<()> {
    let hooks = hooks(plan).into_iter().map(Op::AddClsact);
    let filters = plan.filters.values().cloned().map(Op::Add);
    apply(kernel, &hooks.chain(filters).collect::<Vec<_>>())
}

fn remove(kernel: &mut Kernel, plan: &Plan) -> anyhow::Result<()> {
    apply(kernel, &hooks(plan).into_iter().map(Op::DelClsact).collect::<Vec<_>>())
}

fn hooks(plan: &Plan) -> BTreeSet<IfIndex> {
    plan.filters.keys().filter_map(|id| id.attach.device()).collect()
}

fn apply(kernel: &mut Kernel, ops: &[Op]) -> anyhow::Result<()> {
    for (op, outcome) in ops.iter().zip(kernel.apply(ops)?) {
        outcome.with_context(|| op.to_string())?;
    }
    Ok(())
}
