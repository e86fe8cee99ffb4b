//! C1 to C3 of the contract for fields that have several names, and for the port that a packet came by once
//! it was written.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::OfPort;
use flow_compiler::ports::BridgePorts;
use world::{BRIDGE, check, few_packets, frame, ipv4_with, patch, ports, rule, ruleset, tcp};

/// IPv4 with this TOS byte, untagged and tagged.
fn services() -> Vec<Frame> {
    let bodies = [0, 1, 16, 32, 33, 128].map(|tos| ipv4_with(tos, 64, 6, 0, &tcp(1000, 80, 2)));
    let stacks = [vec![], vec![(0x8100, 7)], vec![(0x8100, 0xe005)]];
    let frames = bodies.iter().flat_map(|body| stacks.iter().map(|tags| frame(tags, body)));
    frames.chain(few_packets()).collect()
}

/// A tag, a type of service and a port have several names, and some of them name a part.
#[test]
fn a_field_under_another_name() {
    let (ports, packets, card) = (ports(), services(), Capabilities::nicsim());
    for (takes, does, finds) in [
        (
            "vlan_tci=0x1000/0x1000",
            "set_field:4101->vlan_vid,move:OXM_OF_VLAN_VID[0..11]->NXM_NX_REG0[0..11]",
            "reg0=5",
        ),
        ("vlan_tci=0x1000/0x1000", "move:OXM_OF_VLAN_VID[0..11]->NXM_NX_REG0[0..11]", "reg0=7"),
        ("", "move:OXM_OF_VLAN_VID[0..11]->NXM_NX_REG0[0..11]", "reg0=5"),
        ("", "push:OXM_OF_VLAN_VID[0..11],pop:NXM_NX_REG0[0..11]", "reg0=5"),
        ("", "load:7->NXM_NX_REG0[],move:OXM_OF_VLAN_PCP[]->NXM_NX_REG0[0..2]", "reg0=7"),
        ("dl_vlan=5", "move:OXM_OF_VLAN_PCP[]->NXM_NX_REG0[0..2]", "reg0=7"),
        ("dl_vlan=5", "mod_vlan_pcp:3,move:OXM_OF_VLAN_PCP[]->NXM_NX_REG0[0..2]", "reg0=3"),
        ("dl_vlan=5", "mod_vlan_pcp:3,push:OXM_OF_VLAN_PCP[],pop:NXM_NX_REG0[0..2]", "reg0=7"),
        ("ip", "mod_nw_tos:16,move:OXM_OF_IP_DSCP[]->NXM_NX_REG0[0..5]", "reg0=4"),
        ("ip", "move:OXM_OF_IP_DSCP[]->NXM_NX_REG0[0..5]", "reg0=8"),
        ("ip", "mod_nw_tos:16,push:OXM_OF_IP_DSCP[],pop:NXM_NX_REG0[0..5]", "reg0=4"),
        ("", "push:OXM_OF_IP_DSCP[],pop:NXM_NX_REG0[0..5]", "reg0=8"),
        ("ip", "load:4->NXM_NX_REG0[],move:NXM_NX_REG0[0..5]->OXM_OF_IP_DSCP[]", "ip,nw_tos=16"),
        ("ip", "load:4->NXM_NX_REG0[],move:NXM_NX_REG0[0..5]->OXM_OF_IP_DSCP[]", "ip,nw_tos=32"),
        ("ip", "move:NXM_OF_IP_TOS[]->NXM_NX_REG0[0..7]", "reg0=0x21"),
        ("ip", "move:NXM_OF_IP_TOS[]->NXM_NX_REG0[0..7]", "reg0=0x20"),
        ("ip", "load:0x23->NXM_NX_REG0[],move:NXM_NX_REG0[0..7]->NXM_OF_IP_TOS[]", "ip,nw_tos=32"),
        ("ip", "load:0x23->NXM_NX_REG0[],move:NXM_NX_REG0[0..7]->NXM_OF_IP_TOS[]", "ip,nw_ecn=1"),
        ("ip", "load:0x23->NXM_OF_IP_TOS[]", "ip,nw_ecn=1"),
        (
            "ip",
            "load:0x23->NXM_NX_REG0[],move:NXM_NX_REG0[0..7]->NXM_OF_IP_TOS[],move:NXM_OF_IP_TOS[]->NXM_NX_REG0[0..7]",
            "reg0=0x20",
        ),
        ("ip", "load:3->NXM_NX_REG0[],move:NXM_NX_REG0[0..1]->NXM_OF_IP_TOS[0..1]", "ip,nw_ecn=1"),
        ("", "load:2->NXM_OF_IN_PORT[],move:OXM_OF_IN_PORT[0..15]->NXM_NX_REG0[0..15]", "reg0=2"),
        ("", "push:OXM_OF_IN_PORT[],pop:NXM_NX_REG0[]", "reg0=1"),
        ("", "load:2->OXM_OF_IN_PORT[0..15]", "in_port=2"),
        ("", "load:1->OXM_OF_IN_PORT[16..31]", "in_port=1"),
        ("", "load:0xfffffffe->OXM_OF_IN_PORT[]", "in_port=LOCAL"),
        ("ip", "load:3->NXM_OF_IP_TOS[0..1]", "ip,nw_ecn=1"),
        ("", "load:2->NXM_NX_REG0[],move:NXM_NX_REG0[]->OXM_OF_IN_PORT[]", "in_port=2"),
    ] {
        for (first, second) in
            [("output:2", "output:3"), ("drop", "output:3"), ("output:4", "drop")]
        {
            let takes = if takes.is_empty() { String::new() } else { format!(",{takes}") };
            let texts = [
                format!("in_port=1{takes} actions={does},resubmit(,1)"),
                format!("table=1,priority=1,{finds} actions={first}"),
                format!("table=1,priority=0 actions={second}"),
            ];
            check(&ruleset(texts.iter().map(|text| rule(text))), &ports, &card, &packets);
        }
    }
}

