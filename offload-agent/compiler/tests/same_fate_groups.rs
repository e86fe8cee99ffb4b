//! C1 to C3 of the contract for groups: each kind, of buckets that send, that edit and that lead to other tables, on ports
//! that may be up, down or unknown.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::text::{Names, parse_groups};
use flow_compiler::openflow::{OfPort, Ruleset};
use flow_compiler::ports::{LinkProtocols, PortMap};
use world::{BRIDGE, check, few_packets, ports, rule, ruleset};

const BUCKETS: [&str; 11] = [
    "output:2",
    "output:3",
    "in_port",
    "mod_vlan_vid:6,output:2",
    "set_field:02:00:00:00:00:0c->eth_dst,output:3",
    "resubmit(,1)",
    "output:2,set_field:02:00:00:00:00:0c->eth_dst",
    "output:2,output:3",
    "strip_vlan,push_vlan:0x88a8,output:2",
    "output:3,resubmit(,1)",
    "drop",
];

fn with_links(up: [Option<bool>; 2]) -> PortMap {
    let mut ports = ports();
    let here = &mut ports.bridges.get_mut(&BRIDGE.into()).unwrap().ports;
    for (number, up) in [2, 3].into_iter().zip(up) {
        here.get_mut(&OfPort(number)).unwrap().link_up = up;
    }
    ports
}

fn with_group(text: &str, does: &str) -> Ruleset {
    let rules = [
        rule(&format!("actions={does}")),
        rule("table=1,priority=2,dl_vlan=5 actions=strip_vlan,output:3"),
        rule("table=1,priority=1 actions=output:2"),
    ];
    let mut ruleset = ruleset(rules);
    let groups = parse_groups(text, &Names::default()).unwrap();
    let bridge = ruleset.bridges.get_mut(&BRIDGE.into()).unwrap();
    bridge.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    ruleset
}

fn some_packets() -> Vec<Frame> {
    few_packets().into_iter().step_by(3).collect()
}

#[test]
fn every_two_buckets() {
    let packets = some_packets();
    let ports = with_links([Some(true), Some(true)]);
    let pairs = BUCKETS.iter().flat_map(|one| BUCKETS.iter().map(move |two| (one, two)));
    for ((first, second), name) in pairs.zip(Capabilities::PROFILES.iter().cycle()) {
        let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
        for does in ["group:1", "mod_vlan_pcp:3,group:1,output:3", "group:1,resubmit(,1)"] {
            for kind in ["all", "select", "indirect"] {
                let second = format!(",bucket=actions={second}");
                let second = if kind == "indirect" { "" } else { second.as_str() };
                let text = format!("group_id=1,type={kind},bucket=actions={first}{second}");
                check(&with_group(&text, does), &ports, &card, &packets);
            }
        }
    }
}

#[test]
fn the_first_bucket_that_is_alive() {
    let packets = some_packets();
    let links = [Some(true), Some(false), None];
    let card = Capabilities::nicsim();
    let pairs = links.iter().flat_map(|one| links.iter().map(move |two| (*one, *two)));
    // What is up may still be out of use, if OVS watches the link.
    let none = LinkProtocols::default();
    let speaks = [none, LinkProtocols { bfd: true, ..none }, LinkProtocols { lacp: true, ..none }];
    for ((first, second), protocols) in
        pairs.flat_map(|links| speaks.iter().map(move |speaks| (links, *speaks)))
    {
        let mut ports = with_links([first, second]);
        let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
        here.ports.get_mut(&OfPort(2)).unwrap().protocols = protocols;
        for watches in ["watch_port:2", "watch_port:3", "watch_group:1", "watch_port:7"] {
            let text = format!(
                "group_id=1,type=ff,bucket={watches},actions=output:2,bucket=watch_port:3,actions=output:3\n\
                 group_id=2,type=all,bucket=actions=output:3"
            );
            for does in ["group:1", "group:2,group:1"] {
                check(&with_group(&text, does), &ports, &card, &packets);
            }
        }
    }
}

/// OVS chooses no bucket without weight, and none whose port is down.
#[test]
fn the_only_bucket_to_choose() {
    let packets = some_packets();
    let card = Capabilities::nicsim();
    for up in [Some(true), Some(false), None] {
        for bucket in ["weight:0", "weight:1", "watch_port:2,weight:1", "weight:1,watch_group:2"] {
            let text = format!(
                "group_id=1,type=select,bucket={bucket},actions=output:3\n\
                 group_id=2,type=all,bucket=actions=output:3"
            );
            let rules = with_group(&text, "group:1");
            check(&rules, &with_links([up, Some(true)]), &card, &packets);
        }
    }
}
