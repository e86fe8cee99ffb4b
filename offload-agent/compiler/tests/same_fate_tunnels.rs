//! C1 to C3 of the contract for tunnels: their packets come in by one device, and the outer header tells whose they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{self, Conntrack, Fate, Filters, Frame, Packet, Parser};
use flow_compiler::openflow::{OfPort, TunnelOption};
use flow_compiler::ports::{BridgePorts, Port, PortIfIndex, PortKind, PortMap, Tunnel, TunnelKind};
use tc_filter::GeneveOption;
use world::{
    BRIDGE, check_ports, few_packets, frame, ipv4_with, ipv4_with_ttl, patch, port, ports, rule,
    ruleset, tcp, tunnel_header,
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
    let dying = ipv4_with_ttl(1, 6, 0, &tcp(1000, 80, 2));
    // The outer header has the ECN bits, too.
    let ecn = (1..=3).map(|ecn| ipv4_with(ecn, 64, 6, 0, &tcp(1000, 80, 2)));
    untagged.chain(ecn.chain([dying]).map(|body| frame(&[], &body))).collect()
}

#[test]
fn every_two_rules_for_packets_of_two_tunnels() {
    let (ports, frames) = (tunnels(), frames());
    let takes = [
        "",
        "in_port=20,",
        "in_port=21,",
        "tun_id=5,",
        "in_port=20,ip,tun_id=6,",
        "tun_id=0x4/0x6,",
    ];
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

/// What came with a tunnel's header is gone behind a patch.
#[test]
fn packets_of_a_tunnel_across_a_patch() {
    let mut ports = tunnels();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let there = [2, 3].map(|number| (OfPort(number), here.ports.remove(&OfPort(number)).unwrap()));
    here.ports.insert(OfPort(9), patch("there", "here"));
    let there = there.into_iter().chain([(OfPort(9), patch("here", "there"))]).collect();
    let there = BridgePorts { ports: there, ..BridgePorts::default() };
    ports.bridges.insert("br1".into(), there);
    let option = TunnelOption { class: 0x102, kind: 0x80, length: 4 };
    let packets: Vec<Packet> = [0, 7]
        .into_iter()
        .flat_map(|value: u32| {
            let mut header = tunnel_header(REMOTES[0].1, 5);
            header.options = vec![GeneveOption::new(0x102, 0x80, &value.to_be_bytes()).unwrap()];
            let with = move |frame: Frame| Packet { frame, tunnel: Some(header.clone()) };
            frames().into_iter().map(with)
        })
        .collect();
    let here: [&[&str]; 5] = [
        &["actions=output:9"],
        &["actions=load:1->NXOXM_ET_ERSPAN_IDX[],output:9"],
        &["tun_metadata0=7 actions=output:9"],
        &["actions=load:1->NXM_NX_REG0[],output:9"],
        &[
            "actions=load:0xffff->NXM_OF_IN_PORT[],resubmit(,1)",
            "table=1,priority=2,tcp,tp_dst=80 actions=output:9",
        ],
    ];
    for here in here {
        for asks in [
            "tun_metadata0=7",
            "tun_metadata0=0",
            "tun_id=5",
            "tun_src=192.0.2.1",
            "reg0=1",
            "tun_erspan_idx=1",
        ] {
            let mut rules = ruleset(here.iter().map(|text| rule(text)));
            let behind = [
                format!("priority=2,{asks} actions=output:2"),
                "priority=1 actions=output:3".to_owned(),
            ];
            rules.bridges.insert("br1".into(), behind.iter().map(|text| rule(text)).collect());
            for bridge in rules.bridges.values_mut() {
                bridge.tunnel_options = [(0, option)].into();
            }
            for name in ["nicsim", "software"] {
                let card = Capabilities::profile(name).unwrap();
                check_ports(&rules, &ports, &card, &[port(20)], &packets);
            }
        }
    }
}

/// Flower compares all options of a packet, OVS each by itself.
#[test]
fn packets_with_more_options_than_are_asked_for() {
    let ports = tunnels();
    let [one, two] = [0x80, 0x81].map(|kind| TunnelOption { class: 0x102, kind, length: 4 });
    let option = |kind: u8, value: u32| GeneveOption::new(0x102, kind, &value.to_be_bytes());
    let carried = [
        vec![],
        vec![(0x80, 1)],
        vec![(0x80, 2)],
        vec![(0x81, 1)],
        vec![(0x80, 1), (0x81, 1)],
        vec![(0x81, 1), (0x80, 1)],
        vec![(0x80, 2), (0x77, 1)],
    ];
    let packets: Vec<Packet> = carried
        .iter()
        .flat_map(|options| {
            let mut header = tunnel_header(REMOTES[0].1, 5);
            let options = options.iter().map(|(kind, value)| option(*kind, *value).unwrap());
            header.options = options.collect();
            let with = move |frame: Frame| Packet { frame, tunnel: Some(header.clone()) };
            frames().into_iter().step_by(3).map(with)
        })
        .collect();
    let asks =
        ["tun_metadata0=1", "tun_metadata0=0x2/0x2", "tun_metadata1=1", "ip", "dl_vlan=5", ""];
    let does = [
        "drop",
        "output:2",
        "output:3",
        "move:NXM_NX_TUN_METADATA0[0..15]->NXM_NX_REG0[0..15],resubmit(,1)",
        "ct(table=2,zone=5)",
    ];
    let pairs = asks.iter().flat_map(|one| asks.iter().map(move |two| (*one, *two)));
    for (first, second) in pairs {
        for (number, then) in does.iter().enumerate() {
            let otherwise = does[(number + 1) % does.len()];
            let mut rules = ruleset([
                rule(&format!("priority=2,{first} actions={then}")),
                rule(&format!("priority=1,{second} actions={otherwise}")),
                rule("table=1,priority=2,reg0=1 actions=output:2"),
                rule("table=1,priority=1 actions=output:3"),
                rule("table=2,priority=2,tun_metadata0=1 actions=drop"),
                rule("table=2,priority=1 actions=output:3"),
            ]);
            let bridge = rules.bridges.get_mut(&BRIDGE.into()).unwrap();
            bridge.tunnel_options = [(0, one), (1, two)].into();
            for name in ["nicsim", "mlx5", "software"] {
                // Without it SNAP frames are not looked at: a known and documented hole.
                let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                check_ports(&rules, &ports, &card, &[port(20)], &packets);
            }
        }
    }
}

/// BFD of a tunnel comes by the device of all of them.
#[test]
fn packets_of_a_link_protocol_that_one_of_two_tunnels_speaks() {
    let bfd = ipv4_with_ttl(255, 17, 0, &world::udp(49152, 3784));
    let frames = [frame(&[], &bfd), frame(&[(0x8100, 5)], &bfd)];
    let packets: Vec<Packet> = REMOTES
        .iter()
        .flat_map(|(_, remote)| {
            frames.iter().map(|frame| Packet {
                frame: frame.clone(),
                tunnel: Some(tunnel_header(remote, 5)),
            })
        })
        .collect();
    for (number, _) in REMOTES {
        let mut ports = tunnels();
        let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
        here.ports.get_mut(&OfPort(number)).unwrap().protocols.bfd = true;
        for does in ["output:2", "strip_vlan,output:2", "drop"] {
            let rules = ruleset([rule(&format!("actions={does}"))]);
            for name in ["nicsim", "mlx5", "software"] {
                let card = Capabilities::profile(name).unwrap();
                let ingresses = REMOTES.map(|(number, _)| port(number));
                check_ports(&rules, &ports, &card, &ingresses, &packets);
            }
        }
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

/// The state that tracking found, with those bits of it that flower does not have, in the header of a tunnel.
#[test]
fn what_tracking_found_as_a_key() {
    let ports = tunnels();
    let packets: Vec<Packet> = frames().iter().map(Frame::packet).collect();
    for bits in ["0..7", "1..1", "1..2"] {
        let rules = [
            "in_port=1,tcp actions=ct(table=1,zone=5)".to_owned(),
            format!(
                "table=1,ct_state=+trk+est,tcp actions=move:NXM_NX_CT_STATE[{bits}]->NXM_NX_TUN_ID[{bits}],output:20"
            ),
        ];
        let rules = ruleset(rules.map(|text| rule(&text)));
        check_ports(&rules, &ports, &Capabilities::nicsim(), &[port(1)], &packets);
    }
}

/// OVS does not send a packet through a tunnel to where it came to.
#[test]
fn a_tunnel_to_the_own_address() {
    let mut ports = tunnels();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let PortKind::Tunnel(own) = &mut here.ports.get_mut(&OfPort(21)).unwrap().kind else { return };
    own.options.insert("remote_ip".to_owned(), "192.0.2.9".to_owned());
    let header = tunnel_header(REMOTES[0].1, 5);
    let with = |frame: Frame| Packet { frame, tunnel: Some(header.clone()) };
    let packets: Vec<Packet> = frames().into_iter().map(with).collect();
    for local in [None, Some("192.0.2.9")] {
        for does in ["output:21", "ct(table=1,zone=5)", "dec_ttl,output:21", "output:2,output:21"] {
            let mut ports = ports.clone();
            let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
            let PortKind::Tunnel(came) = &mut here.ports.get_mut(&OfPort(20)).unwrap().kind else {
                return;
            };
            came.options.extend(local.map(|local| ("local_ip".to_owned(), local.to_owned())));
            let rules = [
                format!("in_port=20,tcp actions=set_tunnel:6,{does}"),
                "table=1,priority=1,ct_state=+trk+est,tcp actions=set_tunnel:6,output:21"
                    .to_owned(),
            ];
            let rules = ruleset(rules.map(|text| rule(&text)));
            for name in ["nicsim", "mlx5", "software"] {
                let card = Capabilities::profile(name).unwrap();
                check_ports(&rules, &ports, &card, &[port(20)], &packets);
            }
        }
    }
}

/// A packet goes on from one tunnel to another, unless that leads to its own address.
#[test]
fn from_one_tunnel_to_another() {
    let rules = ruleset([rule("in_port=20,tcp actions=set_tunnel:6,output:21")]);
    let plan = flow_compiler::compile(&rules, &tunnels(), &Capabilities::nicsim()).plan;
    assert!(plan.filters.values().any(|filter| filter.to_string().contains("tunnel_key set")));
}

/// Nobody but OVS sets the flags of a tunnel, or sends on where a rule says that the packet came to.
#[test]
fn flags_and_ends_that_rules_write() {
    let ports = tunnels();
    let packets: Vec<Packet> = frames().iter().map(Frame::packet).collect();
    for does in [
        "set_field:oam->tun_flags,output:20",
        "load:1->NXM_NX_REG0[],move:NXM_NX_REG0[0]->NXM_NX_TUN_FLAGS[0],output:20",
        "load:1->NXM_NX_REG0[],push:NXM_NX_REG0[0],pop:NXM_NX_TUN_FLAGS[0],output:20",
        "set_field:192.0.2.1->tun_dst,output:20",
        "set_field:192.0.2.1->tun_dst,ct(table=1,zone=5)",
    ] {
        let rules = [
            format!("in_port=1,tcp actions=set_field:5->tun_id,{does}"),
            "table=1,priority=1,ct_state=+trk+est,tcp actions=output:20".to_owned(),
        ];
        let rules = ruleset(rules.map(|text| rule(&text)));
        check_ports(&rules, &ports, &Capabilities::nicsim(), &[port(1)], &packets);
    }
}
