//! Network namespaces: told apart, found again, and entered for the time of a call.
//!
//! A runtime names a pod's namespace by a path. The path may go while processes of the pod still hold
//! the namespace, and may come to name another, so a namespace is known by the device and inode
//! number of its file (`ioctl_ns(2)`, `namespaces(7)`).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::netlink::NetlinkError;

/// A network namespace: the device and inode numbers of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetnsId {
    /// The device number of the kernel's file system for namespaces.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// This thread's own.
const OWN: &str = "/proc/thread-self/ns/net";

/// The network namespace of this thread.
///
/// # Errors
/// As `open(2)`, without `/proc`.
pub fn own() -> io::Result<File> {
    File::open(OWN)
}

/// The namespace at `path`; `None` where nothing is, or something that is no namespace: what a
/// runtime leaves of a path after it has unmounted the namespace is an empty file.
///
/// # Errors
/// As `open(2)`, but for a file that is not there.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if is_gone(&error) => return Ok(None),
        file => file?,
    };
    Ok(is_namespace(&file)?.then_some(file))
}

/// Which namespace a file is.
///
/// # Errors
/// As `fstat(2)`.
pub fn id(file: &File) -> io::Result<NetnsId> {
    let metadata = file.metadata()?;
    Ok(NetnsId { dev: metadata.dev(), ino: metadata.ino() })
}

/// The namespace `wanted`, by its path or, where that names it no more, by any process in it.
///
/// # Errors
/// As [`open`].
pub fn find(path: &Path, wanted: Option<NetnsId>) -> io::Result<Option<File>> {
    let named = open(path)?;
    let Some(wanted) = wanted else { return Ok(named) };
    match named {
        Some(file) if id(&file)? == wanted => Ok(Some(file)),
        _ => of_a_process(wanted),
    }
}

/// Processes come and go while this looks.
fn of_a_process(wanted: NetnsId) -> io::Result<Option<File>> {
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Ok(Some(file)) = open(&process.path().join("ns/net")) else { continue };
        if id(&file).is_ok_and(|found| found == wanted) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Calls a function in the namespace. What it opens stays there; the thread does not.
pub(crate) fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    call: impl FnOnce() -> T + Send,
) -> Result<T, NetlinkError> {
    let entered = || {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(call())
    };
    // A thread of its own: a thread that failed to come back would be in the wrong place for good.
    let called = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, entered)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the call ended early")))
    });
    called.map_err(|source| NetlinkError::Socket {
        request: "entering the pod's network namespace".to_owned(),
        source,
    })
}

fn is_namespace(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == NSFS_MAGIC)
}

fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_found_again_by_any_process_in_it() {
        let ours = id(&own().unwrap()).unwrap();
        let found = find(Path::new("/no/such/path"), Some(ours)).unwrap().unwrap();
        assert_eq!(id(&found).unwrap(), ours);
    }

    #[test]
    fn an_empty_file_where_a_namespace_was_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).unwrap().is_none());
        assert!(open(Path::new("/no/such/path")).unwrap().is_none());
    }

    #[test]
    fn a_path_that_names_another_namespace_does_not_count() {
        let other = NetnsId { dev: 0, ino: 0 };
        assert!(find(Path::new(OWN), Some(other)).unwrap().is_none());
        assert!(find(Path::new(OWN), None).unwrap().is_some());
    }
}
