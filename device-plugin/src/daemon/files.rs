//! "A file of interest may have changed": inotify on kubelet's directories and the configuration's.
//!
//! Directories are watched rather than files, because kubelet makes its socket anew and a ConfigMap is
//! changed by turning a link. Those that are not there yet are found by the clock, as is all that inotify
//! cannot see, a bind mount that was replaced say.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::sync::watch;

use super::Settings;
use crate::kubelet::Mode;

/// A burst of changes is one.
const BURST: Duration = Duration::from_millis(20);

/// Counts up with every change, by a thread of its own that blocks on them and ends with the process.
pub(super) fn watch(settings: &Settings) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    let dirs = dirs(settings);
    std::thread::spawn(move || {
        if let Err(error) = follow(&dirs, &sender) {
            tracing::warn!("inotify: {error}; files are looked at by the clock only");
        }
        // The receivers wait for changes that do not come, instead of being told that none can.
        while !sender.is_closed() {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    receiver
}

fn dirs(settings: &Settings) -> Vec<PathBuf> {
    let kubelet = &settings.kubelet;
    let config = settings.config.parent().filter(|dir| !dir.as_os_str().is_empty());
    let config = config.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let sockets = [Mode::Watcher, Mode::Register].map(|mode| kubelet.sockets(mode));
    sockets.into_iter().chain([kubelet.root().to_owned(), config]).collect()
}

fn follow(dirs: &[PathBuf], sender: &watch::Sender<u64>) -> io::Result<()> {
    let events = inotify::init(CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE_SELF;
    for dir in dirs {
        // One that is not there is found by the clock.
        let _ = inotify::add_watch(&events, dir, flags);
    }
    while !sender.is_closed() {
        take(&events)?;
        sender.send_modify(|count| *count += 1);
        std::thread::sleep(BURST);
    }
    Ok(())
}

/// Waits for events and takes them; what they say is found out by looking.
fn take(events: &OwnedFd) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    match rustix::io::read(events, &mut buffer) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
