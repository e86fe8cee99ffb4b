//! 14 VFs on two PFs, and pods that come and go at once and queue for them, while Open vSwitch is restarted: 28 pods once
//! in `make test`, and in the long form 64 pods, 20 times each.
//!
//! The kubelet's part is played here: it gives each VF to one pod at a time, tries an ADD again after a DEL, and a DEL
//! until it succeeds. Half of the VFs are nicsim's in switchdev mode, on an OVS bridge; half are igb's in legacy mode.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use rustix::thread::{UnshareFlags, gettid};
use serde_json::{Value, json};
use switchdev::link::Links;

use super::pod::{Pod, netconf};
use crate::cases::Ctx;
use crate::guest::igb::{self, IgbVfs};
use crate::guest::nicsim::{Nicsim, UPLINK};
use crate::guest::node_state::Scope;
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;

const VFS_OF_A_PF: u16 = 7;
/// How many pods there are at a time, and how often each comes and goes.
struct Size {
    pods: usize,
    rounds: usize,
    /// Between the end of a restart and the next; each daemon is away for about a second, on a busy machine longer.
    peace: Duration,
}

const SHORT: Size = Size { pods: 28, rounds: 1, peace: Duration::from_secs(3) };
const LONG: Size = Size { pods: 64, rounds: 20, peace: Duration::from_secs(15) };
/// The kubelet does not give up; a test must, some time.
const GIVE_UP: Duration = Duration::from_secs(900);
/// How long a pod lives, so that others would find its VF taken.
const LIFE: Duration = Duration::from_millis(100);
const BRIDGE: &str = "br0";

pub(super) fn pods_queue(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(VFS_OF_A_PF)?;
    let igb = IgbVfs::bound(VFS_OF_A_PF)?;
    let mut ovs = Ovs::start()?;
    ovs.bridge(BRIDGE, &[UPLINK])?;
    let igb_pf = igb::netdev_up()?;
    std::fs::create_dir_all("/var/lib/linerate/ledger")?;
    let scope =
        Scope { files: vec![PathBuf::from("/var/lib/linerate")], ovs: Some(ovs.dir().to_owned()) };
    let before = scope.settled()?;
    let socket = format!("unix:{}", ovs.dir().join("db.sock").display());
    let kubelet = Kubelet::new(&nic, &igb, &socket)?;
    let size = if ctx.long { LONG } else { SHORT };
    let restarts = run_all(&kubelet, &mut ovs, &size)?;
    eprintln!("{} attachments, {restarts} restarts", size.pods * size.rounds);
    ensure!(restarts > 0, "Open vSwitch was not restarted meanwhile");
    let equal = scope.ensure_is(&before);
    run(&format!("ip link set {igb_pf} down"))?;
    equal
}

/// All pods in threads of their own, and the restarts in this one.
fn run_all(kubelet: &Kubelet, ovs: &mut Ovs, size: &Size) -> anyhow::Result<usize> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let pods: Vec<_> = (0..size.pods)
            .map(|number| scope.spawn(move || life(kubelet, number, size.rounds)))
            .collect();
        let chaos = scope.spawn(|| restart_until(ovs, &over, size.peace));
        let lives: Vec<anyhow::Result<()>> = pods
            .into_iter()
            .map(|pod| pod.join().unwrap_or_else(|_| Err(anyhow!("a pod panicked"))))
            .collect();
        over.store(true, Ordering::Relaxed);
        let restarts = chaos.join().unwrap_or_else(|_| Err(anyhow!("the restarts panicked")));
        lives.into_iter().collect::<anyhow::Result<()>>()?;
        restarts
    })
}

/// Ends one daemon, then the other, as a crash does.
fn restart_until(ovs: &mut Ovs, over: &AtomicBool, peace: Duration) -> anyhow::Result<usize> {
    let mut restarts = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(peace);
        ovs.restart_database()?;
        ovs.stop_vswitchd()?;
        ovs.start_vswitchd()?;
        restarts += 2;
    }
    Ok(restarts)
}

