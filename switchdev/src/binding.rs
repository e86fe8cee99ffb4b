//! Giving a VF to a pod, and taking it back exactly as it was.
//!
//! What is to be done is planned, recorded in the [ledger](crate::ledger) and only then done. Giving back goes by what the
//! VF was before ([`VfState`], captured before the first step) and what it is now, so that it comes
//! to the same end wherever the way there was cut off, and whatever the pod or the kernel did to the
//! VF meanwhile.

mod external;
mod state;

pub use external::{External, ExternalError, ExternalStep, NoExternal};
pub use state::{
    Address, FunctionState, LegacyState, NetdevState, RateState, RepresentorState, VfPlace, VfState,
};
