//! What can go wrong with the ledger itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pci::PciAddress;

/// An entry that could not be read, written or locked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file of the ledger could not be used.
    #[error("ledger: cannot {verb} {path}: {source}{}", remedy(.source), path = path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// An entry is there and makes no sense.
    #[error(
        "ledger entry {path}: {reason}: give the VF back with CNI DEL, which then goes by what the \
         kernel shows and removes the file, or remove the file once the VF is as it should be",
        path = path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which field is wrong, how, and where in the file.
        reason: String,
    },
    /// Somebody else works on the VF.
    #[error(
        "VF {vf} is being worked on by {by} for more than {} s: wait until it is done and try \
         again, or end it", .waited.as_secs()
    )]
    Locked {
        /// The VF.
        vf: PciAddress,
        /// The program and its process number.
        by: String,
        /// How long was waited.
        waited: Duration,
    },
}

impl LedgerError {
    pub(super) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), source }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": run as root",
        io::ErrorKind::StorageFull => ": make room on that file system",
        io::ErrorKind::ReadOnlyFilesystem => ": choose a directory that can be written",
        _ => "",
    }
}
