//! The cache directory: `$LINERATE_CACHE`, else `~/.cache/linerate`.
//!
//! An entry is made in a directory of its own and renamed into place, so that a build that was killed leaves no half
//! entry behind, and two builds at once do no harm: the first to finish wins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

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
    let parent = place.parent().context("a cache entry has a parent directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let scratch = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
    build(scratch.path())?;
    publish(scratch, &place)?;
    Ok(place)
}

fn publish(scratch: tempfile::TempDir, place: &Path) -> anyhow::Result<()> {
    match fs::rename(scratch.path(), place) {
        Ok(()) => {
            // Renamed away: there is nothing left to remove.
            let _ = scratch.keep();
            Ok(())
        }
        Err(_) if place.exists() => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot put {} in place", place.display()))
        }
    }
}
