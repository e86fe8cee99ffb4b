//! The tests that run in the guest, one file a subject.
//!
//! A case is a function that returns an error when what it looks at is not so. Many run in one boot, one after another, in one
//! process (starting a process is dear there), so a case leaves the guest as it found it: the fixtures in [`crate::guest`] undo what
//! they did when they are dropped, also when the case fails. After each case the kernel's log is looked at, and a warning fails it.
//!
//! To add a subject: a file here with `pub(super) const CASES: &[Case]`, and its name in [`SUBJECTS`].

mod bad_input;
mod chain_miss;
mod cni;
pub mod device_plugin;
mod devlink;
mod inventory;
mod mirror;
mod nicsim_control;
mod nicsim_cycle;
mod nicsim_flow;
mod node;
mod same_traffic;
mod sriov;
mod tc_roundtrip;
mod vf_kill;
mod vf_ledger;

use std::path::PathBuf;

use anyhow::Context;

use crate::sim::kernel::Flavour;

/// The subjects, in the order in which they run: what others build on comes first.
const SUBJECTS: &[&[Case]] = &[
    node::CASES,
    chain_miss::CASES,
    tc_roundtrip::CASES,
    nicsim_control::CASES,
    nicsim_flow::CASES,
    nicsim_cycle::CASES,
    inventory::CASES,
    devlink::CASES,
    sriov::CASES,
    vf_ledger::CASES,
    device_plugin::CASES,
    bad_input::CASES,
    cni::CASES,
    vf_kill::CASES,
    mirror::CASES,
    same_traffic::CASES,
];

/// A test in the guest.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `subject/what-is-so`.
    pub name: &'static str,
    /// The kernels it runs on.
    pub kernels: Kernels,
    /// The test itself.
    pub run: fn(&mut Ctx) -> anyhow::Result<()>,
}

/// The kernels a case runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// All of them.
    All,
    /// Only these.
    Only(&'static [Flavour]),
}

impl Kernels {
    /// Whether it runs on that one.
    #[must_use]
    pub fn include(self, flavour: Flavour) -> bool {
        match self {
            Self::All => true,
            Self::Only(flavours) => flavours.contains(&flavour),
        }
    }
}

/// All cases, in order.
pub fn all() -> impl Iterator<Item = &'static Case> {
    SUBJECTS.iter().copied().flatten()
}

/// What a case knows of the guest it runs in.
#[derive(Debug)]
pub struct Ctx {
    /// The kernel that was booted.
    pub kernel: Flavour,
    /// Whether the long forms of cases are asked for ([`LONG`] in the environment of `hw-tests sim test`).
    pub long: bool,
    nicsim: Option<PathBuf>,
}

/// Set to anything, cases that have a long form run it. Their limits are longer then.
pub const LONG: &str = "LINERATE_LONG";

/// The error of a case that could not be run here; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skipped(pub String);

impl Ctx {
    /// What the host told us in the environment.
    pub fn from_env() -> anyhow::Result<Self> {
        let kernel = std::env::var("LINERATE_KERNEL")
            .context("LINERATE_KERNEL is not set: cases run in the simulated node")?;
        let kernel = Flavour::from_name(&kernel)
            .with_context(|| format!("there is no kernel called {kernel}"))?;
        let nicsim = std::env::var_os("LINERATE_NICSIM_KO").map(PathBuf::from);
        Ok(Self { kernel, long: std::env::var_os(LONG).is_some(), nicsim })
    }

    /// Ends the case without a result: `return Err(ctx.skip("why"))`.
    pub fn skip(&self, why: impl Into<String>) -> anyhow::Error {
        Skipped(why.into()).into()
    }

    /// The module for this kernel.
    pub fn nicsim_ko(&self) -> anyhow::Result<PathBuf> {
        self.nicsim.clone().ok_or_else(|| self.skip("nicsim was not built"))
    }

    /// A program of this workspace, built beside us.
    pub fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = std::env::current_exe()?.with_file_name(name);
        anyhow::ensure!(
            path.exists(),
            "{} is not built; run `cargo build --workspace`",
            path.display()
        );
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_subject() {
        let names: BTreeSet<_> = all().map(|case| case.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|name| name.split_once('/').is_some()), "{names:?}");
    }
}
