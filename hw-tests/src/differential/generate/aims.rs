//! Rulesets that aim at one thing, where mixing everything would meet it too seldom.

use anyhow::Context;
use flow_compiler::openflow::Ruleset;
use flow_compiler::ports::PortMap;

use super::super::chance::Chance;
use super::super::{links, topology};
use super::{Scenario, Twists};
use super::{
    aliases, conjunctions, odd_packets, own_protocols, port_in_packet, recursion, tracked, ttl,
    tunnel_headers,
};

/// Of so many seeds, those that leave one of these rests aim at something.
const AIMED: (u64, [u64; 2]) = (16, [4, 14]);

/// A kind of rulesets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    /// What it is called.
    name: &'static str,
    ruleset: fn(&mut Chance) -> anyhow::Result<Ruleset>,
    ports: fn() -> PortMap,
    twists: Twists,
}

/// On the usual ports, with usual packets.
const fn plain(name: &'static str, ruleset: fn(&mut Chance) -> anyhow::Result<Ruleset>) -> Aim {
    let twists = Twists { packet: None, translated: false };
    Aim { name, ruleset, ports: topology::topology, twists }
}

const AIMS: &[Aim] = &[
    Aim { twists: Twists { packet: None, translated: true }, ..plain("tracked", tracked::ruleset) },
    plain("aliases", aliases::ruleset),
    plain("port-in-packet", port_in_packet::ruleset),
    plain("ttl", ttl::ruleset),
    plain("conjunctions", conjunctions::ruleset),
    plain("recursion", recursion::ruleset),
    Aim {
        ports: links::without_trees,
        twists: Twists { packet: Some(tunnel_headers::twist), translated: false },
        ..plain("tunnel-headers", tunnel_headers::ruleset)
    },
    Aim {
        twists: Twists { packet: Some(odd_packets::twist), translated: false },
        ..plain("odd-packets", odd_packets::ruleset)
    },
    Aim { ports: links::topology, ..plain("own-protocols", own_protocols::ruleset) },
];

impl Aim {
    /// One of its rulesets.
    pub(crate) fn scenario(&self, name: String, chance: &mut Chance) -> anyhow::Result<Scenario> {
        let ruleset = (self.ruleset)(chance).with_context(|| self.name)?;
        let name = format!("{name}, {}", self.name);
        Ok(Scenario { name, ports: (self.ports)(), ruleset, twists: self.twists })
    }
}

/// What the ruleset of a seed aims at, if at anything: each aim in its turn.
pub(crate) fn of(seed: u64) -> Option<&'static Aim> {
    let (every, rests) = AIMED;
    let place = rests.iter().position(|rest| *rest == seed % every)?;
    let turn = seed / every * u64::try_from(rests.len()).ok()? + u64::try_from(place).ok()?;
    AIMS.get(usize::try_from(turn).ok()? % AIMS.len())
}

/// The aim with this name.
pub(crate) fn named(name: &str) -> anyhow::Result<&'static Aim> {
    let names = || AIMS.iter().map(|aim| aim.name).collect::<Vec<_>>().join(", ");
    let found = AIMS.iter().find(|aim| aim.name == name);
    found.with_context(|| format!("--aim {name}: there are {}", names()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_aim_has_its_turn() {
        let met: BTreeSet<&str> = (0..1000).filter_map(of).map(|aim| aim.name).collect();
        assert_eq!(met.len(), AIMS.len());
    }

    #[test]
    fn every_line_of_an_aim_is_a_rule() {
        for aim in AIMS {
            for seed in 0..200 {
                let scenario = aim.scenario(format!("seed {seed}"), &mut Chance::from_seed(seed));
                scenario.unwrap();
            }
        }
    }

    #[test]
    fn a_name_that_is_none_tells_the_names_there_are() {
        assert!(named("nothing").unwrap_err().to_string().contains("tracked"));
    }
}
