//! The border to the node: what a binding asks of it.
//!
//! Small on purpose, so that the real one ([`KernelNode`](super::KernelNode)), the one in memory
//! ([`FakeNode`](super::FakeNode)), and the wrappers that trace and fail are easily kept alike.

use std::io;

use super::{Change, Side, VfPlace, VfState};
use crate::error::CardError;
use crate::ledger::Holder;
use crate::pci::PciAddress;

/// A node with VFs on it.
pub trait Node {
    /// Opens the way between the host and the holder's network namespace, for one VF. A namespace
    /// that is gone is no error: there is nothing on that side then.
    ///
    /// # Errors
    /// What the kernel answers to opening the namespace or its sockets.
    fn open(&mut self, vf: PciAddress, holder: &Holder) -> Result<Box<dyn Host + '_>, CardError>;

    /// Whether the holder's network namespace is still there under its path.
    ///
    /// # Errors
    /// Where that cannot be told.
    fn is_alive(&mut self, holder: &Holder) -> io::Result<bool>;

    /// The holder with the identity of its namespace, where its path names one now.
    ///
    /// # Errors
    /// Where that cannot be told.
    fn identify(&mut self, holder: Holder) -> io::Result<Holder>;

    /// Which boot of the node this is.
    ///
    /// # Errors
    /// Where that cannot be told.
    fn boot(&mut self) -> io::Result<String>;
}

/// One VF, as seen from the host and from a pod.
pub trait Host {
    /// Reads all of the VF's state; `None` where there is no such VF.
    ///
    /// # Errors
    /// [`CardError`].
    fn observe(&mut self) -> Result<Option<Observed>, CardError>;

    /// Makes one change to what was last observed.
    ///
    /// # Errors
    /// [`CardError`]; nothing is changed then, as far as the kernel says.
    fn change(&mut self, change: &Change) -> Result<(), CardError>;
}

/// What is seen of a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The VF.
    pub vf: PciAddress,
    /// Where it is on its card.
    pub place: VfPlace,
    /// Its state, with its netdev on whichever side it is. RDMA devices are the host's.
    pub state: VfState,
    /// The side where the netdev is; `None` where it has none, or on neither.
    pub side: Option<Side>,
    /// Whether the representor has a carrier, which the VF's side gives it with most cards.
    pub carrier: bool,
    /// Whether RDMA devices are in one network namespace only.
    pub rdma_exclusive: bool,
    /// What the VF's netdev is part of on the host: a bond, a bridge.
    pub uppers: Vec<String>,
    /// Whether the pod has a network namespace now.
    pub pod: bool,
    /// Whether a netdev other than the VF's has the wished name in the pod.
    pub name_taken: bool,
}
