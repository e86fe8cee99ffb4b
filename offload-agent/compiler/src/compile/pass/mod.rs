//! The passes, one file each, in the order in which `compile` calls them. Each file says what goes in and what comes out.

pub(super) mod arrive;
pub(super) mod assign_chains;
pub(super) mod assign_prios;
pub(super) mod budget;
pub(super) mod ground;
pub(super) mod hoist;
pub(super) mod legalize;
pub(super) mod nested;
mod overlap;
pub(super) mod reach;
pub(super) mod shield;
pub(super) mod split;
pub(super) mod unfold;
