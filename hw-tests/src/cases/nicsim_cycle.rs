//! nicsim forgets nothing and leaks nothing: modes change, VFs go, the module goes, again and again, with filters in hardware
//! and packets on their way.
//!
//! A few cycles in every run; a thousand on the debug kernel (KASAN, kmemleak, lockdep), where the kernel itself looks for what was
//! forgotten: `hw-tests sim test --kernel debug nicsim-cycle`.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use switchdev::devlink::{Devlink, EswitchChange, Handle};
use switchdev::eswitch::EswitchMode;
use switchdev::ethtool::Ethtool;
use switchdev::link::{LinkChange, Links};
use switchdev::tc::{Kernel, Op, Tc};
use tc_filter::{Filter, IfIndex};

use super::{Case, Ctx, Kernels};
use crate::guest::frame::{Marker, Udp};
use crate::guest::netns::{Netns, enter_thread};
use crate::guest::nicsim::{Nicsim, PF};
use crate::guest::packet_socket::PacketSocket;
use crate::guest::tool;
use crate::guest::traffic::{self, Capture};
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "nicsim-cycle/modes-under-traffic",
        kernels: Kernels::All,
        run: modes_under_traffic,
    },
    Case { name: "nicsim-cycle/vfs-under-traffic", kernels: Kernels::All, run: vfs_under_traffic },
    Case {
        name: "nicsim-cycle/unload-under-traffic",
        kernels: Kernels::All,
        run: unload_under_traffic,
    },
];

/// Changes to switchdev and back, by kernel.
const MODE_CYCLES: u32 = 15;
const MODE_CYCLES_DEBUG: u32 = 1000;
/// The other cases take longer a cycle, and have fewer steps that differ.
const OTHER_CYCLES: u32 = 3;
const OTHER_CYCLES_DEBUG: u32 = 30;

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// kmemleak reports what it finds unreferenced only after this long (MSECS_MIN_AGE, 5 s).
const KMEMLEAK_AGE: Duration = Duration::from_secs(6);

const MAC_A: [u8; 6] = [0x02, b'n', b's', 1, 0, 0];
const MAC_B: [u8; 6] = [0x02, b'n', b's', 1, 0, 1];
const MAC_TOR: [u8; 6] = [0x02, b'n', b's', 1, 0, 0xff];
const IP_A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const IP_B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const IP_TOR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);

/// The devices that have filters.
const DEVICES: [&str; 3] = ["np0", "np0r0", "np0r1"];

/// One of every kind: what goes into hardware alone, what goes into both, chains, connections, copies, edits.
const FILTERS: [&str; 8] = [
    "dev np0r0 ingress chain 2 prio 9 handle 1 protocol all flower action ct clear pipe action pass",
    "dev np0r0 ingress prio 1 handle 1 protocol ip flower skip_sw dst_ip 10.9.0.2 ip_proto udp dst_port 7 \
     action mirred egress redirect dev np0r1",
    "dev np0r0 ingress prio 1 handle 2 protocol ip flower skip_sw dst_ip 10.9.0.2 ip_proto udp dst_port 8 \
     action drop",
    "dev np0r0 ingress prio 2 handle 1 protocol ip flower skip_sw dst_ip 10.9.0.9 \
     action vlan push id 100 pipe action mirred egress redirect dev np0",
    "dev np0r0 ingress prio 3 handle 1 protocol ip flower dst_ip 10.9.0.3 ct_state -trk \
     action ct zone 7 pipe action goto chain 2",
    "dev np0r1 ingress prio 1 handle 1 protocol ip flower skip_sw dst_ip 10.9.0.1 \
     action mirred egress mirror dev np0 action mirred egress redirect dev np0r0",
    "dev np0r1 ingress prio 2 handle 1 protocol ip flower skip_sw dst_ip 10.9.0.9 ip_proto udp \
     action pedit ex munge eth src set 02:00:00:00:00:01 munge ip ttl set 9 pipe action csum ip4h and udp pipe \
     action mirred egress redirect dev np0",
    "dev np0 ingress prio 1 handle 1 protocol 802.1q flower skip_sw vlan_id 100 \
     action vlan pop pipe action mirred egress redirect dev np0r0",
];

/// A line of progress for this many cycles.
const TELL_EVERY: u32 = 20;
/// Between the rounds of a stream: this is about races, not about load. A packet costs the debug kernel about ten times as much.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_DEBUG: Duration = Duration::from_millis(25);
/// A stream that has sent nothing by then never will.
const FIRST_PACKET_LIMIT: Duration = Duration::from_secs(30);

fn cycles(ctx: &Ctx, usual: u32, debug: u32) -> u32 {
    if ctx.kernel == Flavour::Debug { debug } else { usual }
}

/// Two pods with a VF each, and the top-of-rack switch on the wire.
struct Rack {
    a: Netns,
    b: Netns,
    tor: Netns,
    card: Card,
    nic: Nicsim,
    pause: Duration,
}

