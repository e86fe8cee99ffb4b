//! One turn of the mirror: complete the ports, compile, reconcile, report. It blocks, so it has a thread of its own
//! while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_compiler::capabilities::Capabilities;
use flow_compiler::openflow::Ruleset;
use flow_compiler::ports::PortMap;
use flow_compiler::{Compiled, compile};
use switchdev::ethtool::Ethtool;
use switchdev::netlink::NetlinkError;
use switchdev::tc::{Tc, TcError};
use switchdev::{CardError, Sysfs};
use tc_filter::{Attach, IfIndex, Prio};

use super::devices::{Devices, Offload};
use super::qdisc::{self, Notes, QdiscError};
use crate::config::HwPolicy;
use crate::reconcile::{self, Filters, PrioRoom, ReconcileError, Refusals, Settled};

/// The kernel numbers filters without a prio from 0xc000 downwards (`tcf_auto_prio`); we stay below.
const HIGHEST_PRIO: u16 = 0xbfff;
/// A card with fewer chains has none to spare for an update.
const MANY_CHAINS: u32 = 1024;
/// After so long a refused filter is tried once more: the card may have room by now.
const RETRY_REFUSED: Duration = Duration::from_secs(60);

/// The kernel's side of the agent, and what it remembers between turns. All of it can be lost: the next turn finds
/// out again.
pub struct Mirror {
    tc: Box<dyn Tc>,
    ethtool: Ethtool,
    sysfs: Sysfs,
    notes: Notes,
    refusals: Refusals,
    retry_at: Instant,
    /// Attach points that have or had filters of ours.
    hooks: BTreeSet<Attach>,
    offload: BTreeMap<String, Offload>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// What a turn works on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The rules of the managed bridges.
    pub ruleset: Arc<Ruleset>,
    /// Their ports, as OVSDB knows them.
    pub ports: Arc<PortMap>,
    /// What the card can do.
    pub capabilities: Arc<Capabilities>,
    /// Where filters may live.
    pub policy: HwPolicy,
}

