//! The VF ledger: who has which VF, what it was before, and what was being done to it.
//!
//! One small file for each VF, named by its PCI address, in one directory. It is the one state that
//! device plugin, CNI and agent share on a node. A file is written beside its place, synced, renamed
//! into it, and the directory synced, so that a reader sees the old entry or the new one, never half
//! of either, and what was recorded outlives a power cut. Whoever changes an entry holds the VF's
//! lock meanwhile; whoever only looks needs none.
//!
//! ```text
//! /var/lib/linerate/ledger/0000:01:10.0.json     the entry
//! /var/lib/linerate/ledger/0000:01:10.0.lock     there while somebody works on the VF
//! /var/lib/linerate/ledger/0000:01:10.0.new      there while the entry is written
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//! use switchdev::ledger::{Ledger, Reservation};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ledger = Ledger::open(switchdev::ledger::DEFAULT_DIR)?;
//! let reservation = Reservation { resource: "linerate.dev/underlay".to_owned() };
//! ledger.reserve("0000:01:10.0".parse()?, reservation, Duration::from_secs(5))?;
//! for (vf, entry) in ledger.entries()? {
//!     match entry {
//!         Ok(entry) => println!("{entry}"),
//!         Err(error) => println!("{vf}: {error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A VF's life, as its entry tells it; either part may be there without the other:
//!
//! | part | written by | until |
//! | --- | --- | --- |
//! | [`Reservation`] | the device plugin, when the kubelet allocates the VF | the next one, or [`Ledger::unreserve`] |
//! | [`Record`], phase `binding` | the CNI, before its first step | all steps are taken, or taken back |
//! | … `bound` | the CNI, when ADD has succeeded | DEL, or the collector |
//! | … `releasing` | whoever gives the VF back, before the first step | the VF is as it was |

mod disk;
mod entry;
mod error;
mod lock;
#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use disk::{Disk, OsDisk};
pub use entry::{Entry, Holder, Phase, Pod, Record, Reservation};
pub use error::LedgerError;
pub use lock::VfLock;

use crate::pci::PciAddress;

/// Where the ledger is unless told otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/linerate/ledger";

/// The ledger of a node.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Ledger {
    /// The ledger in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory can be neither found nor made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let (dir, disk) = (dir.into(), OsDisk);
        disk.make_dir(&dir).map_err(|source| LedgerError::io("make", &dir, source))?;
        Ok(Self { dir, disk: Arc::new(disk) })
    }

    /// The same ledger, with its entries on another disk.
    #[must_use]
    pub fn on(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All entries, by address. One that cannot be read is an error for that VF only.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be listed.
    pub fn entries(&self) -> Result<BTreeMap<PciAddress, Result<Entry, LedgerError>>, LedgerError> {
        let names = self.disk.list(&self.dir);
        let names = names.map_err(|source| LedgerError::io("list", &self.dir, source))?;
        let addresses =
            names.iter().filter_map(|name| name.strip_suffix(ENTRY_SUFFIX)?.parse().ok());
        // An entry that has gone since is one that was given back.
        let read = |vf| self.entry(vf).transpose().map(|entry| (vf, entry));
        Ok(addresses.filter_map(read).collect())
    }

    /// The entry of one VF; `None` where it has none.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Corrupt`].
    pub fn entry(&self, vf: PciAddress) -> Result<Option<Entry>, LedgerError> {
        let path = self.entry_path(vf);
        let bytes = self.disk.read(&path);
        let bytes = bytes.map_err(|source| LedgerError::io("read", &path, source))?;
        bytes.map(|bytes| entry::parse(vf, &path, &bytes)).transpose()
    }

    /// Waits at most `wait` until nobody else works on the VF, and keeps all others off until the
    /// answer is dropped.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] naming who has it.
    pub fn lock(&self, vf: PciAddress, wait: Duration) -> Result<LockedVf, LedgerError> {
        let lock = VfLock::take(&self.dir.join(format!("{vf}{LOCK_SUFFIX}")), vf, wait)?;
        let locked = LockedVf { ledger: self.clone(), vf, _lock: lock };
        locked.clear_half_written()?;
        Ok(locked)
    }

    /// The VFs of which something beside an entry is there: a lock, or what a program that was killed
    /// left half written. To lock such a VF and let it go again clears that away.
    ///
    /// # Errors
    /// [`LedgerError::Io`] where the directory cannot be listed.
    pub fn untidy(&self) -> Result<BTreeSet<PciAddress>, LedgerError> {
        let names = self.disk.list(&self.dir);
        let names = names.map_err(|source| LedgerError::io("list", &self.dir, source))?;
        let left = |name: &String| {
            let address = name.strip_suffix(NEW_SUFFIX).or_else(|| name.strip_suffix(LOCK_SUFFIX));
            address?.parse().ok()
        };
        Ok(names.iter().filter_map(left).collect())
    }

    /// Records for which resource the kubelet allocated the VF. The pod that had it before may
    /// still be on its way out; its record stays.
    ///
    /// # Errors
    /// As [`Ledger::lock`], and [`LedgerError::Corrupt`].
    pub fn reserve(
        &self,
        vf: PciAddress,
        reservation: Reservation,
        wait: Duration,
    ) -> Result<(), LedgerError> {
        self.lock(vf, wait)?.change(|entry| entry.reservation = Some(reservation))
    }

    /// Forgets the reservation, as when the VF leaves its pool.
    ///
    /// # Errors
    /// As [`Ledger::reserve`].
    pub fn unreserve(&self, vf: PciAddress, wait: Duration) -> Result<(), LedgerError> {
        self.lock(vf, wait)?.change(|entry| entry.reservation = None)
    }

    fn entry_path(&self, vf: PciAddress) -> PathBuf {
        self.dir.join(format!("{vf}{ENTRY_SUFFIX}"))
    }
}

