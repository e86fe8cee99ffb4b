//! A VF in use on the host, and the pod that is to have it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use switchdev::binding::{
    BindError, Binder, Bound, Collected, External, ExternalError, ExternalStep, FaultyDisk,
    FaultyExternal, FaultyNode, Fuse, KernelNode, ReleaseError, Released, VlanWish, Wish,
};
use switchdev::ledger::{Holder, Ledger, OsDisk, Record};
use switchdev::link::{Links, VfLinkState};
use switchdev::{PciAddress, Sysfs};

use super::rounds::{Rescuer, never};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::node_state::{NodeState, Scope};
use crate::guest::tool::run;

/// The PF that igb drives.
const IGB: &str = "0000:02:00.0";
const POD: &str = "pod";
/// For the kernel to give back what was in a namespace.
const HOMECOMING: Duration = Duration::from_secs(10);

/// A VF, what is wished of it, and all there is around it.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) wish: Wish,
    vf: PciAddress,
    outside: RefCell<Outside>,
    ledger: tempfile::TempDir,
    _card: Card,
}

/// What goes when the case ends.
enum Card {
    Nicsim { _nic: Nicsim },
    Igb,
}

impl Drop for Card {
    fn drop(&mut self) {
        if matches!(self, Self::Igb)
            && let Err(error) = nicsim::write(igb("sriov_numvfs"), "0")
        {
            eprintln!("linerate: while cleaning up: {error:#}");
        }
    }
}

/// A bridge and an address pool, in memory: what is attached, by step.
#[derive(Default)]
struct Outside(BTreeSet<String>);

impl External for &mut Outside {
    fn take(&mut self, step: &ExternalStep, _: &Record) -> Result<Value, ExternalError> {
        if self.0.insert(step.what.clone()) {
            Ok(json!({}))
        } else {
            Err(ExternalError::new("it is attached already"))
        }
    }

    fn take_back(&mut self, step: &ExternalStep, _: &Record) -> Result<(), ExternalError> {
        self.0.remove(&step.what);
        Ok(())
    }
}

impl Site {
    /// nicsim with representors.
    pub(super) fn switchdev(ctx: &Ctx) -> anyhow::Result<Self> {
        no_duplicate_address_detection()?;
        let nic = Nicsim::load(ctx, "")?;
        nic.switchdev(2)?;
        let vf = nic.vf_address(1)?.parse()?;
        use_on_host("np0v1")?;
        Self::new("nicsim in switchdev mode", vf, common(), Card::Nicsim { _nic: nic })
    }

    /// nicsim as a plain SR-IOV card.
    pub(super) fn legacy(ctx: &Ctx) -> anyhow::Result<Self> {
        no_duplicate_address_detection()?;
        let nic = Nicsim::load(ctx, "")?;
        nic.set_vfs(2)?;
        run("ip link set np0 up")?;
        run("ip link set np0w up")?;
        let vf = nic.vf_address(1)?.parse()?;
        use_on_host("np0v1")?;
        Self::new("nicsim in legacy mode", vf, legacy()?, Card::Nicsim { _nic: nic })
    }

    /// A real driver's legacy mode.
    pub(super) fn igb(_: &Ctx) -> anyhow::Result<Self> {
        let (card, vf) = igb_vf("igbvf")?;
        let net = igb("virtfn1/net");
        let name = std::fs::read_dir(&net)?.next().context("the VF has no netdev")??;
        let name = name.file_name().to_string_lossy().into_owned();
        use_on_host(&name)?;
        nicsim::wait_for_carrier(&name)?;
        Self::new("igb", vf, igb_wish()?, card)
    }

    /// The same, with a VF that nobody uses: its netdev is down, and igbvf asks for no new address.
    pub(super) fn igb_unused(_: &Ctx) -> anyhow::Result<Self> {
        let (card, vf) = igb_vf("igbvf")?;
        Self::new("igb with an unused VF", vf, igb_wish()?, card)
    }

    /// A VF that user space drives.
    pub(super) fn vfio(_: &Ctx) -> anyhow::Result<Self> {
        let (card, vf) = igb_vf("vfio-pci")?;
        Self::new("igb with vfio-pci", vf, Wish { mtu: None, ..igb_wish()? }, card)
    }

    fn new(name: &'static str, vf: PciAddress, wish: Wish, card: Card) -> anyhow::Result<Self> {
        let ledger = tempfile::Builder::new().prefix("ledger-").tempdir_in("/run")?;
        let outside = RefCell::new(Outside::default());
        Ok(Self { name, wish, vf, outside, ledger, _card: card })
    }

    fn scope(&self) -> Scope {
        Scope { files: vec![self.ledger.path().to_owned()], ovs: None }
    }

    pub(super) fn look(&self) -> anyhow::Result<NodeState> {
        self.scope().settled()
    }

    /// The node is as it was, and nothing is attached.
    pub(super) fn ensure_is(&self, before: &NodeState) -> anyhow::Result<()> {
        let attached = &self.outside.borrow().0;
        ensure!(attached.is_empty(), "{}: {attached:?} is still attached", self.name);
        self.scope().ensure_is(before).with_context(|| self.name)
    }

    /// An empty namespace.
    pub(super) fn pod(&self) -> anyhow::Result<Netns> {
        Netns::new(POD)
    }

    pub(super) fn entry_path(&self) -> PathBuf {
        self.ledger.path().join(format!("{}.json", self.vf))
    }

    pub(super) fn ledger(&self) -> anyhow::Result<Ledger> {
        Ok(Ledger::open(self.ledger.path())?)
    }

