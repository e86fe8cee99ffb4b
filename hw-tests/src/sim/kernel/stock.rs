//! Debian's kernel. The headers are an installed package (modules are built against them); the image of exactly that version is
//! the installed one, or is unpacked from its package into the cache: installing it would change what the machine boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Flavour, Kernel};
use crate::sim::{cache, process, progress};

/// The kernel series we are built for.
const SERIES: &str = "6.12.";
/// Debian's plain amd64 build, not the cloud or real-time one.
const VARIANT: &str = "-amd64";

/// Finds the kernel the installed headers belong to.
pub(super) fn prepare() -> anyhow::Result<Kernel> {
    let release = newest_headers()?;
    let root = image_root(&release)?;
    Ok(Kernel {
        flavour: Flavour::Stock,
        image: root.join(format!("boot/vmlinuz-{release}")),
        modules: modules_dir(&root, &release)?,
        build: PathBuf::from(format!("/usr/src/linux-headers-{release}")),
        release,
    })
}

fn newest_headers() -> anyhow::Result<String> {
    let names = fs::read_dir("/usr/src").context("cannot list /usr/src")?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let releases = names.filter_map(|name| release_of(&name).map(str::to_owned));
    releases
        .max_by_key(|release| numbers(release))
        .context("there are no Debian kernel headers 6.12 below /usr/src; install the package linux-headers-6.12-amd64")
}

fn release_of(headers: &str) -> Option<&str> {
    let release = headers.strip_prefix("linux-headers-")?;
    let plain = release.starts_with(SERIES) && release.ends_with(VARIANT);
    let special = release.contains("-cloud-") || release.contains("-rt-");
    (plain && !special).then_some(release)
}

/// The numbers in a release, so that 6.12.107 comes after 6.12.57.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The directory below which the image's package is unpacked: the root, if it is installed.
fn image_root(release: &str) -> anyhow::Result<PathBuf> {
    let installed = Path::new("/boot").join(format!("vmlinuz-{release}"));
    if installed.exists() && Path::new("/lib/modules").join(release).join("modules.dep").exists() {
        return Ok(PathBuf::from("/"));
    }
    cache::entry(&format!("stock-{release}"), |dir| unpack(release, dir))
}

fn unpack(release: &str, dir: &Path) -> anyhow::Result<()> {
    let package = format!("linux-image-{release}");
    progress::say(&format!("fetching the package {package} into the cache (it is not installed)"));
    process::output(Command::new("apt-get").args(["download", &package]).current_dir(dir))?;
    let file = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    let file = file.with_context(|| format!("apt-get download {package} gave no file"))?;
    process::output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(dir))?;
    fs::remove_file(file)?;
    let modules = modules_dir(dir, release)?;
    let base = if modules.starts_with(dir.join("usr")) { dir.join("usr") } else { dir.to_owned() };
    process::output(Command::new("/sbin/depmod").arg("-b").arg(base).arg(release)).map(drop)
}

/// Debian 13's package has `/usr/lib/modules`, Debian 12's `/lib/modules`.
fn modules_dir(root: &Path, release: &str) -> anyhow::Result<PathBuf> {
    let places = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place).join(release));
    let found = places.into_iter().find(|place| place.is_dir());
    found.with_context(|| format!("no modules of {release} below {}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_plain_kernel_of_the_series_is_taken() {
        assert_eq!(release_of("linux-headers-6.12.117+deb12-amd64"), Some("6.12.117+deb12-amd64"));
        for other in [
            "linux-headers-6.12.117+deb12-common",
            "linux-headers-6.12.117+deb12-cloud-amd64",
            "linux-headers-6.12.117+deb12-rt-amd64",
            "linux-headers-6.1.0-49-amd64",
            "linux-source-6.12",
        ] {
            assert_eq!(release_of(other), None, "{other}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("6.12.107+deb12-amd64") > numbers("6.12.57+deb12-amd64"));
    }
}
