//! What the ledger's users rely on.

use std::fs;

use super::*;
use crate::binding::{VfPlace, VfState};
use crate::eswitch::EswitchMode;
use crate::phys_port::VfIndex;

pub(super) const NO_WAIT: Duration = Duration::ZERO;

pub(super) fn vf(function: u8) -> PciAddress {
    PciAddress::new(0, 1, 0x10, function).unwrap()
}

pub(super) fn reservation() -> Reservation {
    Reservation { resource: "linerate.dev/underlay".to_owned() }
}

pub(super) fn record(phase: Phase) -> Record {
    let pod = Pod { namespace: "default".into(), name: "web".into(), uid: String::new() };
    Record {
        phase,
        holder: Holder {
            container: "c1".into(),
            ifname: "net1".into(),
            netns: "/run/netns/web".into(),
            netns_id: None,
            network: "underlay".into(),
            pod: Some(pod),
        },
        boot: "a-boot".into(),
        place: VfPlace {
            pf: "0000:01:00.0".parse().unwrap(),
            index: VfIndex(0),
            mode: EswitchMode::Switchdev,
        },
        original: VfState::default(),
        steps: vec!["np0v0: down".into()],
        external: Vec::new(),
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().join("ledger")).unwrap();
    (dir, ledger)
}

fn files(ledger: &Ledger) -> Vec<String> {
    let mut names = OsDisk.list(ledger.dir()).unwrap();
    names.sort();
    names
}

#[test]
fn reservation_and_record_come_and_go_by_themselves() {
    let (_dir, ledger) = ledger();
    ledger.reserve(vf(0), reservation(), NO_WAIT).unwrap();
    ledger.lock(vf(0), NO_WAIT).unwrap().record(record(Phase::Bound)).unwrap();
    let entry = ledger.entry(vf(0)).unwrap().unwrap();
    assert_eq!(
        entry.to_string(),
        "0000:01:10.0: bound to pod default/web as net1, linerate.dev/underlay"
    );
    ledger.lock(vf(0), NO_WAIT).unwrap().forget().unwrap();
    let entry = ledger.entry(vf(0)).unwrap().unwrap();
    assert_eq!(entry.to_string(), "0000:01:10.0: free, linerate.dev/underlay");
    ledger.unreserve(vf(0), NO_WAIT).unwrap();
    assert_eq!(ledger.entry(vf(0)).unwrap(), None);
    assert!(files(&ledger).is_empty(), "{:?}", files(&ledger));
}

#[test]
fn what_is_written_is_read() {
    let (_dir, ledger) = ledger();
    for phase in [Phase::Binding, Phase::Bound, Phase::Releasing] {
        ledger.lock(vf(0), NO_WAIT).unwrap().record(record(phase)).unwrap();
        assert_eq!(ledger.entry(vf(0)).unwrap().unwrap().record, Some(record(phase)));
    }
}

#[test]
fn a_corrupt_entry_is_an_error_for_its_vf_only() {
    let (_dir, ledger) = ledger();
    ledger.reserve(vf(0), reservation(), NO_WAIT).unwrap();
    fs::write(ledger.dir().join(format!("{}.json", vf(1))), "{\"version\": 1, \"vf\"").unwrap();
    let entries = ledger.entries().unwrap();
    assert!(entries[&vf(0)].is_ok());
    let error = entries[&vf(1)].as_ref().unwrap_err().to_string();
    assert!(error.contains("/0000:01:10.1.json: EOF while parsing"), "{error}");
    assert!(error.contains("remove the file once the VF is as it should be"), "{error}");
}

fn refusal(text: &str) -> String {
    let (_dir, ledger) = ledger();
    fs::write(ledger.dir().join(format!("{}.json", vf(0))), text).unwrap();
    ledger.entry(vf(0)).unwrap_err().to_string()
}