/// What came of a turn.
#[derive(Debug)]
pub struct Turn {
    /// What the compiler made of the rules.
    pub compiled: Compiled,
    /// Which ports can offload.
    pub offload: BTreeMap<String, Offload>,
    /// Names of devices by number, for reports.
    pub devices: Devices,
    /// What is in the kernel now.
    pub result: Result<Settled, MirrorError>,
    /// How long it took.
    pub took: Duration,
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The node's devices could not be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A generic netlink socket could not be opened.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A qdisc could not be made.
    #[error(transparent)]
    Qdisc(#[from] QdiscError),
    /// The filters could not be brought to where they should be.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

impl From<TcError> for MirrorError {
    fn from(error: TcError) -> Self {
        Self::Reconcile(error.into())
    }
}

impl Mirror {
    /// Connects to the kernel and finds the filters that an earlier agent left.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn open(tc: Box<dyn Tc>, run_dir: &Path) -> Result<Self, MirrorError> {
        let mut mirror = Self {
            tc,
            ethtool: Ethtool::open()?,
            sysfs: Sysfs::default(),
            notes: Notes::below(run_dir),
            refusals: Refusals::default(),
            retry_at: Instant::now() + RETRY_REFUSED,
            hooks: BTreeSet::new(),
            offload: BTreeMap::new(),
        };
        mirror.find_ours()?;
        Ok(mirror)
    }

    fn find_ours(&mut self) -> Result<(), MirrorError> {
        for device in self.devices()?.numbers() {
            let attach = Attach::Ingress(device);
            match self.tc.dump(attach) {
                Ok(dump) if dump.filters.iter().any(switchdev::tc::Observed::is_ours) => {
                    self.hooks.insert(attach);
                }
                // A device that is gone has no filters.
                Ok(_) | Err(TcError::NoDevice(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<Devices, CardError> {
        Devices::read(&self.sysfs, &mut self.ethtool)
    }

    /// Brings the kernel to what the rules ask for.
    pub fn turn(&mut self, wanted: &Wanted) -> Turn {
        let start = Instant::now();
        let devices = self.devices();
        let mut ports = PortMap::clone(&wanted.ports);
        let offload = devices.as_ref().map(|devices| devices.complete(&mut ports, wanted.policy));
        let compiled = compile(&wanted.ruleset, &ports, &wanted.capabilities);
        let offload = offload.unwrap_or_default();
        let (devices, result) = match devices {
            Ok(devices) => {
                self.forget_refusals(&offload);
                let result = self.reconcile(&compiled, &devices, wanted);
                (devices, result)
            }
            Err(error) => (Devices::default(), Err(error.into())),
        };
        Turn { compiled, offload, devices, result, took: start.elapsed() }
    }

    /// A card is asked again when one of its ports changed, and now and then.
    fn forget_refusals(&mut self, offload: &BTreeMap<String, Offload>) {
        let now = Instant::now();
        if self.offload != *offload || now >= self.retry_at {
            self.refusals = Refusals::default();
            self.retry_at = now + RETRY_REFUSED;
            self.offload.clone_from(offload);
        }
    }

    fn reconcile(
        &mut self,
        compiled: &Compiled,
        devices: &Devices,
        asked: &Wanted,
    ) -> Result<Settled, MirrorError> {
        let wanted = with_policy(&compiled.plan.filters, asked.policy);
        self.hooks.extend(wanted.keys().map(|id| id.attach));
        self.prepare(&wanted, devices)?;
        let highest = Prio::new(HIGHEST_PRIO).unwrap_or(Prio::MAX);
        let room = PrioRoom { highest, free_chains: asked.capabilities.max_chains >= MANY_CHAINS };
        let settled =
            reconcile::reconcile(self.tc.as_mut(), &self.hooks, &wanted, &mut self.refusals, room)?;
        self.hooks.retain(|attach| is_there(*attach, devices));
        Ok(settled)
    }

    fn prepare(&mut self, wanted: &Filters, devices: &Devices) -> Result<(), QdiscError> {
        let hooked: BTreeSet<IfIndex> = wanted.keys().filter_map(|id| id.attach.device()).collect();
        for device in hooked {
            if let Some(name) = devices.name(device) {
                qdisc::ensure(self.tc.as_mut(), &self.notes, name, device)?;
            }
        }
        Ok(())
    }

    /// Takes away everything of ours, on whatever device, and the qdiscs we made. Returns how many filters went.
    ///
    /// # Errors
    ///
    /// When the kernel does not answer, or refuses.
    pub fn flush(&mut self) -> Result<usize, MirrorError> {
        self.find_ours()?;
        let ops = reconcile::flush(self.tc.as_mut(), &self.hooks)?;
        let devices = self.devices()?;
        for device in devices.numbers() {
            if let Some(name) = devices.name(device) {
                qdisc::release(self.tc.as_mut(), &self.notes, name, device)?;
            }
        }
        self.hooks.clear();
        Ok(ops)
    }
}

fn is_there(attach: Attach, devices: &Devices) -> bool {
    attach.device().is_none_or(|device| devices.name(device).is_some())
}

/// Where each filter runs. `skip_sw` asks for no software where it can be done without: the compiler says where not, such
/// as filters on a tunnel's device and all that has to do with conntrack.
fn with_policy(plan: &Filters, policy: HwPolicy) -> Filters {
    let with = |filter: &tc_filter::Filter| {
        let hw = match policy {
            HwPolicy::Both => tc_filter::HwPolicy::Both,
            HwPolicy::SkipSw => filter.hw,
            HwPolicy::SkipHw => tc_filter::HwPolicy::SkipHw,
        };
        tc_filter::Filter { hw, ..filter.clone() }
    };
    plan.iter().map(|(id, filter)| (*id, with(filter).normalized())).collect()
}
