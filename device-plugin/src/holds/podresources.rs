//! Kubelet's own account of which pod has which device, over its pod-resources socket.

use std::path::Path;
use std::time::Duration;

use kubelet_api::podresources::pod_resources_lister_client::PodResourcesListerClient;
use kubelet_api::podresources::{ListPodResourcesRequest, ListPodResourcesResponse, PodResources};
use tonic::transport::Endpoint;

use super::{Counted, Holder};
use crate::device::DeviceId;

/// Kubelet answers from memory; one that does not answer is restarting.
const PATIENCE: Duration = Duration::from_secs(3);
/// A node with thousands of containers has megabytes to tell.
const LARGEST_ANSWER: usize = 64 << 20;

/// Why kubelet's account is not known.
#[derive(Debug, thiserror::Error)]
pub enum PodResourcesError {
    /// Nobody is there, or not now.
    #[error(
        "kubelet's pod-resources socket {socket}: {source}; mount its directory, and kubelet must run"
    )]
    Connect {
        /// The socket.
        socket: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It was asked and did not tell.
    #[error("kubelet's pod-resources socket: {0}")]
    Refused(Box<tonic::Status>),
}

/// Asks kubelet.
///
/// # Errors
/// When nobody answers.
pub async fn list(socket: &Path) -> Result<Counted, PodResourcesError> {
    let connect =
        |source| PodResourcesError::Connect { socket: socket.display().to_string(), source };
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).map_err(connect)?;
    let channel =
        endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect().await.map_err(connect)?;
    let mut client =
        PodResourcesListerClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
    let answer = client.list(ListPodResourcesRequest {}).await;
    Ok(counted(answer.map_err(|status| PodResourcesError::Refused(Box::new(status)))?.into_inner()))
}

fn counted(answer: ListPodResourcesResponse) -> Counted {
    answer.pod_resources.into_iter().flat_map(of_pod).collect()
}

/// Devices of resources that no pool of ours can be called are not ours to count.
fn of_pod(
    pod: PodResources,
) -> impl Iterator<Item = (DeviceId, (crate::config::ResourceName, Holder))> {
    let holder = Holder(format!("pod {}/{}", pod.namespace, pod.name));
    let devices = pod.containers.into_iter().flat_map(|container| container.devices);
    let named = devices
        .filter_map(|devices| Some((devices.resource_name.parse().ok()?, devices.device_ids)));
    named.flat_map(move |(resource, ids): (crate::config::ResourceName, _)| {
        let holder = holder.clone();
        ids.into_iter().map(move |id: String| {
            (DeviceId::from(id.as_str()), (resource.clone(), holder.clone()))
        })
    })
}
