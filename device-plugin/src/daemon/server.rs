//! What others may ask over HTTP: metrics, and whether the plugin is well.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::DaemonError;
use crate::metrics::Metrics;

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// After how many intervals without a look the plugin is not well.
const MISSED_INTERVALS: u32 = 3;

/// When the node was last looked at with success.
#[derive(Debug, Clone)]
pub(super) struct Health {
    last: Arc<Mutex<Instant>>,
    patience: Duration,
}

impl Health {
    pub(super) fn new(interval: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), patience: interval * MISSED_INTERVALS }
    }

    /// The node was looked at.
    pub(super) fn looked(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn answer(&self) -> (StatusCode, String) {
        let age = self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if age <= self.patience {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let text =
            format!("the node was last looked at {} s ago; the log says why\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct HttpServer(Option<AbortHandle>);

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Serves at `address`, if there is one.
pub(super) fn start(
    address: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    health: Health,
) -> Result<HttpServer, DaemonError> {
    let Some(address) = address else { return Ok(HttpServer(None)) };
    let listener = bind(address).map_err(|source| DaemonError::Metrics { address, source })?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(metrics, health)).await {
            tracing::error!("metrics: {error}");
        }
    });
    Ok(HttpServer(Some(task.abort_handle())))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn router(metrics: Arc<Metrics>, health: Health) -> Router {
    let metrics = move || {
        let text = metrics.text();
        async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], text) }
    };
    let healthz = move || {
        let answer = health.answer();
        async move { answer }
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz))
}
