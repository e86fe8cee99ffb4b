//! Rulesets and packets by chance: small ones that mix everything, and pipelines as network systems write them.

pub(crate) mod mixed;
pub(crate) mod overlay;
pub(crate) mod packets;
pub(crate) mod real;
pub(crate) mod shared;

use flow_compiler::openflow::Ruleset;
use flow_compiler::ports::PortMap;

/// The addresses of hosts begin here: `02:00:00:00:00:0a` is host 10.
pub(crate) const HOSTS: u64 = 0x0200_0000_0000;

/// A ruleset with the ports it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Where it comes from.
    pub(crate) name: String,
    pub(crate) ports: PortMap,
    pub(crate) ruleset: Ruleset,
}
