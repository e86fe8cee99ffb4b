//! The kernels the node boots: Debian's as users have it, and our own small one, plain or with debug checks.

mod fragment;
mod own;
mod stock;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;

use super::cache;
use super::initramfs;

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Flavour {
    /// Debian's 6.12; it lacks NET_TC_SKB_EXT.
    Stock,
    /// Ours, from Debian's source, with NET_TC_SKB_EXT.
    Own,
    /// Ours with KASAN, lockdep and kmemleak: slow, and noisy about mistakes.
    Debug,
}

impl Flavour {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Own => "own",
            Self::Debug => "debug",
        }
    }

    /// The flavour of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stock, Self::Own, Self::Debug].into_iter().find(|flavour| flavour.name() == name)
    }
}

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A kernel that is ready to boot and to build modules for.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which one.
    pub flavour: Flavour,
    /// Its release, as in `uname -r`.
    pub release: String,
    /// The image that QEMU loads.
    pub image: PathBuf,
    /// What belongs at `/lib/modules/<release>`.
    pub modules: PathBuf,
    /// What `make -C` takes to build a module for it.
    pub build: PathBuf,
}

impl Kernel {
    /// Finds, fetches or builds the kernel.
    pub fn prepare(flavour: Flavour) -> anyhow::Result<Self> {
        match flavour {
            Flavour::Stock => stock::prepare(),
            Flavour::Own | Flavour::Debug => own::prepare(flavour),
        }
    }

    /// The initramfs for this kernel. It takes half a second to make, so it is kept.
    pub fn initramfs(&self) -> anyhow::Result<PathBuf> {
        let bytes = initramfs::pack(Some(&self.modules))?;
        let path = cache::dir()?.join(format!("initramfs-{}-{}.cpio", self.flavour, self.release));
        if fs::read(&path).is_ok_and(|kept| kept == bytes) {
            return Ok(path);
        }
        let scratch = tempfile::NamedTempFile::new_in(cache::dir()?)?;
        fs::write(scratch.path(), bytes)?;
        scratch.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
