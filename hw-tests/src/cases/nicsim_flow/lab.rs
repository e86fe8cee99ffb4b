//! A NIC in switchdev mode with two VFs and a wire, a packet socket at each end, and nothing else that talks.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use switchdev::ethtool::Ethtool;

use super::packet::{DST_MAC, SRC_MAC};
use crate::cases::Ctx;
use crate::guest::nicsim::Nicsim;
use crate::guest::packet_socket::PacketSocket;
use crate::guest::tool::json;
pub(super) use crate::guest::tool::{refused, run};

/// The functions, their representors, the wire and the uplink.
pub(super) const VF0: &str = "np0v0";
pub(super) const VF1: &str = "np0v1";
pub(super) const VF2: &str = "np0v2";
pub(super) const REP0: &str = "np0r0";
pub(super) const REP1: &str = "np0r1";
pub(super) const REP2: &str = "np0r2";
pub(super) const WIRE: &str = "np0w";
pub(super) const UPLINK: &str = "np0";

const ENDS: [&str; 8] = [VF0, VF1, VF2, REP0, REP1, REP2, WIRE, UPLINK];
/// Where filters go.
const HOOKS: [&str; 4] = [REP0, REP1, REP2, UPLINK];
const VFS: u16 = 3;

/// How long to wait for a frame that should come; it is there before `send` returns, unless the softirq was put off.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that should not come is given.
const SILENCE: Duration = Duration::from_millis(150);

pub(super) struct Lab {
    pub(super) nic: Nicsim,
    sockets: BTreeMap<&'static str, PacketSocket>,
}

impl Lab {
    pub(super) fn new(ctx: &Ctx, options: &str) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, options)?;
        nic.set_vfs(VFS)?;
        nic.set_mode("switchdev")?;
        Ethtool::open()?.set_hw_tc_offload(UPLINK, true)?;
        for end in ENDS {
            fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")?;
        }
        batch("ip", &ENDS.map(|end| format!("link set {end} up")))?;
        batch("tc", &HOOKS.map(|hook| format!("qdisc add dev {hook} clsact")))?;
        let sockets = ENDS.into_iter().map(|end| Ok((end, PacketSocket::open(end)?)));
        let sockets = sockets.collect::<anyhow::Result<_>>()?;
        Ok(Self { nic, sockets })
    }

    /// Sends a frame in at an end, and says where it came out again: at `expected`, for which it waits, and elsewhere.
    pub(super) fn send(
        &self,
        from: &'static str,
        frame: &[u8],
        expected: &[&'static str],
    ) -> anyhow::Result<Seen> {
        let marker = marker();
        let mut frame = frame.to_vec();
        // As a trailer behind what IP counts, so that it survives any change of headers.
        frame.resize(frame.len().max(60), 0);
        frame.extend(marker);
        self.socket(from)?.send(&frame).with_context(|| format!("cannot send from {from}"))?;
        let mut seen = Seen::default();
        let until = Instant::now() + if expected.is_empty() { SILENCE } else { PATIENCE };
        while Instant::now() < until && !seen.has(expected) {
            self.collect(marker, &mut seen)?;
        }
        self.collect(marker, &mut seen)?;
        Ok(seen)
    }

    fn collect(&self, marker: [u8; 8], seen: &mut Seen) -> anyhow::Result<()> {
        for (end, socket) in &self.sockets {
            while let Some(frame) = socket.receive(Duration::ZERO)? {
                if let Some(frame) = recognize(frame, marker) {
                    seen.0.entry(end).or_default().push(frame);
                }
            }
        }
        Ok(())
    }

    fn socket(&self, end: &str) -> anyhow::Result<&PacketSocket> {
        self.sockets.get(end).with_context(|| format!("no socket at {end}"))
    }
}

/// Where copies of a frame came out.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<&'static str, Vec<Vec<u8>>>);

