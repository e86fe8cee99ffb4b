//! Filters a second into the kernel: ours, `tc -batch`, and a bare loop that only sends messages
//! encoded before the clock starts.
//!
//! All of them put the same filters on the same device in the same boot, turn by turn, several
//! times; the median counts. The bare loop is what the kernel and the driver cost alone: what lies
//! between it and ours is our encoding and our bookkeeping.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use netlink_sys::{Socket, SocketAddr};
use serde::{Deserialize, Serialize};
use switchdev::tc::{Kernel, Op, Outcome, Tc, encoded};
use switchdev::tc_filter::action::{Mirred, Vlan, VlanTag, VlanTpid};
use switchdev::tc_filter::key::{IpMatch, PortMatch};
use switchdev::tc_filter::{
    Action, Attach, ChainId, Cookie, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex,
    IpProto, Mac, Masked, Pcp, Prio, VlanId,
};

use crate::cases::Ctx;
use crate::guest::nicsim::Nicsim;
use crate::guest::tool::run;

/// The file the guest leaves for the host.
pub const RESULT: &str = "rules.json";

/// What is measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Size {
    /// Filters.
    pub filters: u32,
    /// Turns of each rival.
    pub turns: u32,
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// What was measured.
    pub size: Size,
    /// The kernel.
    pub kernel: String,
    /// Where the filters were put, each with its rivals.
    pub places: Vec<Place>,
}

/// One device and how fast each rival filled it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    /// `veth, skip_hw`.
    pub name: String,
    /// Ours, `tc -batch`, the bare loop, in filters a second.
    pub rivals: Vec<Rival>,
}

/// One rival.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rival {
    /// Its name.
    pub name: String,
    /// Filters a second, a figure a turn.
    pub per_second: Vec<f64>,
}

impl Rival {
    /// The middle one of its figures.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.per_second.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }
}

const OURS: &str = "switchdev";
const BATCH: &str = "tc -batch";
const BARE: &str = "bare loop";

impl Place {
    /// How many times as fast as that rival ours is.
    #[must_use]
    pub fn times(&self, rival: &str) -> f64 {
        let median =
            |name| self.rivals.iter().find(|rival| rival.name == name).map_or(0.0, Rival::median);
        median(OURS) / median(rival)
    }
}

impl Figures {
    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Size { filters, turns } = self.size;
        let mut text = format!(
            "{filters} flower filters, kernel {}, median of {turns} turns\n\n\
             {:24} {:12} {:>10}   ours is\n",
            self.kernel, "place", "by", "filters/s"
        );
        for place in &self.places {
            for rival in &place.rivals {
                let (name, median) = (&rival.name, rival.median());
                let _ = write!(text, "{:24} {name:12} {median:>10.0}", place.name);
                let _ = match name.as_str() {
                    OURS => writeln!(text),
                    _ => writeln!(text, "   {:.2} times as fast", place.times(name)),
                };
            }
        }
        text
    }
}

/// Measures, in the guest.
pub fn measure(size: Size, out: &Path) -> anyhow::Result<Figures> {
    let ctx = Ctx::from_env()?;
    let places = vec![on_veth(size, out)?, on_representor(&ctx, size, out)?];
    Ok(Figures { size, kernel: ctx.kernel.name().to_owned(), places })
}

fn on_veth(size: Size, out: &Path) -> anyhow::Result<Place> {
    run("ip link add bench0 type veth peer name bench1")?;
    let place = race("veth, skip_hw", "bench0", HwPolicy::SkipHw, size, out);
    run("ip link del bench0")?;
    place
}

fn on_representor(ctx: &Ctx, size: Size, out: &Path) -> anyhow::Result<Place> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    run("ethtool -K np0r0 hw-tc-offload on")?;
    race("representor, skip_sw", "np0r0", HwPolicy::SkipSw, size, out)
}

fn race(name: &str, netdev: &str, hw: HwPolicy, size: Size, out: &Path) -> anyhow::Result<Place> {
    let device = index_of(netdev)?;
    let filters: Vec<Filter> = (0..size.filters).map(|n| filter(device, n, hw)).collect();
    let batch = write_batch(&filters, out)?;
    let messages = filters.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    let ops: Vec<Op> = filters.into_iter().map(Op::Add).collect();
    let mut rivals =
        [OURS, BATCH, BARE].map(|name| Rival { name: name.to_owned(), per_second: vec![] });
    for _ in 0..size.turns {
        rivals[0].per_second.push(turn(device, size, || ours(&ops))?);
        rivals[1]
            .per_second
            .push(turn(device, size, || run(&format!("tc -batch {batch}")).map(drop))?);
        rivals[2].per_second.push(turn(device, size, || bare(&messages))?);
    }
    Ok(Place { name: name.to_owned(), rivals: rivals.into() })
}

fn index_of(netdev: &str) -> anyhow::Result<IfIndex> {
    let path = format!("/sys/class/net/{netdev}/ifindex");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(IfIndex(text.trim().parse()?))
}

