//! `nicsim.ko`, built for a kernel out of tree: the sources are copied below the target directory, one copy a kernel, and built
//! there, so that the tree stays clean and two kernels do not fight over object files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::kernel::Kernel;
use super::{process, progress};

/// The module's sources.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nicsim");
/// Copied last when the build is done; equal sources and kernel mean an equal module.
const STAMP: &str = ".built-from";

/// Builds the module if its sources or the kernel changed, and gives its path.
pub fn build(kernel: &Kernel) -> anyhow::Result<Option<PathBuf>> {
    let sources = read_sources(Path::new(SOURCES))?;
    if !sources.iter().any(|(name, _)| name == "Kbuild" || name == "Makefile") {
        return Ok(None);
    }
    let dir = target_dir()?.join("nicsim").join(format!("{}-{}", kernel.flavour, kernel.release));
    let module = dir.join("nicsim.ko");
    let fingerprint = fingerprint(kernel, &sources);
    if module.exists()
        && fs::read_to_string(dir.join(STAMP)).is_ok_and(|built| built == fingerprint)
    {
        return Ok(Some(module));
    }
    progress::say(&format!("building nicsim.ko for {}", kernel.release));
    copy(&sources, &dir)?;
    make(kernel, &dir).context("nicsim does not compile")?;
    fs::write(dir.join(STAMP), fingerprint)?;
    Ok(Some(module))
}

/// Names (relative paths) and contents, sorted.
type Sources = Vec<(String, Vec<u8>)>;

fn read_sources(dir: &Path) -> anyhow::Result<Sources> {
    let mut sources = Sources::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in
            fs::read_dir(&at).with_context(|| format!("cannot list {}", at.display()))?.flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if is_source(&path) {
                let name = path.strip_prefix(dir)?.to_string_lossy().into_owned();
                sources.push((name, fs::read(&path)?));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "Kbuild"
        || name == "Makefile"
        || name.ends_with(".c") && !name.ends_with(".mod.c")
        || name.ends_with(".h")
}

/// The sources themselves are small enough to be their own fingerprint, with the kernel's release in front.
fn fingerprint(kernel: &Kernel, sources: &Sources) -> String {
    let mut text = format!("{} {}\n", kernel.build.display(), kernel.release);
    for (name, content) in sources {
        text.push_str(&format!("==> {name}\n{}\n", String::from_utf8_lossy(content)));
    }
    text
}

/// Copies what changed and removes what is gone, so that make rebuilds only what it must.
fn copy(sources: &Sources, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (name, _) in
        read_sources(dir)?.iter().filter(|(old, _)| !sources.iter().any(|(new, _)| new == old))
    {
        fs::remove_file(dir.join(name))?;
    }
    for (name, content) in sources {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|old| old == *content) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn make(kernel: &Kernel, dir: &Path) -> anyhow::Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(&kernel.build)
        .arg(format!("M={}", dir.display()))
        .arg(format!("-j{jobs}"))
        // Where the headers bring a vmlinux, as Debian's of 6.12.117 do, pahole would have to write types for BPF, which nobody needs.
        .arg("CONFIG_DEBUG_INFO_BTF_MODULES=")
        .arg("modules");
    // A make that called us must not pass its flags on.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    process::output(&mut make).map(drop)
}

/// The directory cargo builds into: ours lies in it.
fn target_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return std::path::absolute(dir).context("CARGO_TARGET_DIR is not a path");
    }
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}