impl Seen {
    fn has(&self, ends: &[&'static str]) -> bool {
        !ends.is_empty() && ends.iter().all(|end| self.0.contains_key(end))
    }

    /// The frame, which came out once at this end and nowhere else.
    pub(super) fn only_at(&self, end: &'static str) -> anyhow::Result<&[u8]> {
        self.once_at(&[end])?;
        self.at(end)
    }

    /// It came out once at each of these ends and nowhere else.
    pub(super) fn once_at(&self, ends: &[&'static str]) -> anyhow::Result<()> {
        let counts: BTreeMap<_, _> =
            self.0.iter().map(|(end, frames)| (*end, frames.len())).collect();
        let wanted: BTreeMap<_, _> = ends.iter().map(|end| (*end, 1)).collect();
        ensure!(counts == wanted, "frames came out at {counts:?}, not once at {ends:?}");
        Ok(())
    }

    /// The frame that came out at this end.
    pub(super) fn at(&self, end: &'static str) -> anyhow::Result<&[u8]> {
        let frames = self.0.get(end).with_context(|| format!("nothing came out at {end}"))?;
        Ok(&frames[0])
    }
}

/// The frame without its marker, if it is the one that was sent.
///
/// act_ct trims a packet to what IP counts, and with it the marker; such a frame is known by its addresses, which nobody else has.
fn recognize(mut frame: Vec<u8>, marker: [u8; 8]) -> Option<Vec<u8>> {
    if frame.ends_with(&marker) {
        frame.truncate(frame.len() - marker.len());
        return Some(frame);
    }
    let ours = [[DST_MAC, SRC_MAC].concat(), [SRC_MAC, DST_MAC].concat()];
    ours.iter().any(|addresses| frame.starts_with(addresses)).then_some(frame)
}

/// Eight bytes that no other frame ends with.
fn marker() -> [u8; 8] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut bytes = *b"flow\0\0\0\0";
    bytes[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// Runs lines of `ip` or `tc` in one process: starting one is what takes time here.
fn batch(tool: &str, lines: &[String]) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    run(&format!("{tool} -batch {}", file.path().display())).map(drop)
}

/// The hook's filters go, and this one comes, in hardware only.
pub(super) fn only(hook: &str, filter: &str) -> anyhow::Result<()> {
    let add = hardware_only(hook, filter);
    batch(
        "tc",
        &[
            format!("qdisc del dev {hook} clsact"),
            format!("qdisc add dev {hook} clsact"),
            add.trim_start_matches("tc ").to_owned(),
        ],
    )
}

/// Adds a filter in hardware only: `add(REP0, "prio 1 protocol ip flower … action …")`.
pub(super) fn add(hook: &str, filter: &str) -> anyhow::Result<()> {
    run(&hardware_only(hook, filter)).map(drop)
}

/// Adds one that must be refused, and gives the sentence.
pub(super) fn add_refused(hook: &str, filter: &str) -> anyhow::Result<String> {
    refused(&hardware_only(hook, filter))
}

fn hardware_only(hook: &str, filter: &str) -> String {
    let filter = filter.replacen("flower", "flower skip_sw verbose", 1);
    format!("tc filter add dev {hook} ingress {filter}")
}

/// Adds one as tc would by itself: in software and, if the card takes it, in hardware.
pub(super) fn add_both(hook: &str, filter: &str) -> anyhow::Result<()> {
    run(&format!("tc filter add dev {hook} ingress {filter}")).map(drop)
}

/// Removes all of a hook's.
pub(super) fn clear(hook: &str) -> anyhow::Result<()> {
    run(&format!("tc qdisc del dev {hook} clsact"))?;
    run(&format!("tc qdisc add dev {hook} clsact")).map(drop)
}

/// Packets that the only filter of the card has counted, by its own account.
pub(super) fn card_packets(lab: &Lab) -> anyhow::Result<u64> {
    let text = lab.nic.get("flows")?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
    Ok(words.next().with_context(|| format!("no counter in {text:?}"))?.parse()?)
}

/// Packets that the only filter of a chain counted in hardware and in software.
pub(super) fn hardware_and_software_packets(hook: &str, chain: u64) -> anyhow::Result<(u64, u64)> {
    let filter = filter_in_chain(hook, chain)?;
    ensure!(filter["options"]["in_hw"] == Value::Bool(true), "not in hardware: {filter}");
    counts(&filter)
}

fn filter_in_chain(hook: &str, chain: u64) -> anyhow::Result<Value> {
    let filters = json(&format!("tc -s -j filter show dev {hook} ingress"))?;
    let is_it = |filter: &&Value| {
        filter["chain"].as_u64() == Some(chain) && filter["options"]["handle"].is_u64()
    };
    let found = filters.as_array().and_then(|all| all.iter().find(is_it));
    found.cloned().with_context(|| format!("no filter at {hook} in chain {chain}: {filters}"))
}

/// tc shows all packets, and, where hardware had some, how many.
fn counts(filter: &Value) -> anyhow::Result<(u64, u64)> {
    let stats = &filter["options"]["actions"][0]["stats"];
    let all = stats["packets"].as_u64().with_context(|| format!("no counter in {filter}"))?;
    let hardware = stats["hw_packets"].as_u64().unwrap_or(0);
    Ok((hardware, all - hardware))
}

/// A counter of the card.
pub(super) fn counter(lab: &Lab, name: &str) -> anyhow::Result<u64> {
    let text = lab.nic.get("flow_counters")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name} in {text}"))?.parse()?)
}
