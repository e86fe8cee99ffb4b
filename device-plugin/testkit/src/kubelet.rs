//! A kubelet as far as device plugins can tell.
//!
//! It takes registrations on its socket and watches its plugin directory, keeps what plugins list, chooses
//! devices for pods as kubelet does (asking for a preference), keeps books of who has what and serves them,
//! and forgets connections when it restarts. It keeps every list it was sent, with the time.

mod books;
mod plugins;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use kubelet_api::deviceplugin::device_plugin_client::DevicePluginClient;
use kubelet_api::deviceplugin::{
    AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, Device, DevicePluginOptions, HEALTHY,
    PreStartContainerRequest, PreferredAllocationRequest,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Channel;

use books::Books;

/// A running kubelet; it ends when dropped, and its books with it.
#[derive(Debug)]
pub struct Kubelet {
    root: PathBuf,
    state: Arc<Mutex<State>>,
    handle: Handle,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What it knows.
#[derive(Debug, Default)]
struct State {
    plugins: BTreeMap<String, Known>,
    books: Books,
    /// How many registrations it took.
    registrations: usize,
    /// How many more it refuses.
    refusals: usize,
    /// Whether it has not heard of its pods since it started.
    deaf: bool,
}

impl State {
    /// Whether it refuses a registration, and one fewer from then on.
    fn refuses(&mut self) -> bool {
        let refuses = self.refusals > 0;
        self.refusals = self.refusals.saturating_sub(1);
        refuses
    }
}

/// A resource, as its plugin told of it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Where the plugin's service is.
    pub endpoint: PathBuf,
    /// What the plugin wants to be asked.
    pub options: DevicePluginOptions,
    /// Whether its list is still being streamed.
    pub connected: bool,
    /// Every list it sent, with the time it came.
    pub lists: Vec<(Instant, Vec<Device>)>,
}

/// What a pod was given.
#[derive(Debug, Clone)]
pub struct Allocated {
    /// The devices that were chosen.
    pub devices: Vec<String>,
    /// What the plugin answered.
    pub response: ContainerAllocateResponse,
}

/// Whether it has a directory for its plugin watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Plugins put their sockets there.
    Watcher,
    /// Plugins register by themselves.
    Legacy,
}

