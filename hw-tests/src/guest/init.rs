//! The guest's first process: mounts what a node has, runs the job, reports, powers off.
//!
//! It is process 1, so it never returns: whatever fails is reported to the host and followed by power-off.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::system::{RebootCommand, reboot, sethostname, uname};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sim::exit;
use crate::sim::job::{self, Event, Job, Terminal};

/// The node's name.
const HOSTNAME: &str = "simnode";
/// How often the host hears that the guest lives.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// The PF that nicsim drives. igb must not take it first.
const NICSIM_PF: &str = "/sys/bus/pci/devices/0000:01:00.0";
/// The terminal of `sim shell`: the first virtio console.
const TERMINAL: &str = "/dev/hvc0";

/// What a node has mounted beyond what the initramfs did: source, place, type.
const MOUNTS: [(&str, &str, &str); 6] = [
    ("pts", "/dev/pts", "devpts"),
    ("shm", "/dev/shm", "tmpfs"),
    ("debugfs", "/sys/kernel/debug", "debugfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
];

/// Sets the node up, runs the job, powers off.
pub fn main() -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        rustix::process::getpid().is_init(),
        "`guest init` is for the first process of the simulated node"
    );
    let events = Events::open()?;
    let report = match run(&events) {
        Ok(code) => Event::Ended(code),
        Err(error) => Event::Failed(format!("{error:#}")),
    };
    events.send(report);
    reboot(RebootCommand::PowerOff)?;
    Ok(ExitCode::SUCCESS)
}

fn run(events: &Events) -> anyhow::Result<u8> {
    let path = Path::new(job::RUN_MOUNT).join(job::JOB_FILE);
    let job: Job = serde_json::from_slice(
        &fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
    )?;
    set_up(&job)?;
    events.send(Event::Started);
    events.keep_alive();
    let code = execute(&job)?;
    Ok(code)
}

/// Sends events to the host, from several threads.
struct Events(mpsc::Sender<(Event, mpsc::Sender<()>)>);

impl Events {
    fn open() -> anyhow::Result<Self> {
        let mut port = open_port(job::PORT_EVENTS)?;
        let (sender, receiver) = mpsc::channel::<(Event, mpsc::Sender<()>)>();
        thread::spawn(move || {
            for (event, _written) in receiver {
                let line = serde_json::to_string(&event).unwrap_or_default();
                // The host ends QEMU when it does not listen any more.
                let _ = writeln!(port, "{line}");
            }
        });
        Ok(Self(sender))
    }

    /// Sends an event and waits until it is written: the guest may be powered off right after.
    fn send(&self, event: Event) {
        let (written, done) = mpsc::channel();
        if self.0.send((event, written)).is_ok() {
            // The sender's end is dropped once the line is written, which is what ends this wait.
            let _ = done.recv();
        }
    }

    fn keep_alive(&self) {
        let sender = self.0.clone();
        thread::spawn(move || {
            while sender.send((Event::Alive, mpsc::channel().0)).is_ok() {
                thread::sleep(ALIVE_EVERY);
            }
        });
    }
}

fn open_port(name: &str) -> anyhow::Result<File> {
    let ports = fs::read_dir("/sys/class/virtio-ports")
        .context("no virtio-serial ports")?
        .flatten()
        .map(|entry| entry.path());
    let found = ports
        .into_iter()
        .find(|port| fs::read_to_string(port.join("name")).is_ok_and(|found| found.trim() == name));
    let found = found.with_context(|| format!("no virtio-serial port {name}"))?;
    let device = Path::new("/dev").join(found.file_name().unwrap_or_default());
    OpenOptions::new()
        .write(true)
        .open(&device)
        .with_context(|| format!("cannot open {}", device.display()))
}

fn set_up(job: &Job) -> anyhow::Result<()> {
    for (source, place, kind) in MOUNTS {
        mount_one(source, place, kind);
    }
    sethostname(HOSTNAME.as_bytes()).context("cannot set the host name")?;
    if let Some(modules) = &job.modules {
        bind_modules(modules)?;
    }
    tell_failure("loopback", command("ip").args(["link", "set", "lo", "up"]).status());
    attach_igb()
}

/// A kernel may lack one of them; a command that needs it will say so.
fn mount_one(source: &str, place: &str, kind: &str) {
    let made = fs::create_dir_all(place).map_err(|error| error.to_string());
    let mounted = made.and_then(|()| {
        mount(source, place, kind, MountFlags::empty(), None).map_err(|error| error.to_string())
    });
    if let Err(error) = mounted {
        eprintln!("linerate: {place} is not mounted: {error}");
    }
}

