//! One session a pool: begun when the pool comes, ended when it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::allocate::SharedPools;
use crate::config::ResourceName;
use crate::kubelet::KubeletDir;
use crate::kubelet::service::Shared;
use crate::kubelet::session::Session;

/// How long an ended session may take to remove its socket.
const FAREWELL: Duration = Duration::from_secs(2);

/// All sessions.
pub(super) struct Sessions {
    kubelet: KubeletDir,
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    running: BTreeMap<ResourceName, Running>,
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// What kubelet was told of it when it was registered.
    pre_start: bool,
}

impl Sessions {
    pub(super) fn new(
        kubelet: KubeletDir,
        shared: Arc<Shared>,
        changes: watch::Receiver<u64>,
    ) -> Self {
        Self { kubelet, shared, changes, running: BTreeMap::new() }
    }

    /// Follows the pools for as long as there are any to follow.
    pub(super) async fn run(mut self, mut pools: watch::Receiver<SharedPools>) {
        while pools.changed().await.is_ok() {
            let now = Arc::clone(&pools.borrow_and_update());
            self.end_those_not_in(&now).await;
            for (name, pool) in now.iter() {
                if !self.running.contains_key(name) {
                    self.begin(name, pool.config.pre_start_check);
                }
            }
        }
    }

    /// A pool whose options changed is registered anew: kubelet asks for them only then.
    async fn end_those_not_in(&mut self, pools: &SharedPools) {
        let stays = |name: &ResourceName, running: &Running| {
            pools.get(name).is_some_and(|pool| pool.config.pre_start_check == running.pre_start)
        };
        let ended: Vec<ResourceName> = self
            .running
            .iter()
            .filter(|(name, running)| !stays(name, running))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            if let Some(running) = self.running.remove(&name) {
                let _ = running.stop.send(true);
                let _ = tokio::time::timeout(FAREWELL, running.task).await;
                tracing::info!("pool {name} is served no more");
            }
        }
    }

    fn begin(&mut self, name: &ResourceName, pre_start: bool) {
        let (stop, stopped) = watch::channel(false);
        let (shared, changes) = (Arc::clone(&self.shared), self.changes.clone());
        let session = Session::new(name.clone(), self.kubelet.clone(), shared, stopped, changes);
        let task = tokio::spawn(session.run());
        self.running.insert(name.clone(), Running { stop, task, pre_start });
    }
}
