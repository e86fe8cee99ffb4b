//! "A file or socket of interest may have changed": inotify on kubelet's directories and the configuration's.
//!
//! Directories are watched rather than files, because kubelet makes its socket anew and a ConfigMap is
//! changed by turning a link. Those that are not there yet are found by the clock, as is all that inotify
//! cannot see, a bind mount that was replaced say.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::sync::watch;

use super::Settings;
use crate::kubelet::Mode;

/// A burst of changes is one.
const BURST: Duration = Duration::from_millis(20);

/// Each counts up with every change of its kind.
pub(super) struct Changes {
    /// Kubelet's sockets, and ours. They come and go without the node being another.
    pub sockets: watch::Receiver<u64>,
    /// All other files: the configuration, kubelet's checkpoint.
    pub files: watch::Receiver<u64>,
}

struct Senders {
    sockets: watch::Sender<u64>,
    files: watch::Sender<u64>,
}

/// Watches by a thread of its own that blocks on the changes and ends with the process.
pub(super) fn watch(settings: &Settings) -> Changes {
    let (sockets, sockets_changed) = watch::channel(0);
    let (files, files_changed) = watch::channel(0);
    let senders = Senders { sockets, files };
    let dirs = dirs(settings);
    std::thread::spawn(move || {
        if let Err(error) = follow(&dirs, &senders) {
            tracing::warn!("inotify: {error}; files are looked at by the clock only");
        }
        // The receivers wait for changes that do not come, instead of being told that none can.
        while !senders.are_closed() {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    Changes { sockets: sockets_changed, files: files_changed }
}

fn dirs(settings: &Settings) -> Vec<PathBuf> {
    let kubelet = &settings.kubelet;
    let config = settings.config.parent().filter(|dir| !dir.as_os_str().is_empty());
    let config = config.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let sockets = [Mode::Watcher, Mode::Register].map(|mode| kubelet.sockets(mode));
    sockets.into_iter().chain([kubelet.root().to_owned(), config]).collect()
}

fn follow(dirs: &[PathBuf], senders: &Senders) -> io::Result<()> {
    let inotify = inotify::init(CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE_SELF;
    for dir in dirs {
        // One that is not there is found by the clock.
        let _ = inotify::add_watch(&inotify, dir, flags);
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(&inotify, &mut buffer);
    while !senders.are_closed() {
        senders.count(&mut events)?;
        std::thread::sleep(BURST);
    }
    Ok(())
}

/// What kind of thing a file name is, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socket,
    File,
    /// A directory itself went, or the kernel lost count.
    Any,
}

fn kind(name: Option<&CStr>) -> Kind {
    match name.map(CStr::to_bytes) {
        None | Some(b"") => Kind::Any,
        Some(name) if name.ends_with(b".sock") => Kind::Socket,
        Some(_) => Kind::File,
    }
}

impl Senders {
    fn are_closed(&self) -> bool {
        self.sockets.is_closed() && self.files.is_closed()
    }

    /// Waits for events and counts a burst of them as one; what they say is found out by looking.
    fn count<Fd: AsFd>(&self, events: &mut Reader<'_, Fd>) -> io::Result<()> {
        let (mut sockets, mut files) = (false, false);
        loop {
            match events.next() {
                Ok(event) => {
                    let kind = kind(event.file_name());
                    sockets |= kind != Kind::File;
                    files |= kind != Kind::Socket;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if events.is_buffer_empty() {
                break;
            }
        }
        for (changed, counter) in [(sockets, &self.sockets), (files, &self.files)] {
            if changed {
                counter.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_told_from_a_file_by_its_name() {
        assert_eq!(kind(Some(c"kubelet.sock")), Kind::Socket);
        assert_eq!(kind(Some(c"config.json")), Kind::File);
        assert_eq!(kind(Some(c"..data")), Kind::File);
        assert_eq!(kind(None), Kind::Any);
    }

    #[test]
    fn each_change_is_counted_by_its_kind_alone() {
        let dir = tempfile::tempdir().unwrap();
        let inotify = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&inotify, dir.path(), WatchFlags::CREATE).unwrap();
        let (sockets, sockets_changed) = watch::channel(0);
        let (files, files_changed) = watch::channel(0);
        let senders = Senders { sockets, files };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&inotify, &mut buffer);
        for (name, counts) in [("a.sock", (1, 0)), ("b.json", (1, 1)), ("c.sock", (2, 1))] {
            std::fs::write(dir.path().join(name), "").unwrap();
            senders.count(&mut events).unwrap();
            assert_eq!((*sockets_changed.borrow(), *files_changed.borrow()), counts, "{name}");
        }
    }
}