fn bind_modules(modules: &Path) -> anyhow::Result<()> {
    let place = PathBuf::from("/lib/modules").join(uname().release().to_string_lossy().as_ref());
    if modules == place {
        return Ok(());
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    mount_bind(modules, &place)
        .with_context(|| format!("cannot mount {} at {}", modules.display(), place.display()))
}

/// igb drives the second NIC, for legacy SR-IOV; the first is kept for nicsim.
fn attach_igb() -> anyhow::Result<()> {
    let place = Path::new(NICSIM_PF).join("driver_override");
    fs::write(&place, "nicsim").with_context(|| format!("cannot write {}", place.display()))?;
    tell_failure("igb", command("modprobe").arg("igb").status());
    Ok(())
}

fn tell_failure(what: &str, status: std::io::Result<ExitStatus>) {
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("linerate: {what}: {status}"),
        Err(error) => eprintln!("linerate: {what}: {error}"),
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs the job's command and gives the exit code a shell would give.
fn execute(job: &Job) -> anyhow::Result<u8> {
    let mut command = prepare(job)?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(cannot_run(&job.argv, &error)),
    };
    let pid = Pid::from_child(&child);
    let mut copiers = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        copiers.push(copy_to_port(pipe, job::PORT_STDOUT)?);
    }
    if let Some(pipe) = child.stderr.take() {
        copiers.push(copy_to_port(pipe, job::PORT_STDERR)?);
    }
    let status = reap_until(pid)?;
    // Whatever the command left running holds its pipes open, and would keep us from seeing their end.
    kill_all();
    for copier in copiers {
        // A copier that panicked has said so on the console.
        let _ = copier.join();
    }
    Ok(shell_code(status))
}

fn prepare(job: &Job) -> anyhow::Result<Command> {
    let (program, arguments) = job.argv.split_first().context("the job has no command")?;
    let mut command = match &job.terminal {
        Some(terminal) => on_terminal(terminal, program)?,
        None => on_pipes(program),
    };
    command.args(arguments).envs(&job.env).env("HOME", "/root");
    // A directory below the host's /run is not in the guest.
    command.current_dir(if job.dir.is_dir() { &job.dir } else { Path::new("/") });
    Ok(command)
}

fn on_pipes(program: &str) -> Command {
    let mut command = command(program);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn on_terminal(terminal: &Terminal, program: &str) -> anyhow::Result<Command> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(TERMINAL)
        .with_context(|| format!("cannot open {TERMINAL}"))?;
    tcsetwinsize(
        &device,
        Winsize { ws_row: terminal.rows, ws_col: terminal.columns, ws_xpixel: 0, ws_ypixel: 0 },
    )?;
    // Job control needs a session whose terminal this is.
    let mut command = Command::new("setsid");
    command.args(["--ctty", program]).env("TERM", &terminal.term);
    command.stdin(device.try_clone()?).stdout(device.try_clone()?).stderr(device);
    Ok(command)
}

fn cannot_run(argv: &[String], error: &std::io::Error) -> u8 {
    let program = argv.first().map_or("", String::as_str);
    if let Ok(mut port) = open_port(job::PORT_STDERR) {
        // The exit code says it too.
        let _ = writeln!(port, "hw-tests: cannot run {program} in the guest: {error}");
    }
    if error.kind() == ErrorKind::NotFound { exit::NOT_FOUND } else { exit::CANNOT_EXEC }
}

fn copy_to_port(
    mut pipe: impl Read + Send + 'static,
    port: &str,
) -> anyhow::Result<thread::JoinHandle<()>> {
    let mut port = open_port(port)?;
    Ok(thread::spawn(move || {
        // By hand: `std::io::copy` would splice, which virtio ports refuse for some pipes.
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = pipe.read(&mut buffer) {
            if length == 0 || port.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }))
}

/// The first process inherits every orphan, so it waits for anybody until its own child has ended.
fn reap_until(pid: Pid) -> anyhow::Result<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}

fn shell_code(status: WaitStatus) -> u8 {
    let status = ExitStatus::from_raw(status.as_raw());
    let code = status
        .code()
        .unwrap_or_else(|| i32::from(exit::SIGNAL_BASE) + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Ends every process but us. Kernel threads do not take signals.
fn kill_all() {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter_map(Pid::from_raw).filter(|pid| !pid.is_init()) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}
