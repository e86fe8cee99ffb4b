//! The watchers: one task for OVSDB, and for each bridge one for its rules and one for its learned addresses. Each
//! connects, tells what it finds, and after a break connects again, with a pause that grows while it fails.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flow_compiler::openflow::{BridgeName, BridgeRules};
use flow_compiler::ports::{Database, Fdb, PortMap};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Ovs;
use crate::ovs::{BridgeEvent, OfConn, OfError, OvsdbConn, OvsdbError, Unixctl, UnixctlError};

/// The pauses between attempts: from this, doubled, to that.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Changes that come so close together are told as one.
const GATHER: Duration = Duration::from_millis(10);
/// A stream of changes without a gap is told in pieces of this length.
const GATHER_AT_MOST: Duration = Duration::from_millis(200);
/// How often the learned addresses are asked for; nobody is told when they change. OVS ages them by the second.
const ADDRESSES_EVERY: Duration = Duration::from_secs(1);

/// What a watcher tells.
#[derive(Debug)]
pub(super) enum News {
    /// OVSDB changed.
    Database(Facts),
    /// OVSDB does not answer.
    DatabaseLost(String),
    /// The rules of a bridge changed.
    Rules {
        /// The bridge.
        bridge: BridgeName,
        /// All its rules.
        rules: Arc<BridgeRules>,
    },
    /// The learned addresses of a bridge changed.
    Addresses {
        /// The bridge.
        bridge: BridgeName,
        /// All of them.
        fdb: Fdb,
    },
    /// The learned addresses of a bridge cannot be read.
    AddressesLost {
        /// The bridge.
        bridge: BridgeName,
        /// Why.
        why: String,
    },
    /// The rules of a bridge cannot be read.
    RulesLost {
        /// The bridge.
        bridge: BridgeName,
        /// Why.
        why: String,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(facts) => write!(f, "{} bridges", facts.ports.bridges.len()),
            Self::DatabaseLost(why) => write!(f, "no database: {why}"),
            Self::Rules { bridge, rules } => write!(f, "{} rules of {bridge}", rules.rules.len()),
            Self::RulesLost { bridge, why } => write!(f, "no rules of {bridge}: {why}"),
            Self::Addresses { bridge, fdb } => {
                write!(f, "{} addresses of {bridge}", fdb.entries.len())
            }
            Self::AddressesLost { bridge, why } => write!(f, "no addresses of {bridge}: {why}"),
        }
    }
}

/// What OVSDB says, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The ports of all bridges.
    pub(super) ports: PortMap,
    /// `Open_vSwitch other_config:hw-offload`.
    pub(super) hw_offload: bool,
    /// `Open_vSwitch other_config:flow-restore-wait`.
    pub(super) restoring: bool,
    /// `Open_vSwitch other_config:vlan-limit`; `None` is a value nobody knows.
    pub(super) vlan_limit: Option<u8>,
}

impl Facts {
    fn of(database: &Database) -> Self {
        Self {
            ports: database.ports(),
            hw_offload: database.hw_offload(),
            restoring: database.is_restoring(),
            vlan_limit: database.vlan_limit(),
        }
    }
}

/// Watches OVSDB until nobody listens any more.
pub(super) fn database(ovs: &Ovs, tell: Sender<News>) {
    let socket = ovs.database.clone();
    tokio::spawn(async move {
        let mut pause = Pause::default();
        while let Err(Stop::Broken(error)) = watch_database(&socket, &tell, &mut pause).await {
            if tell.send(News::DatabaseLost(error.to_string())).await.is_err() {
                return;
            }
            sleep(pause.next()).await;
        }
    });
}

/// Tells what OVSDB says, and every change of it that matters.
async fn watch_database(
    socket: &Path,
    tell: &Sender<News>,
    pause: &mut Pause,
) -> Result<Infallible, Stop<OvsdbError>> {
    let mut connection = OvsdbConn::connect(socket).await?;
    let mut database = connection.watch().await?;
    pause.reset();
    let mut told = None;
    loop {
        let facts = Facts::of(&database);
        if told.as_ref() != Some(&facts) {
            tell.send(News::Database(facts.clone())).await.map_err(|_| Stop::Unheard)?;
            told = Some(facts);
        }
        database.apply_all(connection.next_updates().await?);
    }
}

