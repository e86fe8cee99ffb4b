//! A disk whose power can be cut, and the proof that no cut breaks an entry.
//!
//! It keeps what programs see apart from what is on the platters. A file's content reaches them when
//! it is synced, a directory's names when the directory is; before that, any of it may have
//! arrived, or the first half of it. That is less than any file system of Linux promises.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::tests::{NO_WAIT, record, reservation, vf};
use super::{Disk, Entry, Ledger, Phase};

type Inode = usize;
type Names = BTreeMap<PathBuf, Inode>;

#[derive(Debug, Default)]
struct Platters {
    /// Content by inode: what programs see, and what is surely kept.
    seen: BTreeMap<Inode, Vec<u8>>,
    kept: BTreeMap<Inode, Vec<u8>>,
    /// Names now, and each state of them since they were last synced, the synced one first.
    names: Names,
    history: Vec<Names>,
    calls: usize,
    /// The call before which the power goes.
    cut_at: Option<usize>,
}

/// What of the content that was not synced has reached the platters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsynced {
    Lost,
    Half,
    Arrived,
}

#[derive(Debug, Default)]
struct CutDisk(Mutex<Platters>);

impl CutDisk {
    fn cutting_at(call: usize) -> Arc<Self> {
        let disk = Self::default();
        disk.0.lock().unwrap().cut_at = Some(call);
        Arc::new(disk)
    }

    /// One call that changes something; nothing happens once the power is gone.
    fn call(&self, change: impl FnOnce(&mut Platters)) -> io::Result<()> {
        let mut platters = self.0.lock().unwrap();
        if platters.cut_at == Some(platters.calls) {
            return Err(io::Error::other("the power is gone"));
        }
        platters.calls += 1;
        change(&mut platters);
        Ok(())
    }

    /// Every disk that the machine may find when it starts again.
    fn after_the_cut(&self) -> Vec<Arc<Self>> {
        let platters = self.0.lock().unwrap();
        let names = platters.history.iter().chain([&platters.names]);
        let found = |names: &Names, unsynced| {
            let content = |inode: &Inode| (*inode, platters.content(*inode, unsynced));
            let seen: BTreeMap<_, _> = platters.seen.keys().map(content).collect();
            let names = names.clone();
            Arc::new(Self(Mutex::new(Platters {
                kept: seen.clone(),
                seen,
                names,
                ..Platters::default()
            })))
        };
        let each = [Unsynced::Lost, Unsynced::Half, Unsynced::Arrived];
        names.flat_map(|names| each.map(|unsynced| found(names, unsynced))).collect()
    }
}

impl Platters {
    fn content(&self, inode: Inode, unsynced: Unsynced) -> Vec<u8> {
        let seen = &self.seen[&inode];
        match (unsynced, self.kept.get(&inode)) {
            (_, Some(kept)) if kept == seen => kept.clone(),
            (Unsynced::Arrived, _) => seen.clone(),
            (Unsynced::Half, _) => seen[..seen.len() / 2].to_vec(),
            (Unsynced::Lost, kept) => kept.cloned().unwrap_or_default(),
        }
    }

    fn rename_names(&mut self, change: impl FnOnce(&mut Names)) {
        self.history.push(self.names.clone());
        change(&mut self.names);
    }
}

fn drop_name(names: &mut Names, path: &Path) {
    names.remove(path);
}

impl Disk for CutDisk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let platters = self.0.lock().unwrap();
        Ok(platters.names.get(path).map(|inode| platters.seen[inode].clone()))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(self.0.lock().unwrap().names.keys().map(name).collect())
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(|platters| {
            let new = platters.seen.len();
            let inode = platters.names.get(path).copied().unwrap_or(new);
            platters.seen.insert(inode, bytes.to_vec());
            platters.rename_names(|names| {
                names.insert(path.to_owned(), inode);
            });
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(|platters| match platters.names.get(path).copied() {
            Some(inode) => drop(platters.kept.insert(inode, platters.seen[&inode].clone())),
            None => platters.history.clear(),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|platters| {
            platters.rename_names(|names| {
                let inode = names.remove(from).unwrap();
                names.insert(to.to_owned(), inode);
            });
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|platters| {
            if platters.names.contains_key(path) {
                platters.rename_names(|names| drop_name(names, path));
            }
        })
    }
}

/// A VF's whole life; how many of its states were acknowledged, and all states in order.
fn live(ledger: &Ledger) -> (usize, Vec<Option<Entry>>) {
    let entry = |reserved: bool, phase: Option<Phase>| {
        let mut entry = Entry::empty(vf(0));
        entry.reservation = reserved.then(reservation);
        entry.record = phase.map(record);
        Some(entry)
    };
    let states = vec![
        None,
        entry(true, None),
        entry(true, Some(Phase::Binding)),
        entry(true, Some(Phase::Bound)),
        entry(true, Some(Phase::Releasing)),
        entry(true, None),
        None,
    ];
    let steps: [&dyn Fn() -> Result<(), super::LedgerError>; 6] = [
        &|| ledger.reserve(vf(0), reservation(), NO_WAIT),
        &|| ledger.lock(vf(0), NO_WAIT)?.record(record(Phase::Binding)),
        &|| ledger.lock(vf(0), NO_WAIT)?.record(record(Phase::Bound)),
        &|| ledger.lock(vf(0), NO_WAIT)?.record(record(Phase::Releasing)),
        &|| ledger.lock(vf(0), NO_WAIT)?.forget(),
        &|| ledger.unreserve(vf(0), NO_WAIT),
    ];
    (steps.iter().take_while(|step| step().is_ok()).count(), states)
}

/// After a cut at any call, whatever of what was not synced survived, the entry is the last one that
/// was acknowledged or the one that was being written.
#[test]
fn whenever_the_power_goes_the_entry_is_whole_and_no_older_than_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut cuts = 0;
    loop {
        let disk = CutDisk::cutting_at(cuts);
        let ledger = Ledger::open(dir.path()).unwrap().on(disk.clone());
        let (acknowledged, states) = live(&ledger);
        for found in disk.after_the_cut() {
            let ledger = Ledger::open(dir.path()).unwrap().on(found);
            let entry =
                ledger.entry(vf(0)).unwrap_or_else(|error| panic!("cut at {cuts}: {error}"));
            let next = states.get(acknowledged + 1).unwrap_or(&states[acknowledged]);
            assert!(entry == states[acknowledged] || entry == *next, "cut at {cuts}: {entry:?}");
        }
        if acknowledged + 1 == states.len() {
            break;
        }
        cuts += 1;
    }
    assert_eq!(cuts, 28, "six locks, four calls for each of five writes, two for the removal");
}

/// A cut leaves a file beside the entry's place at most; it is written over the next time.
#[test]
fn what_a_cut_leaves_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    for cut in 0..5 {
        let disk = CutDisk::cutting_at(cut);
        let ledger = Ledger::open(dir.path()).unwrap().on(disk.clone());
        live(&ledger);
        for found in disk.after_the_cut() {
            let ledger = Ledger::open(dir.path()).unwrap().on(found);
            ledger.reserve(vf(0), reservation(), NO_WAIT).unwrap();
            assert_eq!(ledger.entries().unwrap().len(), 1);
        }
    }
}