#[test]
fn the_error_names_the_field() {
    let newer = refusal(r#"{"version": 2, "vf": "0000:01:10.0", "colour": 1}"#);
    assert!(newer.contains("field version is 2, this program knows version 1"), "{newer}");
    let other = refusal(r#"{"version": 1, "checksum": 0, "vf": "0000:01:10.7"}"#);
    assert!(other.contains("field vf is 0000:01:10.7"), "{other}");
    let unknown = refusal(r#"{"version": 1, "vf": "0000:01:10.0", "colour": 1}"#);
    assert!(unknown.contains("unknown field `colour`"), "{unknown}");
    let changed = refusal(r#"{"version": 1, "checksum": 7, "vf": "0000:01:10.0"}"#);
    assert!(changed.contains("field checksum is 7, but the rest of the entry gives"), "{changed}");
}

/// Each byte of an entry changed to any other, or cut off: an error, or the entry as it was.
#[test]
fn no_changed_byte_makes_another_entry() {
    let (_dir, ledger) = ledger();
    ledger.reserve(vf(0), reservation(), NO_WAIT).unwrap();
    ledger.lock(vf(0), NO_WAIT).unwrap().record(record(Phase::Bound)).unwrap();
    let path = ledger.entry_path(vf(0));
    let (sound, before) = (fs::read(&path).unwrap(), ledger.entry(vf(0)).unwrap().unwrap());
    let as_before = |bytes: &[u8]| match entry::parse(vf(0), &path, bytes) {
        Ok(entry) => entry == before,
        Err(error) => error.to_string().contains(&path.display().to_string()),
    };
    for at in 0..sound.len() {
        assert!(as_before(&sound[..at]), "cut off at {at}");
        for byte in 0..=u8::MAX {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            assert!(as_before(&bytes), "byte {at} is {byte}");
        }
    }
}

#[test]
fn a_corrupt_entry_is_not_written_over_but_can_be_discarded() {
    let (_dir, ledger) = ledger();
    let path = ledger.dir().join(format!("{}.json", vf(0)));
    fs::write(&path, "half").unwrap();
    let mut locked = ledger.lock(vf(0), NO_WAIT).unwrap();
    assert!(matches!(locked.record(record(Phase::Bound)), Err(LedgerError::Corrupt { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "half");
    locked.discard().unwrap();
    assert_eq!(locked.entry().unwrap(), None);
}

#[test]
fn one_at_a_time_works_on_a_vf() {
    let (_dir, ledger) = ledger();
    let locked = ledger.lock(vf(0), NO_WAIT).unwrap();
    let error = ledger.lock(vf(0), NO_WAIT).unwrap_err().to_string();
    assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    ledger.lock(vf(1), NO_WAIT).unwrap();
    drop(locked);
    ledger.lock(vf(0), NO_WAIT).unwrap();
    assert!(files(&ledger).is_empty(), "{:?}", files(&ledger));
}

/// Many threads count in a file, with nothing but the lock to keep them apart.
#[test]
fn the_lock_excludes_whoever_waits_for_a_file_that_goes_away() {
    let (dir, ledger) = ledger();
    let count = dir.path().join("count");
    fs::write(&count, "0").unwrap();
    let add = || {
        for _ in 0..25 {
            let _locked = ledger.lock(vf(0), Duration::from_secs(60)).unwrap();
            let before: u32 = fs::read_to_string(&count).unwrap().parse().unwrap();
            std::thread::yield_now();
            fs::write(&count, (before + 1).to_string()).unwrap();
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(add))));
    assert_eq!(fs::read_to_string(&count).unwrap(), "100");
}

#[test]
fn a_lock_whose_owner_was_killed_is_free() {
    let (_dir, ledger) = ledger();
    let path = ledger.dir().join(format!("{}.lock", vf(0)));
    fs::write(&path, "sriov-cni (process 1)\n").unwrap();
    drop(ledger.lock(vf(0), NO_WAIT).unwrap());
    assert!(!path.exists());
}
