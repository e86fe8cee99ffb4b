//! The plugin as a process of its own, with all its directories.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Everything the plugin reads and writes, below one directory.
#[derive(Debug)]
pub struct Dirs {
    root: PathBuf,
}

impl Dirs {
    /// Directories below `root`.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let dirs = Self { root: root.to_owned() };
        for dir in [dirs.kubelet(), dirs.ledger(), dirs.device_info(), dirs.cdi()] {
            fs::create_dir_all(dir)?;
        }
        Ok(dirs)
    }

    /// Kubelet's root directory.
    #[must_use]
    pub fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    /// The ledger's.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// That of device-info files.
    #[must_use]
    pub fn device_info(&self) -> PathBuf {
        self.root.join("devinfo")
    }

    /// That of CDI specs.
    #[must_use]
    pub fn cdi(&self) -> PathBuf {
        self.root.join("cdi")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// What the plugin said.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("plugin.log")
    }

    /// Puts a configuration in the place of the one before, in one step.
    pub fn configure(&self, text: &str) -> anyhow::Result<()> {
        let beside = self.root.join("config.new");
        fs::write(&beside, text)?;
        Ok(fs::rename(beside, self.config())?)
    }

    /// What the plugin said so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The command line with all of them; `more` is added.
    #[must_use]
    pub fn command(&self, binary: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.arg("--config").arg(self.config());
        command.arg("--kubelet-dir").arg(self.kubelet());
        command.arg("--ledger-dir").arg(self.ledger());
        command.arg("--devinfo-dir").arg(self.device_info());
        command.arg("--cdi-dir").arg(self.cdi());
        if !more.contains(&"--metrics-listen") {
            command.args(["--metrics-listen", "off"]);
        }
        command.args(more);
        command
    }
}

/// The plugin's process; killed when dropped.
#[derive(Debug)]
pub struct Plugin {
    child: Child,
}

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

impl Plugin {
    /// Starts it; what it says goes to the log file.
    pub fn start(binary: &Path, dirs: &Dirs, more: &[&str]) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(dirs.log())?;
        let mut command = dirs.command(binary, more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self::spawn(command)
    }

    /// Starts it with a command line of the caller's.
    pub fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let child = command.spawn();
        let program = || format!("cannot run {}", command.get_program().display());
        Ok(Self { child: child.with_context(program)? })
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its memory, as `VmRSS` and `VmHWM` of `/proc` in KiB: now, and at most.
    pub fn memory_kib(&self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let field = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok::<u64, anyhow::Error>(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// How long its threads have been on a processor: other than the clock's, this time is not lost to
    /// whatever else the machine does.
    pub fn on_processor(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += stat.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            ensure!(Instant::now() < deadline, "the plugin did not end on SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