impl Rack {
    fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        let (a, b, tor) = (Netns::new("a")?, Netns::new("b")?, Netns::new("tor")?);
        tor.take("np0w", "10.9.0.9/24")?;
        let pause = if ctx.kernel == Flavour::Debug { PAUSE_DEBUG } else { PAUSE };
        let rack = Self { a, b, tor, card: Card::open()?, nic, pause };
        rack.plug()?;
        Ok(rack)
    }

    /// VFs for the pods.
    fn plug(&self) -> anyhow::Result<()> {
        self.nic.set_vfs(2)?;
        self.a.take("np0v0", "10.9.0.1/24")?;
        self.b.take("np0v1", "10.9.0.2/24")
    }

    fn traffic(&self) -> anyhow::Result<Vec<Stream>> {
        let to_b = Udp { mac: (MAC_A, MAC_B), vlan: None, ip: (IP_A, IP_B), port: (9, 7) };
        let to_tor = Udp { mac: (MAC_A, MAC_TOR), ip: (IP_A, IP_TOR), ..to_b };
        let tracked = Udp { ip: (IP_A, Ipv4Addr::new(10, 9, 0, 3)), ..to_b };
        let to_a = Udp { mac: (MAC_B, MAC_A), ip: (IP_B, IP_A), ..to_b };
        let in_vlan = Udp { mac: (MAC_TOR, MAC_A), ip: (IP_TOR, IP_A), vlan: Some(100), ..to_b };
        Ok(vec![
            Stream::start(&self.a, "np0v0", self.pause, &[to_b, to_tor, tracked])?,
            Stream::start(
                &self.b,
                "np0v1",
                self.pause,
                &[to_a, Udp { ip: (IP_B, IP_TOR), ..to_a }],
            )?,
            Stream::start(&self.tor, "np0w", self.pause, &[in_vlan])?,
        ])
    }

    /// The card still forwards in hardware what its filters say.
    fn forwards(&mut self) -> anyhow::Result<()> {
        self.card.enter_switchdev()?;
        let marker = Marker::fresh();
        let udp = Udp { mac: (MAC_A, MAC_B), vlan: None, ip: (IP_A, IP_B), port: (9, 7) };
        let arrived = Capture::start(&self.b, "np0v1", marker)?;
        let missed = Capture::start_here("np0r0", marker)?;
        traffic::send(&self.a, "np0v0", &vec![udp.bytes(marker)?; 20])?;
        let arrived = arrived.expect(20).len();
        ensure!(arrived == 20, "{arrived} of 20 packets arrived at the end");
        ensure!(missed.expect_none().is_empty(), "packets took the slow path at the end");
        self.card.enter_legacy()
    }
}

/// The card as its operator changes it, without a process for each step.
struct Card {
    devlink: Devlink,
    links: Links,
    tc: Kernel,
    handle: Handle,
}

impl Card {
    fn open() -> anyhow::Result<Self> {
        let address: switchdev::PciAddress = PF.parse()?;
        tool::run("tc qdisc add dev np0 clsact")?;
        Ethtool::open()?.set_hw_tc_offload("np0", true)?;
        let (devlink, links) = (Devlink::open()?, Links::open()?);
        Ok(Self { devlink, links, tc: Kernel::open()?, handle: address.into() })
    }

    fn enter_switchdev(&mut self) -> anyhow::Result<()> {
        self.set(EswitchMode::Switchdev)?;
        let names = self.up()?;
        self.install(&names)
    }

    /// The representors of each mode change are new devices.
    fn up(&mut self) -> anyhow::Result<BTreeMap<String, IfIndex>> {
        let mut names = BTreeMap::new();
        for name in DEVICES {
            let index = self.links.find(name)?.ifindex;
            self.links.change(index, &LinkChange::Up)?;
            names.insert(name.to_owned(), index);
        }
        Ok(names)
    }

    /// The uplink's filters of the last cycle are still known to TC, and go with its qdisc.
    fn install(&mut self, names: &BTreeMap<String, IfIndex>) -> anyhow::Result<()> {
        let mut ops: Vec<Op> = names.get("np0").copied().map(Op::DelClsact).into_iter().collect();
        ops.extend(names.values().copied().map(Op::AddClsact));
        for line in FILTERS {
            let filter = Filter::parse(line, names).with_context(|| line.to_owned())?;
            ops.push(Op::Add(filter));
        }
        for (op, outcome) in ops.iter().zip(self.tc.apply(&ops)?) {
            outcome.with_context(|| op.to_string())?;
        }
        Ok(())
    }

    fn enter_legacy(&mut self) -> anyhow::Result<()> {
        self.set(EswitchMode::Legacy)
    }

    fn set(&mut self, mode: EswitchMode) -> anyhow::Result<()> {
        Ok(self.devlink.set_eswitch(&self.handle, EswitchChange::Mode(mode))?)
    }
}

