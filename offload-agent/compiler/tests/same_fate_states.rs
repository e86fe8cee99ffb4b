//! C1 to C3 of the contract for states of connections that OVS knows and flower does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use world::{check, ports, rule, ruleset, shapes};

/// Connection tracking tells OVS that a connection was translated, or that a helper expected it; flower it does not tell.
#[test]
fn states_that_flower_does_not_have() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    for tracks in ["ct(table=1,zone=5,nat)", "ct(table=1,zone=5)", "ct(commit,table=1,zone=5,nat)"]
    {
        for state in [
            "+trk+est+dnat",
            "+trk+est-dnat",
            "+trk+est+snat",
            "+trk+new+dnat",
            "+trk+est-rel",
            "+trk+rel",
        ] {
            for alg in [false, true] {
                let mut texts = vec![
                    format!("in_port=1,ip actions={tracks}"),
                    format!("table=1,priority=10,ct_state={state},ip actions=output:2"),
                    "table=1,priority=0 actions=output:3".to_owned(),
                ];
                texts.extend(alg.then(|| "table=9,tcp actions=ct(commit,alg=ftp)".to_owned()));
                check(&ruleset(texts.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

/// What is known to be a state that flower has is still offloaded.
#[test]
fn without_helpers_no_connection_is_related() {
    let filters = |more: &[&str]| {
        let texts = [
            "in_port=1,ip actions=ct(table=1,zone=5)",
            "table=1,priority=10,ct_state=+trk+est-rel,ip actions=output:2",
        ];
        let set = ruleset(texts.into_iter().chain(more.iter().copied()).map(rule));
        let plan = flow_compiler::compile(&set, &ports(), &Capabilities::nicsim()).plan;
        plan.filters.values().any(|filter| filter.to_string().contains("mirred"))
    };
    assert!(filters(&[]));
    assert!(!filters(&["table=9,tcp actions=ct(commit,alg=ftp)"]));
}
