//! Packets about which `ofproto/trace` and our reading of OpenFlow once said different things (`hw-tests differential`), each as
//! small as it gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::compile::interp::{self, Conntrack, Doubt, Frame, Oracle, Outcome, World};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::openflow::{OfPort, Ruleset};
use flow_compiler::ports::{BridgePorts, Fdb, FdbEntry, FdbKey, PortMap, VlanMode};
use world::{BRIDGE, HOST_B, frame, ipv4, port, ports, rule, ruleset, tcp, udp};

/// The only way of a packet from port 1.
fn traced<T>(rules: &[&str], frame: &Frame, look: impl Fn(&Outcome<'_>) -> T) -> T {
    on(&ports(), rules, frame, look)
}

fn on<T>(ports: &PortMap, rules: &[&str], frame: &Frame, look: impl Fn(&Outcome<'_>) -> T) -> T {
    let ruleset: Ruleset = ruleset(rules.iter().map(|text| rule(text)));
    let mut world = World::new(&ruleset, ports, 1);
    world.conntrack = Conntrack { oracle: Oracle::Trace, ..Conntrack::default() };
    let outcomes = interp::outcomes(&world, &port(1), &frame.packet());
    assert_eq!(outcomes.len(), 1);
    look(&outcomes[0])
}

/// Where the packet goes, and as what; nothing is in doubt.
fn sent(outcome: &Outcome<'_>) -> Vec<(u16, Frame)> {
    assert_eq!(outcome.doubts, [].into());
    let to = |to: &interp::Egress| match to {
        interp::Egress::Port(Ingress { port: OfPort(number), .. }) => *number,
        interp::Egress::Tunnel(name) => unreachable!("{name} is no port here"),
    };
    let all = outcome.effects.deliveries.iter();
    all.map(|delivery| (to(&delivery.to), delivery.frame.clone())).collect()
}

/// `set(..),pop_vlan,push_vlan(vid=0,pcp=3),push_vlan(vid=5,pcp=0)`: the packet's own tag is the one that goes.
#[test]
fn a_third_tag_takes_the_place_of_the_innermost() {
    let body = ipv4(17, 0, &udp(64, 64));
    let rules = [
        "actions=push_vlan:0x8100,set_field:3->vlan_pcp,push_vlan:0x8100,set_field:4101->vlan_vid,resubmit(,1)",
        "table=1,priority=2,dl_vlan_pcp=3 actions=output:3",
        "table=1,priority=1 actions=output:2",
    ];
    assert_eq!(
        traced(&rules, &frame(&[(0x8100, 0x6005)], &body), sent),
        [(2, frame(&[(0x8100, 5), (0x8100, 0x6000)], &body))]
    );
}

/// An access port that takes no VLAN takes the priority tag that was pushed last.
#[test]
fn normal_sees_a_third_tag() {
    let mut ports = ports();
    let here: &mut BridgePorts = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let access = here.ports.get_mut(&OfPort(1)).unwrap();
    (access.vlan_mode, access.tag) = (VlanMode::Access, Some(5));
    let (vlan, mac) = (5, u64::from_be_bytes([&[0, 0][..], &HOST_B].concat().try_into().unwrap()));
    let entry = FdbEntry { port: OfPort(2), is_static: true };
    here.fdb = Fdb { entries: [(FdbKey { vlan, mac }, entry)].into() };
    let rules = ["actions=push_vlan:0x8100,set_field:4101->vlan_vid,push_vlan:0x8100,NORMAL"];
    let body = ipv4(17, 0, &udp(64, 64));
    let deliveries = on(&ports, &rules, &frame(&[(0x8100, 0x6007)], &body), |outcome| {
        outcome.effects.deliveries.clone()
    });
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].frame, frame(&[(0x8100, 5)], &body));
}

/// Tables see no ports in a fragment, not even one that a rule has just written.
#[test]
fn a_port_that_was_written_into_a_fragment_is_not_looked_up() {
    let rules = [
        "tcp actions=mod_tp_dst:80,resubmit(,1)",
        "table=1,priority=2,tcp,tp_dst=80 actions=output:3",
        "table=1,priority=1 actions=output:2",
    ];
    let (whole, first) = (ipv4(6, 0, &tcp(1000, 80, 2)), ipv4(6, 0x2000, &tcp(1000, 80, 2)));
    for (body, to) in [(whole, 3), (first, 2)] {
        let frame = frame(&[], &body);
        assert_eq!(traced(&rules, &frame, sent), [(to, frame.clone())]);
    }
}

