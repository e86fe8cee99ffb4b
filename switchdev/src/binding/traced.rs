//! A node that tells what it is asked to change and what came of it.

use std::io;
use std::time::{Duration, Instant};

use super::{Change, Host, Node, Observed};
use crate::error::CardError;
use crate::ledger::Holder;
use crate::pci::PciAddress;

/// Hands every look and change, how long it took and what came of it, to a listener.
pub struct TracedNode<N, L> {
    inner: N,
    listener: L,
}

impl<N, L> std::fmt::Debug for TracedNode<N, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TracedNode")
    }
}

impl<N: Node, L: FnMut(&str, Duration, Option<&CardError>)> TracedNode<N, L> {
    /// Wraps `inner`; `listener` gets what was done, how long it took, and why it failed.
    pub fn new(inner: N, listener: L) -> Self {
        Self { inner, listener }
    }
}

struct TracedHost<'a, L> {
    inner: Box<dyn Host + 'a>,
    listener: &'a mut L,
}

impl<N: Node, L: FnMut(&str, Duration, Option<&CardError>)> Node for TracedNode<N, L> {
    fn open(&mut self, vf: PciAddress, holder: &Holder) -> Result<Box<dyn Host + '_>, CardError> {
        Ok(Box::new(TracedHost {
            inner: self.inner.open(vf, holder)?,
            listener: &mut self.listener,
        }))
    }

    fn is_alive(&mut self, holder: &Holder) -> io::Result<bool> {
        self.inner.is_alive(holder)
    }

    fn identify(&mut self, holder: Holder) -> io::Result<Holder> {
        self.inner.identify(holder)
    }

    fn boot(&mut self) -> io::Result<String> {
        self.inner.boot()
    }
}

impl<L: FnMut(&str, Duration, Option<&CardError>)> Host for TracedHost<'_, L> {
    fn observe(&mut self) -> Result<Option<Observed>, CardError> {
        let start = Instant::now();
        let observed = self.inner.observe();
        (self.listener)("look at the VF", start.elapsed(), observed.as_ref().err());
        observed
    }

    fn change(&mut self, change: &Change) -> Result<(), CardError> {
        let start = Instant::now();
        let changed = self.inner.change(change);
        (self.listener)(&change.to_string(), start.elapsed(), changed.as_ref().err());
        changed
    }
}
