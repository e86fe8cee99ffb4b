//! Conjunctions that contradict each other: clauses of one number say different things about how many there are, at one priority or
//! several, next to whole ones.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

/// What clauses ask.
const ASKED: [&str; 6] = [
    "ip,nw_src=10.0.0.1",
    "ip,nw_src=10.0.0.0/30",
    "ip,nw_dst=10.0.0.2",
    "ip,nw_dst=10.0.0.0/30",
    "tcp,tp_dst=80",
    "ip,nw_ttl=64",
];

/// Of the same number with other counts.
const CLAUSES: [&str; 7] = ["1/2", "2/2", "1/3", "2/3", "3/3", "1/2", "2/2"];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut lines: Vec<String> = topology::VFS
        .iter()
        .map(|port| format!("priority=1,in_port={port} actions=resubmit(,1)"))
        .collect();
    for asked in ASKED {
        let (priority, id) = (2 + chance.below(2), *chance.of(&[7, 7, 8]));
        let clause = *chance.of(&CLAUSES);
        let more = if chance.one_in(3) { ",conjunction(8,2/2)" } else { "" };
        let more = if id == 8 { "" } else { more };
        lines.push(format!(
            "table=1,priority={priority},{asked} actions=conjunction({id},{clause}){more}"
        ));
    }
    for id in [7, 8] {
        let (port, priority) = (*chance.of(&topology::VFS), 2 + chance.below(2));
        lines.push(format!("table=1,priority={priority},ip,conj_id={id} actions=output:{port}"));
    }
    let port = *chance.of(&topology::VFS);
    lines.push(format!("table=1,priority=1,ip,nw_src=10.0.0.2 actions=output:{port}"));
    lines.push("table=1,priority=0 actions=drop".to_owned());
    lines::ruleset(&lines)
}