const ENTRY_SUFFIX: &str = ".json";
const NEW_SUFFIX: &str = ".new";
const LOCK_SUFFIX: &str = ".lock";

/// A VF whose entry nobody else may change.
#[derive(Debug)]
pub struct LockedVf {
    ledger: Ledger,
    vf: PciAddress,
    _lock: VfLock,
}

impl LockedVf {
    /// The VF.
    #[must_use]
    pub fn vf(&self) -> PciAddress {
        self.vf
    }

    /// Its entry.
    ///
    /// # Errors
    /// As [`Ledger::entry`].
    pub fn entry(&self) -> Result<Option<Entry>, LedgerError> {
        self.ledger.entry(self.vf)
    }

    /// Writes what is about to be done to the VF. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; the entry is then as it was. [`LedgerError::Corrupt`].
    pub fn record(&mut self, record: Record) -> Result<(), LedgerError> {
        self.change(|entry| entry.record = Some(record))
    }

    /// Takes the record out: the VF is as it was before. The reservation stays.
    ///
    /// # Errors
    /// As [`LockedVf::record`].
    pub fn forget(&mut self) -> Result<(), LedgerError> {
        self.change(|entry| entry.record = None)
    }

    /// Removes an entry whatever is in it: the way out of [`LedgerError::Corrupt`].
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn discard(&mut self) -> Result<(), LedgerError> {
        let path = self.ledger.entry_path(self.vf);
        let disk = &self.ledger.disk;
        disk.remove(&path).map_err(|source| LedgerError::io("remove", &path, source))?;
        self.sync_dir()
    }

    fn change(&mut self, change: impl FnOnce(&mut Entry)) -> Result<(), LedgerError> {
        let before = self.entry()?;
        let mut entry = before.clone().unwrap_or_else(|| Entry::empty(self.vf));
        change(&mut entry);
        match (before, entry.is_empty()) {
            (None, true) => Ok(()),
            (Some(before), false) if before == entry => Ok(()),
            (_, true) => self.discard(),
            (_, false) => self.write(&entry),
        }
    }

    /// What cannot be written in full is not left lying beside.
    fn write(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.write_beside_and_rename(entry).inspect_err(|_| drop(self.clear_half_written()))
    }

    /// Beside its place, synced, into its place, and the directory synced: each of the four is
    /// needed for an entry to be whole after a power cut, and to be there at all.
    fn write_beside_and_rename(&self, entry: &Entry) -> Result<(), LedgerError> {
        let (path, beside) = (self.ledger.entry_path(self.vf), self.beside());
        let disk = &self.ledger.disk;
        let io = |verb, source| LedgerError::io(verb, &beside, source);
        disk.create(&beside, &entry::text(entry)).map_err(|source| io("write", source))?;
        disk.sync(&beside).map_err(|source| io("sync", source))?;
        disk.rename(&beside, &path).map_err(|source| io("rename", source))?;
        self.sync_dir()
    }

    fn clear_half_written(&self) -> Result<(), LedgerError> {
        let beside = self.beside();
        let removed = self.ledger.disk.remove(&beside);
        removed.map_err(|source| LedgerError::io("remove", &beside, source))
    }

    fn beside(&self) -> PathBuf {
        self.ledger.dir.join(format!("{}{NEW_SUFFIX}", self.vf))
    }

    fn sync_dir(&self) -> Result<(), LedgerError> {
        let (disk, dir) = (&self.ledger.disk, &self.ledger.dir);
        disk.sync(dir).map_err(|source| LedgerError::io("sync", dir, source))
    }
}
