//! From what is missing, and the distribution, to the steps that install it. Pure: what apt knows comes in as text.

use std::fmt;

use anyhow::Context;

use super::need::{Need, QEMU_PACKAGE, list};

/// The distributions on which we install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    /// bookworm, whose own QEMU is too old.
    Debian12,
    /// trixie.
    Debian13,
}

/// Debian 12's backports, which has a QEMU with igb.
const BACKPORTS: &str = "bookworm-backports";
/// Where the source is added; apt reads every file of this directory.
const SOURCE_FILE: &str = "/etc/apt/sources.list.d/linerate-backports.list";

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Adds a package source.
    AddSource {
        /// The file.
        path: &'static str,
        /// Its only line.
        line: String,
    },
    /// Brings the package lists up to date.
    Update,
    /// Installs packages, of a release if one is given.
    Install {
        /// For `apt-get -t`.
        release: Option<&'static str>,
        /// Their names.
        packages: Vec<&'static str>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddSource { path, line } => {
                write!(f, "adding the package source \"{line}\" in {path}")
            }
            Self::Update => f.write_str("updating the package lists"),
            Self::Install { release: None, packages } => {
                write!(f, "installing {}", packages.join(" "))
            }
            Self::Install { release: Some(release), packages } => {
                write!(f, "installing {} from {release}", packages.join(" "))
            }
        }
    }
}

impl Distribution {
    /// The distribution that `/etc/os-release` names, if it is one of ours.
    pub(super) fn from_os_release(text: &str) -> Option<Self> {
        match (field(text, "ID"), field(text, "VERSION_ID")) {
            (Some("debian"), Some("12")) => Some(Self::Debian12),
            (Some("debian"), Some("13")) => Some(Self::Debian13),
            _ => None,
        }
    }
}

fn field<'a>(os_release: &'a str, name: &str) -> Option<&'a str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

/// The steps. `sources` is what apt is configured for, a line `RELEASE COMPONENT URI` each.
pub(super) fn plan(
    distribution: Distribution,
    missing: &[Need],
    sources: &str,
) -> anyhow::Result<Vec<Step>> {
    let (qemu, others): (Vec<_>, Vec<_>) =
        missing.iter().map(|need| need.package).partition(|name| *name == QEMU_PACKAGE);
    let backported = distribution == Distribution::Debian12 && !qemu.is_empty();
    let mut steps = Vec::new();
    if backported && !has_release(sources, BACKPORTS) {
        steps.push(add_backports(sources)?);
    }
    steps.push(Step::Update);
    let others = if backported { others } else { [others, qemu.clone()].concat() };
    if !others.is_empty() {
        steps.push(Step::Install { release: None, packages: others });
    }
    if backported {
        steps.push(Step::Install { release: Some(BACKPORTS), packages: qemu });
    }
    Ok(steps)
}

fn has_release(sources: &str, release: &str) -> bool {
    sources.lines().any(|line| line.split(' ').next() == Some(release))
}

/// Backports lies beside the release on every mirror, so the machine's own mirror has it.
fn add_backports(sources: &str) -> anyhow::Result<Step> {
    let mut fields = sources.lines().map(|line| line.splitn(3, ' ').collect::<Vec<_>>());
    let found =
        fields.find(|fields| fields.first() == Some(&"bookworm") && fields.get(1) == Some(&"main"));
    let mirror = found.and_then(|fields| fields.get(2).copied()).context(
        "QEMU 8 or newer is needed, which Debian 12 has in bookworm-backports, and apt has no source for bookworm main to derive its address from",
    )?;
    Ok(Step::AddSource { path: SOURCE_FILE, line: format!("deb {mirror} {BACKPORTS} main") })
}

/// What to tell whoever has another distribution.
pub(super) fn unsupported(os_release: &str, missing: &[Need]) -> String {
    let name = field(os_release, "PRETTY_NAME").unwrap_or("this system");
    let mut text = format!(
        "packages are installed on Debian 12 and 13 only, and this is {name}. Please install:\n"
    );
    for need in missing {
        text.push_str(&format!("  {}\n", need.describe()));
    }
    text.push_str("The kernels come from Debian's packages, so apt-get with a Debian source and dpkg-deb are needed too.\n");
    text.push_str(&format!("On a Debian derivative: apt-get install {}", list(missing)));
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, need};
    use super::*;

    const PLAIN: &str = "bookworm main http://mirror.test/debian/\nbookworm-security main http://mirror.test/debian-security/";

    fn needs(packages: &[&str]) -> Vec<Need> {
        need::all(Purpose::Test).filter(|need| packages.contains(&need.package)).collect()
    }

    fn check(distribution: Distribution, packages: &[&str], sources: &str, expected: &[&str]) {
        let steps = plan(distribution, &needs(packages), sources).unwrap();
        assert_eq!(steps.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn debian_12_takes_qemu_from_backports_on_the_machines_own_mirror() {
        let expected = [
            "adding the package source \"deb http://mirror.test/debian/ bookworm-backports main\" in /etc/apt/sources.list.d/linerate-backports.list",
            "updating the package lists",
            "installing ethtool",
            "installing qemu-system-x86 from bookworm-backports",
        ];
        check(Distribution::Debian12, &["ethtool", QEMU_PACKAGE], PLAIN, &expected);
    }

    #[test]
    fn backports_are_added_once() {
        let sources = format!("{PLAIN}\nbookworm-backports main http://mirror.test/debian/");
        let expected =
            ["updating the package lists", "installing qemu-system-x86 from bookworm-backports"];
        check(Distribution::Debian12, &[QEMU_PACKAGE], &sources, &expected);
    }

    #[test]
    fn without_qemu_nothing_is_added() {
        check(
            Distribution::Debian12,
            &["bc"],
            PLAIN,
            &["updating the package lists", "installing bc"],
        );
    }

    #[test]
    fn debian_13_has_all_of_it() {
        let expected = ["updating the package lists", "installing bc qemu-system-x86"];
        check(
            Distribution::Debian13,
            &["bc", QEMU_PACKAGE],
            "trixie main http://mirror.test/debian/",
            &expected,
        );
    }

    #[test]
    fn no_mirror_to_derive_from_is_an_error() {
        assert!(plan(Distribution::Debian12, &needs(&[QEMU_PACKAGE]), "").is_err());
    }

    #[test]
    fn another_distribution_is_told_what_to_install() {
        let fedora = "ID=fedora\nVERSION_ID=42\nPRETTY_NAME=\"Fedora Linux 42\"\n";
        assert_eq!(Distribution::from_os_release(fedora), None);
        let text = unsupported(fedora, &needs(&[QEMU_PACKAGE, "bc"]));
        assert!(
            text.contains("Fedora Linux 42")
                && text.contains("qemu-system-x86_64 8.0 or newer")
                && text.contains("bc"),
            "{text}"
        );
    }

    #[test]
    fn a_distribution_is_known_by_its_number() {
        assert_eq!(
            Distribution::from_os_release("ID=debian\nVERSION_ID=\"12\"\n"),
            Some(Distribution::Debian12)
        );
        assert_eq!(Distribution::from_os_release("ID=debian\nVERSION_ID=\"11\"\n"), None);
        assert_eq!(
            Distribution::from_os_release("ID=ubuntu\nVERSION_ID=\"24.04\"\nID_LIKE=debian\n"),
            None
        );
    }
}
