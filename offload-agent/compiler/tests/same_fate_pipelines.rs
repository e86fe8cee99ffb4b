//! C1 to C3 of the contract over more than one table: every way to hand a packet on, with every rule that may find it
//! there, whatever connection tracking says.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::Rule;
use world::{check, few_packets, ports, rule, ruleset, shapes};

/// How the first table hands a packet on.
const HANDS_ON: [&str; 31] = [
    "actions=resubmit(,1)",
    "actions=goto_table:1",
    "actions=resubmit(,2),resubmit(,3)",
    "actions=resubmit(,1),output:3",
    "actions=output:3,resubmit(,1)",
    "actions=clone(resubmit(,1)),output:3",
    "actions=write_actions(output:3),goto_table:1",
    "actions=load:1->NXM_NX_REG0[],resubmit(,1)",
    "actions=load:1->NXM_NX_REG0[],resubmit(,1),load:0->NXM_NX_REG0[],resubmit(,1)",
    "actions=push:NXM_NX_REG0[],load:1->NXM_NX_REG0[],pop:NXM_NX_REG0[],resubmit(,1)",
    "actions=write_metadata:0x1/0x1,goto_table:1",
    "ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],resubmit(,1)",
    "ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],mod_nw_dst:10.0.0.9,resubmit(,1)",
    "ip,actions=dec_ttl,resubmit(,1)",
    "ip,actions=mod_nw_dst:10.0.0.9,resubmit(,1)",
    "actions=set_field:02:00:00:00:00:0c->eth_dst,resubmit(,1)",
    "actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],resubmit(,1)",
    "actions=mod_vlan_vid:5,resubmit(,1)",
    "actions=strip_vlan,resubmit(,1)",
    "ip,actions=ct(table=1,zone=5)",
    "ip,actions=ct(table=1,zone=5,nat)",
    "actions=ct(table=1,zone=5)",
    "tcp,actions=dec_ttl,ct(table=1,zone=5,nat),output:3",
    "actions=load:0xffff->NXM_OF_IN_PORT[],resubmit(,1)",
    "ip,actions=ct(commit,zone=6),ct(table=1,zone=5)",
    "tcp,actions=ct(commit,zone=6),ct(table=1,zone=5,nat)",
    "ip,actions=dec_ttl,mod_nw_ttl:9,resubmit(,1)",
    "actions=clone(set_field:02:00:00:00:00:0c->eth_dst,output:3),resubmit(,1)",
    "actions=clone(load:1->NXM_NX_REG0[],output:3),resubmit(,1)",
    "ip,nw_dst=10.0.0.2,actions=ct(table=1,zone=5,nat)",
    "ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],ct(table=1,zone=5,nat)",
];

/// What the second table looks at.
const FINDS: [&str; 17] = [
    "",
    "reg0=1",
    "metadata=1",
    "ip,reg1=0x0a000002",
    "ip,reg1=0x0a000002,nw_dst=10.0.0.2",
    "ip,reg1=0x0a000009,nw_dst=10.0.0.2",
    "ip,nw_dst=10.0.0.9",
    "ip,nw_dst=10.0.0.2",
    "tcp,tp_dst=80",
    "dl_dst=02:00:00:00:00:0c",
    "dl_vlan=5",
    "ct_state=+new+trk,ip",
    "ct_state=+est+trk,ip",
    "ct_state=-rpl+trk,ip",
    "ct_state=-trk",
    "ct_mark=1",
    "ip,nw_ttl=63",
];

/// What it does.
const DOES: [&str; 7] = [
    "drop",
    "output:2",
    "in_port",
    "NORMAL",
    "ct(commit,zone=5,exec(load:1->NXM_NX_CT_MARK[])),output:2",
    "ct_clear,output:2",
    "mod_vlan_vid:6,output:2",
];

fn second_table() -> Vec<Rule> {
    let pairs = FINDS.iter().flat_map(|finds| DOES.iter().map(move |does| (finds, does)));
    pairs.map(|(finds, does)| rule(&format!("table=1,priority=2,{finds} actions={does}"))).collect()
}

#[test]
fn every_way_into_every_rule() {
    let (ports, packets) = (ports(), shapes());
    let nested = ["table=2,priority=1 actions=goto_table:1", "table=3,priority=1 actions=output:3"];
    let nested = nested.map(rule);
    for (number, hands_on) in HANDS_ON.iter().enumerate() {
        let first = rule(&format!("priority=1,{hands_on}"));
        for second in second_table() {
            let name = Capabilities::PROFILES[number % Capabilities::PROFILES.len()];
            let card = Capabilities::profile(name).unwrap().tolerant();
            check(
                &ruleset([first.clone(), second].into_iter().chain(nested.clone())),
                &ports,
                &card,
                &packets,
            );
        }
    }
}