/// Watches the rules of a bridge until aborted.
pub(super) fn rules(ovs: &Ovs, bridge: BridgeName, tell: Sender<News>) -> AbortHandle {
    let socket = ovs.run_dir.join(format!("{bridge}.mgmt"));
    let task = async move {
        let mut pause = Pause::default();
        while let Err(Stop::Broken(error)) = watch_rules(&socket, &bridge, &tell, &mut pause).await
        {
            let news = News::RulesLost { bridge: bridge.clone(), why: error.to_string() };
            if tell.send(news).await.is_err() {
                return;
            }
            sleep(pause.next()).await;
        }
    };
    tokio::spawn(task).abort_handle()
}

/// Watches the learned addresses of a bridge until aborted.
pub(super) fn addresses(ovs: &Ovs, bridge: BridgeName, tell: Sender<News>) -> AbortHandle {
    let run_dir = ovs.run_dir.clone();
    let task = async move {
        let mut pause = Pause::default();
        while let Err(Stop::Broken(error)) =
            watch_addresses(&run_dir, &bridge, &tell, &mut pause).await
        {
            let news = News::AddressesLost { bridge: bridge.clone(), why: error.to_string() };
            if tell.send(news).await.is_err() {
                return;
            }
            sleep(pause.next()).await;
        }
    };
    tokio::spawn(task).abort_handle()
}

/// Tells the learned addresses, and tells them again when they are others.
async fn watch_addresses(
    run_dir: &Path,
    bridge: &BridgeName,
    tell: &Sender<News>,
    pause: &mut Pause,
) -> Result<Infallible, Stop<UnixctlError>> {
    let mut connection = Unixctl::find(run_dir).await?;
    let mut told = None;
    loop {
        let fdb = connection.fdb(bridge).await?;
        pause.reset();
        if told.as_ref() != Some(&fdb) {
            let news = News::Addresses { bridge: bridge.clone(), fdb: fdb.clone() };
            tell.send(news).await.map_err(|_| Stop::Unheard)?;
            told = Some(fdb);
        }
        sleep(ADDRESSES_EVERY).await;
    }
}

/// Why a watcher stops.
enum Stop<E> {
    /// The connection broke.
    Broken(E),
    /// Nobody listens any more.
    Unheard,
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Self::Broken(error)
    }
}

/// Tells the rules and every change of them.
async fn watch_rules(
    socket: &Path,
    bridge: &BridgeName,
    tell: &Sender<News>,
    pause: &mut Pause,
) -> Result<Infallible, Stop<OfError>> {
    let mut connection = OfConn::connect(socket).await?;
    let mut rules = connection.watch().await?;
    pause.reset();
    loop {
        let news = News::Rules { bridge: bridge.clone(), rules: Arc::new(rules.clone()) };
        tell.send(news).await.map_err(|_| Stop::Unheard)?;
        gather(&mut connection, &mut rules).await?;
    }
}

/// Waits for a change, and takes in those that follow closely.
async fn gather(connection: &mut OfConn, rules: &mut BridgeRules) -> Result<(), OfError> {
    let mut changed = false;
    while !changed {
        let event = connection.next_event().await?;
        changed = take(connection, rules, event).await?;
    }
    let end = Instant::now() + GATHER_AT_MOST;
    while let Ok(event) =
        timeout_at(end.min(Instant::now() + GATHER), connection.next_event()).await
    {
        take(connection, rules, event?).await?;
    }
    Ok(())
}

/// Takes in one event. Whether the rules are others now.
async fn take(
    connection: &mut OfConn,
    rules: &mut BridgeRules,
    event: BridgeEvent,
) -> Result<bool, OfError> {
    match event {
        BridgeEvent::Rules(updates) => {
            let mut changed = false;
            for update in updates {
                changed |= rules.apply(update);
            }
            Ok(changed)
        }
        BridgeEvent::GroupsOrMeters => connection.refresh_groups_and_meters(rules).await,
        // OVSDB tells of it too, and knows more.
        BridgeEvent::Port(..) => Ok(false),
    }
}

/// How long to wait before the next attempt.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSES.0)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(PAUSES.1);
        now
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over_after_a_success() {
        let mut pause = Pause::default();
        let pauses: Vec<u128> = (0..8).map(|_| pause.next().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        pause.reset();
        assert_eq!(pause.next(), Duration::from_millis(100));
    }
}
