//! TTLs that rules write and then count down, in one rule or across tables: one that a rule has written may run out, too, for every
//! packet, and what comes behind is not done then.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

const PACKETS: [&str; 5] = ["ip", "ip", "tcp", "ipv6", "ip,nw_ttl=64"];

/// Where the TTL is written or counted down.
const EDITS: [&str; 11] = [
    "mod_nw_ttl:1,dec_ttl",
    "mod_nw_ttl:0,dec_ttl",
    "mod_nw_ttl:2,dec_ttl",
    "mod_nw_ttl:2,dec_ttl,dec_ttl",
    "mod_nw_ttl:9,dec_ttl",
    "mod_nw_ttl:1",
    "mod_nw_ttl:2",
    "dec_ttl",
    "dec_ttl,mod_nw_ttl:9",
    "dec_ttl,mod_nw_ttl:1,dec_ttl",
    "load:1->NXM_NX_IP_TTL[],dec_ttl",
];

/// What stands behind; nothing is a drop.
const ENDS: [&str; 6] = [
    "",
    ",output:{port}",
    ",output:{port}",
    ",resubmit(,1)",
    ",resubmit(,1),output:{port}",
    ",in_port",
];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut lines = Vec::new();
    for port in topology::VFS.into_iter().chain([topology::TUNNELS[0]]) {
        let (packets, edit) = (*chance.of(&PACKETS), *chance.of(&EDITS));
        let before = if chance.one_in(4) { "output:3," } else { "" };
        let end = end(chance, &ENDS);
        lines.push(format!("priority=1,in_port={port},{packets} actions={before}{edit}{end}"));
    }
    for packets in ["ip,nw_ttl=1", "ip,nw_dst=10.0.0.2", "tcp,tp_dst=80", "ipv6", "ip"] {
        let (priority, edit) = (1 + chance.below(3), *chance.of(&EDITS));
        // Behind the second table there is none.
        let end = end(chance, &ENDS[..3]);
        lines.push(format!("table=1,priority={priority},{packets} actions={edit}{end}"));
    }
    lines.push(format!("table=1,priority=0 actions=output:{}", chance.of(&topology::VFS)));
    lines::ruleset(&lines)
}

fn end(chance: &mut Chance, ends: &[&str]) -> String {
    let port = *chance.of(&topology::VFS);
    chance.of(ends).replace("{port}", &port.to_string())
}
