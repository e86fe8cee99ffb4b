//! `hw-tests differential`: the compiler against Open vSwitch itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::differential::{self, Limit, Options};
use crate::sim::exit;

/// Compare what filters and rules do to packets with what Open vSwitch says; needs no rights and no kernel module.
#[derive(Debug, Args)]
pub(crate) struct DifferentialArgs {
    /// The first seed; the same seed gives the same rulesets and packets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to go on.
    #[arg(long, default_value_t = 5, conflicts_with = "pairs")]
    minutes: u64,
    /// How many (ruleset, packet) pairs to compare, instead of a time.
    #[arg(long)]
    pairs: Option<u64>,
    /// Packets for each ruleset.
    #[arg(long, default_value_t = 200)]
    packets: usize,
    /// Where differences are kept, made as small as they get.
    #[arg(long, value_name = "DIR", default_value = "target/differential")]
    save: PathBuf,
    /// A directory with rulesets of real systems, one directory each; may be given several times.
    #[arg(long, value_name = "DIR")]
    rulesets: Vec<PathBuf>,
    /// Only rulesets that aim at one thing; an unknown name tells those there are.
    #[arg(long, value_name = "NAME")]
    aim: Option<String>,
    /// Stop after so many differences.
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: u64,
}

impl DifferentialArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let until = match self.pairs {
            Some(pairs) => Limit::Pairs(pairs),
            None => Limit::Time(Duration::from_secs(self.minutes * 60)),
        };
        let options = Options {
            seed: self.seed,
            until,
            packets: self.packets,
            save: self.save,
            rulesets: self.rulesets,
            aim: self.aim,
            most: self.most,
        };
        let same = differential::run(&options)?;
        Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
    }
}
