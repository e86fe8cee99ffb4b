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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use switchdev::PciAddress;
    use switchdev::binding::{VfPlace, VfState};
    use switchdev::eswitch::EswitchMode;
    use switchdev::ledger::{Holder as InPod, Phase, Reservation};
    use switchdev::phys_port::VfIndex;

    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    fn vf() -> PciAddress {
        "0000:01:10.0".parse().unwrap()
    }

    fn record(netns: &str, boot: &str) -> Record {
        Record {
            phase: Phase::Bound,
            holder: InPod {
                container: "c1".into(),
                ifname: "net1".into(),
                netns: netns.into(),
                netns_id: None,
                network: "underlay".into(),
                pod: None,
            },
            boot: boot.to_owned(),
            place: VfPlace { pf: vf(), index: VfIndex(0), mode: EswitchMode::Legacy },
            original: VfState::default(),
            steps: Vec::new(),
            external: Vec::new(),
        }
    }

    /// A ledger in which the VF is reserved, and bound where there is a record.
    fn ledger(record: Option<Record>) -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.reserve(vf(), Reservation { resource: "a.b/c".to_owned() }, NO_WAIT).unwrap();
        if let Some(record) = record {
            ledger.lock(vf(), NO_WAIT).unwrap().record(record).unwrap();
        }
        (dir, ledger)
    }

    fn state(record: Option<Record>) -> State {
        let (_dir, ledger) = ledger(record);
        hold_of(&ledger, &vf().into()).unwrap().state
    }

    #[test]
    fn a_binding_counts_while_its_namespace_and_its_boot_last() {
        let boot = boot_id();
        let bound = State::Bound(Holder("container c1 as net1".to_owned()));
        assert_eq!(state(Some(record("/proc/self/ns/net", &boot))), bound);
        assert_eq!(state(Some(record("/run/netns/none", &boot))), State::Reserved);
        assert_eq!(state(Some(record("/proc/self/ns/net", "another"))), State::Reserved);
        assert_eq!(state(None), State::Reserved);
    }

    proptest! {
        /// A byte changed, cut off or put in: that device is unknown or what it was, and no other is held.
        #[test]
        fn a_corrupted_entry_is_no_other_device(at in 0..400usize, with: u8, cut: bool) {
            let (dir, ledger) = ledger(Some(record("/proc/self/ns/net", &boot_id())));
            let path = dir.path().join(format!("{}.json", vf()));
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = with }
            fs::write(&path, &bytes).unwrap();
            let holds = holds(&ledger).unwrap();
            prop_assert!(holds.keys().all(|device| *device == DeviceId::from(vf())));
            if let Some(Hold { state: State::Unknown(why), .. }) = holds.get(&DeviceId::from(vf())) {
                prop_assert!(why.contains(&path.display().to_string()), "{}", why);
            }
        }
    }
}
