//! `device-plugin check`: what a configuration would do on this node. Nothing is changed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use switchdev::ledger::{self, Ledger, LedgerError};
use switchdev::{CardError, Sysfs};

use super::{Exit, run};
use crate::config::{Config, ConfigError};
use crate::device::read::{Reader, Wanted};
use crate::device::{Device, Devices};
use crate::holds::{Counted, Hold, Holds};
use crate::pool::assign::Look;
use crate::pool::changes::sentence;
use crate::pool::select::{Refusal, select};
use crate::pool::{Member, Pools};

/// `device-plugin check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration to check, JSON or YAML.
    #[arg(long, short, alias = "config-file", value_name = "FILE", default_value = run::CONFIG)]
    pub config: PathBuf,

    /// The prefix of resources whose pool names none.
    #[arg(long, value_name = "DOMAIN", default_value = run::PREFIX)]
    pub resource_prefix: String,

    /// Where it is recorded who has which VF.
    #[arg(long, value_name = "DIR", default_value = ledger::DEFAULT_DIR)]
    pub ledger_dir: PathBuf,

    /// How the answer looks.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,

    /// A sysfs tree to read instead of this node's; e-switch modes and health are not known of it.
    #[arg(long, value_name = "DIR", hide = true)]
    pub sysfs: Option<PathBuf>,
}

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why a configuration could not be checked, or is wrong.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node cannot be looked at.
    #[error(transparent)]
    Node(#[from] CardError),
}

/// What a configuration would do.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it says to no effect, and what could not be looked at.
    pub warnings: Vec<String>,
    /// Each pool's devices, with what is wrong with them and who has them.
    pub pools: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Each device that is in no pool, with every pool's reason.
    pub left_out: BTreeMap<String, BTreeMap<String, String>>,
}

/// A device in a pool.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Whether it can be given to a pod.
    pub healthy: bool,
    /// Why not.
    pub causes: String,
    /// Who has it.
    pub held: Option<String>,
    /// What it is.
    pub device: String,
}

/// Prints what the configuration would do.
///
/// # Errors
/// When it is wrong, or the node cannot be looked at.
pub fn run(args: &Args) -> Result<Exit, CheckError> {
    let config = Config::load(&args.config, &args.resource_prefix)?;
    let mut reader = match &args.sysfs {
        Some(root) => Reader::of_tree(Sysfs::at(root)),
        None => Reader::live()?,
    };
    let devices = reader.devices(Wanted { ddp_profiles: true })?;
    let (holds, unreadable) = holds(args);
    let mut report = report(&config, &devices, &holds);
    report.warnings.extend(unreadable);
    let text = match args.output {
        Output::Text => text(&report),
        Output::Json => format!("{}\n", serde_json::json!(report)),
    };
    Ok(program::print(text.as_bytes()))
}

/// Who has which device, and why that is not known. A ledger that is not there holds nothing, and is not
/// made for a look.
fn holds(args: &Args) -> (Holds, Option<String>) {
    let there = args.ledger_dir.is_dir();
    let open = || Ledger::open(&args.ledger_dir);
    let held = if there {
        open().and_then(|l| crate::holds::ledger::holds(&l))
    } else {
        Ok(BTreeMap::new())
    };
    let unknown = |error: &LedgerError| format!("{error}: which devices pods have is not known");
    let warning = held.as_ref().err().map(unknown);
    (Holds::new(held.unwrap_or_default(), Counted::new()), warning)
}

/// What `config` would do with `devices`.
#[must_use]
pub fn report(config: &Config, devices: &Devices, holds: &Holds) -> Report {
    let pools = Look { config, devices, holds, now: Instant::now() }.assign(&Pools::new());
    let taken = |device: &Device| pools.values().any(|pool| pool.members.contains_key(&device.id));
    let left_out = devices.values().filter(|device| !taken(device));
    let entries = |members: &BTreeMap<_, Member>| {
        members.values().map(|member| (member.device.id.to_string(), entry(member))).collect()
    };
    Report {
        warnings: config.warnings.clone(),
        left_out: left_out
            .map(|device| (device.id.to_string(), reasons(config, device, holds)))
            .collect(),
        pools: pools
            .iter()
            .map(|(name, pool)| (name.to_string(), entries(&pool.members)))
            .collect(),
    }
}

fn entry(member: &Member) -> Entry {
    Entry {
        healthy: member.is_healthy(),
        causes: sentence(&member.causes),
        held: member.hold.as_ref().map(|hold| hold.state.to_string()),
        device: describe(&member.device),
    }
}

fn describe(device: &Device) -> String {
    let mut words = vec![
        format!("{:04x}:{:04x}", device.vendor, device.product),
        device.driver.clone().unwrap_or_else(|| "no driver".to_owned()),
    ];
    if let (Some(port), Some(index)) = (device.on(), device.index()) {
        words.push(format!(
            "{}#{index}",
            port.netdev.clone().unwrap_or_else(|| port.address.to_string())
        ));
    }
    words.extend(device.netdevs.iter().cloned());
    words.extend(device.representor.iter().map(|name| format!("representor {name}")));
    words.extend(device.numa_node.map(|node| format!("NUMA node {node}")));
    words.join(" ")
}

/// A pool for another type of device has nothing to say of this one, and none has of a device that a pod
/// still has from a pool that is not there.
fn reasons(config: &Config, device: &Device, holds: &Holds) -> BTreeMap<String, String> {
    let hold = holds.of(&device.id);
    if let Some(name) = hold.and_then(Hold::given_as).filter(|name| config.pool(name).is_none()) {
        let reason = "a pod has it from this pool, which the configuration has no more";
        return [(name.to_string(), reason.to_owned())].into();
    }
    let reason = |refusal: Refusal| (refusal != Refusal::OtherType).then(|| refusal.to_string());
    let refusal = |pool: &crate::config::PoolConfig| {
        let reason = select(pool, device).err().and_then(reason)?;
        Some((pool.name.to_string(), reason))
    };
    config.pools.iter().filter_map(refusal).collect()
}

/// The report for people.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text: String =
        report.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    for (name, entries) in &report.pools {
        let healthy = entries.values().filter(|entry| entry.healthy).count();
        let devices = if entries.len() == 1 { "device" } else { "devices" };
        let _ = writeln!(text, "pool {name}: {} {devices}, {healthy} healthy", entries.len());
        for (device, entry) in entries {
            let _ = writeln!(text, "  {device}  {}{}", entry.device, remarks(entry));
        }
    }
    if !report.left_out.is_empty() {
        text.push_str("in no pool:\n");
    }
    for (device, reasons) in &report.left_out {
        let _ = writeln!(text, "  {device}");
        for (pool, reason) in reasons {
            let _ = writeln!(text, "    {pool}: {reason}");
        }
        if reasons.is_empty() {
            text.push_str("    no pool is for this type of device\n");
        }
    }
    text
}

fn remarks(entry: &Entry) -> String {
    let held = entry.held.as_ref().map(|held| format!("  ({held})")).unwrap_or_default();
    if entry.healthy { held } else { format!("{held}  UNHEALTHY: {}", entry.causes) }
}
