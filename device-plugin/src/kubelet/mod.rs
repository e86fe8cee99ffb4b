//! The side that kubelet sees: a gRPC service a pool, and how kubelet comes to know of it.

pub mod list;
pub mod service;
pub mod session;

use std::path::{Path, PathBuf};

/// Where kubelet is unless told otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/kubelet";
/// Where its own socket is, and ours when we register by ourselves.
const DEVICE_PLUGINS: &str = "device-plugins";
/// Where its plugin watcher looks.
const PLUGINS_REGISTRY: &str = "plugins_registry";

/// Kubelet's directories.
#[derive(Debug, Clone)]
pub struct KubeletDir(PathBuf);

/// How kubelet comes to know of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It watches a directory, and asks every socket there.
    Watcher,
    /// It is told over its own socket.
    Register,
}

impl KubeletDir {
    /// Kubelet's root directory.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// By watcher where kubelet has the directory for it, as every kubelet since 1.12.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.0.join(PLUGINS_REGISTRY).is_dir() { Mode::Watcher } else { Mode::Register }
    }

    /// Where our sockets are.
    #[must_use]
    pub fn sockets(&self, mode: Mode) -> PathBuf {
        self.0.join(match mode {
            Mode::Watcher => PLUGINS_REGISTRY,
            Mode::Register => DEVICE_PLUGINS,
        })
    }

    /// Kubelet's own socket.
    #[must_use]
    pub fn registration(&self) -> PathBuf {
        self.0.join(DEVICE_PLUGINS).join("kubelet.sock")
    }

    /// Its account of who has which device.
    #[must_use]
    pub fn pod_resources(&self) -> PathBuf {
        self.0.join("pod-resources/kubelet.sock")
    }

    /// The file it remembers its allocations in.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join(DEVICE_PLUGINS).join(crate::holds::checkpoint::FILE)
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }
}