fn life(kubelet: &Kubelet, number: usize, rounds: usize) -> anyhow::Result<()> {
    for round in 0..rounds {
        let netns = OwnNetns::new()?;
        let pod = Pod::new(&format!("{number}-{round}"), &netns.path.to_string_lossy());
        let vf = kubelet.allocate()?;
        let lived = attach(kubelet, &pod, &vf).and_then(|()| live(&netns, &vf));
        let deleted = until_done(|| pod.call("DEL", &kubelet.conf(&vf)).map(drop));
        kubelet.free(vf);
        lived.and(deleted).with_context(|| format!("pod {number}, round {round}"))?;
    }
    Ok(())
}

/// After a failed ADD the runtime deletes what may be there and tries again.
fn attach(kubelet: &Kubelet, pod: &Pod, vf: &Vf) -> anyhow::Result<()> {
    let conf = kubelet.conf(vf);
    until_done(|| {
        pod.call("ADD", &conf).map(drop).or_else(|error| {
            pod.call("DEL", &conf)?;
            Err(error)
        })
    })
}

fn until_done(mut attempt: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let until = Instant::now() + GIVE_UP;
    loop {
        match attempt() {
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(200)),
            Ok(()) => return Ok(()),
        }
    }
}

/// Nobody takes the VF away meanwhile.
fn live(netns: &OwnNetns, vf: &Vf) -> anyhow::Result<()> {
    has_only(netns, vf).context("after ADD")?;
    thread::sleep(LIFE);
    has_only(netns, vf).context("before DEL")
}

/// The pod has this VF and no other.
fn has_only(netns: &OwnNetns, vf: &Vf) -> anyhow::Result<()> {
    let file = File::open(&netns.path)?;
    let links = Links::open_in(file.as_fd())?.all()?;
    let found: Vec<String> =
        links.iter().filter_map(|link| link.pci_parent).map(|vf| vf.to_string()).collect();
    ensure!(found == [vf.address.clone()], "the pod has {found:?}, not {}", vf.address);
    Ok(())
}

/// A VF, and whether its representor goes to the bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Vf {
    address: String,
    switchdev: bool,
}

/// Who has which VF.
struct Kubelet {
    free: Mutex<BTreeSet<Vf>>,
    freed: Condvar,
    socket: String,
}

impl Kubelet {
    fn new(nic: &Nicsim, igb: &IgbVfs, socket: &str) -> anyhow::Result<Self> {
        let mut free = BTreeSet::new();
        for index in 0..VFS_OF_A_PF {
            free.insert(Vf { address: nic.vf_address(index)?, switchdev: true });
            free.insert(Vf { address: igb.address(index)?, switchdev: false });
        }
        Ok(Self { free: Mutex::new(free), freed: Condvar::new(), socket: socket.to_owned() })
    }

    fn allocate(&self) -> anyhow::Result<Vf> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_timeout_while(free, GIVE_UP, |free| free.is_empty());
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(vf) = free.pop_first() else {
            bail!("no VF was freed within {} s", GIVE_UP.as_secs())
        };
        Ok(vf)
    }

    fn free(&self, vf: Vf) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).insert(vf);
        self.freed.notify_one();
    }

    fn conf(&self, vf: &Vf) -> Value {
        let on_bridge = json!({"bridge": BRIDGE, "socket_file": self.socket, "vlan": 100});
        netconf(&vf.address, if vf.switchdev { &on_bridge } else { &Value::Null })
    }
}

/// A network namespace that a thread of ours holds: no process has to be started for it.
struct OwnNetns {
    path: PathBuf,
    _end: Sender<()>,
}

impl OwnNetns {
    fn new() -> anyhow::Result<Self> {
        let (end, ended) = channel();
        let (tell, told) = channel();
        thread::Builder::new().spawn(move || hold_namespace(&tell, &ended))?;
        let path = told.recv().context("the namespace's thread ended")??;
        Ok(Self { path, _end: end })
    }
}

fn hold_namespace(tell: &Sender<anyhow::Result<PathBuf>>, ended: &Receiver<()>) {
    let path = PathBuf::from(format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        gettid().as_raw_nonzero()
    ));
    let made = unshare();
    // Whoever asked may be gone; then there is nobody to tell.
    let _ = tell.send(made.map(|()| path));
    let _ = ended.recv();
}

#[expect(
    unsafe_code,
    reason = "a thread that leaves a namespace may surprise code that holds its files"
)]
fn unshare() -> anyhow::Result<()> {
    // SAFETY: the thread shares its file descriptors before and after, and does nothing but wait.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}
