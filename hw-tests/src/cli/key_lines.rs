//! `hw-tests key-lines`: whether the tests would notice.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Args;

use crate::key_lines;
use crate::sim::exit;

/// Break the lines that the fate of packets hangs on, one at a time, in a copy of the sources: a test has to fail for each.
#[derive(Debug, Args)]
pub(crate) struct KeyLinesArgs {
    /// Only the lines with one of these words in their names.
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Break as many at once, each in a copy of its own.
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN)]
    jobs: NonZeroUsize,
    /// Only list them.
    #[arg(long)]
    list: bool,
}

impl KeyLinesArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.list {
            key_lines::read()?.iter().for_each(|line| println!("{line}"));
            return Ok(ExitCode::SUCCESS);
        }
        let all = key_lines::run(&self.words, self.jobs.get())?;
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
    }
}
