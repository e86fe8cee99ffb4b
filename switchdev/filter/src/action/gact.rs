//! gact: a verdict alone.

use crate::ChainId;

/// A verdict alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gact {
    /// `pass`: classification ends, the packet goes on to the network stack or OVS (`TC_ACT_OK`).
    Pass,
    /// `drop` (`TC_ACT_SHOT`).
    Drop,
    /// `trap`: hardware hands the packet to the CPU; software goes on as if it had passed.
    Trap,
    /// `pipe`: the next action. As a last action it ends classification like `pass`.
    Pipe,
    /// `continue`: the next filter of lower priority (`TC_ACT_UNSPEC`).
    Continue,
    /// `goto chain N`: the first filter of another chain.
    Goto(ChainId),
}
