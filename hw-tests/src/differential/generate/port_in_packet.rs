//! Rules that say by which port a packet came, from what the packet has itself: it goes nowhere by that port, and `in_port` sends it
//! there.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

/// Packets, and what of them becomes the port; of most addresses here the last bits are the number of one.
const TAKEN: [(&str, &str); 8] = [
    ("ip", "move:NXM_OF_IP_DST[0..15]->NXM_OF_IN_PORT[]"),
    ("ip", "move:NXM_OF_IP_DST[0..15]->NXM_OF_IN_PORT[]"),
    ("ip", "move:NXM_OF_IP_SRC[0..15]->NXM_OF_IN_PORT[]"),
    ("ip", "move:NXM_OF_IP_DST[0..7]->NXM_OF_IN_PORT[0..7]"),
    ("ip", "move:NXM_OF_IP_DST[0..15]->OXM_OF_IN_PORT[0..15]"),
    ("ip", "push:NXM_OF_IP_DST[0..15],pop:NXM_OF_IN_PORT[]"),
    ("ipv6", "move:NXM_NX_IPV6_DST[0..15]->NXM_OF_IN_PORT[]"),
    // 02:00:00:00:00:0a is behind port 10.
    ("ip", "move:NXM_OF_ETH_DST[0..15]->NXM_OF_IN_PORT[]"),
];

/// What sends the packet; `{port}` and `{other}` are ports.
const SENDS: [&str; 8] = [
    "output:{port}",
    "output:{port}",
    "in_port",
    "output:{port},output:{other}",
    "output:{port},in_port",
    "output:10",
    "load:{port}->NXM_NX_REG2[],output:NXM_NX_REG2[0..15]",
    "set_tunnel:5,output:20",
];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut lines = Vec::new();
    for port in topology::VFS.into_iter().chain([topology::TUNNELS[0]]) {
        let (packets, taken) = *chance.of(&TAKEN);
        let sends = if chance.one_in(2) { "resubmit(,1)".to_owned() } else { sends(chance) };
        lines.push(format!("priority=1,in_port={port},{packets} actions={taken},{sends}"));
    }
    for _ in 0..2 + chance.below(3) {
        let (port, priority) = (*chance.of(&topology::VFS), 1 + chance.below(3));
        lines.push(format!("table=1,priority={priority},in_port={port} actions={}", sends(chance)));
    }
    lines.push(format!("table=1,priority=0 actions={}", sends(chance)));
    lines::ruleset(&lines)
}

fn sends(chance: &mut Chance) -> String {
    let (port, other) = (*chance.of(&topology::VFS), *chance.of(&topology::VFS));
    let sends = chance.of(&SENDS).replace("{port}", &port.to_string());
    sends.replace("{other}", &other.to_string())
}
