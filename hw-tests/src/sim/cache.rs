//! The cache directory: `$LINERATE_CACHE`, else `~/.cache/linerate`.
//!
//! An entry is made in a directory of its own and renamed into place, so that a build that was killed leaves no half
//! entry behind; and under a lock, so that of two processes that need it one makes it and the other waits.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::progress;

/// The cache directory, made if it is not there.
pub fn dir() -> anyhow::Result<PathBuf> {
    let dir = match std::env::var_os("LINERATE_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir()
            .context("neither LINERATE_CACHE nor HOME is set")?
            .join(".cache/linerate"),
    };
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make the cache directory {}", dir.display()))?;
    // The guest sees the host's paths, but not the directory that hw-tests was started in.
    fs::canonicalize(&dir).with_context(|| format!("cannot resolve {}", dir.display()))
}

/// The entry of that name, made by `build` in an empty directory if it is not there yet.
pub fn entry(
    name: &str,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let place = dir()?.join(name);
    if place.exists() {
        return Ok(place);
    }
    let _lock = lock(name)?;
    if place.exists() {
        return Ok(place);
    }
    let scratch = dir()?.join(format!(".making-{name}"));
    // Left by a build that was killed: nobody else makes it while we hold the lock.
    if scratch.exists() {
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
    }
    fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    build(&scratch)?;
    fs::rename(&scratch, &place)
        .with_context(|| format!("cannot put {} in place", place.display()))?;
    Ok(place)
}

/// Held while an entry is made; the kernel lets it go when we die.
fn lock(name: &str) -> anyhow::Result<File> {
    let path = dir()?.join(format!(".lock-{name}"));
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting for another process that makes {name}"));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
