//! The passes, one file each, in the order in which `compile` calls them. Each file says what goes in and what comes out.

pub(super) mod assign_chains;
pub(super) mod assign_prios;
pub(super) mod ground;
pub(super) mod legalize;
pub(super) mod reach;
pub(super) mod resolve;
pub(super) mod shield;
pub(super) mod simplify;
pub(super) mod specialize;
pub(super) mod split;