/// A filter as a mirror of OVS makes them: addresses, a port, a VLAN to push, a way out. All are
/// in one prio under one mask.
fn filter(device: IfIndex, number: u32, hw: HwPolicy) -> Filter {
    let [a, b, c, d] = number.to_be_bytes();
    let mut key = FlowerMatch::default();
    key.eth.dst = Some(Masked::exact(Mac([2, 0, a, b, c, d])));
    key.ip.proto = Some(IpProto::TCP);
    key.ip.dst = Some(IpMatch::V4(Masked::exact([10, b, c, d].into())));
    key.l4.dst = Some(PortMatch::exact(443));
    let tag = VlanTag { tpid: VlanTpid::Dot1Q, id: VlanId::MIN, pcp: Pcp::MIN };
    Filter {
        attach: Attach::Ingress(device),
        chain: ChainId::ZERO,
        prio: Prio::MIN,
        handle: Handle::new(number + 1).unwrap_or(Handle::MAX),
        protocol: EtherType::IPV4,
        key: key.into(),
        actions: [Action::Vlan(Vlan::Push(tag)), Action::Mirred(Mirred::redirect(device))].into(),
        hw,
        cookie: Some(Cookie::ours(u64::from(number))),
    }
}

fn write_batch(filters: &[Filter], out: &Path) -> anyhow::Result<String> {
    let names = Names(
        std::fs::read_dir("/sys/class/net")?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((name.clone(), index_of(&name).ok()?))
            })
            .collect(),
    );
    let lines: String =
        filters.iter().map(|filter| format!("{}\n", filter.text(&names.0))).collect();
    let path = out.join("rules.batch");
    std::fs::write(&path, lines)?;
    Ok(path.display().to_string())
}

struct Names(std::collections::BTreeMap<String, IfIndex>);

/// Times `work` on an empty device and looks that all filters are there afterwards.
fn turn(
    device: IfIndex,
    size: Size,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut tc = Kernel::open()?;
    all_done(&tc.apply(&[Op::AddClsact(device)])?)?;
    let start = Instant::now();
    let worked = work();
    let seconds = start.elapsed().as_secs_f64();
    let there = tc.dump(Attach::Ingress(device))?.filters.len();
    all_done(&tc.apply(&[Op::DelClsact(device)])?)?;
    worked?;
    ensure!(there == size.filters as usize, "{there} filters of {} are there", size.filters);
    Ok(f64::from(size.filters) / seconds)
}

fn all_done(outcomes: &[Outcome]) -> anyhow::Result<()> {
    outcomes.iter().try_for_each(|outcome| outcome.as_ref().map(drop).map_err(Clone::clone))?;
    Ok(())
}

fn ours(ops: &[Op]) -> anyhow::Result<()> {
    all_done(&Kernel::open()?.apply(ops)?)
}

/// As many messages a window as ours sends.
const WINDOW: usize = 128;
const NEW_FILTER: u16 = 44;
const REQUEST_CREATE_EXCLUSIVE: u16 = 0x601;
const ACK: u16 = 4;

/// Sends what is ready, and waits for the one answer of each window.
fn bare(messages: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut socket = Socket::new(0)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut answer = Vec::with_capacity(4096);
    for window in messages.chunks(WINDOW) {
        let mut bytes = Vec::with_capacity(WINDOW * 512);
        for (place, message) in (1..).zip(window) {
            put(&mut bytes, message, place == window.len());
        }
        socket.send(&bytes, 0)?;
        answer.clear();
        socket.recv_from(&mut answer, 0)?;
        ensure!(
            answer.get(16..20) == Some(&[0; 4]),
            "the kernel refused a filter of the bare loop"
        );
    }
    Ok(())
}

fn put(bytes: &mut Vec<u8>, message: &[u8], last: bool) {
    let length = u32::try_from(16 + message.len()).unwrap_or(u32::MAX);
    let flags = REQUEST_CREATE_EXCLUSIVE | if last { ACK } else { 0 };
    bytes.extend(length.to_ne_bytes());
    bytes.extend(NEW_FILTER.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(message);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_how_many_times_as_fast_ours_is() {
        let rival = |name: &str, per_second: &[f64]| Rival {
            name: name.to_owned(),
            per_second: per_second.to_vec(),
        };
        let rivals = vec![
            rival(OURS, &[900.0, 1000.0, 5000.0]),
            rival(BATCH, &[400.0, 300.0, 400.0]),
            rival(BARE, &[1000.0, 1100.0, 1250.0]),
        ];
        let place = Place { name: "veth, skip_hw".to_owned(), rivals };
        assert_eq!(place.times(BATCH), 2.5);
        let size = Size { filters: 10, turns: 3 };
        let figures = Figures { size, kernel: "stock".to_owned(), places: vec![place] };
        let table = figures.table();
        assert!(table.contains("tc -batch           400   2.50 times as fast"), "{table}");
        assert!(table.contains("bare loop          1100   0.91 times as fast"), "{table}");
    }

    #[test]
    fn the_filters_differ_in_key_and_handle() {
        let all: std::collections::BTreeSet<_> =
            (0..1000).map(|n| filter(IfIndex(7), n, HwPolicy::SkipHw).key).collect();
        assert_eq!(all.len(), 1000);
    }
}
