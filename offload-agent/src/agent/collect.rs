//! The collector at work: VFs of pods that are gone are given back, and rules that hold a pod to its addresses are put
//! back, at the start, then now and again, and when such rules have just gone.
//!
//! What is to be done and how is the library's ([`Binder::collect`]) and the CNI's ([`Steps`]). Here it is
//! called, on a thread of its own, for it waits for the kernel and for Open vSwitch; and what it did is
//! logged and shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flow_compiler::openflow::{BridgeName, BridgeRules};
use ovsdb_client::Remote;
use sriov_cni::attach::{Steps, is_port_rule};
use switchdev::Sysfs;
use switchdev::binding::{Binder, Collected, KernelNode};
use switchdev::ledger::{Entry, Ledger, LedgerError, Phase, Record};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::Config;
use crate::report::{Status, Vfs};

/// How long a namespace that goes may take to give its VF back; the next round comes soon.
const HOMECOMING: Duration = Duration::from_secs(2);

/// Between two rounds, so that somebody who takes rules away again and again does not keep us from all else.
const PAUSE: Duration = Duration::from_secs(1);

/// The collector; it ends when this is dropped. A round under way is finished.
#[derive(Debug)]
pub(super) struct Collector {
    task: AbortHandle,
    wake: Arc<Notify>,
    /// How many rules that hold pods to their addresses each bridge had.
    port_rules: BTreeMap<BridgeName, usize>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where it looks.
#[derive(Clone, Debug)]
struct Place {
    ledger: PathBuf,
    database: Remote,
}

/// What one round did and found.
#[derive(Debug, Default)]
struct Round {
    collected: Vec<Collected>,
    held: Vec<String>,
}

impl Collector {
    pub(super) fn start(config: &Config, status: watch::Sender<Status>) -> Self {
        let place = Place {
            ledger: config.ledger.dir.clone(),
            database: Remote::from(config.ovs.database.as_path()),
        };
        let wake = Arc::new(Notify::new());
        let rounds = go_round(place, config.ledger.interval, status, Arc::clone(&wake));
        let task = tokio::spawn(rounds).abort_handle();
        Self { task, wake, port_rules: BTreeMap::new() }
    }

    /// A round begins when fewer rules hold pods than before: the switch was started anew, or somebody removed them.
    pub(super) fn hear(&mut self, bridge: &BridgeName, rules: &BridgeRules) {
        let now = rules.rules.iter().filter(|(_, rule)| is_port_rule(rule.cookie.0)).count();
        if self.port_rules.insert(bridge.clone(), now).is_some_and(|before| now < before) {
            self.wake.notify_one();
        }
    }
}

async fn go_round(place: Place, every: Duration, status: watch::Sender<Status>, wake: Arc<Notify>) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = wake.notified() => {}
        }
        let place = place.clone();
        let round = tokio::task::spawn_blocking(move || collect(&place)).await;
        match round {
            Ok(Ok(round)) => status.send_modify(|status| take(&mut status.vfs, &round)),
            Ok(Err(error)) => status.send_modify(|status| lose(&mut status.vfs, error.to_string())),
            Err(error) => tracing::error!("a round of the collector ended early: {error}"),
        }
        sleep(PAUSE).await;
    }
}

fn collect(place: &Place) -> Result<Round, LedgerError> {
    let ledger = Ledger::open(&place.ledger)?;
    let sysfs = Sysfs::default();
    let mut binder = Binder {
        ledger: &ledger,
        node: &mut KernelNode::new(sysfs.clone()),
        external: &mut Steps::new(sysfs).with_database(place.database.clone()),
        wait: HOMECOMING,
    };
    let collected = binder.collect(&|_| true);
    let entries = ledger.entries()?.into_values().filter_map(Result::ok);
    let held = entries.filter(|Entry { record, .. }| record.as_ref().is_some_and(is_held));
    Ok(Round { collected, held: held.map(|entry| entry.to_string()).collect() })
}

fn is_held(record: &Record) -> bool {
    record.phase == Phase::Bound
}

/// Logs what was done, and of what could not be done only what is new.
fn take(vfs: &mut Vfs, round: &Round) {
    let lost = round.collected.iter().filter(|collected| collected.is_failure());
    let lost: Vec<String> = lost.map(Collected::to_string).collect();
    for sentence in lost.iter().filter(|sentence| !vfs.lost.contains(sentence)) {
        tracing::error!("{sentence}");
    }
    for done in round.collected.iter().filter(|collected| !collected.is_failure()) {
        tracing::warn!("{done}");
        vfs.given_back += u64::from(matches!(done, Collected::GivenBack { .. }));
    }
    vfs.held.clone_from(&round.held);
    vfs.lost = lost;
}

fn lose(vfs: &mut Vfs, sentence: String) {
    if !vfs.lost.contains(&sentence) {
        tracing::error!("{sentence}");
    }
    vfs.lost = vec![sentence];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &str) -> Collected {
        Collected::Failed { vf: None, reason: reason.to_owned() }
    }

    #[test]
    fn what_is_lost_is_shown_until_it_is_found() {
        let mut vfs = Vfs::default();
        take(&mut vfs, &Round { collected: vec![failure("busy")], held: Vec::new() });
        assert_eq!((vfs.lost.as_slice(), vfs.given_back), (["busy".to_owned()].as_slice(), 0));
        take(&mut vfs, &Round::default());
        assert_eq!(vfs.lost, Vec::<String>::new());
    }

    fn with_cookie(cookie: u64) -> BridgeRules {
        let mut bridge = BridgeRules::default();
        let cookie = flow_compiler::openflow::Cookie(cookie);
        bridge.upsert(flow_compiler::openflow::Rule { cookie, ..Default::default() });
        bridge
    }

    #[tokio::test(start_paused = true)]
    async fn rules_that_go_wake_the_collector() {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let wake = Arc::new(Notify::new());
        let mut collector =
            Collector { task, wake: Arc::clone(&wake), port_rules: BTreeMap::new() };
        let woken = async || tokio::time::timeout(PAUSE, wake.notified()).await.is_ok();
        let bridge: BridgeName = "br0".into();
        for (cookie, wakes) in [(1, false), (0x4c52 << 48, false), (1, true), (2, false)] {
            collector.hear(&bridge, &with_cookie(cookie));
            assert_eq!(woken().await, wakes, "{cookie:x}");
        }
    }

    #[test]
    fn an_empty_ledger_is_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let database = Remote::Unix(dir.path().join("db.sock"));
        let place = Place { ledger: dir.path().join("ledger"), database };
        let round = collect(&place).unwrap();
        assert!(round.held.is_empty());
    }
}
