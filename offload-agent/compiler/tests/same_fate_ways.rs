//! C1 to C3 of the contract where several ways lead to one table: they go on as one only where nothing behind could tell
//! them apart.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::Rule;
use world::{check, few_packets, frame, ports, rule, ruleset, shapes, tcp};

#[test]
fn a_rule_that_leads_where_all_go_is_not_lost_behind_one_that_does_not() {
    let (ports, packets) = (ports(), few_packets());
    let leads = ["resubmit(,2)", "mod_vlan_pcp:3,resubmit(,2)"];
    for between in ["tcp", "udp", "tcp,tp_src=1000", "ip,nw_dst=10.0.0.2"] {
        for (high, low) in leads.iter().flat_map(|high| leads.iter().map(move |low| (high, low))) {
            let rules = [
                "priority=1 actions=resubmit(,1)".to_owned(),
                format!("table=1,priority=3,tcp,tp_dst=80 actions={high}"),
                format!("table=1,priority=2,{between} actions=drop"),
                format!("table=1,priority=1 actions={low}"),
                "table=2,priority=1,dl_vlan=5 actions=output:2".to_owned(),
                "table=2,priority=0 actions=output:3".to_owned(),
            ];
            for name in Capabilities::PROFILES {
                // Without it SNAP frames are not looked at: a known and documented hole.
                let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

/// Rules with the same actions go on as one only where nothing behind asks what either of them told.
#[test]
fn rules_that_do_the_same_and_are_told_apart_behind() {
    let (ports, packets) = (ports(), few_packets());
    let asks = ["tcp,tp_dst=80", "ip,nw_ttl=64", "dl_vlan=5", "udp", "ip,nw_dst=10.0.0.2", "arp"];
    let does = ["resubmit(,2)", "mod_vlan_pcp:3,resubmit(,2)"];
    for (first, second) in asks.iter().flat_map(|one| asks.iter().map(move |two| (one, two))) {
        for (behind, does) in asks.iter().flat_map(|one| does.iter().map(move |two| (one, two))) {
            let rules = [
                "priority=1 actions=resubmit(,1)".to_owned(),
                format!("table=1,priority=3,{first} actions={does}"),
                format!("table=1,priority=2,{second} actions={does}"),
                "table=1,priority=1 actions=drop".to_owned(),
                format!("table=2,priority=2,{behind} actions=output:2"),
                "table=2,priority=1 actions=output:3".to_owned(),
            ];
            let card = Capabilities::nicsim();
            check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
        }
    }
}

/// Ways of which something else is known do not go on as one in front of a table that is looked into by it.
#[test]
fn ways_that_look_into_a_table_by_what_they_know() {
    let (ports, packets) = (ports(), few_packets());
    let ways = [
        ["ip,nw_dst=10.0.0.2 actions=resubmit(,1)", "ip actions=mod_nw_dst:10.0.0.9,resubmit(,1)"],
        ["ip,nw_dst=10.0.0.9 actions=resubmit(,1)", "ip,nw_dst=10.0.0.2 actions=resubmit(,1)"],
        ["tcp actions=mod_nw_dst:10.0.0.9,resubmit(,1)", "ip actions=resubmit(,1)"],
        [
            "tcp actions=mod_nw_dst:10.0.0.9,resubmit(,1)",
            "ip actions=mod_nw_dst:10.0.0.2,resubmit(,1)",
        ],
        ["tcp,nw_src=10.0.0.1 actions=resubmit(,1)", "udp,nw_src=10.0.0.1 actions=resubmit(,1)"],
    ];
    for [first, second] in ways {
        for kind in ["tcp,tp_dst=80", "udp,tp_dst=80", "ip,nw_ttl=64", "ip"] {
            let ends = [("10.0.0.2", "output:2"), ("10.0.0.9", "output:3"), ("10.0.0.7", "drop")];
            let looks = ends.map(|(host, does)| {
                rule(&format!("table=1,priority=2,{kind},nw_dst={host} actions={does}"))
            });
            let first = [format!("priority=2,{first}"), format!("priority=1,{second}")];
            let rules = first.iter().map(|text| rule(text)).chain(looks);
            let rules = rules.chain([rule("table=1,priority=1 actions=mod_vlan_vid:6,output:3")]);
            let rules: Vec<Rule> = rules.collect();
            for name in Capabilities::PROFILES {
                let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                check(&ruleset(rules.clone()), &ports, &card, &packets);
            }
        }
    }
}

/// What is left to do in the callers, and what they left on the stack, tell ways apart.
#[test]
fn ways_with_something_else_left_to_do() {
    let ports = ports();
    let tags: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 5)], &[(0x8100, 6)]];
    let ends = [1000, 2000].into_iter().flat_map(|src| [80, 81, 443].map(|dst| (src, dst)));
    let packets: Vec<Frame> = ends
        .flat_map(|(src, dst)| tags.map(|tags| frame(tags, &world::ipv4(6, 0, &tcp(src, dst, 2)))))
        .collect();
    let one = "load:1->NXM_NX_REG1[],push:NXM_NX_REG1[]";
    let two = format!("{one},load:2->NXM_NX_REG1[],push:NXM_NX_REG1[],load:1->NXM_NX_REG1[]");
    let one_on_the_stack = format!("{one},resubmit(,1)");
    let two_on_the_stack = format!("{two},resubmit(,1)");
    let ways = [
        ("resubmit(,1),resubmit(,4)", "resubmit(,1),resubmit(,5)"),
        ("resubmit(,1),resubmit(,4)", "resubmit(,1)"),
        ("resubmit(,1),resubmit(,4)", "resubmit(2,1),resubmit(,4)"),
        (&one_on_the_stack, &two_on_the_stack),
        ("load:1->NXM_NX_REG0[],resubmit(,3)", "load:2->NXM_NX_REG0[],resubmit(,3)"),
        ("load:1->NXM_NX_REG1[],resubmit(,6)", "load:2->NXM_NX_REG1[],resubmit(,6)"),
        ("mod_vlan_vid:5,resubmit(,7)", "mod_vlan_vid:6,resubmit(,7)"),
        (
            "mod_vlan_vid:5,push_vlan:0x8100,resubmit(,8)",
            "mod_vlan_vid:6,push_vlan:0x8100,resubmit(,8)",
        ),
    ];
    let others = [
        "table=1,priority=3,in_port=2,tcp,tp_dst=80 actions=load:1->NXM_NX_REG0[]",
        "table=1,priority=2,tcp,tp_dst=80 actions=pop:NXM_NX_REG0[],resubmit(,2)",
        "table=1,priority=2,tcp,tp_dst=81 actions=load:1->NXM_NX_REG0[]",
        "table=1,priority=1 actions=load:2->NXM_NX_REG0[]",
        "table=2,priority=2,reg0=1 actions=output:2",
        "table=2,priority=2,reg0=2 actions=output:3",
        "table=3,priority=2,tcp,tp_dst=80 actions=clone(mod_dl_src:02:00:00:00:00:0c,output:3),resubmit(,2)",
        "table=3,priority=1 actions=output:3",
        "table=4,priority=2,reg0=1 actions=output:2",
        "table=4,priority=1 actions=output:3",
        "table=5,priority=2,reg0=1 actions=output:3",
        "table=5,priority=1 actions=drop",
        "table=6,priority=3,in_port=2 actions=drop",
        "table=6,priority=2,tcp,tp_dst=80 actions=push:NXM_NX_REG1[],pop:NXM_NX_REG0[],resubmit(,2)",
        "table=6,priority=1 actions=output:3",
        "table=7,priority=2,tcp,tp_dst=80 actions=push_vlan:0x8100,strip_vlan,resubmit(,9)",
        "table=7,priority=1 actions=output:3",
        "table=8,priority=2,tcp,tp_dst=80 actions=strip_vlan,resubmit(,9)",
        "table=8,priority=1 actions=output:3",
        "table=9,priority=2,dl_vlan=5 actions=output:2",
        "table=9,priority=1 actions=output:3",
    ];
    for (first, second) in ways.into_iter().flat_map(|(one, two)| [(one, two), (two, one)]) {
        for (kind, rest) in [
            ("tcp,tp_src=1000", ",tcp"),
            ("tcp,tp_src=1000", ",ip"),
            ("tcp,tp_src=1000,vlan_tci=0/0x1fff", ",tcp,vlan_tci=0/0x1fff"),
            ("tcp,tp_src=1000,dl_vlan=5", ",tcp,vlan_tci=0x1000/0x1000"),
        ] {
            let first = [
                format!("priority=2,{kind} actions={first}"),
                format!("priority=1{rest} actions={second}"),
            ];
            let rules = first.iter().map(String::as_str).chain(others).map(rule);
            let rules: Vec<Rule> = rules.collect();
            for name in Capabilities::PROFILES {
                let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                check(&ruleset(rules.clone()), &ports, &card, &packets);
            }
        }
    }
}

/// Behind a rule that tracks in the zone of a register, tables may ask which zone that was.
#[test]
fn zones_of_a_register_are_told_apart_behind() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    for (first, second) in [(5, 6), (6, 5)] {
        for (kind, asks) in [("tcp,tp_dst=80", "ct_zone=5"), ("ip,nw_ttl=64", "ct_zone=6")] {
            for nat in ["", ",nat"] {
                let rules = [
                    format!(
                        "priority=2,in_port=1,ip actions=load:{first}->NXM_NX_REG1[],resubmit(,1)"
                    ),
                    format!("priority=1,ip actions=load:{second}->NXM_NX_REG1[],resubmit(,1)"),
                    format!(
                        "table=1,priority=2,{kind} actions=ct(table=2,zone=NXM_NX_REG1[0..15]{nat})"
                    ),
                    "table=1,priority=1 actions=drop".to_owned(),
                    format!("table=2,priority=2,{asks},ip actions=output:2"),
                    "table=2,priority=1 actions=output:3".to_owned(),
                ];
                check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

/// A packet that was translated, or whose connection was committed, must not come back; others may, and one rule tracks them all.
#[test]
fn a_rule_that_tracks_what_must_not_come_back_and_what_may() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    let starts = ["ct(table=1,zone=5,nat)", "ct(commit,zone=5),resubmit(,1)"];
    for (first, second) in [("tcp", "udp"), ("udp", "tcp")] {
        for again in ["ct(table=2,zone=6)", "ct(table=2,zone=6,nat)", "ct(commit,zone=6),output:2"]
        {
            for (start, end) in
                starts.iter().flat_map(|start| ["output:2", "in_port"].map(|end| (start, end)))
            {
                let rules = [
                    format!("priority=2,{first} actions={start}"),
                    format!("priority=1,{second} actions=resubmit(,1)"),
                    format!("table=1,priority=2,ip,nw_ttl=64 actions={again}"),
                    "table=1,priority=1 actions=drop".to_owned(),
                    format!("table=2,priority=2,ct_state=+est+trk,ip actions={end}"),
                    "table=2,priority=1 actions=output:3".to_owned(),
                ];
                check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

/// A connection that is committed once more translates nothing anew, but only in the zone in which it was found.
#[test]
fn connections_of_two_zones_that_are_committed_in_one() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    let long = |table: u8, field: &'static str, does: &'static str| {
        (70..86).map(move |port| {
            rule(&format!("table={table},priority=2,tcp,{field}={port} actions={does}"))
        })
    };
    for (first, second) in [(5, 6), (6, 5)] {
        for nat in ["nat", "nat(src)"] {
            let again: &'static str = match nat {
                "nat" => "ct(commit,zone=5,nat),resubmit(,2)",
                _ => "ct(commit,zone=5,nat(src)),resubmit(,2)",
            };
            let others = [
                format!("priority=2,tcp,tp_src=1000 actions=ct(table=1,zone={first},nat)"),
                format!("priority=1,tcp actions=ct(table=1,zone={second},nat)"),
                "table=1,priority=1 actions=drop".to_owned(),
                "table=2,priority=3,ip,nw_dst=10.0.0.9 actions=output:3".to_owned(),
                "table=2,priority=1 actions=output:2".to_owned(),
            ];
            let rules = others.iter().map(|text| rule(text));
            let rules = rules.chain(long(1, "tp_dst", again)).chain(long(2, "tp_src", "drop"));
            check(&ruleset(rules), &ports, &card, &packets);
        }
    }
}

/// A question that is long enough to be asked once for all ways that lead to it, which differ in what it asks for.
#[test]
fn ways_that_meet_in_front_of_a_long_question() {
    let (ports, packets) = (ports(), shapes());
    let ways = [
        (
            "actions=load:1->NXM_NX_REG0[],resubmit(,1)",
            "actions=load:2->NXM_NX_REG0[],resubmit(,1)",
        ),
        ("actions=mod_dl_src:02:00:00:00:00:0c,resubmit(,1)", "actions=resubmit(,1)"),
        ("actions=mod_dl_dst:02:00:00:00:00:0c,resubmit(,1)", "actions=resubmit(,1)"),
        (
            "actions=load:1->NXM_NX_REG1[],resubmit(,2)",
            "actions=load:2->NXM_NX_REG1[],resubmit(,2)",
        ),
        ("actions=resubmit(,3)", "actions=load:2->NXM_NX_REG0[],resubmit(,1)"),
        ("actions=ct(table=1,zone=5,nat)", "actions=load:2->NXM_NX_REG0[],ct(table=1,zone=5,nat)"),
        ("actions=ct(table=1,zone=5)", "actions=resubmit(,1)"),
        ("actions=resubmit(,1)", "actions=ct(table=1,zone=5,nat)"),
        ("actions=ct(table=2,zone=5,nat)", "actions=load:2->NXM_NX_REG1[],ct(table=3,zone=5,nat)"),
        ("actions=dec_ttl,resubmit(,1)", "actions=resubmit(,1)"),
        ("actions=mod_nw_dst:10.0.0.9,resubmit(,1)", "actions=resubmit(,1)"),
    ];
    let kinds = [("tcp", "udp"), ("tcp,tp_src=1000", "tcp"), ("ip,in_port=1", "ip,in_port=2")];
    let asked =
        ["reg0=1", "reg0=2", "dl_dst=02:00:00:00:00:0c", "ip,nw_dst=10.0.0.9", "ip,nw_ttl=63"];
    for name in ["nicsim", "mlx5", "mlx5-basic", "software"] {
        let card = Capabilities::profile(name).unwrap().tolerant();
        for ((high, low), (first, second)) in pairs_of(&ways, &kinds) {
            for asks in asked {
                let rules = [
                    format!("priority=2,{first} {high}"),
                    format!("priority=1,{second} {low}"),
                    "table=2 actions=move:NXM_NX_REG1[]->NXM_NX_REG0[],resubmit(,1)".to_owned(),
                    "table=3,priority=2,tcp actions=load:1->NXM_NX_REG0[],resubmit(,1)".to_owned(),
                    "table=3,priority=1 actions=load:2->NXM_NX_REG0[],resubmit(,1)".to_owned(),
                    format!("table=1,priority=3,{asks} actions=output:3"),
                    "table=1,priority=2,in_port=2,ip actions=output:4".to_owned(),
                    "table=1,priority=1 actions=output:2".to_owned(),
                ];
                let rules = rules.iter().map(|text| rule(text)).chain(long_question());
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}

fn pairs_of<A: Copy, B: Copy>(some: &[A], others: &[B]) -> Vec<(A, B)> {
    some.iter().flat_map(|one| others.iter().map(move |other| (*one, *other))).collect()
}

/// So many rules of the second table that it is worth a chain of its own.
fn long_question() -> Vec<Rule> {
    const ENDS: [&str; 4] = ["output:2", "output:3", "drop", "in_port"];
    let one = |number: usize| {
        let (port, end) = (72 + number, ENDS[number % ENDS.len()]);
        rule(&format!("table=1,priority=2,tcp,tp_dst={port} actions={end}"))
    };
    (0..16).map(one).collect()
}
