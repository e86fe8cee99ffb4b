//! An offload-agent on the node: started with a configuration of its own, asked over its status socket.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::ovs::Ovs;

/// How long the agent may take to answer, and to bring the kernel after the rules.
const PATIENCE: Duration = Duration::from_secs(180);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A running agent; dropping it kills it and takes its filters away.
#[derive(Debug)]
pub struct Agent {
    setup: Setup,
    child: Child,
}

/// What an agent is started with, again and again.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    /// Its runtime directory.
    pub run_dir: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
}

/// What a user sees of `offload-agent status --output json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// Whether the kernel has what the rules ask for.
    pub synced: bool,
    /// What it is doing.
    pub state: String,
    /// Every rule.
    pub rules: Vec<Rule>,
    /// The filters in numbers.
    pub filters: Filters,
    /// Filters of others.
    pub foreign: Vec<String>,
    /// The netdevs of the bridges.
    pub ports: Vec<Port>,
    /// The work so far.
    pub reconciles: Reconciles,
}

/// What became of a rule.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Rule {
    /// The rule as OVS writes it, without its actions.
    pub rule: String,
    /// `hardware`, `software`, `split`, `ovs` or `dead`.
    pub outcome: String,
    /// Why packets of it stay in OVS, for people.
    pub sentence: Option<String>,
    /// What the card handled.
    pub hardware: Count,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
}

/// The filters in numbers.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filters {
    /// Those in the kernel.
    pub installed: usize,
    /// Those that the card runs.
    pub in_hw: usize,
    /// Those that the card refused.
    pub withheld: usize,
}

/// A netdev of a bridge.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What to do where rules cannot be offloaded.
    pub remedy: Option<String>,
}

/// The work so far.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reconciles {
    /// How many comparisons of ruleset and kernel there were.
    pub total: u64,
    /// Operations on filters, over all of them.
    pub ops: u64,
    /// How many operations the last one took.
    pub last_ops: usize,
}

impl Setup {
    /// Writes a configuration for this Open vSwitch. `more` are further lines of YAML.
    pub fn new(binary: PathBuf, ovs: &Ovs, more: &str) -> anyhow::Result<Self> {
        let run_dir = ovs.dir().join("agent");
        fs::create_dir_all(&run_dir)?;
        let config = run_dir.join("offload-agent.yaml");
        let text = format!(
            "ovs:\n  runDir: {}\nrunDir: {}\nhardware:\n  capabilities: nicsim\n{more}",
            ovs.dir().display(),
            run_dir.display()
        );
        fs::write(&config, text)?;
        Ok(Self { binary, run_dir, config })
    }

    /// Starts the daemon.
    pub fn start(&self) -> anyhow::Result<Agent> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.binary)
            .args(["run", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        Ok(Agent { setup: self.clone(), child })
    }

    fn log(&self) -> PathBuf {
        self.run_dir.join("offload-agent.log")
    }

    /// Runs another subcommand to its end, and gives what it printed.
    pub fn tool(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .arg("--run-dir")
            .arg(&self.run_dir)
            .output()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "offload-agent {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `offload-agent flush`.
    pub fn flush(&self) -> anyhow::Result<String> {
        self.tool(&["flush"])
    }
}

impl Agent {
    /// Asks for its status.
    pub fn status(&self) -> anyhow::Result<Status> {
        ask(&self.setup.run_dir.join("offload-agent.sock"))
    }

    /// Asks until the status is as wanted.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.status();
            if let Ok(status) = &answer
                && is_so(status)
            {
                return answer;
            }
            if let Some(code) = self.child.try_wait()? {
                bail!("the agent ended ({code}):\n{}", self.log());
            }
            if Instant::now() > end {
                bail!("waited {} s for {what}: {answer:#?}\n{}", PATIENCE.as_secs(), self.log());
            }
            sleep(ASK_AGAIN);
        }
    }

    /// Waits until it is in sync and knows that many rules.
    pub fn wait_for_rules(&mut self, rules: usize) -> anyhow::Result<Status> {
        self.wait(&format!("{rules} rules in sync"), |status| {
            status.synced && status.rules.len() == rules
        })
    }

    /// Ends it as a service manager would.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let code = self.child.wait()?;
        ensure!(code.success(), "the agent ended with {code} on SIGTERM:\n{}", self.log());
        Ok(())
    }

    /// Ends it without a warning.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.setup.log()).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(socket: &Path) -> anyhow::Result<Status> {
    let mut answer = Vec::new();
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.read_to_end(&mut answer)?;
    serde_json::from_slice(&answer).context("what the agent says is not a status")
}
