//! The disk as the ledger needs it, so that tests can cut its power.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A file system, in the calls that decide what outlives a power cut.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it, for root only. One that is there is left alone.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// What a file holds; `None` where there is none.
    ///
    /// # Errors
    /// As `read(2)`.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// As `readdir(3)`.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a file that holds `bytes`, or overwrites one. Nothing of it is on the disk yet.
    ///
    /// # Errors
    /// As `open(2)` and `write(2)`.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Returns when a file's content, or a directory's names, are on the disk.
    ///
    /// # Errors
    /// As `fsync(2)`.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step, instead of what had that name.
    ///
    /// # Errors
    /// As `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. One that is not there is no error.
    ///
    /// # Errors
    /// As `unlink(2)`.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug, Clone, Copy)]
pub struct OsDisk;

/// Entries name pods and their settings, which are nobody else's business.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

impl Disk for OsDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        found(fs::read(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        fs::read_dir(dir)?.map(|entry| entry.map(name)).collect()
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(path);
        io::Write::write_all(&mut file?, bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        found(fs::remove_file(path)).map(drop)
    }
}

fn found<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}
