//! Rules that ask what connection tracking found, bit by bit: translated at which end, related, in which direction; behind a `ct`
//! that translates and behind one that does not.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

const TABLES: usize = 3;

/// How the connection is asked for.
const ASKS: [&str; 6] =
    ["", "", ",nat", ",nat", ",commit,nat(src=10.1.0.5)", ",commit,nat(dst=10.0.0.3)"];

/// What is asked of the answer.
const STATES: [&str; 16] = [
    "+trk+snat",
    "+trk-snat",
    "+trk+dnat",
    "+trk-dnat",
    "+est+snat",
    "+est-snat",
    "+est+dnat",
    "+est-dnat",
    "+new+dnat",
    "+new-snat",
    "+est+rpl+snat",
    "+est-rpl-dnat",
    "+trk+rel",
    "-rel+trk-inv",
    "+rel+rpl",
    "+trk+inv",
];

const PACKETS: [&str; 5] = ["ip", "ip", "tcp", "udp,tp_dst=80", "tcp,nw_dst=10.0.0.3"];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let mut lines = Vec::new();
    for port in topology::VFS.into_iter().chain([topology::TUNNELS[0]]) {
        lines.push(format!("priority=1,ip,in_port={port} actions={}", track(chance, 1)));
    }
    for table in 1..=TABLES {
        for _ in 0..2 + chance.below(4) {
            let (priority, does) = (1 + chance.below(4), does(chance, table));
            let (state, packets) = (*chance.of(&STATES), *chance.of(&PACKETS));
            lines.push(format!(
                "table={table},priority={priority},{packets},ct_state={state} actions={does}"
            ));
        }
        lines.push(format!("table={table},priority=0,ip actions={}", does(chance, table)));
    }
    lines::ruleset(&lines)
}

fn track(chance: &mut Chance, table: usize) -> String {
    let (zone, asks) = (*chance.of(&[5, 6, 7]), *chance.of(&ASKS));
    format!("ct(table={table},zone={zone}{asks})")
}

fn does(chance: &mut Chance, table: usize) -> String {
    let port = *chance.of(&topology::VFS);
    let next = table + 1;
    match chance.below(6) {
        0 if next <= TABLES => track(chance, next),
        1 | 2 if next <= TABLES => format!("resubmit(,{next})"),
        3 if next <= TABLES => format!("ct_clear,resubmit(,{next})"),
        4 => "drop".to_owned(),
        _ => format!("output:{port}"),
    }
}
