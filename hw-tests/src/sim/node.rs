//! A run of the node: starts QEMU, follows what the guest reports, and says how it ended.
//!
//! QEMU cannot outlive us. It is started through `setpriv --pdeathsig KILL`, so the kernel ends it when we die, even of SIGKILL; and
//! dropping [`Qemu`] ends it on every other way out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::accel::{self, Accel};
use super::job::{self, Event, Job};
use super::kernel::{Flavour, Kernel};
use super::machine::{self, Machine};
use super::watch::{Ending, Watch};
use super::{console, module, process, progress};

/// How often the deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Room for OVS and a few hundred thousand filters.
const MEMORY_MIB: u32 = 2048;
/// KASAN's shadow and quarantine take their share.
const DEBUG_MEMORY_MIB: u32 = 4096;

/// How often a machine is started that does not come up.
const BOOT_ATTEMPTS: u32 = 3;

/// Everything a run needs, prepared once for many runs.
#[derive(Debug)]
pub struct Node {
    kernel: Kernel,
    initramfs: PathBuf,
    module: Option<PathBuf>,
    accel: Accel,
}

/// One run.
#[derive(Debug)]
pub struct Run {
    job: Job,
    limit: Option<Duration>,
}

/// One of the command's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes what the command writes, as it comes; `Break` ends the run.
pub type Sink<'a> = dyn FnMut(Stream, &[u8]) -> ControlFlow<()> + 'a;

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The kernel's console.
    pub console: String,
    /// From QEMU's start to the command's.
    pub boot: Option<Duration>,
    /// From QEMU's start to its end.
    pub whole: Duration,
    /// The accelerator that was used.
    pub accel: Accel,
    dir: tempfile::TempDir,
}

impl Run {
    /// A run that is ended after `limit`.
    #[must_use]
    pub fn new(job: Job, limit: Duration) -> Self {
        Self { job, limit: Some(limit) }
    }

    /// A run as long as its user likes.
    #[must_use]
    pub fn unlimited(job: Job) -> Self {
        Self { job, limit: None }
    }
}

impl Outcome {
    /// The sentence and the last console lines, if the node did not end as it should.
    #[must_use]
    pub fn failure_report(&self) -> Option<String> {
        let what = self.ending.failure()?;
        Some(format!("{what}\n--- console\n{}\n---", console::excerpt(&self.console)))
    }

    /// A line about the time it took.
    #[must_use]
    pub fn timing(&self) -> String {
        let boot = self.boot.map_or_else(
            || "no boot".to_owned(),
            |boot| format!("booted in {:.1} s", boot.as_secs_f64()),
        );
        format!("{boot} ({}), {:.1} s in all", self.accel.name(), self.whole.as_secs_f64())
    }

    /// The directory the command filled with files.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.dir.path().join(job::OUT_DIR)
    }

    /// Copies the files of the command, and the console's log, into a directory.
    pub fn keep(&self, place: &Path) -> anyhow::Result<()> {
        copy_tree(&self.out(), place)?;
        Ok(fs::write(place.join("console.log"), &self.console)?)
    }
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

impl Node {
    /// Gets kernel, initramfs, module and accelerator ready, and says what it uses.
    pub fn prepare(flavour: Flavour) -> anyhow::Result<Self> {
        for program in [accel::QEMU, "setpriv"] {
            if !process::installed(program) {
                bail!("{program} is not installed; `hw-tests/setup.sh` installs what is needed");
            }
        }
        let kernel = Kernel::prepare(flavour)?;
        let initramfs = kernel.initramfs()?;
        let module = module::build(&kernel)?;
        let accel = Accel::choose(&kernel)?;
        progress::say(&format!("kernel {} ({flavour}), {}", kernel.release, accel.name()));
        Ok(Self { kernel, initramfs, module, accel })
    }

    /// Boots, runs the job, powers off. Call it from a thread that lives as long: QEMU ends with the thread that started it.
    ///
    /// On a busy host an emulated machine now and then loses a timer and does not come up. Nothing of ours has run by then, so it is
    /// started again.
    pub fn run(&self, run: &Run, sink: &mut Sink<'_>) -> anyhow::Result<Outcome> {
        for _ in 1..BOOT_ATTEMPTS {
            let outcome = self.attempt(run, sink)?;
            if !outcome.ending.is_of_boot(outcome.boot) {
                return Ok(outcome);
            }
            progress::say("the guest did not come up; starting it again");
        }
        self.attempt(run, sink)
    }

    fn attempt(&self, run: &Run, sink: &mut Sink<'_>) -> anyhow::Result<Outcome> {
        let dir = tempfile::Builder::new().prefix("linerate-").tempdir();
        let dir = dir.context("cannot make a temporary directory")?;
        self.write_job(&run.job, dir.path())?;
        let ports = Ports::listen(dir.path())?;
        let start = Instant::now();
        let mut qemu = Qemu::start(&self.machine(dir.path(), run.job.terminal.is_some()))?;
        let mut watch = Watch::new(start, run.limit);
        let mut log = Vec::new();
        let early = ports.follow(&mut qemu, &mut watch, &mut log, sink)?;
        let console = String::from_utf8_lossy(&log).into_owned();
        let ending = early.unwrap_or_else(|| watch.ending(&console, &qemu.last_words()));
        let (boot, whole) = (watch.boot_time(), start.elapsed());
        Ok(Outcome { ending, console, boot, whole, accel: self.accel, dir })
    }

