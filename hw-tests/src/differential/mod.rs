//! The compiler against Open vSwitch itself: rulesets by chance and from files, packets aimed at their rules, and three
//! answers to what becomes of each packet.
//!
//! ```text
//! ofproto/trace of a private ovs-vswitchd ─┐
//!                                          ├─ must be one of the ways our OpenFlow reading finds
//! compile::interp::openflow ───────────────┤
//!                                          ├─ must be the same, unless the packet is left to OVS
//! compile::interp::plan on compile()'s plan┘
//! ```
//!
//! A difference is a bug in one of three places. It is made small and saved, so that it becomes a test.

mod bytes;
mod carried;
pub(crate) mod chance;
mod datapath;
pub(crate) mod generate;
mod judge;
mod links;
mod oddity;
pub(crate) mod packet;
mod switch;
mod topology;
mod trace;
mod unixctl;

use std::time::{Duration, Instant};

use flow_compiler::ports::PortMap;

use chance::Chance;
use generate::aims::Aim;
use generate::{Scenario, Twists, aims};
use judge::{Oracle, Tally};

/// So often ovs-vswitchd may end by itself.
const MOST_CRASHES: u64 = 100;
/// One ruleset in so many is a whole pipeline.
const OVERLAY_EVERY: u64 = 5;
/// Of the others, those whose seed leaves this rest copy ports.
const COPIES: (u64, u64) = (16, 9);
/// And those whose seed leaves one of these rests have ports that come together.
const SHARED: (u64, [u64; 3]) = (16, [2, 7, 12]);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first seed; each ruleset has the next.
    pub seed: u64,
    /// When to stop.
    pub until: Limit,
    /// Packets a ruleset.
    pub packets: usize,
    /// Where differences are kept.
    pub save: std::path::PathBuf,
    /// Directories with rulesets of real systems.
    pub rulesets: Vec<std::path::PathBuf>,
    /// Only rulesets that aim at this.
    pub aim: Option<String>,
    /// So many differences are enough.
    pub most: u64,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After so many (ruleset, packet) pairs.
    Pairs(u64),
}

/// Runs; whether no difference was found.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let started = Instant::now();
    let aim = options.aim.as_deref().map(aims::named).transpose()?;
    let mut tally = Tally { save: Some(options.save.clone()), ..Tally::default() };
    real(options, &mut tally)?;
    let mut oracles = Oracles::default();
    let mut seed = options.seed;
    while !over(options.until, started, &tally) {
        let mut chance = Chance::from_seed(seed);
        let scenario = scenario(seed, aim, &mut chance)?;
        let oracle = oracles.with(&scenario)?;
        let asked = judge::scenario(oracle, &scenario, options.packets, &mut chance, &mut tally);
        if let Err(error) = asked {
            // Some rules are too much for OVS itself.
            println!("{}: {error:#}; ovs-vswitchd is started again", scenario.name);
            tally.crashes += 1;
            anyhow::ensure!(tally.crashes < MOST_CRASHES, "ovs-vswitchd ends again and again");
            oracles = Oracles::default();
        }
        seed += 1;
        if seed.is_multiple_of(50) {
            println!("{}", tally.line(started.elapsed()));
        }
        if tally.differences >= options.most {
            break;
        }
    }
    println!("{}", tally.line(started.elapsed()));
    Ok(tally.differences == 0)
}

/// The ruleset of a seed, or the one that it gives for an aim.
fn scenario(seed: u64, aim: Option<&'static Aim>, chance: &mut Chance) -> anyhow::Result<Scenario> {
    let name = format!("seed {seed}");
    if let Some(aim) = aim {
        return aim.scenario(name, chance);
    }
    let ruleset = match seed {
        seed if seed.is_multiple_of(OVERLAY_EVERY) => generate::overlay::ruleset(chance)?,
        seed if seed % COPIES.0 == COPIES.1 => generate::mixed::with_copied_ports(chance)?,
        seed if SHARED.1.contains(&(seed % SHARED.0)) => generate::shared::ruleset(chance)?,
        seed => match aims::of(seed) {
            Some(aim) => return aim.scenario(name, chance),
            None => generate::mixed::ruleset(chance)?,
        },
    };
    Ok(Scenario { name, ports: topology::topology(), ruleset, twists: Twists::default() })
}

/// A switch for each set of bridges, once it is needed.
#[derive(Default)]
struct Oracles(Vec<(PortMap, Oracle)>);

impl Oracles {
    /// The one with these ports.
    fn with(&mut self, scenario: &Scenario) -> anyhow::Result<&mut Oracle> {
        let known = self.0.iter().position(|(ports, _)| *ports == scenario.ports);
        let place = match known {
            Some(place) => place,
            None => {
                self.0.push((scenario.ports.clone(), oracle(scenario)?));
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[place].1)
    }
}

fn oracle(scenario: &Scenario) -> anyhow::Result<Oracle> {
    let named = scenario.ruleset.bridges.values().map(|rules| rules.tunnel_options.clone());
    Oracle::start(&scenario.ports, &named.flatten().collect())
}

/// The rulesets of real systems, each on a switch of its own.
fn real(options: &Options, tally: &mut Tally) -> anyhow::Result<()> {
    for directory in &options.rulesets {
        for scenario in generate::real::scenarios(directory)? {
            let mut oracle = oracle(&scenario)?;
            let mut chance = Chance::from_seed(options.seed);
            judge::scenario(&mut oracle, &scenario, options.packets, &mut chance, tally)?;
            println!("{}", scenario.name);
        }
    }
    Ok(())
}

fn over(limit: Limit, started: Instant, tally: &Tally) -> bool {
    match limit {
        Limit::Time(time) => started.elapsed() >= time,
        Limit::Pairs(pairs) => tally.pairs >= pairs,
    }
}
