//! Installs the system packages that the demo and the tests need, and is quick when they are there.
//!
//! What is needed is looked for by its files ([`need`]), so a machine where it came from elsewhere is fine too. What is
//! missing becomes a plan ([`plan`]), which is said and then carried out.

mod need;
mod plan;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use crate::sim::process;
use need::Need;
use plan::{Distribution, Step};

/// What the packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// To boot a node with Debian's kernel.
    Demo,
    /// To build our own kernel too, and to check the code.
    Test,
}

/// Installs what is missing.
pub fn run(purpose: Purpose) -> anyhow::Result<()> {
    if purpose == Purpose::Test {
        add_rust_components()?;
    }
    let missing: Vec<Need> = need::all(purpose).filter(|need| !need.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let os_release =
        fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let Some(distribution) = Distribution::from_os_release(&os_release) else {
        bail!("{}", plan::unsupported(&os_release, &missing));
    };
    let sources = process::text(Command::new("apt-get").args(INDEX_TARGETS))?;
    for step in plan::plan(distribution, &missing, &sources)? {
        println!("setup: {step}");
        take(&step).with_context(|| format!("setup failed: {step}"))?;
    }
    let still: Vec<Need> = missing.into_iter().filter(|need| !need.is_there()).collect();
    ensure!(still.is_empty(), "still missing after the installation: {}", need::list(&still));
    Ok(())
}

/// Lists the configured package indices, as `RELEASE COMPONENT URI`.
const INDEX_TARGETS: [&str; 4] =
    ["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"];

fn take(step: &Step) -> anyhow::Result<()> {
    match step {
        Step::AddSource { path, line } => write_as_root(path, line),
        Step::Update => apt_get(&["update", "-qq"]),
        Step::Install { release, packages } => {
            let mut words = vec!["install", "-y", "-qq", "--no-install-recommends"];
            words.extend(release.iter().flat_map(|release| ["-t", *release]));
            words.extend(packages);
            apt_get(&words)
        }
    }
}

fn apt_get(words: &[&str]) -> anyhow::Result<()> {
    let mut command = as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(words);
    // What packages say while they are installed is progress, not our output.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get {} failed ({status})", words.join(" "));
    Ok(())
}

fn write_as_root(path: &str, line: &str) -> anyhow::Result<()> {
    let mut tee = as_root("tee")?.arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = tee.stdin.take() {
        writeln!(stdin, "{line}")?;
    }
    ensure!(tee.wait()?.success(), "cannot write {path}");
    Ok(())
}

fn as_root(program: &str) -> anyhow::Result<Command> {
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    ensure!(process::installed("sudo"), "installing packages needs root, and there is no sudo");
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    Ok(sudo)
}

/// A minimal toolchain has neither; without rustup they come with the compiler or not at all.
fn add_rust_components() -> anyhow::Result<()> {
    let missing = ["cargo-clippy", "cargo-fmt"].iter().any(|name| !process::installed(name));
    if !missing {
        return Ok(());
    }
    ensure!(
        process::installed("rustup"),
        "cargo clippy or cargo fmt is missing, and there is no rustup to add it"
    );
    println!("setup: rustup component add clippy rustfmt");
    process::output(Command::new("rustup").args(["component", "add", "clippy", "rustfmt"]))
        .map(drop)
}