#[test]
fn every_two_rules_in_a_second_table() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim().tolerant());
    let packets: Vec<Frame> = packets.into_iter().step_by(2).collect();
    let lower: Vec<Rule> = ["output:3", "drop", "NORMAL"]
        .iter()
        .map(|does| rule(&format!("table=1,priority=1 actions={does}")))
        .collect();
    for hands_on in [
        "actions=resubmit(,1)",
        "ip,actions=ct(table=1,zone=5,nat)",
        "ip,nw_dst=10.0.0.2,actions=ct(table=1,zone=5,nat)",
        "ip,actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],ct(table=1,zone=5,nat)",
        "ip,actions=dec_ttl,resubmit(,1)",
    ] {
        let first = rule(&format!("priority=1,{hands_on}"));
        for high in second_table().into_iter().step_by(2) {
            for low in &lower {
                let all = [first.clone(), high.clone(), low.clone()];
                check(&ruleset(all), &ports, &card, &packets);
            }
        }
    }
}

/// Packets of a connection that is committed once more share a chain with others, where nothing behind can tell them apart.
#[test]
fn a_connection_that_is_committed_once_more() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    let ends = ["output:2", "output:3", "drop", "dec_ttl,output:2", "in_port"];
    let last = |number: usize| {
        let port = 72 + number;
        rule(&format!("table=2,priority=2,tcp,tp_dst={port} actions={}", ends[number % ends.len()]))
    };
    let last: Vec<Rule> = (0..16).map(last).collect();
    const AGAIN: &str = "ct(commit,zone=5,nat(src),exec(load:0->NXM_NX_CT_MARK[0]))";
    for tracks in ["ct(table=1,zone=5,nat)", "ct(table=1,zone=5)", "ct(table=1,zone=6,nat)"] {
        for again in [AGAIN, "ct(commit,zone=5,nat)", "ct_clear,ct(commit,zone=5,nat(src))"] {
            for asks in
                ["tcp,nw_ttl=9", "ct_mark=1/1,tcp", "ct_mark=2/2,tcp", "ct_state=+rpl+trk,tcp"]
            {
                let first = [
                    format!("priority=1,tcp actions={tracks}"),
                    format!(
                        "table=1,priority=3,ct_state=+est+trk,ct_mark=1/1,tcp actions={again},resubmit(,2)"
                    ),
                    "table=1,priority=2,ct_state=+est+trk,tcp actions=resubmit(,2)".to_owned(),
                    "table=1,priority=1 actions=drop".to_owned(),
                    format!("table=2,priority=3,{asks} actions=output:3"),
                    "table=2,priority=1 actions=drop".to_owned(),
                ];
                let rules = first.iter().map(|text| rule(text)).chain(last.iter().cloned());
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}

/// The kernel drops a packet that jumps too often, so a longer way stays in OVS.
#[test]
fn a_packet_that_is_tracked_very_often() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    for times in [1, 8, 15, 16, 17, 18, 40] {
        for what in ["", ",nat"] {
            let tracks = |table: usize| {
                let start = if table == 0 { "tcp" } else { "ct_state=+est+trk,tcp" };
                rule(&format!(
                    "table={table},priority=1,{start} actions=ct(table={},zone=5{what})",
                    table + 1
                ))
            };
            let last = rule(&format!("table={times},priority=1 actions=output:2"));
            let rules = (0..times).map(tracks).chain([last.clone()]);
            check(&ruleset(rules), &ports, &card, &packets);
            // Where every state has an answer, nothing has to come back but for the jumps.
            let others =
                (0..times).map(|table| rule(&format!("table={table},priority=0 actions=drop")));
            let all = (0..times).map(tracks).chain(others).chain([last]);
            check(&ruleset(all), &ports, &card, &packets);
        }
    }
}

/// What a register stands for is not known, so every value that rules ask for may be it.
#[test]
fn a_rule_on_a_register_that_stands_for_an_address_comes_before_a_lower_one() {
    let (ports, packets) = (ports(), few_packets());
    let rules = [
        "priority=1,ip actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],resubmit(,1)",
        "table=1,priority=2,ip,reg1=0x0a000002 actions=output:2",
        "table=1,priority=1 actions=output:3",
    ];
    for name in Capabilities::PROFILES {
        let card = Capabilities::profile(name).unwrap().tolerant();
        check(&ruleset(rules.map(rule)), &ports, &card, &packets);
    }
}

/// OpenFlow does not say which of two rules of one priority wins, also where one asks the address and one a register that stands for it.
#[test]
fn rules_of_one_priority_on_a_register_and_on_what_it_stands_for() {
    let (ports, packets) = (ports(), few_packets());
    let first = rule("priority=1,ip actions=move:NXM_OF_IP_DST[]->NXM_NX_REG1[],resubmit(,1)");
    let asks =
        ["ip,reg1=0x0a000002", "ip,nw_dst=10.0.0.2", "ip,reg1=0x0a000009", "ip,nw_dst=10.0.0.7"];
    let does = ["output:2", "output:3", "drop", "mod_vlan_vid:6,output:2"];
    for turn in 0..does.len() {
        let level = asks.iter().enumerate().map(|(number, asks)| {
            let does = does[(number + turn) % does.len()];
            rule(&format!("table=1,priority=2,{asks} actions={does}"))
        });
        let level: Vec<Rule> = level.collect();
        for some in [&level[..2], &level[..3], &level[..]] {
            for name in Capabilities::PROFILES {
                let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                let rules = [first.clone()].into_iter().chain(some.iter().cloned());
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}
