//! The client side: a plugin that registered is asked for its options and followed for its lists.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, ensure};
use kubelet_api::deviceplugin::device_plugin_client::DevicePluginClient;
use kubelet_api::deviceplugin::{Empty, VERSION};
use kubelet_api::pluginregistration::registration_client::RegistrationClient;
use kubelet_api::pluginregistration::{DEVICE_PLUGIN, InfoRequest, RegistrationStatus};
use tonic::transport::{Channel, Endpoint};

use super::{Known, PATIENCE, State, lock};

/// A connection to a unix socket.
pub(super) async fn connect(socket: &Path) -> anyhow::Result<Channel> {
    let endpoint =
        Endpoint::try_from(format!("unix://{}", socket.display()))?.connect_timeout(PATIENCE);
    endpoint.connect().await.with_context(|| format!("cannot connect to {}", socket.display()))
}

/// What the plugin watcher does with a socket it found: asks who it is, follows it, and tells it so.
pub(super) async fn introduce(state: Arc<Mutex<State>>, socket: &Path) -> anyhow::Result<()> {
    let mut registration = RegistrationClient::new(connect(socket).await?);
    let info = registration.get_info(InfoRequest {}).await?.into_inner();
    let sound = info.r#type == DEVICE_PLUGIN
        && info.supported_versions.iter().any(|version| version == VERSION);
    let error = if sound { String::new() } else { format!("unsupported plugin: {info:?}") };
    let endpoint =
        if info.endpoint.is_empty() { socket.to_owned() } else { info.endpoint.clone().into() };
    if sound {
        follow(state, info.name, &endpoint).await?;
    }
    registration
        .notify_registration_status(RegistrationStatus { plugin_registered: sound, error })
        .await?;
    Ok(())
}

/// Asks for the options, and keeps every list the plugin sends until it goes.
pub(super) async fn follow(
    state: Arc<Mutex<State>>,
    resource: String,
    endpoint: &Path,
) -> anyhow::Result<()> {
    ensure!(resource.contains('/'), "{resource} is no name of an extended resource");
    let mut client = DevicePluginClient::new(connect(endpoint).await?);
    let options = client.get_device_plugin_options(Empty {}).await?.into_inner();
    let mut lists = client.list_and_watch(Empty {}).await?.into_inner();
    {
        let mut state = lock(&state);
        state.registrations += 1;
        let known = state.plugins.entry(resource.clone()).or_default();
        // The lists of the plugin before it are kept, for whoever asks what kubelet saw.
        *known = Known {
            endpoint: endpoint.to_owned(),
            options,
            connected: false,
            lists: std::mem::take(&mut known.lists),
        };
    }
    let endpoint = endpoint.to_owned();
    tokio::spawn(async move {
        while let Ok(Some(list)) = lists.message().await {
            if let Some(known) = lock(&state).plugins.get_mut(&resource) {
                known.connected = true;
                known.lists.push((Instant::now(), list.devices));
            }
        }
        if let Some(known) =
            lock(&state).plugins.get_mut(&resource).filter(|known| known.endpoint == endpoint)
        {
            known.connected = false;
        }
    });
    Ok(())
}
