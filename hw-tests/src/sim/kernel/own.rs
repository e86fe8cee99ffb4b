//! Our own kernel, from Debian's source package: `make tinyconfig` merged with our fragments. It is built once for each version of
//! the source and of the fragments; what remains is the image, the few modules, and what building a module needs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::{Flavour, Kernel, fragment};
use crate::sim::{cache, process, progress};

/// The package with the source, and the file in it.
const PACKAGE: &str = "linux-source-6.12";
/// See [`PACKAGE`].
const TARBALL: &str = "/usr/src/linux-source-6.12.tar.xz";
/// The directory the source and later the module build files are in.
const TREE: &str = "build";
/// What building a module needs, of the tree.
const KEPT: [&str; 8] = [
    "Makefile",
    ".config",
    "Module.symvers",
    "include",
    "arch/x86",
    "scripts",
    "tools/objtool/objtool",
    "arch/Kconfig",
];
/// How often a build says that it is under way.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// Builds the kernel, or finds it in the cache.
pub(super) fn prepare(flavour: Flavour) -> anyhow::Result<Kernel> {
    let fragments = fragments(flavour);
    let root = cache::entry(&entry_name(flavour, &source_version()?, &fragments), |dir| {
        build(flavour, &fragments, dir)
    })?;
    let release = fs::read_to_string(root.join(TREE).join("include/config/kernel.release"))?
        .trim()
        .to_owned();
    Ok(Kernel {
        flavour,
        image: root.join("bzImage"),
        modules: root.join("lib/modules").join(&release),
        build: root.join(TREE),
        release,
    })
}

fn fragments(flavour: Flavour) -> Vec<&'static str> {
    match flavour {
        Flavour::Debug => vec![fragment::OWN, fragment::DEBUG],
        Flavour::Own | Flavour::Stock => vec![fragment::OWN],
    }
}

fn source_version() -> anyhow::Result<String> {
    ensure!(Path::new(TARBALL).exists(), "{TARBALL} is not there; install the package {PACKAGE}");
    process::text(Command::new("dpkg-query").args(["-W", "-f", "${Version}", PACKAGE]))
}

fn entry_name(flavour: Flavour, version: &str, fragments: &[&str]) -> String {
    format!("kernel-{flavour}-{version}-{:016x}", fnv1a(fragments.concat().as_bytes()))
}

/// FNV-1a: a hash that stays the same from one compiler to the next, which the standard library's does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn build(flavour: Flavour, fragments: &[&str], dir: &Path) -> anyhow::Result<()> {
    progress::say(&format!(
        "building the {flavour} kernel from {TARBALL}; this happens once and takes about ten minutes"
    ));
    let source = dir.join("source");
    unpack(&source)?;
    configure(&source, fragments)?;
    compile(&source)?;
    fs::copy(source.join("arch/x86/boot/bzImage"), dir.join("bzImage"))
        .context("the build gave no bzImage")?;
    process::output(
        make(&source).arg("modules_install").arg(format!("INSTALL_MOD_PATH={}", dir.display())),
    )?;
    keep_build_files(&source, &dir.join(TREE))?;
    fs::remove_dir_all(&source).context("cannot remove the kernel's source")
}

fn unpack(source: &Path) -> anyhow::Result<()> {
    fs::create_dir(source)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(TARBALL).arg("--strip-components=1").arg("-C").arg(source);
    process::output(&mut tar).map(drop)
}

fn configure(source: &Path, fragments: &[&str]) -> anyhow::Result<()> {
    process::output(make(source).arg("tinyconfig"))?;
    let mut merge = Command::new("scripts/kconfig/merge_config.sh");
    merge.current_dir(source).args(["-m", ".config"]);
    for (place, text) in fragments.iter().enumerate() {
        let name = format!("linerate-{place}.fragment");
        fs::write(source.join(&name), text)?;
        merge.arg(name);
    }
    process::output(&mut merge)?;
    process::output(make(source).arg("olddefconfig"))?;
    check(&fs::read_to_string(source.join(".config"))?, fragments)
}

fn check(config: &str, fragments: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        fragments.iter().flat_map(|fragment| fragment::missing(fragment, config)).collect();
    ensure!(
        missing.is_empty(),
        "the kernel's configuration did not take these settings:\n{}",
        missing.join("\n")
    );
    Ok(())
}

/// A make that called us must not pass its flags on.
fn make(source: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-C").arg(source).env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
    make
}

fn compile(source: &Path) -> anyhow::Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let errors = source.join("linerate-errors");
    let mut command = make(source);
    command.arg(format!("-j{jobs}")).args(["bzImage", "modules"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(File::create(&errors)?)
        .spawn()
        .context("cannot run make")?;
    if let Some(lines) = child.stdout.take() {
        follow(BufReader::new(lines));
    }
    if child.wait()?.success() {
        return Ok(());
    }
    bail!(
        "the kernel does not compile:\n{}",
        super::super::console::tail(&fs::read_to_string(errors)?)
    )
}

/// make prints a line for each file it compiles.
fn follow(lines: impl BufRead) {
    let start = Instant::now();
    let mut reported = start;
    let mut files = 0_u32;
    for line in lines.lines().map_while(Result::ok) {
        files += u32::from(line.trim_start().starts_with("CC "));
        if reported.elapsed() > REPORT_EVERY {
            reported = Instant::now();
            progress::say(&format!(
                "building the kernel: {files} files in {} s",
                start.elapsed().as_secs()
            ));
        }
    }
}

/// Moves what building a module needs, without the objects of the kernel itself.
fn keep_build_files(source: &Path, place: &Path) -> anyhow::Result<()> {
    for name in KEPT {
        let target = place.join(name);
        fs::create_dir_all(target.parent().unwrap_or(place))?;
        fs::rename(source.join(name), target)
            .with_context(|| format!("the kernel's tree has no {name}"))?;
    }
    let mut find = Command::new("find");
    find.arg(place.join("arch"))
        .args(["(", "-name", "*.o", "-o", "-name", "*.a", "-o", "-name", "*.cmd", ")", "-delete"]);
    process::output(&mut find)?;
    let image = ["arch/x86/boot", "arch/x86/kvm"].map(|name| PathBuf::from(place).join(name));
    image.iter().try_for_each(|dir| {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_fragment_or_source_is_another_entry() {
        let name = entry_name(Flavour::Own, "6.12.1-1", &["A=y\n"]);
        assert_ne!(name, entry_name(Flavour::Own, "6.12.1-1", &["A=m\n"]));
        assert_ne!(name, entry_name(Flavour::Own, "6.12.2-1", &["A=y\n"]));
        assert_eq!(name, entry_name(Flavour::Own, "6.12.1-1", &["A=y\n"]));
    }

    #[test]
    fn the_hash_is_fnv1a() {
        // The test vectors of the hash's authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_configuration_that_lost_a_setting_is_refused_with_its_name() {
        let error = check("CONFIG_NET=y\n", &["CONFIG_NET=y\nCONFIG_KASAN=y\n"]).unwrap_err();
        assert!(error.to_string().ends_with("CONFIG_KASAN=y"), "{error}");
    }
}
