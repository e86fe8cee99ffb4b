//! Files that another program may read at any moment: whole or not there.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file that could not be put where others look for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; the directory must be writable for this program", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel answered.
    pub source: io::Error,
}

/// Puts `bytes` at `path` by way of a file beside it, synced and then renamed.
pub(super) fn atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    write(path, bytes, mode).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A leading dot keeps it out of what others list. One that was left behind may be read-only.
    let beside = dir.join(format!(".{name}.new"));
    let _ = fs::remove_file(&beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), WriteError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(WriteError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// All that is in a directory; nothing where it is not there.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, WriteError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(WriteError { path: dir.to_owned(), source }),
    }
}
