//! The daemon: hears what changes, and brings the kernel's filters after it.
//!
//! ```text
//! watch (OVSDB, two tasks a bridge) ┐
//! timer, signals, a turn that ended ┴─► Event ─► Agent::handle ─► Mirror::turn, on a thread of its own
//! timer ─► Collector: VFs of pods that are gone, on a thread of its own
//! ```
//!
//! All events come to one place, [`Agent::next`], and are handled one after another. There is no state that a restart
//! would lose: the rules are read again, and the filters in the kernel tell which are ours. While Open vSwitch is away,
//! or its rules are not known yet, the filters stay as they are.

mod collect;
pub mod devices;
pub mod mirror;
pub mod qdisc;
pub mod server;
mod view;
mod watch;

use std::collections::BTreeMap;

use flow_compiler::capabilities::{Capabilities, UnknownProfile};
use flow_compiler::openflow::BridgeName;
use switchdev::tc::{Kernel, TcError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::config::{CapabilitySource, Config, OnExit};
use crate::report::Status;
use mirror::{Mirror, MirrorError, Turn};
use view::View;
use watch::News;

/// How many messages of the watchers may wait; they stop reading beyond.
const NEWS_QUEUE: usize = 64;

/// Why the daemon ended, or could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The capabilities are not known by that name.
    #[error("configuration: hardware.capabilities: {0}; or give the path of a file")]
    UnknownCapabilities(#[from] UnknownProfile),
    /// The capability file cannot be used.
    #[error("configuration: hardware.capabilities: {}: {reason}", path.display())]
    CapabilityFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// The kernel cannot be asked.
    #[error(transparent)]
    Tc(#[from] TcError),
    /// The kernel could not be asked, or a flush failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The status socket or the metrics address cannot be used.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The process cannot handle signals, or has no runtime.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// A turn panicked; the filters are as its last operation left them.
    #[error("a turn of the mirror ended early: {0}")]
    TurnDied(#[from] JoinError),
}

/// Runs until a signal asks to stop.
///
/// # Errors
///
/// When it cannot start, or the last flush fails.
pub fn run(config: Config) -> Result<(), AgentError> {
    let capabilities = capabilities(&config.hardware.capabilities)?;
    let mirror = Mirror::open(Box::new(Kernel::open()?), &config.run_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Agent::start(config, capabilities, mirror)?.run().await })
}

/// Reads the capabilities that the configuration names.
///
/// # Errors
///
/// When there is no such name or file, or the file is not what it should be.
fn capabilities(source: &CapabilitySource) -> Result<Capabilities, AgentError> {
    match source {
        CapabilitySource::BuiltIn(name) => Ok(Capabilities::profile(name)?),
        CapabilitySource::File(path) => {
            let wrong = |reason: String| AgentError::CapabilityFile { path: path.clone(), reason };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
        }
    }
}

/// What can happen.
enum Event {
    /// A watcher has something to tell.
    News(News),
    /// The burst of changes is over, or it is time to look at the kernel again.
    Due,
    /// The turn under way ended.
    TurnEnded(Result<(Box<Mirror>, Box<Turn>), JoinError>),
    /// A signal asks to stop.
    Stop,
}

/// The mirror, or the turn it is away on.
enum Hands {
    Free(Box<Mirror>),
    Busy(JoinHandle<(Box<Mirror>, Box<Turn>)>),
}

struct Agent {
    config: Config,
    view: View,
    hands: Option<Hands>,
    due: Option<Instant>,
    /// Whether there was news since the last turn began.
    heard: bool,
    status: latest::Sender<Status>,
    news: mpsc::Receiver<News>,
    tell: mpsc::Sender<News>,
    watchers: BTreeMap<BridgeName, [AbortHandle; 2]>,
    tick: tokio::time::Interval,
    terminate: Signal,
    interrupt: Signal,
    _servers: server::Servers,
    collector: collect::Collector,
}

impl Agent {
    fn start(
        config: Config,
        capabilities: Capabilities,
        mirror: Mirror,
    ) -> Result<Self, AgentError> {
        let first = Status {
            pid: std::process::id(),
            state: "waiting for Open vSwitch".to_owned(),
            ..Status::default()
        };
        let (status, shown) = latest::channel(first);
        let servers = server::start(&config, &shown)?;
        let (tell, news) = mpsc::channel(NEWS_QUEUE);
        watch::database(&config.ovs, tell.clone());
        let collector = collect::Collector::start(&config, status.clone());
        let mut tick = interval(config.reconcile.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            view: View::new(&config, capabilities),
            hands: Some(Hands::Free(Box::new(mirror))),
            due: None,
            heard: false,
            status,
            news,
            tell,
            watchers: BTreeMap::new(),
            tick,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            config,
            _servers: servers,
            collector,
        })
    }

    async fn run(mut self) -> Result<(), AgentError> {
        loop {
            let event = self.next().await;
            match event {
                Event::Stop => return self.stop().await,
                Event::News(news) => self.hear(news),
                Event::Due => self.take_turn(),
                Event::TurnEnded(ended) => self.finish_turn(ended?),
            }
        }
    }

    /// The one place that waits.
    async fn next(&mut self) -> Event {
        let due = self.due;
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            Some(news) = self.news.recv() => Event::News(news),
            ended = turn_end(&mut self.hands) => Event::TurnEnded(ended),
            () = until(due) => Event::Due,
            _ = self.tick.tick() => Event::Due,
        }
    }

    fn hear(&mut self, news: News) {
        tracing::debug!(%news, "heard");
        if let News::Rules { bridge, rules } = &news {
            self.collector.hear(bridge, rules);
        }
        if !self.view.take(news) {
            return;
        }
        self.watch_bridges();
        self.heard = true;
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.config.reconcile.debounce);
        }
    }

    /// Watchers for each bridge there is, and none for those that went.
    fn watch_bridges(&mut self) {
        let wanted = self.view.bridges();
        self.watchers.retain(|bridge, watchers| {
            let stays = wanted.contains(bridge);
            if !stays {
                watchers.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for bridge in wanted {
            let ovs = &self.config.ovs;
            let tell = &self.tell;
            let start = || {
                let rules = watch::rules(ovs, bridge.clone(), tell.clone());
                [rules, watch::addresses(ovs, bridge.clone(), tell.clone())]
            };
            self.watchers.entry(bridge.clone()).or_insert_with(start);
        }
    }

    fn take_turn(&mut self) {
        self.due = None;
        let wanted = match self.view.wanted() {
            Ok(wanted) => wanted,
            Err(hold) => return self.hold(&hold.to_string()),
        };
        self.hands = match self.hands.take() {
            Some(Hands::Free(mut mirror)) => {
                self.heard = false;
                Some(Hands::Busy(tokio::task::spawn_blocking(move || {
                    let turn = Box::new(mirror.turn(&wanted));
                    (mirror, turn)
                })))
            }
            // Another one follows it if there was news.
            busy => busy,
        };
    }

    /// The filters stay as they are.
    fn hold(&self, why: &str) {
        self.status.send_if_modified(|status| {
            let news = status.state != why;
            if news {
                tracing::warn!("filters stay as they are: {why}");
            }
            status.synced = false;
            why.clone_into(&mut status.state);
            news
        });
    }

    fn finish_turn(&mut self, (mirror, turn): (Box<Mirror>, Box<Turn>)) {
        self.hands = Some(Hands::Free(mirror));
        if let Err(error) = &turn.result {
            tracing::error!("{error}");
        }
        if self.heard {
            self.due = Some(Instant::now());
        }
        let in_time = !self.heard;
        self.status.send_modify(|status| {
            status.take(&turn);
            // What was compiled may be old by now.
            status.synced &= in_time;
            if status.reconciles.last_ops > 0 {
                tracing::info!(ops = status.reconciles.last_ops, "{}", status.summary());
            }
        });
    }

    /// Ends after the turn under way, so that no operation is left without its successors.
    async fn stop(mut self) -> Result<(), AgentError> {
        let mut mirror = match self.hands.take() {
            Some(Hands::Free(mirror)) => mirror,
            Some(Hands::Busy(turn)) => turn.await?.0,
            None => return Ok(()),
        };
        if self.config.on_exit == OnExit::Flush {
            let flush = move || mirror.flush();
            let ops = tokio::task::spawn_blocking(flush).await??;
            tracing::info!(ops, "flushed");
        }
        Ok(())
    }
}

async fn turn_end(hands: &mut Option<Hands>) -> Result<(Box<Mirror>, Box<Turn>), JoinError> {
    match hands {
        Some(Hands::Busy(turn)) => turn.await,
        _ => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
