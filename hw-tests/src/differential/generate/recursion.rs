//! A table that leads to itself and counts in a register, about as often as OVS allows.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

/// How often; OVS takes 64 (`MAX_DEPTH`).
const DEPTHS: [usize; 8] = [2, 20, 61, 62, 63, 64, 65, 70];

/// What is done on each round.
const ROUNDS: [&str; 5] =
    ["", "", "dec_ttl,", "set_field:02:00:00:00:00:0c->eth_dst,", "push:NXM_NX_REG0[],"];

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let (depth, round) = (*chance.of(&DEPTHS), *chance.of(&ROUNDS));
    let table = chance.below(2);
    let mut lines: Vec<String> = topology::VFS
        .iter()
        .filter(|_| table == 1)
        .map(|port| format!("priority=1,in_port={port} actions=resubmit(,1)"))
        .collect();
    for count in 0..depth {
        let next = count + 1;
        let end = if chance.one_in(depth) { ",output:3" } else { "" };
        lines.push(format!(
            "table={table},priority=1,ip,reg0={count} actions={round}load:{next}->NXM_NX_REG0[],resubmit(,{table}){end}"
        ));
    }
    let port = *chance.of(&topology::VFS);
    lines.push(format!("table={table},priority=1,reg0={depth} actions=output:{port}"));
    lines.push(format!("table={table},priority=0 actions=output:{}", chance.of(&topology::VFS)));
    lines::ruleset(&lines)
}
