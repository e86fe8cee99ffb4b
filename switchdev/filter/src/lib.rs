//! TC flower filters as values: keys, masks, actions, and their `tc` text.
//!
//! A [`Filter`] is what a card executes: it hangs on an [`Attach`] point, in a chain, at a prio,
//! with a handle; a [`FlowerMatch`] says which packets it takes and its [`Action`]s say what
//! happens to them. Everything here is a value: no I/O, no netlink, no clock. The compiler makes
//! these values, `switchdev::tc` carries them to the kernel and back.

pub mod action;
#[cfg(any(test, feature = "any"))]
pub mod any;
mod attach;
mod cookie;
mod filter;
mod geneve;
mod mac;
mod mask;
mod number;

pub mod key;
pub mod text;

pub use action::Action;
pub use attach::Attach;
pub use cookie::{Cookie, CookieTooLong};
pub use filter::{Filter, FilterId, HwPolicy, InHw};
pub use geneve::{GENEVE_OPTIONS_MAX_BYTES, GeneveOption, GeneveOptionError, GeneveOptionMatch};
pub use key::FlowerMatch;
pub use mac::{Mac, MacError};
pub use mask::{Bits, Masked};
pub use number::{
    BlockId, ChainId, CtZone, EtherType, Handle, IfIndex, IpProto, OutOfRange, Pcp, Prio,
    TunnelKeyId, VlanId,
};
pub use text::{FilterText, IfNames, Numbered, TextError};
