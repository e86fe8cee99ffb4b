//! The kernel and the card: inventory, SR-IOV, devlink, representors, TC.
