//! A private Open vSwitch with the kernel's datapath: database, sockets and logs in a directory of its own.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::tool::{run, undo};
use crate::sim::process;

/// Started earlier after boot, ovs-vswitchd gets no handler threads and loses every miss: it asks for the number of CPUs, whose cached
/// value counts as fresh until the clock passes 10 s (count_cpu_cores in lib/ovs-thread.c).
const EARLIEST_UPTIME: f64 = 11.0;
/// For a daemon to answer. On a busy machine that emulates, starting takes seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(50);
/// Debian's place for the schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A running Open vSwitch; dropping it removes its bridges and stops it.
#[derive(Debug)]
pub struct Ovs {
    dir: tempfile::TempDir,
    /// ovs-vswitchd, then ovsdb-server: the order in which they are stopped.
    daemons: Vec<Child>,
}

impl Ovs {
    /// Starts ovsdb-server and ovs-vswitchd and waits until both answer.
    pub fn start() -> anyhow::Result<Self> {
        run("modprobe openvswitch")?;
        let mut ovs = Self {
            dir: tempfile::Builder::new().prefix("ovs-").tempdir_in("/run")?,
            daemons: Vec::new(),
        };
        ovs.tool("ovsdb-tool", &["create", "conf.db", SCHEMA])?;
        ovs.start_database()?;
        ovs.wait("ovsdb-server to answer", |ovs| ovs.dir().join("db.sock").exists())?;
        ovs.vsctl("--no-wait init")?;
        wait_for_uptime();
        ovs.start_vswitchd()?;
        Ok(ovs)
    }

    /// Starts ovs-vswitchd and waits until it answers.
    pub fn start_vswitchd(&mut self) -> anyhow::Result<()> {
        self.daemon("ovs-vswitchd", &["unix:db.sock", "--log-file=ovs-vswitchd.log"])?;
        self.appctl_when_up("version")
    }

    /// Ends ovs-vswitchd as a crash does: the kernel's datapath stays, and forwards what it knows.
    pub fn stop_vswitchd(&mut self) -> anyhow::Result<()> {
        let mut vswitchd = self.daemons.remove(0);
        let killed = vswitchd.kill();
        vswitchd.wait()?;
        Ok(killed?)
    }

    /// Ends ovsdb-server as a crash does, and starts it again on the same file.
    pub fn restart_database(&mut self) -> anyhow::Result<()> {
        let mut server = self.daemons.pop().context("ovsdb-server is not running")?;
        let killed = server.kill();
        server.wait()?;
        killed?;
        self.start_database()?;
        // It is the first to be started and the last to be stopped.
        self.daemons.rotate_left(1);
        self.wait("ovsdb-server to answer", |ovs| ovs.vsctl("--no-wait show").is_ok())
    }

    fn start_database(&mut self) -> anyhow::Result<()> {
        let arguments = ["conf.db", "--remote=punix:db.sock", "--log-file=ovsdb-server.log"];
        self.daemon("ovsdb-server", &arguments)
    }

    /// Waits until a bridge answers over OpenFlow, which is a moment after ovs-vswitchd does.
    pub fn wait_for_bridge(&self, bridge: &str) -> anyhow::Result<()> {
        self.wait("the bridge to answer", |ovs| {
            ovs.ofctl(&["-OOpenFlow15", "show", bridge]).is_ok()
        })
    }

    fn appctl_when_up(&self, words: &str) -> anyhow::Result<()> {
        self.wait("ovs-vswitchd to answer", |ovs| ovs.appctl(words).is_ok())
    }

    /// The directory with the sockets: `db.sock`, and `BRIDGE.mgmt` for each bridge.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `ovs-vsctl`; it returns when ovs-vswitchd has done what was asked.
    pub fn vsctl(&self, words: &str) -> anyhow::Result<String> {
        let database = format!("--db=unix:{}", self.dir().join("db.sock").display());
        let words: Vec<&str> = [database.as_str(), "--timeout=60"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        self.tool("ovs-vsctl", &words)
    }

    /// Runs `ovs-ofctl`. The arguments are not split: rules may have blanks.
    pub fn ofctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.tool("ovs-ofctl", arguments)
    }

    /// Runs `ovs-appctl` on ovs-vswitchd.
    pub fn appctl(&self, words: &str) -> anyhow::Result<String> {
        let pid = self.daemons.first().context("ovs-vswitchd is not running")?.id();
        let target = self.dir().join(format!("ovs-vswitchd.{pid}.ctl")).display().to_string();
        let words: Vec<&str> =
            ["-t", &target].into_iter().chain(words.split_whitespace()).collect();
        self.tool("ovs-appctl", &words)
    }

    /// Makes a bridge on the kernel's datapath with these ports; its rule is the one OVS gives it, NORMAL.
    pub fn bridge(&self, name: &str, ports: &[&str]) -> anyhow::Result<()> {
        let ports: String =
            ports.iter().map(|port| format!(" -- add-port {name} {port}")).collect();
        self.vsctl(&format!("add-br {name}{ports}")).map(drop)
    }

    /// The end of ovs-vswitchd's log, for failures.
    #[must_use]
    pub fn log(&self) -> String {
        crate::sim::console::tail(
            &fs::read_to_string(self.dir().join("ovs-vswitchd.log")).unwrap_or_default(),
        )
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        process::text(self.command(program).args(arguments))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir()).stdin(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.dir());
        }
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        // What goes wrong before there is a log.
        let output = File::create(self.dir().join(format!("{program}.out")))?;
        let mut command = self.command(program);
        command
            .args(arguments)
            .args(["-vconsole:off", "--no-chdir"])
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.daemons.insert(0, child);
        Ok(())
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + START_LIMIT;
        while !done(self) {
            if Instant::now() > until {
                bail!("waited {} s for {what}", START_LIMIT.as_secs());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        // The kernel's datapath outlives ovs-vswitchd, with all its ports.
        if let Err(error) = self.appctl("exit --cleanup") {
            eprintln!("linerate: ovs-vswitchd: {error:#}");
            undo("ovs-dpctl del-dp ovs-system");
        }
        for daemon in &mut self.daemons {
            // Both fail only if it is gone already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn wait_for_uptime() {
    while uptime().is_some_and(|seconds| seconds < EARLIEST_UPTIME) {
        std::thread::sleep(TICK);
    }
}

fn uptime() -> Option<f64> {
    fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()
}
