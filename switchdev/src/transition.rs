//! Taking a card from one state to another: planned, shown, done, verified, taken back.
//!
//! [`plan`] is pure: from what is observed of a card and what is wanted of it, the list of
//! [`Step`]s, each with the step that takes it back. Everything that can be refused is refused here,
//! before the first change. [`apply`] takes the steps; when one fails, it takes back those before it,
//! last first, and goes on past what cannot be taken back, so that its error tells all of it.
//! Planning again afterwards and finding nothing to do is the proof that the card is as wanted.
//!
//! ```no_run
//! use switchdev::Sysfs;
//! use switchdev::transition::{Card, KernelCard, Wanted, apply, plan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Four VFs in switchdev mode, each bound to the driver "nicsim".
//! let wanted = Wanted { vf_driver: Some("nicsim".to_owned()), ..Wanted::switchdev(4) };
//! let mut card = KernelCard::open(Sysfs::default(), "0000:01:00.0")?;
//! let plan = plan(&card.observe()?, &wanted)?;
//! print!("{plan}");
//! apply(&mut card, &plan, &wanted)?;
//! for (vf, representor) in card.representors()? {
//!     println!("VF {vf}: {representor}");
//! }
//! # Ok(())
//! # }
//! ```

mod apply;
mod change;
mod kernel;
mod plan;
mod projection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use apply::{ApplyError, apply};
pub use change::{Change, OffloadPort, Plan, Step};
pub use kernel::KernelCard;
pub use plan::plan;

use crate::error::CardError;
use crate::eswitch::{EncapMode, EswitchMode, InlineMode};
use crate::inventory::Pf;

/// What is wanted of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How many VFs.
    pub vfs: u16,
    /// How the e-switch forwards.
    pub mode: EswitchMode,
    /// What it inlines; `None` leaves it as it is.
    pub inline_mode: Option<InlineMode>,
    /// Whether it tunnels; `None` leaves it as it is.
    pub encap_mode: Option<EncapMode>,
    /// The only driver of every VF; `None` leaves that to the kernel.
    pub vf_driver: Option<String>,
    /// Whether `hw-tc-offload` is on, on the uplink and all representors. In legacy mode it is left
    /// as it is.
    pub hw_tc_offload: bool,
    /// What to do with a PF that carries the node's default route.
    pub default_route: DefaultRoute,
}

/// What to do with a PF that carries the node's default route: a change of mode takes its link away
/// for seconds, or for good when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRoute {
    /// Leave it alone.
    Refuse,
    /// Change it all the same.
    Accept,
}

impl Wanted {
    /// A card ready for offload: `vfs` VFs in switchdev mode, `hw-tc-offload` on.
    #[must_use]
    pub fn switchdev(vfs: u16) -> Self {
        Self {
            vfs,
            mode: EswitchMode::Switchdev,
            inline_mode: None,
            encap_mode: None,
            vf_driver: None,
            hw_tc_offload: true,
            default_route: DefaultRoute::Refuse,
        }
    }

    /// A card that bridges on its own, with `vfs` VFs.
    #[must_use]
    pub fn legacy(vfs: u16) -> Self {
        Self { mode: EswitchMode::Legacy, hw_tc_offload: false, ..Self::switchdev(vfs) }
    }
}

/// What is observed of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The PF with its VFs, and its e-switch where it has one.
    pub pf: Pf,
    /// Whether `hw-tc-offload` is on, for the uplink and the representors there are.
    pub hw_tc_offload: BTreeMap<OffloadPort, bool>,
    /// The netdev of the PF, or the one stacked on it, that carries a default route.
    pub default_route: Option<String>,
}

/// A card that can be looked at and changed. The kernel's is [`KernelCard`].
pub trait Card {
    /// Reads the card's state.
    ///
    /// # Errors
    /// [`CardError`].
    fn observe(&mut self) -> Result<Observed, CardError>;

    /// Makes one change and checks that it was made. A card that is so already is left alone.
    ///
    /// # Errors
    /// [`CardError`].
    fn change(&mut self, change: &Change) -> Result<(), CardError>;
}
