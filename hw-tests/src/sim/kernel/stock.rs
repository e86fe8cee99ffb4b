//! Debian's kernel, with what modules are built against. Where its packages are installed they are used as they are; else they are
//! unpacked into the cache: installing them would change what the machine boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Flavour, Kernel};
use crate::sim::{cache, process, progress};

/// The kernel series we are built for.
const SERIES: &str = "6.12.";
/// Debian's plain amd64 build, not the cloud or real-time one.
const VARIANT: &str = "-amd64";
/// Packages that depend on the newest image of the series: Debian 12's, and Debian 13's.
const NEWEST: [&str; 2] = ["linux-image-6.12-amd64", "linux-image-amd64"];

/// Finds the installed kernel, or the one in the cache, or fetches it.
pub(super) fn prepare() -> anyhow::Result<Kernel> {
    if let Some(release) = installed() {
        return kernel(Path::new("/"), release);
    }
    let release = newest(&cached_releases()?).map_or_else(candidate, Ok)?;
    let name = format!("{ENTRY}{release}");
    let place = cache::dir()?.join(&name);
    kernel(&cache::entry(&name, |dir| fetch(&release, dir, &place))?, release)
}

/// What cache entries begin with.
const ENTRY: &str = "kernel-stock-";

fn kernel(root: &Path, release: String) -> anyhow::Result<Kernel> {
    Ok(Kernel {
        flavour: Flavour::Stock,
        image: root.join(format!("boot/vmlinuz-{release}")),
        modules: modules_dir(root, &release)?,
        build: root.join(headers_dir(&release)),
        release,
    })
}

fn headers_dir(release: &str) -> String {
    format!("usr/src/linux-headers-{release}")
}

/// The newest release whose headers, image and modules are all installed.
fn installed() -> Option<String> {
    let names = fs::read_dir("/usr/src").ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let releases = names
        .filter_map(|name| release_of(name.strip_prefix("linux-headers-")?).map(str::to_owned));
    let whole = |release: &String| {
        Path::new("/boot").join(format!("vmlinuz-{release}")).exists()
            && Path::new("/lib/modules").join(release).join("modules.dep").exists()
    };
    newest(&releases.filter(whole).collect::<Vec<_>>())
}

fn cached_releases() -> anyhow::Result<Vec<String>> {
    let names = fs::read_dir(cache::dir()?)?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter_map(|name| name.strip_prefix(ENTRY).map(str::to_owned)).collect())
}

fn newest(releases: &[String]) -> Option<String> {
    releases.iter().max_by_key(|release| numbers(release)).cloned()
}

/// `6.12.117+deb12-amd64`, if it is of our series and plain.
fn release_of(release: &str) -> Option<&str> {
    let plain = release.starts_with(SERIES) && release.ends_with(VARIANT);
    let special = release.contains("-cloud-") || release.contains("-rt-");
    (plain && !special).then_some(release)
}

/// The numbers in a release, so that 6.12.107 comes after 6.12.57.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The newest release that apt knows.
fn candidate() -> anyhow::Result<String> {
    let depends = NEWEST.iter().find_map(|package| depends(package).ok());
    let depends = depends.unwrap_or_default();
    let images =
        dependencies(&depends).filter_map(|name| release_of(name.strip_prefix("linux-image-")?));
    let found = images.map(str::to_owned).next();
    found.with_context(|| {
        format!("apt knows no kernel {SERIES}x ({}); is `apt-get update` due?", NEWEST.join(", "))
    })
}

/// The packages that a package of the newest version depends on, as apt lists them.
fn depends(package: &str) -> anyhow::Result<String> {
    process::text(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
}

/// The names in the `Depends` field of a package's description.
fn dependencies(description: &str) -> impl Iterator<Item = &str> {
    let field =
        description.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    field.split([',', '|']).filter_map(|dependency| dependency.split_whitespace().next())
}

/// Image, headers, and the two packages the headers refer to.
fn fetch(release: &str, dir: &Path, place: &Path) -> anyhow::Result<()> {
    let headers = format!("linux-headers-{release}");
    let description = depends(&headers)?;
    let shared = dependencies(&description)
        .filter(|name| name.ends_with("-common") || name.starts_with("linux-kbuild-"));
    let mut packages: Vec<String> = shared.map(str::to_owned).collect();
    ensure!(
        packages.len() == 2,
        "{headers} does not depend on common headers and kbuild: {packages:?}"
    );
    packages.extend([format!("linux-image-{release}"), headers]);
    progress::say(&format!(
        "fetching {} into the cache (they are not installed)",
        packages.join(" ")
    ));
    process::output(Command::new("apt-get").arg("download").args(&packages).current_dir(dir))
        .context("cannot fetch the kernel; is `apt-get update` due?")?;
    unpack_all(dir)?;
    relocate(release, dir, place)?;
    let modules = modules_dir(dir, release)?;
    let base = if modules.starts_with(dir.join("usr")) { dir.join("usr") } else { dir.to_owned() };
    process::output(Command::new("/sbin/depmod").arg("-b").arg(base).arg(release)).map(drop)
}

fn unpack_all(dir: &Path) -> anyhow::Result<()> {
    let files: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    for package in files.iter().filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        process::output(Command::new("dpkg-deb").arg("-x").arg(package).arg(dir))?;
        fs::remove_file(package)?;
    }
    Ok(())
}

/// The headers' Makefile includes the common one by its installed path.
fn relocate(release: &str, dir: &Path, place: &Path) -> anyhow::Result<()> {
    let path = dir.join(headers_dir(release)).join("Makefile");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(fs::write(path, text.replace("/usr/src/", &format!("{}/usr/src/", place.display())))?)
}

/// Debian 13's package has `/usr/lib/modules`, Debian 12's `/lib/modules`.
fn modules_dir(root: &Path, release: &str) -> anyhow::Result<PathBuf> {
    let places = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place).join(release));
    let found = places.into_iter().find(|place| place.join("kernel").is_dir());
    found.with_context(|| format!("no modules of {release} below {}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_plain_kernel_of_the_series_is_taken() {
        assert_eq!(release_of("6.12.117+deb12-amd64"), Some("6.12.117+deb12-amd64"));
        for other in [
            "6.12.117+deb12-common",
            "6.12.117+deb12-cloud-amd64",
            "6.12.117+deb12-rt-amd64",
            "6.1.0-49-amd64",
            "amd64",
        ] {
            assert_eq!(release_of(other), None, "{other}");
        }
    }

    #[test]
    fn dependencies_are_names_without_versions_and_with_their_alternatives() {
        let description = "Package: x\nDepends: linux-base (>= 4.12~), a (= 1-1) | a-unsigned (= 1-1), gcc-12\nSize: 1\n";
        assert_eq!(
            dependencies(description).collect::<Vec<_>>(),
            ["linux-base", "a", "a-unsigned", "gcc-12"]
        );
        assert_eq!(dependencies("Package: x\n").count(), 0);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("6.12.107+deb12-amd64") > numbers("6.12.57+deb12-amd64"));
    }
}
