//! The one door to sysfs: every path starts at a root, which tests make a temporary directory.
//!
//! Sysfs says "there is no such thing" in many ways: a missing file, and `EINVAL`, `EOPNOTSUPP` or
//! `ENODEV` from a file that is there (the `speed` of a link that is down, the `phys_port_name` of
//! a plain card, any attribute of a card that has just been pulled). All of them read as `None`
//! here. What is there but makes no sense is an error that names the path, the value, and what
//! would be right.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::io::Errno;

use crate::pci::PciAddress;

/// A sysfs tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysfs {
    root: PathBuf,
}

/// What can go wrong with a sysfs file.
#[derive(Debug, thiserror::Error)]
pub enum SysfsError {
    /// The file holds something the kernel does not write there.
    #[error("{path} holds {value:?}: expected {wanted}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// The file must be there, and is not.
    #[error("{path} does not exist: expected {wanted}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The file could not be read.
    #[error("cannot read {path}: {source}{}", remedy(.source), path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel or the driver did not take the value.
    #[error("cannot write {value:?} to {path}: {source}{}", remedy(.source), path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The value refused.
        value: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// What to do about an error, where there is but one thing to do.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": run as root",
        io::ErrorKind::ReadOnlyFilesystem => ": /sys is mounted read-only, run privileged",
        _ => "",
    }
}

impl SysfsError {
    /// Whether the kernel refused for lack of privilege.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Malformed { .. } | Self::Missing { .. } => false,
        }
    }
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/sys")
    }
}

impl Sysfs {
    /// The tree at `root`; `/sys` is [`Sysfs::default`].
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `relative` to the root.
    #[must_use]
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The directory that lists all PCI functions.
    #[must_use]
    pub fn pci_devices(&self) -> PathBuf {
        self.path("bus/pci/devices")
    }

    /// A PCI function's directory.
    #[must_use]
    pub fn pci_device(&self, address: PciAddress) -> PathBuf {
        self.pci_devices().join(address.to_string())
    }

    /// The directory that lists the netdevs of this network namespace.
    #[must_use]
    pub fn net_devices(&self) -> PathBuf {
        self.path("class/net")
    }

    /// A netdev's directory.
    #[must_use]
    pub fn net_device(&self, name: &str) -> PathBuf {
        self.net_devices().join(name)
    }
}

/// What `path` holds without its final newline, or `None` where there is no such value.
pub(crate) fn read(path: &Path) -> Result<Option<String>, SysfsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())),
        Err(source) if means_absent(&source) => Ok(None),
        Err(source) => Err(SysfsError::Read { path: path.to_owned(), source }),
    }
}

/// What `path` holds, as a `T`. An empty file is no value, as for the `phys_switch_id` of a card
/// without one.
pub(crate) fn read_as<T: FromStr>(
    path: &Path,
    wanted: &'static str,
) -> Result<Option<T>, SysfsError> {
    let Some(value) = read(path)?.filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(SysfsError::Malformed { path: path.to_owned(), value, wanted }),
    }
}

/// As [`read_as`], for a value that must be there.
pub(crate) fn require<T: FromStr>(path: &Path, wanted: &'static str) -> Result<T, SysfsError> {
    read_as(path, wanted)?.ok_or_else(|| SysfsError::Missing { path: path.to_owned(), wanted })
}

/// Writes `value` in one `write` call, as sysfs stores want it.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), SysfsError> {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes())).map_err(|source| {
        SysfsError::Write { path: path.to_owned(), value: value.to_owned(), source }
    })
}

/// The last part of the link at `path`: the driver's name for `driver`, the group's number for
/// `iommu_group`.
pub(crate) fn link_name(path: &Path) -> Result<Option<String>, SysfsError> {
    match fs::read_link(path) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(source) if means_absent(&source) => Ok(None),
        Err(source) => Err(SysfsError::Read { path: path.to_owned(), source }),
    }
}

/// The names in the directory `path`, sorted; none where there is no such directory.
pub(crate) fn list(path: &Path) -> Result<Vec<String>, SysfsError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(source) if means_absent(&source) => return Ok(Vec::new()),
        Err(source) => return Err(SysfsError::Read { path: path.to_owned(), source }),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let names: io::Result<Vec<String>> = entries.map(|entry| entry.map(name)).collect();
    let mut names = match names {
        // The directory went away while it was read.
        Err(source) if means_absent(&source) => return Ok(Vec::new()),
        names => names.map_err(|source| SysfsError::Read { path: path.to_owned(), source })?,
    };
    names.sort();
    Ok(names)
}

fn means_absent(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(
            Errno::NOENT
                | Errno::NODEV
                | Errno::NXIO
                | Errno::INVAL
                | Errno::OPNOTSUPP
                | Errno::NOTDIR
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mtu");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn a_value_is_read_without_its_newline() {
        let (_dir, path) = file("1500\n");
        assert_eq!(read_as::<u32>(&path, "a number").unwrap(), Some(1500));
    }

    #[test]
    fn a_file_that_is_not_there_or_empty_is_no_value() {
        let (dir, path) = file("\n");
        assert_eq!(read_as::<u32>(&path, "a number").unwrap(), None);
        assert_eq!(read_as::<u32>(&dir.path().join("speed"), "a number").unwrap(), None);
    }

    #[test]
    fn nonsense_is_an_error_with_path_value_and_what_is_right() {
        let (_dir, path) = file("many\n");
        let error = read_as::<u32>(&path, "a number of bytes").unwrap_err().to_string();
        assert_eq!(error, format!("{} holds \"many\": expected a number of bytes", path.display()));
    }

    #[test]
    fn a_store_never_creates_a_file() {
        let (dir, _) = file("");
        let path = dir.path().join("sriov_numvfs");
        assert!(write(&path, "4").unwrap_err().to_string().starts_with("cannot write \"4\" to "));
        assert!(!path.exists());
    }
}
