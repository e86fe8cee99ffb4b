//! What is counted, in the text format of Prometheus.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::config::ResourceName;
use crate::pool::changes::{Change, Kind};
use crate::pool::{Cause, Pools};

/// Whether kubelet took a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It did.
    Yes,
    /// It did not, or nobody answered.
    No,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    pool: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    pool: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCause {
    pool: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OnlyOutcome {
    outcome: &'static str,
}

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    devices: Family<OfState, Gauge>,
    held: Family<OfPool, Gauge>,
    health_changes: Family<OfCause, Counter>,
    recoveries: Family<OfPool, Counter>,
    allocations: Family<OfOutcome, Counter>,
    registrations: Family<OfOutcome, Counter>,
    lists: Family<OfPool, Counter>,
    looks: Family<OnlyOutcome, Counter>,
    look_seconds: Gauge<f64, AtomicU64>,
    reloads: Family<OnlyOutcome, Counter>,
    reservations_freed: Counter,
    config_valid: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Mutex::new(Registry::default()),
            devices: Family::default(),
            held: Family::default(),
            health_changes: Family::default(),
            recoveries: Family::default(),
            allocations: Family::default(),
            registrations: Family::default(),
            lists: Family::default(),
            looks: Family::default(),
            look_seconds: Gauge::default(),
            reloads: Family::default(),
            reservations_freed: Counter::default(),
            config_valid: Gauge::default(),
        };
        metrics.registry = Mutex::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("linerate_device_plugin");
        all.register("devices", "Devices of a pool, by health", self.devices.clone());
        all.register("devices_held", "Devices of a pool that pods have", self.held.clone());
        all.register(
            "health_changes",
            "Devices that became unhealthy, by cause",
            self.health_changes.clone(),
        );
        all.register("recoveries", "Devices that became healthy again", self.recoveries.clone());
        all.register(
            "allocations",
            "Requests of kubelet for devices, by outcome",
            self.allocations.clone(),
        );
        all.register(
            "registrations",
            "Registrations with kubelet, by outcome",
            self.registrations.clone(),
        );
        all.register("lists_sent", "Lists of devices sent to kubelet", self.lists.clone());
        all.register("looks", "Looks at the node, by outcome", self.looks.clone());
        all.register_with_unit(
            "look_last",
            "Duration of the last look",
            Unit::Seconds,
            self.look_seconds.clone(),
        );
        all.register(
            "config_reloads",
            "Changes of the configuration file, by outcome",
            self.reloads.clone(),
        );
        all.register(
            "config_valid",
            "Whether the configuration file can be used",
            self.config_valid.clone(),
        );
        all.register(
            "reservations_freed",
            "Allocations that no pod came for",
            self.reservations_freed.clone(),
        );
        all
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Ok(registry) = self.registry.lock() {
            // Writing to a string does not fail.
            let _ = encode(&mut text, &registry);
        }
        text
    }

    /// Kubelet was sent a list.
    pub fn list_sent(&self, pool: &ResourceName) {
        self.lists.get_or_create(&OfPool { pool: pool.to_string() }).inc();
    }

    /// Kubelet asked for devices.
    pub fn allocated(&self, pool: &ResourceName, outcome: &'static str) {
        self.allocations.get_or_create(&OfOutcome { pool: pool.to_string(), outcome }).inc();
    }

    /// Kubelet was told of a pool.
    pub fn registered(&self, pool: &ResourceName, registered: Registered) {
        let outcome = if registered == Registered::Yes { "registered" } else { "refused" };
        self.registrations.get_or_create(&OfOutcome { pool: pool.to_string(), outcome }).inc();
    }

    /// The node was looked at.
    pub fn looked(&self, took: Duration, succeeded: bool) {
        let outcome = if succeeded { "done" } else { "failed" };
        self.looks.get_or_create(&OnlyOutcome { outcome }).inc();
        self.look_seconds.set(took.as_secs_f64());
    }

    /// The configuration file was read anew.
    pub fn reloaded(&self, usable: bool) {
        let outcome = if usable { "applied" } else { "refused" };
        self.reloads.get_or_create(&OnlyOutcome { outcome }).inc();
        self.config_valid.set(i64::from(usable));
    }

    /// The configuration was read for the first time.
    pub fn configured(&self) {
        self.config_valid.set(1);
    }

    /// Nobody came for an allocated device.
    pub fn reservation_freed(&self) {
        self.reservations_freed.inc();
    }

    /// The pools changed.
    pub fn pools(&self, pools: &Pools, changes: &[Change]) {
        self.devices.clear();
        self.held.clear();
        for (name, pool) in pools {
            let healthy = pool.members.values().filter(|member| member.is_healthy()).count();
            let states = [("healthy", healthy), ("unhealthy", pool.members.len() - healthy)];
            for (state, count) in states {
                self.devices
                    .get_or_create(&OfState { pool: name.to_string(), state })
                    .set(number(count));
            }
            let held = pool.members.values().filter(|member| member.is_held()).count();
            self.held.get_or_create(&OfPool { pool: name.to_string() }).set(number(held));
        }
        changes.iter().for_each(|change| self.changed(change));
    }

    fn changed(&self, change: &Change) {
        let pool = change.pool.to_string();
        match &change.kind {
            Kind::Joined(causes) | Kind::Unhealthy { new: causes, .. } => {
                self.became_unhealthy(&pool, causes);
            }
            Kind::Healthy => drop(self.recoveries.get_or_create(&OfPool { pool }).inc()),
            Kind::Left => {}
        }
    }

    fn became_unhealthy(&self, pool: &str, causes: &[Cause]) {
        for cause in causes {
            let labels = OfCause { pool: pool.to_owned(), cause: cause.label() };
            self.health_changes.get_or_create(&labels).inc();
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
