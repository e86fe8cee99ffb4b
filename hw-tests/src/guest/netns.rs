//! Network namespaces: a pod, or the top-of-rack switch behind the wire.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use anyhow::{Context, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tool::run;

/// A named network namespace, deleted when it is dropped. Netdevs of a PCI device in it then come back to the initial one.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty one.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        run(&format!("ip netns add {name}"))?;
        Ok(Self { name: name.to_owned() })
    }

    /// Its name, as `ip -n` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves a netdev of the initial namespace into it, gives it an address (`10.0.0.1/24`), and sets it up.
    pub fn take(&self, netdev: &str, address: &str) -> anyhow::Result<()> {
        run(&format!("ip link set {netdev} netns {}", self.name))?;
        self.ip(&format!("addr add {address} dev {netdev}"))?;
        self.ip(&format!("link set {netdev} up"))?;
        Ok(())
    }

    /// Runs `ip` in it, with these arguments.
    pub fn ip(&self, arguments: &str) -> anyhow::Result<String> {
        run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Calls a function in it. Sockets that the function opens stay in it.
    pub fn enter<T: Send>(
        &self,
        call: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let path = Path::new("/run/netns").join(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        // The namespace is the thread's, so a thread that ends with the call is all there is to undo.
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                call()
            });
            inside.join().map_err(|_| anyhow!("the call in namespace {} panicked", self.name))?
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("ip netns del {}", self.name)) {
            eprintln!("{error:#}");
        }
    }
}
