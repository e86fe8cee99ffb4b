//! Rulesets and packets by chance: small ones that mix everything, pipelines as network systems write them, and some that aim at
//! one thing.

pub(crate) mod aims;
mod aliases;
mod conjunctions;
mod lines;
pub(crate) mod mixed;
mod odd_packets;
pub(crate) mod overlay;
mod own_protocols;
pub(crate) mod packets;
mod port_in_packet;
pub(crate) mod real;
mod recursion;
pub(crate) mod shared;
mod tracked;
mod ttl;
mod tunnel_headers;

use flow_compiler::openflow::Ruleset;
use flow_compiler::ports::PortMap;

use super::chance::Chance;
use super::packet::Spec;

/// The addresses of hosts begin here: `02:00:00:00:00:0a` is host 10.
pub(crate) const HOSTS: u64 = 0x0200_0000_0000;

/// A ruleset with the ports it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Where it comes from.
    pub(crate) name: String,
    pub(crate) ports: PortMap,
    pub(crate) ruleset: Ruleset,
    pub(crate) twists: Twists,
}

/// What packets and connections have that usual ones have not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Twists {
    /// What is done to a packet that has been aimed.
    pub(crate) packet: Option<fn(&mut Chance, &mut Spec)>,
    /// The trace is told that connections are translated.
    pub(crate) translated: bool,
}
