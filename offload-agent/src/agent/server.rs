//! What others may ask the daemon: its status over a unix socket, its metrics over HTTP.
//!
//! The status socket needs no protocol: it answers every connection with one JSON document and closes it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::report::{Status, metrics};

/// The name of the socket in the runtime directory.
const SOCKET: &str = "offload-agent.sock";
/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why nobody could ask.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another agent runs here.
    #[error("another offload-agent answers on {}; stop it first", .0.display())]
    AlreadyRunning(PathBuf),
    /// The status socket cannot be made.
    #[error("status socket {}: {source}; `runDir` must be a directory that the agent can write to", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The metrics address cannot be used.
    #[error(
        "metrics.listen {address}: {source}; give an address and port of this machine that are free"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// The status socket below a runtime directory.
#[must_use]
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join(SOCKET)
}

/// The servers; they end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    tasks: [AbortHandle; 2],
    socket: PathBuf,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        // A socket left behind is replaced by the next agent.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Starts both.
///
/// # Errors
///
/// When another agent runs, or an address cannot be used.
pub fn start(config: &Config, status: &watch::Receiver<Status>) -> Result<Servers, ServerError> {
    let socket = socket_path(&config.run_dir);
    let unix = bind_unix(&socket)?;
    let address = config.metrics_listen;
    let tcp = bind_tcp(address).map_err(|source| ServerError::Metrics { address, source })?;
    let tasks = [
        tokio::spawn(serve_status(unix, status.clone())).abort_handle(),
        tokio::spawn(serve_metrics(tcp, status.clone())).abort_handle(),
    ];
    Ok(Servers { tasks, socket })
}

fn bind_unix(path: &Path) -> Result<UnixListener, ServerError> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ServerError::AlreadyRunning(path.to_owned()));
    }
    let error = |source| ServerError::Socket { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(error)?;
    // An agent that was killed left it.
    if path.exists() {
        std::fs::remove_file(path).map_err(error)?;
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    // Rules tell who talks to whom: root only.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(error)?;
    Ok(listener)
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve_status(listener: UnixListener, status: watch::Receiver<Status>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let answer = serde_json::to_vec(&*status.borrow()).unwrap_or_default();
        tokio::spawn(async move {
            // Whoever asked may have gone.
            let _ = stream.write_all(&answer).await;
        });
    }
}

async fn serve_metrics(listener: TcpListener, status: watch::Receiver<Status>) {
    let router = router(status);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("metrics: {error}");
    }
}

fn router(status: watch::Receiver<Status>) -> Router {
    let health = status.clone();
    let metrics = move || {
        let text = metrics::text(&status.borrow());
        async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], text) }
    };
    let healthz = move || {
        let answer = health_of(&health.borrow());
        async move { answer }
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz))
}

/// Alive is enough: an agent that waits for OVS is not made better by a restart.
fn health_of(status: &Status) -> (StatusCode, String) {
    (StatusCode::OK, format!("{}\n", status.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RUN_DIR;

    #[test]
    fn the_cni_asks_where_we_answer() {
        assert_eq!(socket_path(Path::new(RUN_DIR)), Path::new(sriov_cni::verbs::AGENT_SOCKET));
    }
}
