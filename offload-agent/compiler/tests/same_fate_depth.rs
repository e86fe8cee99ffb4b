//! C1 to C3 of the contract where OVS gives up on a packet: look-ups that are nested too deep, and a TTL that ran out.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::OfPort;
use flow_compiler::ports::BridgePorts;
use world::{
    BRIDGE, check, few_packets, frame, ipv4_with_ttl, patch, ports, rule, ruleset, shapes, tcp,
};

/// A few are enough, and one with another TTL.
fn some() -> Vec<Frame> {
    let other = frame(&[], &ipv4_with_ttl(9, 6, 0, &tcp(1000, 80, 2)));
    few_packets().into_iter().step_by(5).chain([other]).collect()
}

/// Each look-up counts a register up and looks the same table up once more.
fn counts(table: u8, times: usize, end: &str) -> Vec<String> {
    let again = |number: usize| {
        let next = number + 1;
        format!(
            "table={table},priority=10,in_port=1,reg0={number} actions=load:{next}->NXM_NX_REG0[],resubmit(,{table})"
        )
    };
    let last = format!("table={table},priority=10,in_port=1,reg0={times} actions={end}");
    (0..times).map(again).chain([last]).collect()
}

fn forwards(rules: &[String]) -> bool {
    let set = ruleset(rules.iter().map(|text| rule(text)));
    let plan = flow_compiler::compile(&set, &ports(), &Capabilities::nicsim()).plan;
    plan.filters.values().any(|filter| filter.to_string().contains("mirred"))
}

#[test]
fn a_table_that_looks_itself_up() {
    let (ports, packets, card) = (ports(), some(), Capabilities::nicsim());
    for times in [1, 10, 60, 61, 62, 63, 64, 65, 70, 130] {
        let rules = counts(0, times, "output:2");
        assert_eq!(forwards(&rules), times <= 63, "{times}");
        check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
    }
    // To a higher table it is not nested.
    let up = (0..100).map(|table| format!("table={table},actions=resubmit(,{})", table + 1));
    let rules: Vec<String> = up.chain(["table=100,actions=output:2".to_owned()]).collect();
    assert!(forwards(&rules));
    check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
}

/// Three ways come to one table, of which one is nested deeper, and two by way of another table; in the end all are nested some more. With a
/// register that tells them apart they have only a part of the questions in common.
#[test]
fn ways_that_are_nested_more_or_less_deep() {
    let (ports, packets, card) = (ports(), some(), Capabilities::nicsim());
    let asks = ["nw_dst=10.0.0.2", "nw_dst=10.0.1.1", "nw_dst=10.0.1.2", "nw_dst=10.0.1.3"];
    for (before, behind) in [(5, 5), (30, 20), (32, 30), (40, 30), (20, 50)] {
        for (deep, flat) in [(1, 2), (2, 1)] {
            for (register, by) in [(0, 3), (1, 3), (0, 4), (1, 4)] {
                let end =
                    format!("load:0->NXM_NX_REG0[],load:{register}->NXM_NX_REG2[],resubmit(,{by})");
                let mut rules = counts(2, before, &end);
                rules.extend(counts(5, behind, "output:2"));
                rules.extend([
                    format!("priority={deep},tcp actions=resubmit(,2)"),
                    "priority=5,tcp,dl_vlan=5 actions=strip_vlan,resubmit(,4)".to_owned(),
                    format!(
                        "priority={flat},tcp,vlan_tci=0/0x1fff,nw_ttl=64 actions=resubmit(,{by})"
                    ),
                    "table=3,priority=1,tcp,tp_dst=80 actions=resubmit(,4)".to_owned(),
                    "table=3,priority=0,tcp actions=output:3".to_owned(),
                    "table=4,priority=9,reg2=1,tcp,tp_src=81 actions=output:3".to_owned(),
                    "table=4,priority=1,tcp actions=output:3".to_owned(),
                ]);
                let each =
                    asks.map(|asks| format!("table=4,priority=5,tcp,{asks} actions=resubmit(,5)"));
                rules.extend(each);
                check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

/// Each patch nests, and the first table behind it does.
#[test]
fn a_packet_that_goes_from_bridge_to_bridge_and_back() {
    let mut ports = ports();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    here.ports.extend([(OfPort(9), patch("out", "in")), (OfPort(10), patch("home", "back"))]);
    let there = [(OfPort(9), patch("in", "out")), (OfPort(10), patch("back", "home"))];
    let there = BridgePorts { ports: there.into(), ..BridgePorts::default() };
    ports.bridges.insert("br1".into(), there);
    for times in [1, 14, 15, 16, 17, 20] {
        let mac = |number: u8| format!("02:00:00:00:00:{number:02x}");
        let on = |round: u8| {
            let (now, next) = (mac(0xb + round), mac(0xc + round));
            rule(&format!("priority=2,dl_dst={now} actions=mod_dl_dst:{next},output:9"))
        };
        let last = rule(&format!("priority=2,dl_dst={} actions=output:2", mac(0xb + times)));
        let mut rules = ruleset((0..times).map(on).chain([last]));
        rules.bridges.insert("br1".into(), [rule("actions=output:10")].into_iter().collect());
        check(&rules, &ports, &Capabilities::nicsim(), &some());
    }
}

/// OVS tells the sender of a TTL that ran out, whoever wrote it, and also where nothing is sent.
#[test]
fn a_ttl_that_was_written_runs_out() {
    let (ports, packets, card) = (ports(), shapes(), Capabilities::nicsim());
    for does in [
        "mod_nw_ttl:1,dec_ttl",
        "mod_nw_ttl:0,dec_ttl,mod_nw_ttl:9",
        "dec_ttl,mod_nw_ttl:1,dec_ttl",
        "clone(mod_nw_ttl:1,dec_ttl),output:2",
        "mod_nw_ttl:1,clone(dec_ttl),output:2",
        "output:2,mod_nw_ttl:1,dec_ttl",
        "load:1->NXM_NX_REG0[],move:NXM_NX_REG0[0..7]->NXM_NX_IP_TTL[],dec_ttl",
        "move:NXM_OF_IP_TOS[]->NXM_NX_IP_TTL[],dec_ttl",
    ] {
        let one = rule(&format!("in_port=1,ip actions={does}"));
        check(&ruleset([one]), &ports, &card, &packets);
    }
}
