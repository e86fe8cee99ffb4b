//! The lock of one VF: a file that is there, and locked, while somebody works on the VF.
//!
//! It is `flock(2)`'s, which the kernel takes away from a process that dies. The file goes when the
//! lock does, so that a VF given back leaves nothing behind; whoever waited for a file that has gone
//! meanwhile takes the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::LedgerError;
use crate::pci::PciAddress;

/// Between two tries; a binding takes some milliseconds.
const POLL: Duration = Duration::from_millis(5);

/// The lock of a VF, until it is dropped.
#[derive(Debug)]
pub struct VfLock {
    path: PathBuf,
    /// The kernel unlocks it when it is closed, after `drop` has removed its name.
    _file: File,
}

impl VfLock {
    pub(super) fn take(path: &Path, vf: PciAddress, wait: Duration) -> Result<Self, LedgerError> {
        let deadline = Instant::now() + wait;
        loop {
            let file = try_once(path).map_err(|source| LedgerError::io("lock", path, source))?;
            if let Some(file) = file {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
            if Instant::now() >= deadline {
                return Err(LedgerError::Locked { vf, by: holder(path), waited: wait });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for VfLock {
    fn drop(&mut self) {
        // A name that stays is in nobody's way: the next one to lock the VF takes it over.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `None` while another has it, or has just had it.
fn try_once(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    if !is_still_called(&file, path) {
        return Ok(None);
    }
    // A disk that is full keeps nobody from giving a VF back.
    let _ = sign(&mut file);
    Ok(Some(file))
}

fn is_still_called(file: &File, path: &Path) -> bool {
    let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(named)) => id(ours) == id(named),
        _ => false,
    }
}

/// Says who has it, for the error of those who wait in vain.
fn sign(file: &mut File) -> io::Result<()> {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    file.set_len(0)?;
    file.write_all(format!("{} (process {})\n", name.trim(), std::process::id()).as_bytes())
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), name) if !name.is_empty() => name.to_owned(),
        _ => "another process".to_owned(),
    }
}
