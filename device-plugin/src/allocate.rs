//! Kubelet has chosen devices for containers: what may be given is recorded, then answered.
//!
//! The record comes first, so that a crash between it and the answer leaves a device that is taken for
//! held, never one that is given out twice. All of a request is given, or nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kubelet_api::deviceplugin::{AllocateResponse, ContainerAllocateResponse, DeviceSpec};
use switchdev::PciAddress;
use switchdev::ledger::{Ledger, LedgerError, Reservation};

use crate::answer::cdi::{self, Cdi};
use crate::answer::devinfo::DeviceInfo;
use crate::answer::files::{self, HostFiles};
use crate::answer::{Given, WriteError, env};
use crate::config::ResourceName;
use crate::device::DeviceId;
use crate::holds::ledger::hold_of;
use crate::holds::{Counted, Hold, State};
use crate::pool::changes::sentence;
use crate::pool::{Member, Pool};

/// Why devices are not given.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// Kubelet speaks of a device that it was not told of, or was told has gone.
    #[error(
        "device {device} is not in pool {pool}, which has {count} devices; kubelet's list is out of date"
    )]
    Unknown {
        /// The device.
        device: DeviceId,
        /// The pool asked.
        pool: ResourceName,
        /// How many it has.
        count: usize,
    },
    /// One device cannot be given to two containers.
    #[error("device {0} is asked for twice in one request")]
    Twice(DeviceId),
    /// It broke after kubelet chose it.
    #[error("device {device} is unhealthy: {why}")]
    Unhealthy {
        /// The device.
        device: DeviceId,
        /// The causes.
        why: String,
    },
    /// Somebody has it.
    #[error("device {device} is {state}; it can be given again when that pod has given it back")]
    Held {
        /// The device.
        device: DeviceId,
        /// By whom, and how.
        state: String,
    },
    /// It could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file for it could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl AllocateError {
    /// The short name that metrics count it under.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_device",
            Self::Twice(_) => "asked_twice",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Held { .. } => "held",
            Self::Ledger(_) => "ledger",
            Self::Write(_) => "write",
        }
    }
}

/// How long a pod that is on its way out may take to give a device back. Kubelet admits no other pod
/// meanwhile, so it is short.
const GIVE_BACK: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait for whoever works on the VF, to give it.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The same, to free it; there is another time.
const FREE_WAIT: Duration = Duration::from_secs(1);

/// What it takes to give devices to containers.
#[derive(Debug, Clone)]
pub struct Allocator {
    /// Where allocations are recorded.
    pub ledger: Ledger,
    /// Where device-info files are written.
    pub device_info: DeviceInfo,
    /// Where CDI specs are written, if device files are handed over that way.
    pub cdi: Option<Cdi>,
    /// When each device was last given.
    given: Arc<Mutex<BTreeMap<DeviceId, Instant>>>,
}

impl Allocator {
    /// One that records in `ledger`.
    #[must_use]
    pub fn new(ledger: Ledger, device_info: DeviceInfo, cdi: Option<Cdi>) -> Self {
        Self { ledger, device_info, cdi, given: Arc::default() }
    }

    /// Whether the device was given to somebody this short a time ago.
    #[must_use]
    pub fn gave_within(&self, device: &DeviceId, age: Duration) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(device).is_some_and(|at| at.elapsed() < age)
    }

    /// Takes a reservation back that nobody came for, unless the device was given this short a time ago or
    /// is being given now. Whether it did.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn free(&self, device: PciAddress, age: Duration) -> Result<bool, LedgerError> {
        // Who gives notes so first, and cannot while this is held.
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.get(&device.into()).is_some_and(|at| at.elapsed() < age) {
            return Ok(false);
        }
        self.ledger.unreserve(device, FREE_WAIT).map(|()| true)
    }

    /// Gives the devices of each container; blocks on the disk. `counted` is what kubelet counts, where
    /// that is known.
    ///
    /// # Errors
    /// [`AllocateError`]; nothing is given then.
    pub fn allocate(
        &self,
        pool: &Pool,
        containers: &[Vec<DeviceId>],
        counted: Option<&Counted>,
    ) -> Result<AllocateResponse, AllocateError> {
        let members = members(pool, containers)?;
        members.iter().try_for_each(|member| self.check_free(pool, member, counted))?;
        // Noted first: who frees what nobody came for passes over what is being given just now.
        self.note(&members);
        let mut reserved = Reserved { allocator: self, devices: Vec::new() };
        for member in &members {
            reserved.add(&pool.config.name, &member.device.id)?;
            given(pool, member).map_or(Ok(()), |given| self.device_info.save(given))?;
        }
        reserved.devices.clear();
        let host = HostFiles::look();
        let containers = containers.iter().map(|devices| self.container(pool, devices, host));
        Ok(AllocateResponse { container_responses: containers.collect() })
    }

    /// Whether the devices can be used now, as kubelet asks before a container starts.
    ///
    /// # Errors
    /// [`AllocateError::Unknown`], [`AllocateError::Unhealthy`].
    pub fn check_start(&self, pool: &Pool, devices: Vec<DeviceId>) -> Result<(), AllocateError> {
        members(pool, &[devices]).map(drop)
    }

    /// The allocated devices that are only reserved, so that kubelet must say whether they are held.
    #[must_use]
    pub fn any_reserved(&self, containers: &[Vec<DeviceId>]) -> bool {
        let mut devices = containers.iter().flatten();
        devices.any(|device| {
            matches!(hold_of(&self.ledger, device), Some(Hold { state: State::Reserved, .. }))
        })
    }

    fn note(&self, members: &[&Member]) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.extend(members.iter().map(|member| (member.device.id.clone(), Instant::now())));
    }

    fn check_free(
        &self,
        pool: &Pool,
        member: &Member,
        counted: Option<&Counted>,
    ) -> Result<(), AllocateError> {
        let device = &member.device.id;
        let deadline = Instant::now() + GIVE_BACK;
        loop {
            let Some(hold) = hold_of(&self.ledger, device) else { return Ok(()) };
            if matches!(hold.state, State::Bound(_)) && Instant::now() < deadline {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            let Some(state) = in_the_way(&hold, pool, device, counted) else { return Ok(()) };
            return Err(AllocateError::Held { device: device.clone(), state: state.to_string() });
        }
    }

    fn container(
        &self,
        pool: &Pool,
        devices: &[DeviceId],
        host: HostFiles,
    ) -> ContainerAllocateResponse {
        let members = devices.iter().filter_map(|device| pool.members.get(device));
        let given: Vec<Given<'_>> = members.filter_map(|member| given(pool, member)).collect();
        let (name, device_type) = (&pool.config.name, pool.config.device_type);
        let mut response = ContainerAllocateResponse {
            envs: env::variables(name, &given, host).into_iter().collect(),
            ..ContainerAllocateResponse::default()
        };
        match &self.cdi {
            Some(_) => {
                response.annotations.extend(cdi::annotation(name, device_type, &given, host))
            }
            None => response.devices = device_specs(&given, host),
        }
        response
    }
}

