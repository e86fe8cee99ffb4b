//! A sysfs tree of network cards, in a temporary directory, laid out as the kernel does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A tree that goes away with the value.
#[derive(Debug)]
pub struct Tree {
    dir: tempfile::TempDir,
}

/// A directory of the tree, to put files and links into.
#[derive(Debug, Clone)]
pub struct Dir {
    root: PathBuf,
    path: PathBuf,
}

impl Tree {
    /// A node without cards.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        for sub in ["bus/pci/devices", "bus/auxiliary/devices", "class/net"] {
            fs::create_dir_all(dir.path().join(sub))?;
        }
        Ok(Self { dir })
    }

    /// Its root.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A PCI function of a class (`0x020000` is Ethernet), with vendor and device as `8086:1572`.
    pub fn function(&self, address: &str, class: &str, ids: &str) -> anyhow::Result<Dir> {
        let path = self.path().join("devices/pci0000:00").join(address);
        fs::create_dir_all(&path)?;
        symlink(&path, self.path().join("bus/pci/devices").join(address))?;
        let (vendor, device) = ids.split_once(':').context("ids are VENDOR:DEVICE")?;
        let dir = Dir { root: self.path().to_owned(), path };
        dir.file("class", class)?
            .file("vendor", &format!("0x{vendor}"))?
            .file("device", &format!("0x{device}"))
    }

    /// A PF with a driver and a netdev, that can have `total` VFs and has none.
    pub fn pf(
        &self,
        address: &str,
        ids: &str,
        driver: &str,
        netdev: &str,
        total: u16,
    ) -> anyhow::Result<Dir> {
        let pf = self.function(address, "0x020000", ids)?.driver(driver)?;
        pf.netdev(netdev)?;
        pf.file("sriov_totalvfs", &total.to_string())?.file("sriov_numvfs", "0")
    }

    /// VF `index` of `pf`, without a driver.
    pub fn vf(&self, pf: &Dir, index: u16, address: &str, ids: &str) -> anyhow::Result<Dir> {
        let vf = self.function(address, "0x020000", ids)?;
        symlink(pf.path(), vf.path.join("physfn"))?;
        symlink(&vf.path, pf.path.join(format!("virtfn{index}")))?;
        pf.file("sriov_numvfs", &(index + 1).to_string())?;
        Ok(vf)
    }

    /// A device of the auxiliary bus, part of `parent`: `mlx5_core.sf.4`.
    pub fn auxiliary(&self, parent: &Dir, name: &str) -> anyhow::Result<Dir> {
        let device = parent.join(name)?;
        symlink(device.path(), self.path().join("bus/auxiliary/devices").join(name))?;
        Ok(device)
    }

    /// The directory of a function that is there, to be changed.
    #[must_use]
    pub fn device(&self, address: &str) -> Dir {
        let path = self.path().join("devices/pci0000:00").join(address);
        Dir { root: self.path().to_owned(), path }
    }

    /// Takes a function away, as hot unplug does.
    pub fn unplug(&self, address: &str) -> anyhow::Result<()> {
        fs::remove_file(self.path().join("bus/pci/devices").join(address))?;
        Ok(fs::remove_dir_all(self.path().join("devices/pci0000:00").join(address))?)
    }

    /// `count` VFs on `pfs` PFs of one driver, evenly, half of the PFs near each of two NUMA nodes.
    pub fn many(count: u16, pfs: u8) -> anyhow::Result<Self> {
        let tree = Self::new()?;
        for number in 0..pfs {
            let bus = 0x10 + number;
            let pf = tree.pf(
                &format!("0000:{bus:02x}:00.0"),
                "15b3:101d",
                "mlx5_core",
                &format!("eth{number}"),
                1000,
            )?;
            let node = if number < pfs.div_ceil(2) { "0" } else { "1" };
            pf.file("numa_node", node)?;
            for index in 0..count / u16::from(pfs) {
                tree.vf_of_many(&pf, bus, index, node)?;
            }
        }
        Ok(tree)
    }

    fn vf_of_many(&self, pf: &Dir, bus: u8, index: u16, node: &str) -> anyhow::Result<()> {
        // Eight functions a device, 32 devices a bus; further buses are far above.
        let (over, place) = (index / 256, index % 256);
        let address = format!("{over:04x}:{:02x}:{:02x}.{}", bus + 0x40, place / 8, place % 8);
        let vf = self
            .vf(pf, index, &address, "15b3:101e")?
            .driver("mlx5_core")?
            .file("numa_node", node)?;
        vf.netdev(&format!("eth{bus}v{index}")).map(drop)
    }
}

impl Dir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it.
    pub fn join(&self, name: &str) -> anyhow::Result<Self> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)?;
        Ok(Self { root: self.root.clone(), path })
    }

    /// A file, with the newline that sysfs ends every value with.
    pub fn file(&self, name: &str, value: &str) -> anyhow::Result<Self> {
        fs::write(self.path.join(name), format!("{value}\n"))?;
        Ok(self.clone())
    }

    /// Binds it to a driver, another one than before if it had one.
    pub fn driver(&self, driver: &str) -> anyhow::Result<Self> {
        let dir = self.root.join("bus/pci/drivers").join(driver);
        fs::create_dir_all(&dir)?;
        let link = self.path.join("driver");
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        symlink(dir, link)?;
        Ok(self.clone())
    }

    /// Puts it into an IOMMU group.
    pub fn iommu_group(&self, number: u32) -> anyhow::Result<Self> {
        let group = self.root.join("kernel/iommu_groups").join(number.to_string());
        fs::create_dir_all(&group)?;
        symlink(group, self.path.join("iommu_group"))?;
        Ok(self.clone())
    }

    /// A netdev of it, up and with carrier; returned to be changed.
    pub fn netdev(&self, name: &str) -> anyhow::Result<Self> {
        let netdev = self.join(&format!("net/{name}"))?;
        symlink(netdev.path(), self.root.join("class/net").join(name))?;
        symlink(&self.path, netdev.path.join("device"))?;
        let values =
            [("ifindex", "7"), ("type", "1"), ("address", "02:00:00:00:00:01"), ("mtu", "1500")];
        for (file, value) in values {
            netdev.file(file, value)?;
        }
        netdev.file("operstate", "up")
    }

    /// Takes its netdevs away, as a move to another network namespace does.
    pub fn hide_netdevs(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(self.path.join("net"))?.flatten() {
            fs::remove_file(self.root.join("class/net").join(entry.file_name()))?;
        }
        Ok(fs::remove_dir_all(self.path.join("net"))?)
    }
}
