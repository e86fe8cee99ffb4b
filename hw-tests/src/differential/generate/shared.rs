//! Pipelines whose ports come together: each port knows something of its own, then all go through the same long tables, and further on what
//! a port knows counts again, or not. That is where ports share chains, rules that do the same are walked once, and ways
//! that lead where all go are left out.

use std::collections::BTreeMap;

use flow_compiler::openflow::text::{Names, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};

use super::super::chance::Chance;
use super::super::topology;

/// What a port may know of its packets.
const KNOWN: [&str; 10] = [
    "load:1->NXM_NX_REG0[]",
    "load:2->NXM_NX_REG0[]",
    "load:1->OXM_OF_METADATA[]",
    "load:2->OXM_OF_METADATA[]",
    "load:5->NXM_NX_REG3[]",
    "move:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15]",
    "load:0xffff->NXM_OF_IN_PORT[]",
    "load:2->NXM_OF_IN_PORT[]",
    "push:NXM_NX_REG0[],load:1->NXM_NX_REG0[]",
    "set_field:0x70000->tun_metadata0",
];

/// What a long table tells packets apart by; `{}` is another number for each rule.
const LONG: [&str; 6] = [
    "tcp,tp_dst={}",
    "udp,tp_dst={}",
    "ip,nw_dst=10.0.0.{}",
    "ip,nw_src=10.0.0.{}",
    "dl_dst=02:00:00:00:00:{x}",
    "tcp,nw_dst=10.0.0.{},tp_dst=80",
];

/// What only some packets have, or some ports.
const ODD: [&str; 15] = [
    "reg0=1",
    "reg0=2",
    "metadata=1",
    "metadata=2",
    "reg2=1",
    "reg0=1,ip,nw_src=10.0.0.0/30",
    "metadata=1,tcp,tp_dst=80",
    "reg2=2,ip,nw_ttl=64",
    "in_port=1",
    "ip,reg1=0xa000002",
    "ip,reg1=0xa000002,nw_dst=10.0.0.2",
    "ip,reg1=0xa000003,nw_dst=10.0.0.2",
    "ip,reg1=0xa000002,nw_src=10.0.0.1",
    "ip,nw_dst=10.0.0.0/30",
    "tcp,tp_src=1000",
];

/// What only some ports have.
const OF_PORTS: [&str; 6] = ["reg0=1", "reg0=2", "reg0=0", "metadata=1", "metadata=2", "reg2=1"];

/// What happens to packets; `{next}` is a table further on, `{port}` one of the card's.
const DOES: [&str; 20] = [
    "resubmit(,{next})",
    "resubmit(,{next})",
    "resubmit(,{next})",
    "goto_table:{next}",
    "load:1->NXM_NX_REG0[],resubmit(,{next})",
    "load:2->NXM_NX_REG0[],resubmit(,{next})",
    "move:NXM_NX_REG2[0..15]->NXM_NX_REG0[0..15],resubmit(,{next})",
    "resubmit(,{next}),resubmit(,{last})",
    "set_field:02:00:00:00:00:0c->eth_dst,resubmit(,{next})",
    "drop",
    "output:{port}",
    "in_port",
    "output:NXM_NX_REG2[0..15]",
    "set_tunnel:5,output:20",
    "move:NXM_NX_REG2[0..14]->NXM_NX_TUN_METADATA0[16..30],set_tunnel:5,output:21",
    "ct(table={next},zone=NXM_NX_REG3[0..15])",
    "ct(commit,zone=5),output:{port}",
    "meter:1,resubmit(,{next})",
    "pop:NXM_NX_REG0[],resubmit(,{next})",
    "output:{port},resubmit(,{next})",
];

/// So many rules at most are those of a long table: more than what is looked at one by one, and than what is worth sharing.
const MOST_RULES: usize = 70;

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let tables = 2 + chance.below(3);
    let mut lines = Vec::new();
    let ports = topology::VFS.into_iter().chain(topology::TUNNELS);
    let all = *chance.of(&KNOWN);
    for port in ports {
        let own: Vec<&str> = (0..chance.below(3)).map(|_| *chance.of(&KNOWN)).collect();
        let known = [&own[..], &[all, "resubmit(,1)"]].concat().join(",");
        lines.push(format!("priority=1,in_port={port} actions={known}"));
        // An address in a register stands for the one in the packet.
        let copy = "move:NXM_OF_IP_DST[]->NXM_NX_REG1[]";
        if chance.one_in(2) {
            lines.push(format!("priority=2,ip,in_port={port} actions={copy},{known}"));
        }
    }
    for table in 1..=tables {
        let write = if chance.one_in(3) { of_ports_only } else { long_table };
        lines.extend(write(chance, table, tables));
    }
    // Some of what chance writes is no rule, such as a meter behind another action.
    let parsed = |line: &String| parse_rules(line, &Names::default()).ok();
    let mut rules: BridgeRules = lines.iter().filter_map(parsed).flatten().collect();
    rules.tunnel_options = topology::options();
    let meter = "meter=1 kbps burst bands=\ntype=drop rate=1000 burst_size=100\n";
    let meters = flow_compiler::openflow::text::parse_meters(meter)?;
    rules.meters = meters.into_iter().map(|meter| (meter.id, meter)).collect();
    let provider: BridgeRules =
        parse_rules("priority=0 actions=NORMAL", &Names::default())?.into_iter().collect();
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), rules),
            (BridgeName::from(topology::PROVIDER), provider),
        ]),
    })
}

/// What a rule of a table does.
fn does(chance: &mut Chance, table: usize, tables: usize) -> String {
    let next = table + 1 + chance.below(tables.saturating_sub(table).min(2));
    let does = chance.of(&DOES).replace("{next}", &next.to_string());
    let does = does.replace("{last}", &tables.max(table + 1).to_string());
    does.replace("{port}", &chance.of(&topology::VFS).to_string())
}

/// A table that asks nothing of the packet.
fn of_ports_only(chance: &mut Chance, table: usize, tables: usize) -> Vec<String> {
    let rest = does(chance, table, tables);
    let mut lines = vec![format!("table={table},priority=0 actions={rest}")];
    for _ in 0..1 + chance.below(3) {
        let (of, does) = (*chance.of(&OF_PORTS), does(chance, table, tables));
        lines.push(format!("table={table},priority=1,{of} actions={does}"));
    }
    lines
}

fn long_table(chance: &mut Chance, table: usize, tables: usize) -> Vec<String> {
    // Most rules do one thing, a few another.
    let usual = does(chance, table, tables);
    let others: Vec<String> = (0..3).map(|_| does(chance, table, tables)).collect();
    let long = *chance.of(&LONG);
    let count = *chance.of(&[4, 4, 12, 12, 30, MOST_RULES]);
    let mut lines = Vec::new();
    for number in 0..count {
        let actions = if chance.one_in(6) { chance.of(&others) } else { &usual };
        let head = long.replace("{}", &(1 + number).to_string());
        let head = head.replace("{x}", &format!("{:02x}", 10 + number));
        lines.push(format!("table={table},priority=3,{head} actions={actions}"));
    }
    for _ in 0..chance.below(5) {
        let (priority, odd) = (*chance.of(&[1, 2, 3, 4]), *chance.of(&ODD));
        let actions = if chance.one_in(3) { &usual } else { chance.of(&others) };
        lines.push(format!("table={table},priority={priority},{odd} actions={actions}"));
    }
    let rest = if chance.one_in(2) { &usual } else { chance.of(&others) };
    lines.push(format!("table={table},priority=0 actions={rest}"));
    lines
}
