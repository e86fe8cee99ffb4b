//! The loop that looks at the node, and what follows from what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchdev::CardError;
use switchdev::events::Events;
use switchdev::ledger::LedgerError;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::Settings;
use super::server::Health;
use super::stale::{self, Unclaimed};
use crate::allocate::{Allocator, SharedPools, given};
use crate::answer::WriteError;
use crate::answer::files::HostFiles;
use crate::config::{Config, ResourceName};
use crate::device::read::{Reader, Wanted};
use crate::device::{DeviceId, Devices};
use crate::holds::{Counted, Hold, Holds, State, checkpoint, ledger, podresources};
use crate::kubelet::service::Shared;
use crate::pool::assign::Look;
use crate::pool::{Member, Pools, changes};

/// Events come in bursts: a VF that is bound to a driver makes a dozen of them.
const BURST: Duration = Duration::from_millis(50);
/// A look is followed by a rest this many times as long, so that a storm of events costs a share of one
/// processor only.
const REST: u32 = 4;
/// When to look again after a look that failed; a card that was pulled meanwhile is gone by then.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Kubelet's count is asked for at most this often.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("a look at the node was cut off: {0}")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Looks at the node whenever something may have changed.
pub(super) struct Looker {
    settings: Settings,
    config: Config,
    /// The text that `config` was read from, or that could not be read.
    config_text: Option<Vec<u8>>,
    shared: Arc<Shared>,
    published: watch::Sender<SharedPools>,
    health: Health,
    reader: Option<Reader>,
    open: fn(Option<&PathBuf>) -> Result<Reader, CardError>,
    counted: Counted,
    /// What kubelet's checkpoint says besides. A kubelet that has not heard of its pods since it started
    /// counts none, and remembers them all.
    remembered: Counted,
    counted_at: Option<Instant>,
    /// Whether kubelet's count is known, so that what is not in it is nobody's.
    count_is_known: bool,
    unclaimed: Unclaimed,
}

impl Looker {
    pub(super) fn new(
        settings: Settings,
        (config, config_text): (Config, Option<Vec<u8>>),
        shared: Arc<Shared>,
        published: watch::Sender<SharedPools>,
        health: Health,
        open: fn(Option<&PathBuf>) -> Result<Reader, CardError>,
    ) -> Result<Self, CardError> {
        config.warnings.iter().for_each(|warning| tracing::warn!("configuration: {warning}"));
        Ok(Self {
            config_text,
            reader: Some(open(settings.sysfs.as_ref())?),
            settings,
            config,
            shared,
            published,
            health,
            open,
            counted: Counted::new(),
            remembered: Counted::new(),
            counted_at: None,
            count_is_known: false,
            unclaimed: Unclaimed::default(),
        })
    }

    /// Looks until told to stop.
    pub(super) async fn run(
        mut self,
        mut files: watch::Receiver<u64>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut events = if self.settings.sysfs.is_none() { listen() } else { None };
        loop {
            let started = Instant::now();
            self.reload();
            let looked = self.look().await;
            let ended = Instant::now();
            let took = ended - started;
            self.shared.metrics.looked(took, looked.is_ok());
            let next = self.after(looked);
            tokio::select! {
                () = wait(&mut events, &mut files, next) => {}
                _ = stop.changed() => return,
            }
            // A look that is long past has had its rest.
            sleep_until((ended + took * REST).max(Instant::now() + BURST).into()).await;
        }
    }

    /// When to look again, if nothing happens.
    fn after(&self, looked: Result<(), LookError>) -> Duration {
        match looked {
            Ok(()) => {
                self.health.looked();
                self.settings.interval
            }
            Err(error) => {
                tracing::error!("{error}");
                AFTER_FAILURE
            }
        }
    }

    /// Takes the file's new text, or keeps what there was and says why.
    fn reload(&mut self) {
        let text = std::fs::read(&self.settings.config).ok();
        if text == self.config_text {
            return;
        }
        let read = Config::load(&self.settings.config, &self.settings.resource_prefix);
        self.shared.metrics.reloaded(read.is_ok());
        self.config_text = text;
        match read {
            Ok(config) => {
                config
                    .warnings
                    .iter()
                    .for_each(|warning| tracing::warn!("configuration: {warning}"));
                tracing::info!("configuration: {} pools from now on", config.pools.len());
                self.config = config;
            }
            Err(error) => tracing::error!("{error}; the pools stay as they were"),
        }
    }

