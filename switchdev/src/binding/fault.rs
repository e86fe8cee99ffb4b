//! Nodes, external steps and disks that fail on purpose, counted together.
//!
//! A [`Fuse`] counts every call of all that hangs on it. A run for every number finds each place where a
//! failure, or a death, is not thought of.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{Change, External, ExternalError, ExternalStep, Host, Node, Observed, ReadEntries};
use crate::error::CardError;
use crate::ledger::{Disk, Holder, Record};
use crate::pci::PciAddress;
use crate::sysfs::SysfsError;

/// What happens at the call that is counted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It fails, and is not carried out.
    Refused,
    /// It is carried out, and said to have failed.
    AnswerLost,
    /// It and all later ones are not carried out: the process was killed before it.
    Killed,
}

/// Counts calls, and makes one of them fail.
#[derive(Debug, Clone)]
pub struct Fuse {
    mishap: Mishap,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    left: usize,
    fired: Option<String>,
}

impl Fuse {
    /// The `nth` call, counted from 0, meets `mishap`.
    #[must_use]
    pub fn new(nth: usize, mishap: Mishap) -> Self {
        Self { mishap, state: Arc::new(Mutex::new(State { left: nth, fired: None })) }
    }

    /// The call that met it: a run that never reached it ends the search.
    #[must_use]
    pub fn fired(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fired.clone()
    }

    /// Makes the call, or has the mishap.
    fn call<T, E>(
        &self,
        what: &str,
        call: impl FnOnce() -> Result<T, E>,
        error: impl Fn(String) -> E,
    ) -> Result<T, E> {
        let said = format!("{what}: failed on purpose");
        match self.count(what) {
            None => call(),
            Some(Mishap::AnswerLost) => call().and_then(|_| Err(error(said))),
            Some(Mishap::Refused | Mishap::Killed) => Err(error(said)),
        }
    }

    fn count(&self, what: &str) -> Option<Mishap> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fired.is_some() {
            return (self.mishap == Mishap::Killed).then_some(Mishap::Killed);
        }
        if state.left > 0 {
            state.left -= 1;
            return None;
        }
        state.fired = Some(what.to_owned());
        Some(self.mishap)
    }
}

/// A node whose calls are counted.
#[derive(Debug)]
pub struct FaultyNode<N> {
    inner: N,
    fuse: Fuse,
}

impl<N: Node> FaultyNode<N> {
    /// Wraps `inner`.
    pub fn new(inner: N, fuse: Fuse) -> Self {
        Self { inner, fuse }
    }
}

struct FaultyHost<'a> {
    inner: Box<dyn Host + 'a>,
    fuse: Fuse,
}

fn card_error(said: String) -> CardError {
    let source = io::Error::other(said);
    CardError::Sysfs(SysfsError::Read { path: "fault".into(), source })
}

impl<N: Node> Node for FaultyNode<N> {
    fn open(&mut self, vf: PciAddress, holder: &Holder) -> Result<Box<dyn Host + '_>, CardError> {
        let Self { inner, fuse } = self;
        let host = fuse.call("open the VF", || inner.open(vf, holder), card_error)?;
        Ok(Box::new(FaultyHost { inner: host, fuse: fuse.clone() }))
    }

    fn is_alive(&mut self, holder: &Holder) -> io::Result<bool> {
        self.fuse.call("ask for the pod", || self.inner.is_alive(holder), io::Error::other)
    }

    fn identify(&mut self, holder: Holder) -> io::Result<Holder> {
        self.fuse.call("identify the pod", || self.inner.identify(holder), io::Error::other)
    }

    fn boot(&mut self) -> io::Result<String> {
        self.fuse.call("read the boot id", || self.inner.boot(), io::Error::other)
    }
}

impl Host for FaultyHost<'_> {
    fn observe(&mut self) -> Result<Option<Observed>, CardError> {
        self.fuse.call("look at the VF", || self.inner.observe(), card_error)
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        self.fuse.call(&change.to_string(), || self.inner.change(change), card_error)
    }
}

/// External steps whose calls are counted.
#[derive(Debug)]
pub struct FaultyExternal<E> {
    inner: E,
    fuse: Fuse,
}

impl<E: External> FaultyExternal<E> {
    /// Wraps `inner`.
    pub fn new(inner: E, fuse: Fuse) -> Self {
        Self { inner, fuse }
    }
}

impl<E: External> External for FaultyExternal<E> {
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError> {
        self.fuse.call(&step.what, || self.inner.take(step, record), ExternalError::new)
    }

    fn take_back(&mut self, step: &ExternalStep, record: &Record) -> Result<(), ExternalError> {
        let what = format!("take back {}", step.what);
        self.fuse.call(&what, || self.inner.take_back(step, record), ExternalError::new)
    }

    fn mend(&mut self, record: &Record) -> Result<Option<String>, ExternalError> {
        self.fuse.call("mend", || self.inner.mend(record), ExternalError::new)
    }

    fn sweep(&mut self, entries: ReadEntries<'_>) -> Result<Vec<String>, ExternalError> {
        self.fuse.call("sweep", || self.inner.sweep(entries), ExternalError::new)
    }
}

/// A disk whose calls are counted.
#[derive(Debug)]
pub struct FaultyDisk<D> {
    inner: D,
    fuse: Fuse,
}

impl<D: Disk> FaultyDisk<D> {
    /// Wraps `inner`.
    pub fn new(inner: D, fuse: Fuse) -> Self {
        Self { inner, fuse }
    }

    fn call<T>(&self, what: &str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.fuse.call(&format!("{what} of the ledger"), call, io::Error::other)
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("make_dir", || self.inner.make_dir(dir))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call("read", || self.inner.read(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call("list", || self.inner.list(dir))
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call("create", || self.inner.create(path, bytes))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call("sync", || self.inner.sync(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", || self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", || self.inner.remove(path))
    }
}
