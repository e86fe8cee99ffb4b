//! What the simulated node needs on the host, the file that shows it, and Debian's package for it.

use std::path::Path;
use std::process::Command;

use super::Purpose;
use crate::sim::{accel, process};

/// One thing that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Debian's name of the package.
    pub(super) package: &'static str,
    /// How to see whether it is there.
    sign: Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// QEMU with igb, which came with 8.0.
    Qemu,
}

/// QEMU's package; on Debian 12 it comes from elsewhere than the others.
pub(super) const QEMU_PACKAGE: &str = "qemu-system-x86";
/// The first QEMU with the igb device.
const QEMU_MAJOR: u32 = 8;

const DEMO: &[Need] = &[
    Need { package: QEMU_PACKAGE, sign: Sign::Qemu },
    program("openvswitch-switch", "ovs-vswitchd"),
    program("iproute2", "devlink"),
    // IPAM for the CNI plugin.
    file("containernetworking-plugins", "/usr/lib/cni/host-local"),
    program("ethtool", "ethtool"),
    program("kmod", "modprobe"),
    program("util-linux", "setpriv"),
    program("xz-utils", "xz"),
    // For nicsim.
    program("make", "make"),
    program("gcc", "gcc"),
    file("busybox-static", "/bin/busybox"),
];

const TEST: &[Need] = &[
    // For the kernel.
    file("linux-source-6.12", "/usr/src/linux-source-6.12.tar.xz"),
    program("bc", "bc"),
    program("bison", "bison"),
    program("flex", "flex"),
    program("perl", "perl"),
    file("libelf-dev", "/usr/include/gelf.h"),
    file("libssl-dev", "/usr/include/openssl/ssl.h"),
    // To kill programs at their system calls.
    program("strace", "strace"),
];

const fn program(package: &'static str, name: &'static str) -> Need {
    Need { package, sign: Sign::Program(name) }
}

const fn file(package: &'static str, path: &'static str) -> Need {
    Need { package, sign: Sign::File(path) }
}

/// All that is needed for a purpose.
pub(super) fn all(purpose: Purpose) -> impl Iterator<Item = Need> {
    let more = if purpose == Purpose::Test { TEST } else { &[] };
    DEMO.iter().chain(more).copied()
}

impl Need {
    /// Whether it is there.
    pub(super) fn is_there(self) -> bool {
        match self.sign {
            Sign::Program(name) => process::installed(name),
            Sign::File(path) => Path::new(path).exists(),
            Sign::Qemu => qemu_is_new_enough(),
        }
    }

    /// What to look for where packages are called otherwise.
    pub(super) fn describe(self) -> String {
        match self.sign {
            Sign::Program(name) => format!("{name} (Debian package {})", self.package),
            Sign::File(path) => format!("{path} (Debian package {})", self.package),
            Sign::Qemu => {
                format!("{} {QEMU_MAJOR}.0 or newer (Debian package {})", accel::QEMU, self.package)
            }
        }
    }
}

/// The packages, separated by blanks.
pub(super) fn list(needs: &[Need]) -> String {
    needs.iter().map(|need| need.package).collect::<Vec<_>>().join(" ")
}

fn qemu_is_new_enough() -> bool {
    let version = process::text(Command::new(accel::QEMU).arg("--version"));
    version.ok().and_then(|text| major(&text)).is_some_and(|major| major >= QEMU_MAJOR)
}

/// `QEMU emulator version 10.0.2 (Debian ...)`
fn major(version: &str) -> Option<u32> {
    version.split_once("version ")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_a_number_not_a_text() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)"), Some(10));
        assert_eq!(major("QEMU emulator version 7.2.22"), Some(7));
        assert_eq!(major("nonsense"), None);
    }

    #[test]
    fn what_is_not_on_the_path_is_missing() {
        assert!(!program("none", "linerate-no-such-program").is_there());
        assert!(program("coreutils", "ls").is_there());
        assert!(!file("none", "/linerate/no/such/file").is_there());
    }
}