impl Kubelet {
    /// Starts one in `root`.
    pub fn start(root: &Path, registration: Registration) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root.join("device-plugins"))?;
        std::fs::create_dir_all(root.join("pod-resources"))?;
        if registration == Registration::Watcher {
            std::fs::create_dir_all(root.join("plugins_registry"))?;
        }
        let (runtime, handle) = runtime()?;
        let mut kubelet =
            Self { root: root.to_owned(), state: Arc::default(), handle, running: None };
        kubelet.running = Some(kubelet.boot(runtime)?);
        Ok(kubelet)
    }

    /// Ends it and starts it anew, as a restart of the service does: the sockets in its directory of
    /// device plugins are removed, its own is made anew, and its books are read from its checkpoint.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.halt();
        serve::empty(&self.root.join("device-plugins"))?;
        self.boot_again()
    }

    /// Ends it and starts it anew without removing anybody's socket but its own, as when it is killed
    /// between the two.
    pub fn reopen(&mut self) -> anyhow::Result<()> {
        self.halt();
        self.boot_again()
    }

    fn boot_again(&mut self) -> anyhow::Result<()> {
        self.lock().plugins.clear();
        let (runtime, handle) = runtime()?;
        self.handle = handle;
        self.running = Some(self.boot(runtime)?);
        Ok(())
    }

    /// Ends it; its sockets go.
    pub fn halt(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(true);
            // A thread that panicked has said so.
            let _ = running.thread.join();
        }
        self.lock().plugins.values_mut().for_each(|known| known.connected = false);
    }

    /// Loses its books and its checkpoint, as a node that was reinstalled under running pods.
    pub fn lose_books(&self) -> anyhow::Result<()> {
        self.lock().books = Books::default();
        self.write_checkpoint()
    }

    /// Tells of no pod over its pod-resources socket, as one that was started while the API server is away;
    /// its checkpoint still has them.
    pub fn hears_of_no_pod(&self) {
        self.lock().deaf = true;
    }

    /// Refuses the next `count` registrations, as one that is not ready does.
    pub fn refuse(&self, count: usize) {
        self.lock().refusals = count;
    }

    /// What it knows of a resource.
    #[must_use]
    pub fn known(&self, resource: &str) -> Option<Known> {
        self.lock().plugins.get(resource).cloned()
    }

    /// How many registrations it took, restarts of its own included.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.lock().registrations
    }

    /// The devices of a resource as they are now: those of a plugin that has gone are unhealthy.
    #[must_use]
    pub fn devices(&self, resource: &str) -> BTreeMap<String, bool> {
        let Some(known) = self.known(resource) else { return BTreeMap::new() };
        let devices = known.lists.last().map(|(_, devices)| devices.clone()).unwrap_or_default();
        devices
            .into_iter()
            .map(|device| (device.id, known.connected && device.health == HEALTHY))
            .collect()
    }

    /// Waits until the devices of a resource are as wanted, and says when the list that made them so came.
    pub fn wait_for(
        &self,
        resource: &str,
        at_most: Duration,
        wanted: impl Fn(&BTreeMap<String, bool>) -> bool,
    ) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + at_most;
        loop {
            let devices = self.devices(resource);
            let known = self.known(resource);
            if let Some(known) = known.filter(|known| known.connected && wanted(&devices)) {
                return known.lists.last().map(|(at, _)| *at).context("no list");
            }
            ensure!(
                Instant::now() < deadline,
                "{resource} did not come to be as wanted within {at_most:?}: {devices:?}"
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until so many devices of a resource are healthy.
    pub fn wait_healthy(
        &self,
        resource: &str,
        count: usize,
        at_most: Duration,
    ) -> anyhow::Result<Instant> {
        self.wait_for(resource, at_most, |devices| {
            devices.values().filter(|healthy| **healthy).count() == count
        })
    }

    /// Admits a pod with one container that wants `count` devices: chooses, asks, and writes it down.
    pub fn admit(&self, pod: &str, resource: &str, count: usize) -> anyhow::Result<Allocated> {
        let free = self.free(resource);
        ensure!(free.len() >= count, "{resource}: {count} are wanted, {} are free", free.len());
        let chosen = self.choose(resource, &free, count)?;
        let mut responses = self.allocate(resource, std::slice::from_ref(&chosen))?;
        ensure!(
            responses.len() == 1,
            "one container was asked for, {} were answered",
            responses.len()
        );
        self.lock().books.add(pod, resource, &chosen);
        self.write_checkpoint()?;
        Ok(Allocated { devices: chosen, response: responses.remove(0) })
    }

    /// A pod has ended: its devices are free again.
    pub fn remove(&self, pod: &str) -> anyhow::Result<()> {
        self.lock().books.remove(pod);
        self.write_checkpoint()
    }

    /// The devices that pods have, by pod.
    #[must_use]
    pub fn held(&self, resource: &str) -> BTreeMap<String, Vec<String>> {
        self.lock().books.of(resource)
    }

    /// Healthy devices that no pod has.
    #[must_use]
    pub fn free(&self, resource: &str) -> Vec<String> {
        let held: BTreeSet<String> = self.held(resource).into_values().flatten().collect();
        let devices = self.devices(resource).into_iter();
        devices.filter(|(id, healthy)| *healthy && !held.contains(id)).map(|(id, _)| id).collect()
    }

    /// As kubelet: what the plugin prefers of them, the first ones where it has no preference.
    fn choose(&self, resource: &str, free: &[String], count: usize) -> anyhow::Result<Vec<String>> {
        let known = self.known(resource).context("no such resource")?;
        if !known.options.get_preferred_allocation_available {
            return Ok(free.iter().take(count).cloned().collect());
        }
        let preferred = self.prefer(resource, free, &[], count)?;
        ensure!(preferred.len() == count, "{count} were to be preferred, and {preferred:?} were");
        Ok(preferred)
    }

    /// `GetPreferredAllocation` for one container.
    pub fn prefer(
        &self,
        resource: &str,
        available: &[String],
        must: &[String],
        count: usize,
    ) -> anyhow::Result<Vec<String>> {
        let request = PreferredAllocationRequest {
            container_requests: vec![ContainerPreferredAllocationRequest {
                available_device_i_ds: available.to_vec(),
                must_include_device_i_ds: must.to_vec(),
                allocation_size: i32::try_from(count)?,
            }],
        };
        self.ask(resource, async |mut client| {
            let answer = client.get_preferred_allocation(request).await?.into_inner();
            Ok(answer
                .container_responses
                .into_iter()
                .flat_map(|response| response.device_i_ds)
                .collect())
        })
    }

    /// `Allocate`, whatever the books say: the devices of each container.
    pub fn allocate(
        &self,
        resource: &str,
        containers: &[Vec<String>],
    ) -> anyhow::Result<Vec<ContainerAllocateResponse>> {
        let container =
            |devices: &Vec<String>| ContainerAllocateRequest { devices_ids: devices.clone() };
        let request =
            AllocateRequest { container_requests: containers.iter().map(container).collect() };
        self.ask(resource, async |mut client| {
            Ok(client.allocate(request).await?.into_inner().container_responses)
        })
    }

    /// `PreStartContainer`.
    pub fn pre_start(&self, resource: &str, devices: &[String]) -> anyhow::Result<()> {
        let request = PreStartContainerRequest { devices_ids: devices.to_vec() };
        self.ask(resource, async |mut client| client.pre_start_container(request).await.map(drop))
    }

    fn ask<T>(
        &self,
        resource: &str,
        question: impl AsyncFnOnce(DevicePluginClient<Channel>) -> Result<T, tonic::Status>,
    ) -> anyhow::Result<T> {
        let Some(known) = self.known(resource).filter(|known| known.connected) else {
            bail!("no plugin is there for {resource}");
        };
        self.call(async {
            let channel = plugins::connect(&known.endpoint).await?;
            let answer =
                tokio::time::timeout(PATIENCE, question(DevicePluginClient::new(channel))).await;
            answer
                .context("the plugin did not answer")?
                .map_err(|status| anyhow::anyhow!("{}", status.message()))
        })
    }

    fn call<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn write_checkpoint(&self) -> anyhow::Result<()> {
        let names: Vec<String> = self.lock().plugins.keys().cloned().collect();
        let healthy = |name: String| {
            let devices = self.devices(&name).into_iter().filter(|(_, healthy)| *healthy);
            (name, devices.map(|(id, _)| id).collect())
        };
        let registered = names.into_iter().map(healthy).collect();
        let text = self.lock().books.checkpoint(&registered);
        let beside = self.root.join("device-plugins/.checkpoint");
        std::fs::write(&beside, text)?;
        Ok(std::fs::rename(beside, self.root.join("device-plugins/kubelet_internal_checkpoint"))?)
    }

    fn boot(&self, runtime: tokio::runtime::Runtime) -> anyhow::Result<Running> {
        let (stop, stopped) = watch::channel(false);
        let (root, state) = (self.root.clone(), Arc::clone(&self.state));
        let listeners = {
            let _context = runtime.enter();
            serve::bind(&root)?
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(serve::run(root, state, listeners, stopped))
        });
        Ok(Running { stop, thread })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.halt();
    }
}

const POLL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> anyhow::Result<(tokio::runtime::Runtime, Handle)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    Ok((runtime, handle))
}
