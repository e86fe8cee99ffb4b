//! `hw-tests sim test`: the cases that run in the guest.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cases::{self, Case, Kernels};
use crate::sim::kernel::Flavour;
use crate::sim::suite::{self, Tally};

/// Arguments of `hw-tests sim test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The kernels to run on, one after the other; `all` is stock and own.
    #[arg(long, value_enum, default_value_t = Selection::All)]
    kernel: Selection,
    /// Print the cases and the kernels they are for, and run nothing.
    #[arg(long)]
    list: bool,
    /// Run only cases whose name contains one of these.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Selection {
    Stock,
    Own,
    All,
    Debug,
}

impl Selection {
    fn flavours(self) -> &'static [Flavour] {
        match self {
            Self::Stock => &[Flavour::Stock],
            Self::Own => &[Flavour::Own],
            Self::All => &[Flavour::Stock, Flavour::Own],
            Self::Debug => &[Flavour::Debug],
        }
    }
}

impl TestArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let cases: Vec<&Case> = cases::all().filter(|case| self.wants(case.name)).collect();
        anyhow::ensure!(
            !cases.is_empty(),
            "no case has a name that contains {}",
            self.filters.join(" or ")
        );
        if self.list {
            cases.iter().for_each(|case| println!("{:50} {}", case.name, kernels(case)));
            return Ok(ExitCode::SUCCESS);
        }
        let mut tally = Tally::default();
        for flavour in self.kernel.flavours() {
            suite::run(*flavour, &cases, &mut tally)?;
        }
        println!("{}", tally.closing());
        Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }
}

fn kernels(case: &Case) -> String {
    match case.kernels {
        Kernels::All => "all".to_owned(),
        Kernels::Only(flavours) => {
            flavours.iter().map(|flavour| flavour.name()).collect::<Vec<_>>().join(" ")
        }
    }
}