/// Packets out of a link without end, whatever becomes of the link.
struct Stream {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn start(netns: &Netns, link: &str, pause: Duration, packets: &[Udp]) -> anyhow::Result<Self> {
        let frames = packets.iter().map(|packet| packet.bytes(Marker::fresh()));
        let frames = frames.collect::<anyhow::Result<Vec<_>>>()?;
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (name, link) = (netns.name().to_owned(), link.to_owned());
        let thread = thread::spawn({
            let (over, sent) = (Arc::clone(&over), Arc::clone(&sent));
            move || {
                if enter_thread(&name).is_ok() {
                    pump(&link, pause, &frames, &over, &sent);
                }
            }
        });
        Ok(Self { over, sent, thread: Some(thread) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// A link that goes and comes back is another one, so the socket is opened anew when sending fails.
fn pump(link: &str, pause: Duration, frames: &[Vec<u8>], over: &AtomicBool, sent: &AtomicU32) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(socket) = PacketSocket::open(link) {
            while !over.load(Ordering::Relaxed)
                && frames.iter().all(|frame| socket.send(frame).is_ok())
            {
                sent.fetch_add(1, Ordering::Relaxed);
                thread::sleep(pause);
            }
        }
        thread::sleep(pause);
    }
}

/// Each stream has sent something, or does so soon: its thread may not have had its turn yet.
fn all_sent(streams: &[Stream]) -> anyhow::Result<()> {
    let until = Instant::now() + FIRST_PACKET_LIMIT;
    while !streams.iter().all(|stream| stream.sent.load(Ordering::Relaxed) > 0) {
        ensure!(Instant::now() < until, "a stream never sent anything, so this proved nothing");
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn modes_under_traffic(ctx: &mut Ctx) -> anyhow::Result<()> {
    let leaks = Leaks::watch()?;
    let mut rack = Rack::new(ctx)?;
    let streams = rack.traffic()?;
    let total = cycles(ctx, MODE_CYCLES, MODE_CYCLES_DEBUG);
    for cycle in 0..total {
        rack.card.enter_switchdev().with_context(|| format!("to switchdev, cycle {cycle}"))?;
        rack.card.enter_legacy().with_context(|| format!("to legacy, cycle {cycle}"))?;
        if (cycle + 1).is_multiple_of(TELL_EVERY) {
            println!("{} of {total} cycles", cycle + 1);
        }
    }
    all_sent(&streams)?;
    drop(streams);
    rack.forwards()?;
    // While the module is loaded, a leak names the function.
    leaks.none()?;
    drop(rack);
    leaks.none()
}

/// VFs are destroyed in switchdev mode, with filters at their representors, and made anew.
fn vfs_under_traffic(ctx: &mut Ctx) -> anyhow::Result<()> {
    let leaks = Leaks::watch()?;
    let mut rack = Rack::new(ctx)?;
    let streams = rack.traffic()?;
    for _ in 0..cycles(ctx, OTHER_CYCLES, OTHER_CYCLES_DEBUG) {
        rack.card.enter_switchdev()?;
        rack.nic.set_vfs(0)?;
        rack.plug()?;
        rack.card.enter_legacy()?;
    }
    all_sent(&streams)?;
    drop(streams);
    rack.forwards()?;
    drop(rack);
    leaks.none()
}

/// The module goes in the middle of it all.
fn unload_under_traffic(ctx: &mut Ctx) -> anyhow::Result<()> {
    let leaks = Leaks::watch()?;
    for _ in 0..cycles(ctx, OTHER_CYCLES, OTHER_CYCLES_DEBUG) {
        let mut rack = Rack::new(ctx)?;
        let streams = rack.traffic()?;
        rack.card.enter_switchdev()?;
        all_sent(&streams)?;
        drop(rack.nic);
        ensure!(!Path::new("/sys/class/net/np0").exists(), "np0 outlives the module");
    }
    leaks.none()
}

/// The kernel's own search for memory that nobody points to, where the kernel has it.
struct Leaks {
    searched: bool,
}

impl Leaks {
    /// What was leaked before is none of ours.
    fn watch() -> anyhow::Result<Self> {
        let searched = Path::new(KMEMLEAK).exists();
        if searched {
            fs::write(KMEMLEAK, "clear")?;
        }
        Ok(Self { searched })
    }

    fn none(&self) -> anyhow::Result<()> {
        if !self.searched {
            return Ok(());
        }
        thread::sleep(KMEMLEAK_AGE);
        // What one scan takes for leaked may have been on its way from one place to another.
        fs::write(KMEMLEAK, "scan")?;
        fs::write(KMEMLEAK, "scan")?;
        let found = fs::read_to_string(KMEMLEAK)?;
        ensure!(found.is_empty(), "kmemleak found:\n{found}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_can_be_read() {
        let names: BTreeMap<String, IfIndex> = DEVICES
            .iter()
            .zip(1..)
            .map(|(name, index)| ((*name).to_owned(), IfIndex(index)))
            .collect();
        for line in FILTERS {
            assert_eq!(Filter::parse(line, &names).map(drop), Ok(()), "{line}");
        }
    }
}
