//! A sysfs tree for tests: cards as the kernel lays them out, in a temporary directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::sysfs::Sysfs;

/// A tree that goes away with the value.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
}

/// A directory of the tree to put files and links into.
pub(crate) struct Dir {
    root: PathBuf,
    path: PathBuf,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bus/pci/devices")).unwrap();
        fs::create_dir_all(dir.path().join("class/net")).unwrap();
        Self { dir }
    }

    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs::at(self.dir.path())
    }

    /// An Ethernet function that is neither PF nor VF yet: an Intel 82576 without a driver.
    pub(crate) fn function(&self, address: &str) -> Dir {
        let device = self.dir("devices/pci0000:00").join(address);
        let link = self.dir.path().join("bus/pci/devices").join(address);
        symlink(&device.path, link).unwrap();
        device.file("class", "0x020000").file("vendor", "0x8086").file("device", "0x10c9")
    }

    /// A PF that can have `total` VFs and has none.
    pub(crate) fn pf(&self, address: &str, total: u16) -> Dir {
        self.function(address)
            .file("sriov_totalvfs", &total.to_string())
            .file("sriov_numvfs", "0")
            .file("sriov_drivers_autoprobe", "1")
    }

    /// VF `index` of `pf`.
    pub(crate) fn vf(&self, pf: &Dir, index: u16, address: &str) -> Dir {
        let vf = self.function(address).file("device", "0x10ca").link("physfn", &pf.path);
        symlink(&vf.path, pf.path.join(format!("virtfn{index}"))).unwrap();
        pf.file("sriov_numvfs", &(index + 1).to_string());
        vf
    }

    pub(crate) fn dir(&self, path: &str) -> Dir {
        let path = self.dir.path().join(path);
        fs::create_dir_all(&path).unwrap();
        Dir { root: self.dir.path().to_owned(), path }
    }
}

impl Dir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> Self {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap();
        Self { root: self.root.clone(), path }
    }

    /// A file, with the newline that sysfs ends every value with.
    pub(crate) fn file(&self, name: &str, value: &str) -> Self {
        fs::write(self.path.join(name), format!("{value}\n")).unwrap();
        Self { root: self.root.clone(), path: self.path.clone() }
    }

    pub(crate) fn link(&self, name: &str, target: &Path) -> Self {
        symlink(target, self.path.join(name)).unwrap();
        Self { root: self.root.clone(), path: self.path.clone() }
    }

    /// Binds it to `driver`.
    pub(crate) fn driver(&self, driver: &str) -> Self {
        let dir = self.root.join("bus/pci/drivers").join(driver);
        fs::create_dir_all(&dir).unwrap();
        self.link("driver", &dir)
    }

    /// A netdev of this function; the last that was made is returned to be changed.
    pub(crate) fn netdev(&self, name: &str, ifindex: u32) -> Self {
        let netdev = self.join(&format!("net/{name}"));
        symlink(&netdev.path, self.root.join("class/net").join(name)).unwrap();
        netdev
            .file("ifindex", &ifindex.to_string())
            .file("type", "1")
            .file("address", "02:00:00:00:00:01")
            .file("mtu", "1500")
            .file("operstate", "up")
            .file("speed", "25000")
    }
}