/// A register sees the ports of a first fragment; a later one has none.
#[test]
fn a_port_is_copied_from_a_first_fragment() {
    let rules = [
        "tcp actions=move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15],resubmit(,1)",
        "table=1,priority=2,reg0=80 actions=output:3",
        "table=1,priority=1 actions=output:2",
    ];
    for (fragment, to) in [(0, 3), (0x2000, 3), (0x0010, 2)] {
        let frame = frame(&[], &ipv4(6, fragment, &tcp(1000, 80, 2)));
        assert_eq!(traced(&rules, &frame, sent), [(to, frame.clone())]);
    }
}

/// `push_vlan(vid=0,pcp=0),check_pkt_len(size=100,gt(3),le(2))`: 98 bytes and a tag are more than 100.
#[test]
fn a_tag_that_was_pushed_counts_where_the_length_is_asked_for() {
    let rules = [
        "actions=push_vlan:0x8100,check_pkt_larger(100)->NXM_NX_REG0[0],resubmit(,1)",
        "table=1,priority=2,reg0=1 actions=output:3",
        "table=1,priority=1 actions=output:2",
    ];
    for (length, to) in [(96, 2), (97, 3), (98, 3), (101, 3)] {
        let body = ipv4(47, 0, &vec![0; length - 34]);
        let sent = traced(&rules, &frame(&[], &body), sent);
        assert_eq!(sent, [(to, frame(&[(0x8100, 0)], &body))]);
    }
}

/// `pop` finds the value in the branch for long packets, and a stack underflow in the other.
#[test]
fn a_stack_before_check_pkt_larger_is_in_doubt() {
    let rules = [
        "actions=push:NXM_NX_REG0[],check_pkt_larger(100)->NXM_NX_REG1[0],pop:NXM_NX_REG2[],output:2",
    ];
    assert_eq!(
        traced(&rules, &frame(&[], &ipv4(47, 0, &[0; 8])), |outcome| outcome.doubts.clone()),
        [Doubt::Unspecified("a stack before check_pkt_larger")].into()
    );
}

/// The datapath has no copy: what the inner one wrote is written back as it was before the translation. And the doubt is this one, not
/// that the packet goes round in circles.
#[test]
fn what_a_copy_of_a_copy_leaves_behind_a_translation_is_in_doubt() {
    let rules = [
        "ip actions=ct(commit,table=1,zone=5,nat(src=10.1.0.5)),clone(clone(mod_nw_src:10.1.0.9,output:2),resubmit(,1)),clone(output:3),resubmit(,1)",
        "table=1 actions=drop",
    ];
    let frame = frame(&[], &ipv4(17, 0, &udp(64, 64)));
    assert_eq!(
        traced(&rules, &frame, |outcome| outcome.doubts.clone()),
        [Doubt::Unspecified("what a copy leaves in a packet that was translated")].into()
    );
}

/// `ct(commit,nat(dst=10.0.0.3)),recirc(0x1),ct(zone=6,nat),recirc(0x2)`: the trace goes on at 0x2 with the old address, the datapath
/// with the one that it wrote.
#[test]
fn a_second_start_has_the_address_that_the_first_ct_wrote() {
    let rules = [
        "ip actions=ct(commit,table=1,zone=5,nat(dst=10.0.0.3)),ct(table=2,zone=6,nat)",
        "table=1 actions=drop",
        "table=2,priority=2,ip,nw_dst=10.0.0.3 actions=output:3",
        "table=2,priority=1 actions=output:2",
    ];
    let packet = frame(&[], &ipv4(17, 0, &udp(64, 64)));
    let (to, untraceable) = traced(&rules, &packet, |outcome| {
        let to: Vec<u16> = sent(outcome).into_iter().map(|(port, _)| port).collect();
        (to, outcome.untraceable.clone())
    });
    assert_eq!(to, [3]);
    assert_eq!(untraceable, ["a new start behind an earlier translation"].into());
    let alone = ["ip actions=ct(commit,table=1,zone=5,nat(dst=10.0.0.3))", rules[1]];
    assert_eq!(traced(&alone, &packet, |outcome| outcome.untraceable.clone()), [].into());
}