/// What keeps a device that is held from being given. A reservation alone does not where kubelet says that
/// it counts the device as nobody's. Where it cannot say, it asks for the device because it has given up
/// what it asked for before; but that goes for the same resource only, of others it keeps other books.
fn in_the_way(
    hold: &Hold,
    pool: &Pool,
    device: &DeviceId,
    counted: Option<&Counted>,
) -> Option<State> {
    let same = hold.resource.as_ref() == Some(&pool.config.name);
    match (&hold.state, counted) {
        (State::Reserved, None) if same => None,
        (State::Reserved, Some(counted)) => {
            counted.get(device).map(|(_, holder)| State::Counted(holder.clone()))
        }
        (state, _) => Some(state.clone()),
    }
}

/// A member with what its pool and selector say of it.
#[must_use]
pub fn given<'a>(pool: &'a Pool, member: &'a Member) -> Option<Given<'a>> {
    let selector = pool.selector_of(member)?;
    Some(Given { device: &member.device, pool: &pool.config, selector })
}

/// The members asked for, if each may be given.
fn members<'a>(
    pool: &'a Pool,
    containers: &[Vec<DeviceId>],
) -> Result<Vec<&'a Member>, AllocateError> {
    let mut seen = BTreeSet::new();
    let mut members = Vec::new();
    for device in containers.iter().flatten() {
        if !seen.insert(device) {
            return Err(AllocateError::Twice(device.clone()));
        }
        let unknown = || AllocateError::Unknown {
            device: device.clone(),
            pool: pool.config.name.clone(),
            count: pool.members.len(),
        };
        let member = pool.members.get(device).ok_or_else(unknown)?;
        if !member.is_healthy() {
            let why = sentence(&member.causes);
            return Err(AllocateError::Unhealthy { device: device.clone(), why });
        }
        members.push(member);
    }
    Ok(members)
}

/// The files of all devices, each once.
fn device_specs(given: &[Given<'_>], host: HostFiles) -> Vec<DeviceSpec> {
    let mut files = Vec::new();
    for file in given.iter().flat_map(|given| files::of(*given, host)) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    let spec = |file: files::DeviceFile| DeviceSpec {
        container_path: file.container,
        host_path: file.host,
        permissions: "rw".to_owned(),
    };
    files.into_iter().map(spec).collect()
}

/// What a request has recorded so far; taken back when it is dropped before all is done.
struct Reserved<'a> {
    allocator: &'a Allocator,
    devices: Vec<PciAddress>,
}

impl Reserved<'_> {
    /// An auxiliary device is no VF and in no ledger: kubelet alone knows of it.
    fn add(&mut self, resource: &ResourceName, device: &DeviceId) -> Result<(), LedgerError> {
        let Some(address) = device.address() else { return Ok(()) };
        let was_free = hold_of(&self.allocator.ledger, device).is_none();
        let reservation = Reservation { resource: resource.to_string() };
        self.allocator.ledger.reserve(address, reservation, LOCK_WAIT)?;
        if was_free {
            self.devices.push(address);
        }
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        for device in &self.devices {
            if let Err(error) = self.allocator.ledger.unreserve(*device, LOCK_WAIT) {
                // Kubelet does not count it, so the next look at its count frees it.
                tracing::warn!("{device} stays reserved though it was not given: {error}");
            }
        }
    }
}

/// A pool that is shared with whoever answers kubelet.
pub type SharedPools = Arc<crate::pool::Pools>;
