//! What a link has counted.

use std::fs;

use anyhow::Context;

/// A counter of a link in the first namespace, called as below `/sys/class/net/LINK/statistics`: `rx_packets`, `tx_dropped`.
pub fn counter(link: &str, name: &str) -> anyhow::Result<u64> {
    let path = format!("/sys/class/net/{link}/statistics/{name}");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    text.trim().parse().with_context(|| format!("{path} holds no number: {text}"))
}

/// Packets received and sent.
pub fn packets(link: &str) -> anyhow::Result<(u64, u64)> {
    Ok((counter(link, "rx_packets")?, counter(link, "tx_packets")?))
}
