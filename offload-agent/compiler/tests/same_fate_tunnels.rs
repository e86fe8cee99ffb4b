//! C1 to C3 of the contract for tunnels: their packets come in by one device, and the outer header tells whose they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{self, Conntrack, Fate, Filters, Frame, Packet, Parser};
use flow_compiler::openflow::OfPort;
use flow_compiler::ports::{Port, PortIfIndex, PortKind, PortMap, Tunnel, TunnelKind};
use world::{
    BRIDGE, check_ports, few_packets, frame, ipv4_with_ttl, port, ports, rule, ruleset, tcp,
    tunnel_header,
};

/// Tunnels to these, at ports 20 and 21, on one device.
const REMOTES: [(u16, &str); 2] = [(20, "192.0.2.1"), (21, "192.0.2.2")];

fn tunnels() -> PortMap {
    let mut ports = ports();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    for (number, remote) in REMOTES {
        let options = [("remote_ip", remote), ("key", "flow")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let tunnel = Port {
            name: format!("t{number}"),
            ifindex: Some(PortIfIndex(30)),
            kind: PortKind::Tunnel(Tunnel { kind: TunnelKind::Geneve, options }),
            ..Port::default()
        };
        here.ports.insert(OfPort(number), tunnel);
    }
    ports
}

/// With at most one tag: how far who looks through two of them is another test's matter.
fn frames() -> Vec<Frame> {
    let tags = |frame: &Frame| matches!(frame.0.get(12..14), Some([0x81, 0] | [0x88, 0xa8]));
    let untagged = few_packets().into_iter().filter(|frame| !tags(frame));
    untagged.chain([frame(&[], &ipv4_with_ttl(1, 6, 0, &tcp(1000, 80, 2)))]).collect()
}

#[test]
fn every_two_rules_for_packets_of_two_tunnels() {
    let (ports, frames) = (tunnels(), frames());
    let takes = ["", "in_port=20,", "in_port=21,", "tun_id=5,", "in_port=20,ip,tun_id=6,"];
    let does = ["output:2", "drop", "ip,dec_ttl,output:2", "ip,mod_nw_dst:10.0.0.9,output:3"];
    let text = |priority: u16, takes: &str, does: &str| {
        let (ip, does) = does.strip_prefix("ip,").map_or(("", does), |does| ("ip,", does));
        let takes = if takes.contains("ip,") { takes.to_owned() } else { format!("{takes}{ip}") };
        rule(&format!("priority={priority},{takes} actions={does}"))
    };
    for name in ["nicsim", "mlx5", "software"] {
        // Without it SNAP frames are not looked at: a known and documented hole.
        let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
        for (high, low) in takes.iter().flat_map(|high| takes.iter().map(move |low| (high, low))) {
            for (first, second) in does.iter().zip(does.iter().cycle().skip(1)) {
                let rules = ruleset([text(2, high, first), text(1, low, second)]);
                for (number, remote) in REMOTES {
                    let packets: Vec<Packet> = [5, 6]
                        .into_iter()
                        .flat_map(|id| {
                            let tunnel = Some(tunnel_header(remote, id));
                            let with = move |frame: &Frame| Packet {
                                frame: frame.clone(),
                                tunnel: tunnel.clone(),
                            };
                            frames.iter().map(with)
                        })
                        .collect();
                    check_ports(&rules, &ports, &card, &[port(number)], &packets);
                }
            }
        }
    }
}

/// The device has the packets of all tunnels; those of one that no port stands for are not the filters' either.
#[test]
fn packets_of_an_unknown_tunnel_are_left_to_ovs() {
    let mut ports = tunnels();
    ports.bridges.get_mut(&BRIDGE.into()).unwrap().ports.remove(&OfPort(21));
    let rules = ruleset([rule("in_port=20 actions=output:2")]);
    let conntrack = Conntrack::default();
    for name in ["nicsim", "mlx5", "software"] {
        let plan =
            flow_compiler::compile(&rules, &ports, &Capabilities::profile(name).unwrap()).plan;
        let filters =
            Filters { plan: &plan, ports: &ports, conntrack: &conntrack, encap_ecn: true };
        let fate = |remote: &str| {
            let frame = frame(&[], &ipv4_with_ttl(64, 6, 0, &tcp(1000, 80, 2)));
            let packet = Packet { frame, tunnel: Some(tunnel_header(remote, 5)) };
            interp::plan(&filters, &port(20), &packet, Parser::Kernel)
        };
        assert!(matches!(fate(REMOTES[0].1), Fate::Delivered(_)), "{name}");
        assert_eq!(fate("192.0.2.77"), Fate::Ovs, "{name}");
    }
}

#[test]
fn every_packet_into_a_tunnel() {
    let ports = tunnels();
    let packets: Vec<Packet> = frames().iter().map(Frame::packet).collect();
    for name in ["nicsim", "mlx5", "software"] {
        // Without it SNAP frames are not looked at: a known and documented hole.
        let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
        for does in [
            "set_tunnel:5,output:20",
            "set_tunnel:5,output:20,set_tunnel:6,output:21",
            "set_tunnel:5,output:20,output:2",
            "output:2,set_tunnel:6,output:21",
            "dec_ttl,set_tunnel:6,output:21",
        ] {
            for takes in ["ip", "tcp,tp_dst=80"] {
                let rules = ruleset([rule(&format!("{takes} actions={does}"))]);
                check_ports(&rules, &ports, &card, &[port(1), port(2)], &packets);
            }
        }
    }
}