/// A packet is not sent back where it came from, and who can know where that is once an address was written there.
#[test]
fn a_port_to_come_back_to_that_the_packet_says() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim());
    for port in [
        "move:NXM_OF_IP_DST[0..15]->NXM_OF_IN_PORT[]",
        "push:NXM_OF_IP_DST[0..15],pop:NXM_OF_IN_PORT[]",
        "load:3->NXM_NX_REG0[],move:NXM_NX_REG0[0..15]->NXM_OF_IN_PORT[]",
        "load:2->NXM_NX_REG0[],move:NXM_NX_REG0[0..15]->NXM_OF_IN_PORT[]",
    ] {
        for sends in ["output:2", "output:3", "in_port", "resubmit(,1)"] {
            let texts = [
                format!("in_port=1,ip actions={port},{sends}"),
                "table=1,priority=1,ip,nw_dst=10.0.0.2 actions=output:2".to_owned(),
                "table=1,priority=0 actions=output:2".to_owned(),
            ];
            check(&ruleset(texts.iter().map(|text| rule(text))), &ports, &card, &packets);
        }
    }
}

/// The same for a patch, behind which the packet comes by a port that is known.
#[test]
fn a_port_that_the_packet_says_may_be_the_patch_that_it_goes_to() {
    let mut ports = ports();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let representor = here.ports.insert(OfPort(2), patch("there", "here")).unwrap();
    let there = [(OfPort(9), patch("here", "there")), (OfPort(2), representor)];
    let there = BridgePorts { ports: there.into(), ..BridgePorts::default() };
    ports.bridges.insert("br1".into(), there);
    for port in [
        "move:NXM_OF_IP_DST[0..15]->NXM_OF_IN_PORT[]",
        "push:NXM_OF_IP_DST[0..15],pop:NXM_OF_IN_PORT[]",
    ] {
        let mut rules =
            ruleset([rule(&format!("in_port=1,ip,nw_dst=10.0.0.0/8 actions={port},output:2"))]);
        let there = [rule("actions=output:2")].into_iter().collect();
        rules.bridges.insert("br1".into(), there);
        check(&rules, &ports, &Capabilities::nicsim(), &few_packets());
    }
}
