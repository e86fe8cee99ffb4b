//! The server side: kubelet's own socket, its pod-resources socket, and its plugin watcher.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubelet_api::deviceplugin::registration_server::{Registration, RegistrationServer};
use kubelet_api::deviceplugin::{Empty, RegisterRequest, VERSION};
use kubelet_api::podresources::pod_resources_lister_server::{
    PodResourcesLister, PodResourcesListerServer,
};
use kubelet_api::podresources::{ListPodResourcesRequest, ListPodResourcesResponse};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::{State, lock, plugins};

/// How often the plugin directory is looked at.
const WATCH: Duration = Duration::from_millis(10);

/// The sockets kubelet listens on.
pub(super) struct Listeners {
    registration: UnixListener,
    pod_resources: UnixListener,
}

/// Makes them, in the place of those that were left behind.
pub(super) fn bind(root: &Path) -> std::io::Result<Listeners> {
    let bind = |path: PathBuf| {
        let _ = fs::remove_file(&path);
        UnixListener::bind(path)
    };
    Ok(Listeners {
        registration: bind(root.join("device-plugins/kubelet.sock"))?,
        pod_resources: bind(root.join("pod-resources/kubelet.sock"))?,
    })
}

/// Removes all but the checkpoint from the directory of device plugins, as kubelet does when it starts.
pub(super) fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(".sock") {
            // A plugin may remove its own at the same time.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Serves until told to stop; its own sockets go then.
pub(super) async fn run(
    root: PathBuf,
    state: Arc<Mutex<State>>,
    listeners: Listeners,
    mut stop: watch::Receiver<bool>,
) {
    let service = Service { root: root.clone(), state: Arc::clone(&state) };
    let registration = Server::builder()
        .add_service(RegistrationServer::new(service.clone()))
        .serve_with_incoming(UnixListenerStream::new(listeners.registration));
    let pod_resources = Server::builder()
        .add_service(PodResourcesListerServer::new(service))
        .serve_with_incoming(UnixListenerStream::new(listeners.pod_resources));
    tokio::select! {
        _ = registration => {}
        _ = pod_resources => {}
        () = watch_plugins(root.join("plugins_registry"), state) => {}
        _ = stop.changed() => {}
    }
    let _ = fs::remove_file(root.join("device-plugins/kubelet.sock"));
    let _ = fs::remove_file(root.join("pod-resources/kubelet.sock"));
}

/// A socket that is new, or made anew, is asked who it is; one that has gone is forgotten.
async fn watch_plugins(dir: PathBuf, state: Arc<Mutex<State>>) {
    let mut known = BTreeMap::new();
    loop {
        let now = sockets(&dir);
        known.retain(|path, inode| now.get(path) == Some(inode));
        for (path, inode) in now {
            if !known.contains_key(&path)
                && plugins::introduce(Arc::clone(&state), &path).await.is_ok()
            {
                known.insert(path, inode);
            }
        }
        tokio::time::sleep(WATCH).await;
    }
}

fn sockets(dir: &Path) -> BTreeMap<PathBuf, (u64, u64, i64)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sockets = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "sock"));
    // An inode's number is soon used again, so the time counts too.
    let inode = |path: PathBuf| {
        let file = fs::metadata(&path).ok()?;
        Some((path, (file.ino(), file.dev(), file.ctime_nsec())))
    };
    sockets.filter_map(inode).collect()
}

#[derive(Clone)]
struct Service {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl Registration for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        if request.version != VERSION {
            return Err(Status::invalid_argument(format!(
                "version {} is not supported",
                request.version
            )));
        }
        if lock(&self.state).refuses() {
            return Err(Status::unavailable("not ready"));
        }
        let endpoint = self.root.join("device-plugins").join(&request.endpoint);
        let state = Arc::clone(&self.state);
        // As kubelet: the answer first, then the connection back.
        tokio::spawn(async move { plugins::follow(state, request.resource_name, &endpoint).await });
        Ok(Response::new(Empty {}))
    }
}

#[tonic::async_trait]
impl PodResourcesLister for Service {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let state = lock(&self.state);
        let nothing = ListPodResourcesResponse::default();
        Ok(Response::new(if state.deaf { nothing } else { state.books.pod_resources() }))
    }
}
