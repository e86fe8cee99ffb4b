//! C1 to C3 of the contract behind an address translation, from where a packet must not come back: what would have to is
//! kept from getting there by what translation leaves alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::openflow::Rule;
use world::{check, ports, rule, ruleset, shapes};

/// What a table behind the translation asks: some of it is what translation changes.
const ASKS: [&str; 6] = [
    "ip,nw_dst=10.0.0.9",
    "ip,nw_dst=10.0.0.2",
    "tcp,tp_dst=80",
    "dl_src=02:00:00:00:00:0a",
    "tcp,tcp_flags=+syn",
    "ct_state=+est+trk,ip",
];

/// What it does; only OVS asks the controller.
const DOES: [&str; 4] = ["output:2", "controller", "resubmit(,3)", "dec_ttl,output:3"];

/// So many rules that the table is a chain of its own.
fn long() -> Vec<Rule> {
    let last = |number: usize| {
        let does = ["output:3", "drop", "controller"][number % 3];
        rule(&format!("table=3,priority=2,dl_src=02:00:00:00:00:{number:02x} actions={does}"))
    };
    let others = [
        "table=3,priority=3,dl_src=02:00:00:00:00:0a actions=output:3",
        "table=3,priority=1,ip,nw_tos=16 actions=controller",
        "table=3,priority=0 actions=output:2",
    ];
    (9..25).map(last).chain(others.map(rule)).collect()
}

#[test]
fn every_question_behind_a_translation() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    for asks in ASKS {
        for (first, second) in DOES.iter().flat_map(|one| DOES.iter().map(move |two| (one, two))) {
            for other in ["drop", "resubmit(,2)"] {
                let rules = [
                    "ip actions=ct(table=1,zone=5,nat)".to_owned(),
                    // Something that translation leaves alone, or all of it would stay in OVS.
                    "table=1,priority=2,ip,nw_ttl=64 actions=resubmit(,2)".to_owned(),
                    format!("table=1,priority=1 actions={other}"),
                    // A second way to the long table.
                    "table=2,priority=3,tcp,tcp_flags=+fin actions=resubmit(,3)".to_owned(),
                    format!("table=2,priority=2,{asks} actions={}", ip(asks, first)),
                    format!("table=2,priority=1,ip actions={second}"),
                ];
                let rules = rules.iter().map(|text| rule(text)).chain(long());
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}

/// A TTL is there only where it is known to be.
fn ip<'a>(asks: &str, does: &'a str) -> &'a str {
    if asks.contains("ip") || asks.contains("tcp") {
        does
    } else {
        does.trim_start_matches("dec_ttl,")
    }
}
