//! The program itself on the simulated node: nicsim in switchdev mode, Open vSwitch, Debian's host-local.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::pipe;
use serde_json::{Value, json};
use sriov_cni::protocol::Call;
use sriov_cni::verbs::{Machine, answer};
use switchdev::ledger::{DEFAULT_DIR, Ledger, Phase};

use super::split::{self, Times};
use super::{Figures, Line, TURNS, environment};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, UPLINK};
use crate::guest::ovs::Ovs;

const IPAM_DIR: &str = "/run/bench-cni-ipam";
/// For an ADD on a node that emulates.
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    binary: PathBuf,
    conf: Value,
    _pod: Netns,
    _ovs: Ovs,
    _nic: Nicsim,
}

/// Measures.
///
/// # Errors
/// When the plugin does not do what it should.
pub fn measure() -> anyhow::Result<Figures> {
    let site = Site::new(&Ctx::from_env()?)?;
    let peak = site.peak_rss_kib()?;
    let mut lines = site.program()?;
    lines.extend(site.split()?);
    Ok(Figures { lines, peak_rss_kib: Some(peak) })
}

impl Site {
    fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        nic.switchdev(2)?;
        let ovs = Ovs::start()?;
        ovs.bridge("br0", &[UPLINK])?;
        let conf = json!({
            "cniVersion": "1.1.0", "name": "underlay", "type": "sriov-cni", "deviceID": nic.vf_address(0)?,
            "bridge": "br0", "vlan": 100, "mac": "02:00:00:00:00:09", "mtu": 1400,
            "socket_file": format!("unix:{}", ovs.dir().join("db.sock").display()),
            "ipam": {"type": "host-local", "dataDir": IPAM_DIR, "ranges": [[{"subnet": "10.77.0.0/24"}]]},
        });
        let pod = Netns::new("pod")?;
        Ok(Self { binary: ctx.binary("sriov-cni")?, conf, _pod: pod, _ovs: ovs, _nic: nic })
    }

    fn spawn(&self, verb: &str, stdout: Stdio) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.binary);
        let mut child = command
            .envs(environment(verb))
            .stdin(Stdio::piped())
            .stdout(stdout)
            .spawn()
            .context("cannot start sriov-cni")?;
        child.stdin.take().context("no stdin")?.write_all(self.conf.to_string().as_bytes())?;
        Ok(child)
    }

    /// From the start of the process to its exit.
    fn program(&self) -> anyhow::Result<Vec<Line>> {
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for _ in 0..TURNS {
            for verb in ["ADD", "DEL"] {
                let began = Instant::now();
                let output = self.spawn(verb, Stdio::piped())?.wait_with_output()?;
                times.entry(verb).or_default().push(began.elapsed());
                let said = String::from_utf8_lossy(&output.stdout);
                ensure!(output.status.success(), "{verb}: {said}");
            }
        }
        Ok(times
            .into_iter()
            .map(|(verb, times)| Line::new(format!("{verb}, the program"), times))
            .collect())
    }

    /// Who took the time of a call, in this process.
    fn split(&self) -> anyhow::Result<Vec<Line>> {
        let times = Times::default();
        let mut machine = split::machine(&times);
        let mut turns: BTreeMap<&str, Vec<BTreeMap<String, Duration>>> = BTreeMap::new();
        for _ in 0..TURNS {
            for verb in ["ADD", "DEL"] {
                let began = Instant::now();
                self.answer(verb, &mut machine)?;
                let all = began.elapsed();
                let mut parts = times.take();
                let others: Duration = parts.values().sum();
                parts.insert("ours and the ledger".to_owned(), all.saturating_sub(others));
                turns.entry(verb).or_default().push(parts);
            }
        }
        Ok(turns.iter().flat_map(|(verb, turns)| by_part(verb, turns)).collect())
    }

    fn answer(&self, verb: &str, machine: &mut Machine) -> anyhow::Result<()> {
        let variables = environment(verb);
        let call = Call::read(|name| variables.get(name).map(|value| (*value).to_owned()))?;
        let answered = answer(&call, self.conf.to_string().as_bytes(), machine);
        answered.map(drop).map_err(|(error, _)| anyhow!("{verb}: {error}"))
    }

    /// Of an ADD that has done all but answer: nobody reads what it would write.
    fn peak_rss_kib(&self) -> anyhow::Result<u64> {
        let (read, write) = pipe()?;
        let (mut read, mut write) = (File::from(read), File::from(write));
        fill(&mut write)?;
        let child = self.spawn("ADD", Stdio::from(write))?;
        let peak = wait_until_bound().and_then(|()| peak_of(child.id()));
        let mut said = String::new();
        read.read_to_string(&mut said)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "ADD: {}", said.trim_start());
        let deleted = self.spawn("DEL", Stdio::piped())?.wait_with_output()?;
        let said = String::from_utf8_lossy(&deleted.stdout);
        ensure!(deleted.status.success(), "DEL: {said}");
        peak
    }
}

fn by_part(verb: &str, turns: &[BTreeMap<String, Duration>]) -> Vec<Line> {
    let names: BTreeSet<&String> = turns.iter().flat_map(BTreeMap::keys).collect();
    let times = |name: &String| {
        turns.iter().map(|parts| parts.get(name).copied().unwrap_or_default()).collect()
    };
    names.into_iter().map(|name| Line::new(format!("{verb}: {name}"), times(name))).collect()
}

/// Nothing more goes into the pipe, until somebody reads from it.
fn fill(pipe: &mut File) -> anyhow::Result<()> {
    let flags = fcntl_getfl(&*pipe)?;
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK)?;
    while pipe.write(&[b' '; 4096]).is_ok() {}
    while pipe.write(b" ").is_ok() {}
    Ok(fcntl_setfl(&*pipe, flags)?)
}

fn wait_until_bound() -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let is_bound = |ledger: &Ledger| {
        let entries = ledger.entries().unwrap_or_default().into_values().flatten();
        entries.filter_map(|entry| entry.record).any(|record| record.phase == Phase::Bound)
    };
    let ledger = Ledger::open(DEFAULT_DIR)?;
    while !is_bound(&ledger) {
        ensure!(Instant::now() < until, "ADD does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn peak_of(pid: u32) -> anyhow::Result<u64> {
    let mut text = String::new();
    File::open(Path::new("/proc").join(pid.to_string()).join("status"))?
        .read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    Ok(kib.parse()?)
}

impl Drop for Site {
    fn drop(&mut self) {
        // What host-local keeps of the last address it gave.
        let _ = fs::remove_dir_all(IPAM_DIR);
    }
}
