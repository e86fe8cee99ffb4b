//! The initramfs: busybox, the modules that reach the host's root over 9p, and a script that mounts it and hands over to
//! `hw-tests guest init` there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::cpio::Archive;
use super::process;

/// What the initramfs needs from the kernel's modules, where they are not built in.
const MODULES: [&str; 2] = ["9pnet_virtio", "9p"];
/// The file system that makes the read-only root writable, likewise.
const OVERLAY: &str = "overlay";
/// Programs of busybox that the script calls.
const APPLETS: [&str; 9] =
    ["sh", "mount", "mkdir", "insmod", "cat", "echo", "poweroff", "switch_root", "sleep"];
/// Debian's busybox-static puts it here.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// The script; see its own comments.
const INIT: &str = include_str!("init.sh");

/// Packs the initramfs for a kernel whose modules are in `modules`, or which has all it needs built in.
pub fn pack(modules: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"] {
        archive.directory(dir);
    }
    archive.file("bin/busybox", &busybox()?);
    for applet in APPLETS {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    if let Some(dir) = modules {
        add_modules(&mut archive, dir)?;
    }
    archive.file("init", INIT.as_bytes());
    Ok(archive.finish())
}

fn busybox() -> anyhow::Result<Vec<u8>> {
    let found = BUSYBOX.into_iter().find(|path| Path::new(path).exists());
    let path = found.context("busybox is not installed; install the package busybox-static")?;
    fs::read(path).with_context(|| format!("cannot read {path}"))
}

/// Adds the modules under names that sort in the order in which they are to be loaded.
fn add_modules(archive: &mut Archive, dir: &Path) -> anyhow::Result<()> {
    let path = dir.join("modules.dep");
    let dependencies =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let files =
        load_order(&dependencies, &MODULES.into_iter().chain([OVERLAY]).collect::<Vec<_>>());
    for (place, file) in files.iter().enumerate() {
        archive.file(&format!("modules/{place:02}.ko"), &read_module(&dir.join(file))?);
    }
    Ok(())
}

/// The files of `modules.dep` that the wanted modules need, each after those it needs. A module that is not listed is
/// built in.
fn load_order<'a>(dependencies: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for line in
        wanted.iter().filter_map(|name| dependencies.lines().find(|line| is_module(line, name)))
    {
        let Some((file, needs)) = line.split_once(':') else { continue };
        // modules.dep lists the nearest dependency first; the farthest must be loaded first.
        for file in needs.split_whitespace().rev().chain([file]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    order
}

fn is_module(line: &str, name: &str) -> bool {
    let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    file.split('.').next() == Some(name)
}

fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => fs::read(path).with_context(|| format!("cannot read {}", path.display())),
        Some("xz") => process::output(Command::new("xz").arg("-dc").arg(path)),
        Some("zst") => process::output(Command::new("zstd").args(["-q", "-dc"]).arg(path)),
        _ => bail!("{} is neither .ko, .ko.xz nor .ko.zst", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
                                kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz\n\
                                kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
                                kernel/fs/netfs/netfs.ko.xz:\n";

    #[test]
    fn a_module_comes_after_all_it_needs_and_once() {
        let expected = [
            "kernel/fs/netfs/netfs.ko.xz",
            "kernel/net/9p/9pnet.ko.xz",
            "kernel/net/9p/9pnet_virtio.ko.xz",
            "kernel/fs/9p/9p.ko.xz",
        ];
        assert_eq!(load_order(DEPENDENCIES, &MODULES), expected);
    }

    #[test]
    fn a_built_in_module_is_not_loaded() {
        assert!(load_order(DEPENDENCIES, &["overlay"]).is_empty());
    }
}
