//! Giving a VF to a pod, and taking it back exactly as it was.
//!
//! [`Binder::bind`] looks at the VF, plans the steps ([`plan`]), records them in the
//! [ledger](crate::ledger) with what the VF was ([`VfState`]), and only then takes the first.
//! [`Binder::release`] goes by that state and what it finds ([`restore`]), not by which steps were taken:
//! so it comes to the same end wherever the way was cut off, and whatever the pod or the kernel did
//! to the VF meanwhile. [`Binder::collect`] does it for pods that nobody gave the VF back for.
//! Both planners are pure, and finding nothing left to do is the proof that it is done.
//!
//! ```no_run
//! use std::time::Duration;
//! use switchdev::Sysfs;
//! use switchdev::binding::{Binder, KernelNode, NoExternal, Wish};
//! use switchdev::ledger::{DEFAULT_DIR, Holder, Ledger};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (ledger, vf) = (Ledger::open(DEFAULT_DIR)?, "0000:01:10.0".parse()?);
//! let mut node = KernelNode::new(Sysfs::default());
//! let mut binder = Binder {
//!     ledger: &ledger,
//!     node: &mut node,
//!     external: &mut NoExternal,
//!     wait: Duration::from_secs(60),
//! };
//! let holder = Holder {
//!     container: "c1".to_owned(),
//!     ifname: "net1".to_owned(),
//!     netns: "/run/netns/pod".into(),
//!     netns_id: None,
//!     network: "underlay".to_owned(),
//!     pod: None,
//! };
//! let bound = binder.bind(vf, holder, &Wish::default(), |_| Ok(Vec::new()))?;
//! println!("{} has {}", bound.record.holder, bound.observed.place);
//! println!("{}", binder.release(vf, &bound.record.holder)?);
//! # Ok(())
//! # }
//! ```
//!
//! What keeps a pod to its own MAC address: in legacy mode the spoof check, which is on unless the
//! wish says otherwise, and the address pinned on the PF, which a VF that is not trusted cannot
//! change. In switchdev mode neither exists; the port function's address is what the card gives
//! the VF, and what comes out of the representor is the bridge's to judge.

mod address;
mod bind;
mod change;
mod collect;
mod error;
mod external;
mod fake;
mod fault;
mod host;
mod kernel;
mod plan;
mod release;
mod restore;
mod state;
#[cfg(test)]
mod tests;
mod traced;

use std::time::Duration;

pub use bind::Bound;
pub use change::{Change, Side, temporary_name};
pub use collect::Collected;
pub use error::{BindError, ReleaseError, UndoReport, WishError};
pub use external::{External, ExternalError, ExternalStep, NoExternal, ReadEntries};
pub use fake::{FakeNode, FakeVf};
pub use fault::{FaultyDisk, FaultyExternal, FaultyNode, Fuse, Mishap};
pub use host::{Host, Node, Observed};
pub use kernel::{KernelHost, KernelNode};
pub use plan::{VlanWish, Wish, plan};
pub use release::Released;
pub use restore::restore;
pub use state::{
    FunctionState, LegacyState, NetdevState, RateState, RepresentorState, VfPlace, VfState,
};
pub use traced::TracedNode;

use crate::ledger::Ledger;

/// What a binding works with.
pub struct Binder<'a> {
    /// Where it is recorded.
    pub ledger: &'a Ledger,
    /// The node the VFs are on.
    pub node: &'a mut dyn Node,
    /// Who takes the steps that are not the kernel's.
    pub external: &'a mut dyn External,
    /// How long to wait for others who work on the same VF.
    pub wait: Duration,
}

impl std::fmt::Debug for Binder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binder").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
