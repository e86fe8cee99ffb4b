//! One pool's presence at kubelet: its socket, its registration, and both again when kubelet restarts.
//!
//! A restarting kubelet empties its directory of device plugins and makes its socket anew. Either is seen
//! by the files' inode numbers, looked at whenever the directories change and every few seconds besides,
//! as a directory that was replaced tells nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kubelet_api::deviceplugin::device_plugin_server::DevicePluginServer;
use kubelet_api::deviceplugin::registration_client::RegistrationClient;
use kubelet_api::deviceplugin::{RegisterRequest, VERSION};
use kubelet_api::pluginregistration::registration_server::RegistrationServer;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Endpoint, Server};

use super::service::{Service, Shared};
use super::{KubeletDir, Mode};
use crate::config::ResourceName;
use crate::metrics::Registered;

/// How often the files are looked at, whatever the kernel says.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The pauses between attempts: from this, doubled, to that.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Kubelet answers a registration at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why kubelet does not know of a pool.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("cannot make the socket {}: {source}; the directory must be kubelet's own, and writable", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("kubelet's socket {}: {source}; it must run, and its directory be mounted", path.display())]
    NoKubelet { path: PathBuf, source: tonic::transport::Error },
    #[error("kubelet refused the registration: {0}")]
    Refused(Box<tonic::Status>),
}

/// One pool's presence at kubelet.
#[derive(Debug)]
pub struct Session {
    name: ResourceName,
    kubelet: KubeletDir,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// Counts up whenever a directory changes.
    changes: watch::Receiver<u64>,
}

/// A file as it was when it was last dealt with. File systems give a freed inode to the next file, so the
/// time it was made counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    number: (u64, u64),
    changed: (i64, i64),
}

impl Inode {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self { number: (file.dev(), file.ino()), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

/// A server; it ends when this is dropped.
struct Serving {
    mode: Mode,
    socket: PathBuf,
    inode: Option<Inode>,
    task: AbortHandle,
    /// The kubelet that knows of it.
    registered_at: Option<Inode>,
    pause: Duration,
    next_attempt: Instant,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        // Only our own: after a quick restart the name may be another process's already.
        if Inode::of(&self.socket) == self.inode {
            let _ = fs::remove_file(&self.socket);
        }
    }
}

impl Session {
    /// A session of the pool called so. It ends when `stop` says so.
    #[must_use]
    pub fn new(
        name: ResourceName,
        kubelet: KubeletDir,
        shared: Arc<Shared>,
        stop: watch::Receiver<bool>,
        changes: watch::Receiver<u64>,
    ) -> Self {
        Self { name, kubelet, shared, stop, changes }
    }

    /// Serves until told to stop, whatever kubelet does.
    pub async fn run(mut self) {
        let mut serving = None;
        let mut pause = FIRST_PAUSE;
        while !*self.stop.borrow() {
            let wake = match self.keep(&mut serving).await {
                Ok(wake) => {
                    pause = FIRST_PAUSE;
                    wake
                }
                Err(error) => {
                    tracing::warn!("pool {}: {error}", self.name);
                    let wake = Instant::now() + pause;
                    pause = longer(pause);
                    wake
                }
            };
            self.wait(wake).await;
        }
    }

    async fn wait(&mut self, until: Instant) {
        tokio::select! {
            _ = self.stop.changed() => {}
            changed = self.changes.changed() => if changed.is_err() { sleep(LOOK_AGAIN).await },
            () = sleep_until(until) => {}
        }
    }

    /// Makes the socket where it is missing, and registers where kubelet is another one. When to look again.
    async fn keep(&self, serving: &mut Option<Serving>) -> Result<Instant, SessionError> {
        let mode = self.kubelet.mode();
        let lost = |serving: &Serving| {
            serving.mode != mode
                || serving.task.is_finished()
                || Inode::of(&serving.socket) != serving.inode
        };
        if serving.as_ref().is_some_and(lost) {
            tracing::info!("pool {}: the socket is gone, as after a restart of kubelet", self.name);
            *serving = None;
        }
        let serving = match serving {
            Some(serving) => serving,
            None => serving.insert(self.serve(mode)?),
        };
        if mode == Mode::Register {
            self.keep_registered(serving).await;
        }
        let again = Instant::now() + LOOK_AGAIN;
        Ok(if serving.next_attempt > Instant::now() {
            again.min(serving.next_attempt)
        } else {
            again
        })
    }

    fn serve(&self, mode: Mode) -> Result<Serving, SessionError> {
        let socket = self.kubelet.sockets(mode).join(self.name.socket());
        let listener = bind(&socket)
            .map_err(|source| SessionError::Socket { path: socket.clone(), source })?;
        let service = Service::new(
            self.name.clone(),
            Arc::clone(&self.shared),
            socket.clone(),
            self.stop.clone(),
        );
        let server = Server::builder()
            .add_service(DevicePluginServer::new(service.clone()))
            .add_service(RegistrationServer::new(service))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!("gRPC server: {error}");
            }
        });
        tracing::info!("pool {} is served on {}", self.name, socket.display());
        Ok(Serving {
            mode,
            inode: Inode::of(&socket),
            socket,
            task: task.abort_handle(),
            registered_at: None,
            pause: FIRST_PAUSE,
            next_attempt: Instant::now(),
        })
    }

    async fn keep_registered(&self, serving: &mut Serving) {
        let kubelet = Inode::of(&self.kubelet.registration());
        if kubelet.is_none()
            || kubelet == serving.registered_at
            || Instant::now() < serving.next_attempt
        {
            return;
        }
        match self.register(serving).await {
            Ok(()) => {
                tracing::info!("pool {} is registered with kubelet", self.name);
                self.shared.metrics.registered(&self.name, Registered::Yes);
                serving.registered_at = kubelet;
                serving.pause = FIRST_PAUSE;
            }
            Err(error) => {
                tracing::warn!("pool {}: {error}; trying again in {:?}", self.name, serving.pause);
                self.shared.metrics.registered(&self.name, Registered::No);
                serving.next_attempt = Instant::now() + serving.pause;
                serving.pause = longer(serving.pause);
            }
        }
    }

    async fn register(&self, serving: &Serving) -> Result<(), SessionError> {
        let path = self.kubelet.registration();
        let no_kubelet = |source| SessionError::NoKubelet { path: path.clone(), source };
        let endpoint =
            Endpoint::try_from(format!("unix://{}", path.display())).map_err(no_kubelet)?;
        let channel = endpoint
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .connect()
            .await
            .map_err(no_kubelet)?;
        let service = Service::new(
            self.name.clone(),
            Arc::clone(&self.shared),
            serving.socket.clone(),
            self.stop.clone(),
        );
        let request = RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: self.name.socket(),
            resource_name: self.name.to_string(),
            options: Some(service.options()),
        };
        let answer = RegistrationClient::new(channel).register(request).await;
        answer.map(drop).map_err(|status| SessionError::Refused(Box::new(status)))
    }
}

/// A socket in the place of one that was left behind.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}
