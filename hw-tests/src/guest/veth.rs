//! A virtual cable from the first namespace into one of its own.

use super::netns::Netns;
use super::tool::{run, undo};

/// The far end's name, in its namespace.
pub const FAR_END: &str = "eth0";

/// A veth pair: the near end in the first namespace, the far end as `eth0` in a namespace called like the near end.
#[derive(Debug)]
pub struct Veth {
    near: String,
    /// Where the far end is.
    pub netns: Netns,
}

impl Veth {
    /// Makes the pair, both ends up.
    pub fn create(near: &str) -> anyhow::Result<Self> {
        let netns = Netns::new(near)?;
        run(&format!("ip link add {near} type veth peer name {FAR_END} netns {near}"))?;
        let veth = Self { near: near.to_owned(), netns };
        run(&format!("ip link set {near} up"))?;
        veth.netns.ip(&format!("link set {FAR_END} up"))?;
        Ok(veth)
    }

    /// The name of the end in the first namespace.
    #[must_use]
    pub fn near(&self) -> &str {
        &self.near
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        // The kernel deletes a veth some time after its peer's namespace, and the next case may want the name now.
        undo(&format!("ip link delete {}", self.near));
    }
}