    fn machine(&self, dir: &Path, terminal: bool) -> Machine {
        Machine {
            accel: self.accel,
            memory_mib: if self.kernel.flavour == Flavour::Debug {
                DEBUG_MEMORY_MIB
            } else {
                MEMORY_MIB
            },
            kernel: self.kernel.image.clone(),
            initramfs: self.initramfs.clone(),
            dir: dir.to_owned(),
            terminal,
        }
    }

    fn write_job(&self, job: &Job, dir: &Path) -> anyhow::Result<()> {
        let mut job = job.clone();
        job.modules = Some(self.kernel.modules.clone());
        job.env.insert("LINERATE_KERNEL".to_owned(), self.kernel.flavour.to_string());
        job.env.insert("LINERATE_OUT".to_owned(), format!("{}/{}", job::RUN_MOUNT, job::OUT_DIR));
        if let Some(module) = &self.module {
            job.env.insert(
                "LINERATE_NICSIM_KO".to_owned(),
                fs::canonicalize(module)?.display().to_string(),
            );
        }
        let init = std::env::current_exe().context("cannot find our own binary")?;
        fs::create_dir(dir.join(job::OUT_DIR))?;
        fs::write(dir.join(job::INIT_FILE), init.display().to_string())?;
        fs::write(dir.join(job::JOB_FILE), serde_json::to_vec_pretty(&job)?)?;
        Ok(())
    }
}

/// The QEMU process; dropping it ends it.
struct Qemu {
    child: Child,
    stderr: PathBuf,
}

impl Qemu {
    fn start(machine: &Machine) -> anyhow::Result<Self> {
        let stderr = machine.dir.join("qemu.stderr");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", accel::QEMU])
            .args(machine.arguments())
            .stdin(if machine.terminal { Stdio::inherit() } else { Stdio::null() })
            .stdout(if machine.terminal { Stdio::inherit() } else { Stdio::null() })
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {}", accel::QEMU))?;
        Ok(Self { child, stderr })
    }

    fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    fn end(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last_words(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.end();
    }
}

enum Message {
    Console(Vec<u8>),
    Output(Stream, Vec<u8>),
    Event(Event),
}

/// The guest's ports, each a socket with a thread that turns it into messages.
struct Ports {
    dir: PathBuf,
    threads: Vec<JoinHandle<()>>,
    messages: mpsc::Receiver<Message>,
}

impl Ports {
    fn listen(dir: &Path) -> anyhow::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let mut threads = Vec::new();
        for name in std::iter::once(machine::CONSOLE).chain(machine::PORTS) {
            let place = dir.join(name);
            let listener = UnixListener::bind(&place)
                .with_context(|| format!("cannot listen on {}", place.display()))?;
            let sender = sender.clone();
            threads.push(std::thread::spawn(move || serve(name, &listener, &sender)));
        }
        Ok(Self { dir: dir.to_owned(), threads, messages })
    }

    /// Follows the run until QEMU has ended, by itself or by us because a deadline has passed.
    fn follow(
        self,
        qemu: &mut Qemu,
        watch: &mut Watch,
        log: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> anyhow::Result<Option<Ending>> {
        let mut early = None;
        while early.is_none() && !qemu.ended()? {
            let flow = match self.messages.recv_timeout(TICK) {
                Ok(message) => take(message, watch, log, sink),
                Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(TICK);
                    ControlFlow::Continue(())
                }
            };
            early =
                if flow.is_break() { Some(Ending::Stopped) } else { watch.overdue(Instant::now()) };
        }
        qemu.end();
        for message in self.finish() {
            // It has ended: there is nothing left to break off.
            let _ = take(message, watch, log, sink);
        }
        Ok(early)
    }

    /// What was still under way when QEMU ended.
    fn finish(self) -> mpsc::IntoIter<Message> {
        for name in std::iter::once(machine::CONSOLE).chain(machine::PORTS) {
            // A port that QEMU never connected to still waits; an empty connection lets its thread go.
            let _ = UnixStream::connect(self.dir.join(name));
        }
        for thread in self.threads {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
        self.messages.into_iter()
    }
}

fn take(
    message: Message,
    watch: &mut Watch,
    log: &mut Vec<u8>,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    match message {
        Message::Console(bytes) => {
            watch.hear_console(Instant::now());
            log.extend(bytes);
        }
        Message::Output(stream, bytes) => return sink(stream, &bytes),
        Message::Event(event) => watch.take(event, Instant::now()),
    }
    ControlFlow::Continue(())
}

fn serve(name: &str, listener: &UnixListener, sender: &Sender<Message>) {
    let Ok((stream, _)) = listener.accept() else { return };
    match name {
        job::PORT_EVENTS => events(stream, sender),
        job::PORT_STDOUT => chunks(stream, sender, |bytes| Message::Output(Stream::Stdout, bytes)),
        job::PORT_STDERR => chunks(stream, sender, |bytes| Message::Output(Stream::Stderr, bytes)),
        _ => chunks(stream, sender, Message::Console),
    }
}

fn events(stream: UnixStream, sender: &Sender<Message>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Ok(event) = serde_json::from_str(&line) {
            // Nobody listens any more: the run is over.
            let _ = sender.send(Message::Event(event));
        }
    }
}

fn chunks(mut stream: UnixStream, sender: &Sender<Message>, wrap: impl Fn(Vec<u8>) -> Message) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || sender.send(wrap(buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}
