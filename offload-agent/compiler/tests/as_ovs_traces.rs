//! Packets about which `ofproto/trace` and our reading of OpenFlow once said different things (`hw-tests differential`), each as
//! small as it gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::compile::interp::{self, Conntrack, Frame, Oracle, Outcome, World};
use flow_compiler::compile::ir::Ingress;
use flow_compiler::openflow::{OfPort, Ruleset};
use world::{frame, ipv4, port, ports, rule, ruleset, tcp};

/// The only way of a packet from port 1.
fn traced<T>(rules: &[&str], frame: &Frame, look: impl Fn(&Outcome<'_>) -> T) -> T {
    let ports = ports();
    let ruleset: Ruleset = ruleset(rules.iter().map(|text| rule(text)));
    let mut world = World::new(&ruleset, &ports, 1);
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