    pub(super) fn is_bound(&self) -> anyhow::Result<bool> {
        let entry = self.ledger()?.entry(self.vf)?;
        let phase = entry.and_then(|entry| entry.record).map(|record| record.phase);
        Ok(phase == Some(switchdev::ledger::Phase::Bound))
    }

    pub(super) fn bind(&self, wish: &Wish, fuse: &Fuse) -> Result<Bound, BindError> {
        self.with(fuse, |binder| binder.bind(self.vf, holder(), wish, |_| Ok(steps())))?
    }

    pub(super) fn release(&self, fuse: &Fuse) -> Result<Released, ReleaseError> {
        self.with(fuse, |binder| binder.release(self.vf, &holder()))?
    }

    /// As a runtime or the agent does after whatever happened.
    pub(super) fn rescue(&self, rescuer: Rescuer) -> anyhow::Result<()> {
        match rescuer {
            Rescuer::Del => drop(self.release(&never())?),
            Rescuer::Agent => {
                let collected = self.with(&never(), |binder| binder.collect(&|_| true))?;
                let failed: Vec<_> =
                    collected.iter().filter(|c| Collected::is_failure(c)).collect();
                ensure!(failed.is_empty(), "{failed:?}");
            }
        }
        Ok(())
    }

    fn with<T>(
        &self,
        fuse: &Fuse,
        call: impl FnOnce(&mut Binder<'_>) -> T,
    ) -> Result<T, switchdev::ledger::LedgerError> {
        let disk = Arc::new(FaultyDisk::new(OsDisk, fuse.clone()));
        let ledger = Ledger::open(self.ledger.path())?.on(disk);
        let mut node = FaultyNode::new(KernelNode::new(Sysfs::default()), fuse.clone());
        let mut outside = self.outside.borrow_mut();
        let mut external = FaultyExternal::new(&mut *outside, fuse.clone());
        Ok(call(&mut Binder {
            ledger: &ledger,
            node: &mut node,
            external: &mut external,
            wait: HOMECOMING,
        }))
    }

    /// What carries our mark outside is swept by the program whose it is; with its entry lost it is in nobody's record.
    pub(super) fn sweep_outside(&self) {
        self.outside.borrow_mut().0.clear();
    }

    /// The kernel gives back a moment after the namespace has gone.
    pub(super) fn wait_for_vf_at_home(&self) -> anyhow::Result<()> {
        let until = Instant::now() + HOMECOMING;
        while !Links::open()?.all()?.iter().any(|link| link.pci_parent == Some(self.vf)) {
            ensure!(Instant::now() < until, "the VF does not come home");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn holder() -> Holder {
    Holder {
        container: "c1".to_owned(),
        ifname: "net1".to_owned(),
        netns: format!("/run/netns/{POD}").into(),
        netns_id: None,
        network: "underlay".to_owned(),
        pod: None,
    }
}

fn steps() -> Vec<ExternalStep> {
    let step = |kind: &str, what: &str| ExternalStep {
        kind: kind.to_owned(),
        what: what.to_owned(),
        record: Value::Null,
        outcome: Value::Null,
    };
    vec![step("port", "attach the representor"), step("ipam", "get an address")]
}

/// It takes seconds after every `up`. Links that come from now on have none, for the rest of the boot.
fn no_duplicate_address_detection() -> anyhow::Result<()> {
    nicsim::write("/proc/sys/net/ipv6/conf/default/dad_transmits".into(), "0")
}

/// Somebody on the host has given the VF's netdev an MTU, a text, an address, and has set it up: all of that must come back.
fn use_on_host(netdev: &str) -> anyhow::Result<()> {
    run(&format!("ip link set {netdev} mtu 1450 alias rack7 up"))?;
    run(&format!("ip address add 192.0.2.1/24 brd 192.0.2.255 dev {netdev}"))?;
    run(&format!("ip address add 2001:db8::1/64 dev {netdev} nodad")).map(drop)
}

fn common() -> Wish {
    Wish {
        mac: Some(switchdev::Mac([2, 0, 0, 0, 0, 9])),
        mtu: Some(1400),
        min_tx_rate: Some(100),
        max_tx_rate: Some(500),
        ..Wish::default()
    }
}

fn legacy() -> anyhow::Result<Wish> {
    Ok(Wish {
        vlan: Some(VlanWish::Tagged("100 qos 3".parse()?)),
        spoof_check: Some(false),
        trust: Some(true),
        link_state: Some(VfLinkState::Enable),
        ..common()
    })
}

/// igb knows no share and no link state. The VF is not trusted, so igb judges what address it takes.
fn igb_wish() -> anyhow::Result<Wish> {
    Ok(Wish { min_tx_rate: None, link_state: None, trust: None, ..legacy()? })
}

fn igb(below: &str) -> PathBuf {
    PathBuf::from("/sys/bus/pci/devices").join(IGB).join(below)
}

/// Two VFs of the igb PF; the second one has that driver.
fn igb_vf(driver: &str) -> anyhow::Result<(Card, PciAddress)> {
    // Built in on our own kernel.
    if run("modprobe -a vfio-pci igbvf").is_err() {
        let there = PathBuf::from("/sys/bus/pci/drivers").join(driver).exists();
        ensure!(there, "no driver {driver}");
    }
    no_duplicate_address_detection()?;
    nicsim::write(igb("sriov_numvfs"), "2")?;
    let card = Card::Igb;
    let link = std::fs::read_link(igb("virtfn1"))?;
    let vf: PciAddress = link.file_name().context("a VF's address")?.to_string_lossy().parse()?;
    crate::guest::igb::netdev_up()?;
    let only = switchdev::driver::Binding::Only(driver.to_owned());
    switchdev::driver::bind(&Sysfs::default(), vf, &only)?;
    Ok((card, vf))
}