    async fn look(&mut self) -> Result<(), LookError> {
        self.count().await;
        let devices = self.devices().await?;
        let ledger = ledger::holds(&self.shared.allocator.ledger)?;
        self.free_stale(&ledger);
        let holds = Holds::new(ledger, self.counted.clone());
        let before = Arc::clone(&self.published.borrow());
        let look =
            Look { config: &self.config, devices: &devices, holds: &holds, now: Instant::now() };
        self.publish(&before, look.assign(&before), &holds);
        Ok(())
    }

    /// The reader is lent to a thread that may block, and comes back.
    async fn devices(&mut self) -> Result<Devices, LookError> {
        let wanted = wanted(&self.config);
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => (self.open)(self.settings.sysfs.as_ref())?,
        };
        let look = tokio::task::spawn_blocking(move || {
            let devices = reader.devices(wanted);
            (reader, devices)
        });
        let (reader, devices) = look.await?;
        self.reader = Some(reader);
        Ok(devices?)
    }

    async fn count(&mut self) {
        if self.counted_at.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return;
        }
        self.counted_at = Some(Instant::now());
        let kubelet = &self.settings.kubelet;
        match podresources::list(&kubelet.pod_resources()).await {
            Ok(counted) => {
                (self.counted, self.count_is_known) = (counted, true);
                self.remembered = remembered(&kubelet.checkpoint());
            }
            Err(error) => {
                tracing::debug!("{error}");
                self.count_by_checkpoint();
            }
        }
    }

    /// Whether the device may be a pod's in kubelet's books.
    fn may_be_counted(&self, device: &DeviceId) -> bool {
        self.counted.contains_key(device) || self.remembered.contains_key(device)
    }

    /// Without its socket kubelet's file tells; one that cannot be read tells nothing new.
    fn count_by_checkpoint(&mut self) {
        self.remembered.clear();
        match checkpoint::read(&self.settings.kubelet.checkpoint()) {
            Ok(counted) => {
                self.count_is_known = counted.is_some();
                self.counted = counted.unwrap_or_default();
            }
            Err(error) => {
                self.count_is_known = false;
                tracing::warn!("{error}");
            }
        }
    }

    fn free_stale(&mut self, ledger: &BTreeMap<DeviceId, Hold>) {
        if !self.count_is_known {
            return;
        }
        let reserved = ledger.iter().filter(|(_, hold)| hold.state == State::Reserved);
        let unclaimed = reserved.map(|(id, _)| id).filter(|id| !self.may_be_counted(id));
        let unclaimed: BTreeSet<DeviceId> = unclaimed.cloned().collect();
        for device in self.unclaimed.stale(unclaimed, Instant::now()) {
            let Some(address) = device.address() else { continue };
            match self.shared.allocator.free(address, stale::PATIENCE) {
                Ok(true) => {
                    tracing::info!("{device} was allocated, and no pod came for it: it is free");
                    self.shared.metrics.reservation_freed();
                }
                Ok(false) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    fn publish(&self, before: &Pools, pools: Pools, holds: &Holds) {
        let changes = changes::between(before, &pools);
        for change in &changes {
            match &change.kind {
                changes::Kind::Unhealthy { .. } | changes::Kind::Left => tracing::warn!("{change}"),
                changes::Kind::Joined(_) | changes::Kind::Healthy => tracing::info!("{change}"),
            }
        }
        self.shared.metrics.pools(&pools, &changes);
        if *before != pools || before.is_empty() {
            self.write_specs(&pools);
        }
        self.describe(&pools);
        self.sweep(before.keys().chain(pools.keys()), holds);
        // Each session compares what kubelet was told with what it would be told.
        self.published.send_replace(Arc::new(pools));
    }

    fn write_specs(&self, pools: &Pools) {
        let Some(cdi) = &self.shared.allocator.cdi else { return };
        let host = HostFiles::look();
        let written = pools.iter().map(|(name, pool)| {
            let members: Vec<_> =
                pool.members.values().filter_map(|member| given(pool, member)).collect();
            cdi.save(name, pool.config.device_type, &members, host)
        });
        let written: Vec<_> = written.collect();
        let named = pools.iter().map(|(name, pool)| cdi.path(name, pool.config.device_type));
        let others = cdi.remove_others(&named.collect());
        for error in written.into_iter().chain([others]).filter_map(Result::err) {
            tracing::error!("{error}");
        }
    }

    /// Device-info files that are missing though a pod has the device: after a reboot, which empties their
    /// directory, or when another plugin that had the pool before has removed them at its end.
    fn describe(&self, pools: &Pools) {
        let Allocator { device_info, .. } = &self.shared.allocator;
        let members = pools
            .iter()
            .flat_map(|(name, pool)| pool.members.values().map(move |member| (name, pool, member)));
        for (name, pool, member) in members.filter(|(name, _, member)| is_given(name, member)) {
            let device = &member.device.id;
            if device_info.path(name, device).exists()
                || self.shared.allocator.gave_within(device, stale::PATIENCE)
            {
                continue;
            }
            if let Some(Err(error)) = given(pool, member).map(|given| device_info.save(given)) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Device-info files of devices that nobody has any more. Who cannot ask kubelet removes none: a pod
    /// without a network of ours is in no ledger.
    fn sweep<'a>(&self, names: impl Iterator<Item = &'a ResourceName>, holds: &Holds) {
        if !self.count_is_known {
            return;
        }
        for name in names.collect::<BTreeSet<_>>() {
            if let Err(error) = self.sweep_pool(name, holds) {
                tracing::warn!("{error}");
            }
        }
    }

    fn sweep_pool(&self, name: &ResourceName, holds: &Holds) -> Result<(), WriteError> {
        let Allocator { ledger, device_info, .. } = &self.shared.allocator;
        for device in device_info.devices(name)? {
            let held = holds.of(&device).is_some() || self.may_be_counted(&device);
            let Some(address) = device.address().filter(|_| !held) else { continue };
            // An allocation is recorded under this lock before its file is written, so what has no entry
            // now has no new file either.
            let Ok(locked) = ledger.lock(address, Duration::ZERO) else { continue };
            if let Ok(None) = locked.entry() {
                device_info.remove(name, &device)?;
            }
        }
        Ok(())
    }
}

/// What the checkpoint says; one that cannot be used says nothing.
fn remembered(path: &Path) -> Counted {
    let read = checkpoint::read(path).inspect_err(|error| tracing::debug!("{error}"));
    read.ok().flatten().unwrap_or_default()
}

/// Whether a pod has the device out of the pool called so, and it is there to be described.
fn is_given(name: &ResourceName, member: &Member) -> bool {
    let given_as = member.hold.as_ref().and_then(Hold::given_as);
    given_as == Some(name) && member.gone_since.is_none()
}

fn wanted(config: &Config) -> Wanted {
    let mut selectors = config.pools.iter().flat_map(|pool| &pool.selectors);
    Wanted { ddp_profiles: selectors.any(|selector| !selector.ddp_profiles.is_empty()) }
}

/// The kernel's events, by a thread of their own that blocks on them.
fn listen() -> Option<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut events = match Events::open() {
        Ok(events) => events,
        Err(error) => {
            tracing::warn!("{error}; the node is looked at by the clock only");
            return None;
        }
    };
    std::thread::spawn(move || {
        const LONG: Duration = Duration::from_secs(3600);
        loop {
            match events.wait(LONG) {
                // A full channel holds a wake-up already.
                Ok(true) => drop(sender.try_send(())),
                Ok(false) => {}
                Err(error) => {
                    return tracing::warn!(
                        "kernel events: {error}; the node is looked at by the clock only"
                    );
                }
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    Some(receiver)
}

/// Until something happens, or for as long as told.
async fn wait(
    events: &mut Option<mpsc::Receiver<()>>,
    files: &mut watch::Receiver<u64>,
    at_most: Duration,
) {
    let event = async {
        match events {
            Some(events) => events.recv().await.is_some(),
            None => std::future::pending().await,
        }
    };
    let file = files.changed();
    let happened = async {
        tokio::select! {
            alive = event => alive,
            changed = file => changed.is_ok(),
        }
    };
    // A source that has ended is no event, and the clock goes on.
    if let Ok(false) = timeout(at_most, happened).await {
        sleep(at_most).await;
    }
}
