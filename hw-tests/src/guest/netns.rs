//! Network namespaces: a pod, or the top-of-rack switch behind the wire.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use anyhow::{Context, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use switchdev::link::Links;

use super::tool::{run, undo};

/// A named network namespace, deleted when it is dropped. Netdevs of a PCI device in it then come back to the initial one.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one with nothing in it but its loopback, which is up.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        run(&format!("ip netns add {name}"))?;
        let netns = Self { name: name.to_owned() };
        netns.ip("link set lo up")?;
        Ok(netns)
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

    /// The pod has given back all it got: the namespace has what the kernel puts into every new one (devices of tunnel
    /// modules among it), and nothing else. A namespace that goes would bring a VF home by itself.
    pub fn ensure_empty(&self) -> anyhow::Result<()> {
        let (links, fresh) = (self.links()?, Netns::new("fresh")?.links()?);
        ensure!(links == fresh, "the pod still has {links:?}, and a new one has {fresh:?}");
        Ok(())
    }

    fn links(&self) -> anyhow::Result<Vec<String>> {
        let links = self.enter(|| Ok(Links::open()?.all()?))?;
        Ok(links.into_iter().map(|link| link.name).collect())
    }

    /// Calls a function in it. Sockets that the function opens stay in it.
    pub fn enter<T: Send>(
        &self,
        call: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        // The namespace is the thread's, so a thread that ends with the call is all there is to undo.
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter_thread(&self.name)?;
                call()
            });
            inside.join().map_err(|_| anyhow!("the call in namespace {} panicked", self.name))?
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        undo(&format!("ip netns del {}", self.name));
    }
}

/// Moves the calling thread into a namespace. It cannot come back.
pub(crate) fn enter_thread(name: &str) -> anyhow::Result<()> {
    let path = Path::new("/run/netns").join(name);
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", path.display()))
}
