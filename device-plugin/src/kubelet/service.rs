//! The gRPC service of one pool.

use std::path::PathBuf;
use std::sync::Arc;

use kubelet_api::deviceplugin::device_plugin_server::DevicePlugin;
use kubelet_api::deviceplugin::{
    AllocateRequest, AllocateResponse, ContainerPreferredAllocationRequest,
    ContainerPreferredAllocationResponse, DevicePluginOptions, Empty, ListAndWatchResponse,
    PreStartContainerRequest, PreStartContainerResponse, PreferredAllocationRequest,
    PreferredAllocationResponse, VERSION,
};
use kubelet_api::pluginregistration::registration_server::Registration;
use kubelet_api::pluginregistration::{
    DEVICE_PLUGIN, InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::list;
use crate::allocate::{AllocateError, Allocator, SharedPools};
use crate::config::ResourceName;
use crate::device::DeviceId;
use crate::holds::{Counted, podresources};
use crate::metrics::{Metrics, Registered};
use crate::pool::Pool;
use crate::preferred::{self, Candidate};

/// What all pools share.
#[derive(Debug)]
pub struct Shared {
    /// The pools as they are now.
    pub pools: watch::Receiver<SharedPools>,
    /// Gives devices out.
    pub allocator: Allocator,
    /// Kubelet's account of who has what.
    pub pod_resources: PathBuf,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One pool.
#[derive(Debug, Clone)]
pub struct Service {
    name: ResourceName,
    shared: Arc<Shared>,
    socket: PathBuf,
    stop: watch::Receiver<bool>,
}

/// One list on its way is enough: the next one replaces it.
const LISTS_ON_THEIR_WAY: usize = 1;

impl Service {
    /// The service of the pool called so, on `socket`, until `stop` says so.
    #[must_use]
    pub fn new(
        name: ResourceName,
        shared: Arc<Shared>,
        socket: PathBuf,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { name, shared, socket, stop }
    }

    /// What kubelet may ask of the pool.
    #[must_use]
    pub fn options(&self) -> DevicePluginOptions {
        let pools = self.shared.pools.borrow();
        DevicePluginOptions {
            pre_start_required: pools
                .get(&self.name)
                .is_some_and(|pool| pool.config.pre_start_check),
            get_preferred_allocation_available: true,
        }
    }

    /// The pools as they are now, with this one in them.
    fn pools(&self) -> Result<SharedPools, Status> {
        let pools = Arc::clone(&self.shared.pools.borrow());
        if pools.contains_key(&self.name) {
            return Ok(pools);
        }
        Err(Status::not_found(format!("the configuration has no pool {} any more", self.name)))
    }

    /// Sends the list now, and whenever it changes, until kubelet or we go.
    async fn send_lists(self, lists: mpsc::Sender<Result<ListAndWatchResponse, Status>>) {
        let (mut pools, mut stop) = (self.shared.pools.clone(), self.stop.clone());
        let mut last = None;
        loop {
            let devices = pools.borrow_and_update().get(&self.name).map(list::devices);
            if let Some(devices) = devices.filter(|devices| last.as_ref() != Some(devices)) {
                last = Some(devices.clone());
                if lists.send(Ok(ListAndWatchResponse { devices })).await.is_err() {
                    return;
                }
                self.shared.metrics.list_sent(&self.name);
            }
            tokio::select! {
                changed = pools.changed() => if changed.is_err() { return },
                // Nothing more is sent: an empty list would take the devices from running pods.
                _ = stop.changed() => return,
                () = lists.closed() => return,
            }
        }
    }

    async fn give(&self, containers: Vec<Vec<DeviceId>>) -> Result<AllocateResponse, Status> {
        let pools = self.pools()?;
        let counted = self.counted(&containers).await;
        let (allocator, name) = (self.shared.allocator.clone(), self.name.clone());
        let give = move || match pools.get(&name) {
            Some(pool) => allocator.allocate(pool, &containers, counted.as_ref()),
            None => Ok(AllocateResponse::default()),
        };
        let given = tokio::task::spawn_blocking(give).await;
        let given = given.map_err(|error| Status::internal(error.to_string()))?;
        let outcome = given.as_ref().map_or_else(AllocateError::label, |_| "given");
        self.shared.metrics.allocated(&self.name, outcome);
        given.map_err(|error| refused(&self.name, &error))
    }

    /// Kubelet's count, where it matters: of what is only reserved it alone knows whether a pod has it. Its
    /// checkpoint would not do, for pods that have ended are in it until the next one is written.
    async fn counted(&self, containers: &[Vec<DeviceId>]) -> Option<Counted> {
        if !self.shared.allocator.any_reserved(containers) {
            return None;
        }
        let counted = podresources::list(&self.shared.pod_resources).await;
        counted.map_err(|error| tracing::debug!("who has a reserved device: {error}")).ok()
    }
}

fn refused(pool: &ResourceName, error: &AllocateError) -> Status {
    tracing::warn!("pool {pool}: {error}");
    Status::failed_precondition(error.to_string())
}

fn devices(ids: &[String]) -> Vec<DeviceId> {
    ids.iter().map(|id| DeviceId::from(id.as_str())).collect()
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(self.options()))
    }

    type ListAndWatchStream = ReceiverStream<Result<ListAndWatchResponse, Status>>;

    async fn list_and_watch(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (lists, stream) = mpsc::channel(LISTS_ON_THEIR_WAY);
        tokio::spawn(self.clone().send_lists(lists));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let pools = self.pools()?;
        let requests = request.into_inner().container_requests;
        let prefer = |request| pools.get(&self.name).map(|pool| prefer(pool, request));
        let container_responses = requests.iter().filter_map(prefer).collect();
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let requests = request.into_inner().container_requests;
        let containers = requests.iter().map(|container| devices(&container.devices_ids)).collect();
        self.give(containers).await.map(Response::new)
    }

    async fn pre_start_container(
        &self,
        request: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        let devices = devices(&request.into_inner().devices_ids);
        let pools = self.pools()?;
        let check = |pool| self.shared.allocator.check_start(pool, devices);
        pools.get(&self.name).map_or(Ok(()), check).map_err(|error| refused(&self.name, &error))?;
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

/// What kubelet may choose from that is not ours is passed over, and what it must choose stays.
fn prefer(
    pool: &Pool,
    request: &ContainerPreferredAllocationRequest,
) -> ContainerPreferredAllocationResponse {
    let must = devices(&request.must_include_device_i_ds);
    let mut offered = devices(&request.available_device_i_ds);
    offered.extend(must.iter().cloned());
    offered.sort();
    offered.dedup();
    let candidates: Vec<Candidate> = offered
        .into_iter()
        .filter_map(|id| {
            let member = pool.members.get(&id)?;
            let pf = member.device.port.as_ref().map_or(member.device.address, |port| port.address);
            let must = must.contains(&id);
            Some(Candidate {
                numa_node: member.device.numa_node,
                pf,
                held: member.hold.is_some(),
                must,
                id,
            })
        })
        .collect();
    let size = usize::try_from(request.allocation_size).unwrap_or_default();
    let chosen = preferred::choose(&candidates, size, pool.config.preference);
    ContainerPreferredAllocationResponse {
        device_i_ds: chosen.iter().map(ToString::to_string).collect(),
    }
}

#[tonic::async_trait]
impl Registration for Service {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: DEVICE_PLUGIN.to_owned(),
            name: self.name.to_string(),
            endpoint: self.socket.display().to_string(),
            supported_versions: vec![VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!("kubelet knows pool {}", self.name);
            self.shared.metrics.registered(&self.name, Registered::Yes);
        } else {
            tracing::error!("kubelet did not take pool {}: {}", self.name, status.error);
            self.shared.metrics.registered(&self.name, Registered::No);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
