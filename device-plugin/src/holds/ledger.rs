//! The ledger's word on the devices of this node.

use std::collections::BTreeMap;
use std::fs;

use switchdev::ledger::{Entry, Ledger, LedgerError, Record};
use switchdev::netns;

use super::{Hold, Holder, State};
use crate::device::DeviceId;

/// The kernel's name for this boot. What was recorded under another one is gone.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the ledger holds. An entry that cannot be read is a hold of unknown state, and no error.
///
/// # Errors
/// When the directory cannot be listed.
pub fn holds(ledger: &Ledger) -> Result<BTreeMap<DeviceId, Hold>, LedgerError> {
    let boot = boot_id();
    let entries = ledger.entries()?.into_iter();
    let held = entries.filter_map(|(vf, entry)| Some((DeviceId::from(vf), hold(entry, &boot)?)));
    Ok(held.collect())
}

/// What the ledger says of one device; an auxiliary device is none of its.
#[must_use]
pub fn hold_of(ledger: &Ledger, device: &DeviceId) -> Option<Hold> {
    let entry = ledger.entry(device.address()?).transpose()?;
    hold(entry, &boot_id())
}

fn hold(entry: Result<Entry, LedgerError>, boot: &str) -> Option<Hold> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => {
            return Some(Hold { resource: None, state: State::Unknown(error.to_string()) });
        }
    };
    let resource = entry.reservation.as_ref().and_then(|reserved| reserved.resource.parse().ok());
    let bound = entry.record.filter(|record| is_live(record, boot));
    let state = match (bound, entry.reservation) {
        (Some(record), _) => State::Bound(Holder(record.holder.to_string())),
        (None, Some(_)) => State::Reserved,
        (None, None) => return None,
    };
    Some(Hold { resource, state })
}

/// Whether there is still a pod behind a record. After another boot there is none, and none whose
/// network namespace has gone; the CNI takes back what they left when the device is used again.
fn is_live(record: &Record, boot: &str) -> bool {
    // A namespace that cannot be looked for may be there.
    let found = netns::find(&record.holder.netns, record.holder.netns_id);
    record.boot == boot && found.map_or(true, |netns| netns.is_some())
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}
