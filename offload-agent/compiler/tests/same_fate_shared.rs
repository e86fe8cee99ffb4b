//! C1 to C3 of the contract for ports that share chains: what one of them does must never be what another would.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use std::collections::BTreeMap;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{Frame, Packet, TunnelHeader};
use flow_compiler::openflow::text::parse_meters;
use flow_compiler::openflow::{OfPort, Rule, Ruleset, TunnelOption};
use flow_compiler::ports::{Port, PortIfIndex, PortKind, PortMap, Tunnel, TunnelKind};
use world::{BRIDGE, check_ports, frame, ipv4, port, ports, rule, ruleset, tcp, tunnel_header};

/// Long enough for a chain of its own.
const LONG: u16 = 14;
/// Where packets come in.
const PORTS: [u16; 4] = [1, 2, 3, TUNNEL];
const TUNNEL: u16 = 20;

/// What is known of a packet by the port it came by; `{}` is the port, `{next}` another.
const KNOWN: [&str; 8] = [
    "load:{}->NXM_NX_REG14[],load:{next}->NXM_OF_IN_PORT[]",
    "load:{}->NXM_NX_REG14[]",
    "load:{}->NXM_NX_REG14[],load:{}->NXM_NX_REG13[]",
    "load:9->NXM_NX_REG14[],load:5->NXM_NX_REG13[]",
    "load:{}->NXM_NX_REG14[],load:0xffff->NXM_OF_IN_PORT[]",
    "load:2->NXM_NX_REG14[],load:{}->NXM_NX_REG13[],load:2->NXM_OF_IN_PORT[]",
    "move:NXM_OF_IN_PORT[]->NXM_NX_REG14[0..15]",
    "load:{}->NXM_NX_REG14[],push:NXM_OF_IN_PORT[],load:0xffff->NXM_OF_IN_PORT[]",
];

/// What becomes of packets; some of it depends on the port they came by.
const DOES: [&str; 27] = [
    "resubmit(,3)",
    "resubmit(,5)",
    "output:20",
    "set_tunnel:6,resubmit(,3)",
    "set_tunnel:5,{option},resubmit(,3)",
    "set_field:0x60000->tun_metadata0,resubmit(,3)",
    "output:1",
    "output:2",
    "output:3",
    "drop",
    "in_port",
    "output:2,output:3",
    "output:NXM_NX_REG14[]",
    "load:0xffff->NXM_OF_IN_PORT[],output:2",
    "load:3->NXM_OF_IN_PORT[],output:3",
    "push:NXM_OF_IN_PORT[],load:0xffff->NXM_OF_IN_PORT[],output:2,pop:NXM_OF_IN_PORT[],output:3",
    "move:NXM_NX_REG14[0..15]->NXM_OF_ETH_DST[0..15],output:3",
    "move:NXM_OF_IN_PORT[]->NXM_OF_ETH_DST[0..15],output:2",
    "move:NXM_NX_REG14[0..15]->NXM_OF_IN_PORT[],output:2",
    "set_tunnel:5,{option},output:20",
    "move:NXM_NX_REG14[]->NXM_NX_TUN_ID[0..31],{option},output:20",
    "load:7->NXM_NX_REG14[0..3],set_tunnel:5,{option},output:20",
    "set_tunnel:5,{option},output:20,resubmit(,3)",
    "ct(commit,zone=NXM_NX_REG13[0..15]),output:2",
    "resubmit(,2)",
    "load:6->NXM_NX_REG14[],resubmit(,3)",
    "move:NXM_NX_REG14[]->NXM_NX_REG13[],resubmit(,3)",
];
const OPTION: &str =
    "set_field:0x70000->tun_metadata0,move:NXM_NX_REG14[0..14]->NXM_NX_TUN_METADATA0[0..14]";

/// A few numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// The ports, the last VF's on another card or not, and a tunnel.
fn with_tunnel(switch: &str) -> PortMap {
    let mut ports = ports();
    let here = &mut ports.bridges.get_mut(&BRIDGE.into()).unwrap().ports;
    here.get_mut(&OfPort(3)).unwrap().switch.as_mut().unwrap().id = switch.to_owned();
    let options = [("remote_ip", "192.0.2.1"), ("key", "flow")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let tunnel = Port {
        name: "t20".to_owned(),
        ifindex: Some(PortIfIndex(30)),
        kind: PortKind::Tunnel(Tunnel { kind: TunnelKind::Geneve, options }),
        ..Port::default()
    };
    ports.bridges.get_mut(&BRIDGE.into()).unwrap().ports.insert(OfPort(TUNNEL), tunnel);
    ports
}

/// Every port asks something of its own, and then all come to the same long tables.
fn pipeline(chance: &mut Chance) -> Ruleset {
    let mut rules: Vec<Rule> = Vec::new();
    let known = chance.one(&KNOWN);
    for number in PORTS {
        let known = known.replace("{}", &number.to_string());
        let known = known.replace("{next}", &(number % 3 + 1).to_string());
        rules.push(rule(&format!("priority=1,in_port={number} actions={known},resubmit(,4)")));
        let own = format!("table=4,priority=2,tcp,reg14={number},tp_src={number}");
        rules.push(rule(&format!("{own} actions=drop")));
    }
    rules.push(rule("table=4,priority=1,tcp actions=resubmit(,1)"));
    rules.push(rule("table=2,priority=2,reg14=2 actions=output:3"));
    rules.push(rule("table=2,priority=1 actions=output:2"));
    rules.push(rule("table=5,priority=2,reg14=1 actions=resubmit(,3)"));
    rules.push(rule("table=5,priority=2,reg14=2 actions=resubmit(,3)"));
    rules.push(rule("table=5,priority=1 actions=output:3"));
    // Few different things, so that some rules do the same.
    let does: Vec<String> = (0..4).map(|_| chance.one(&DOES).replace("{option}", OPTION)).collect();
    for (table, field) in [(1, "tp_dst"), (3, "tp_src")] {
        let does = does.iter().map(|does| match (table, does.rsplit_once("resubmit(,")) {
            (3, Some((before, "3)" | "5)"))) => format!("{before}output:1"),
            _ => does.clone(),
        });
        let does: Vec<String> = does.collect();
        for number in 0..LONG {
            let head = format!("table={table},priority=2,tcp,{field}={}", 80 + number);
            rules.push(rule(&format!("{head} actions={}", does[chance.below(does.len())])));
        }
        // Beside them one that ties with them, behind them one that not all ports have, and one for all.
        let others = ["priority=2,tcp,nw_src=10.0.0.1", "priority=1,tcp,reg14=2", "priority=0,tcp"];
        for (lower, does) in others.iter().zip(does.iter().rev()) {
            if chance.below(2) == 0 {
                rules.push(rule(&format!("table={table},{lower} actions={does}")));
            }
        }
    }
    with_option(ruleset(rules))
}

fn with_option(mut ruleset: Ruleset) -> Ruleset {
    let bridge = ruleset.bridges.get_mut(&BRIDGE.into()).unwrap();
    let option = TunnelOption { class: 0x102, kind: 0x80, length: 4 };
    bridge.tunnel_options = BTreeMap::from([(0, option)]);
    ruleset
}

fn packets(tunnel: Option<TunnelHeader>) -> Vec<Packet> {
    let segments = (80..81 + LONG).flat_map(|dst| [1, 2, 80, 85].map(|src| tcp(src, dst, 2)));
    let frames = segments.map(|segment| frame(&[], &ipv4(6, 0, &segment)));
    frames.map(|frame: Frame| Packet { frame, tunnel: tunnel.clone() }).collect()
}

/// Two long tables, one behind the other, that put packets into a tunnel with the key of the port they came by.
fn into_a_tunnel() -> Ruleset {
    let mut rules: Vec<Rule> = Vec::new();
    for number in [1, 2, 3] {
        let known = format!("load:{number}->NXM_NX_REG14[],resubmit(,4)");
        rules.push(rule(&format!("priority=1,in_port={number} actions={known}")));
        let own = format!("table=4,priority=2,tcp,reg14={number},tp_src={number}");
        rules.push(rule(&format!("{own} actions=drop")));
    }
    rules.push(rule("table=4,priority=1,tcp actions=resubmit(,1)"));
    for (table, field) in [(1, "tp_dst"), (3, "tp_src")] {
        for number in 0..LONG {
            // Two ways lead to the second table.
            let does = match (table, number) {
                (1, 0) => "load:1->NXM_NX_REG0[],resubmit(,3)".to_owned(),
                (1, 1) => "load:2->NXM_NX_REG0[],resubmit(,3)".to_owned(),
                _ => format!("set_tunnel:{table},{OPTION},output:20"),
            };
            let head = format!("table={table},priority=1,tcp,{field}={}", 80 + number);
            rules.push(rule(&format!("{head} actions={does}")));
        }
    }
    with_option(ruleset(rules))
}

#[test]
fn each_port_fills_in_the_header_of_a_chain_that_all_share() {
    let card = Capabilities::nicsim();
    let compiled = flow_compiler::compile(&into_a_tunnel(), &with_tunnel("c0ffee"), &card);
    let filters = compiled.plan.filters.values();
    let texts: Vec<String> =
        filters.map(|filter| format!("{:?}", filter.text(&tc_filter::text::Numbered))).collect();
    for number in [1, 2, 3] {
        for (id, expected) in [(1, LONG - 2), (3, LONG)] {
            let here = format!("dev if{} ingress", 10 + number);
            let header = format!("id {id} dst_port 6081 geneve_opts 0102:80:0007000{number}");
            let mine = |text: &&String| {
                text.contains(&here) && text.contains("protocol ip ") && text.contains(&header)
            };
            let found = texts.iter().filter(mine).count();
            assert_eq!(found, usize::from(expected), "port {number}, tunnel {id}: {texts:#?}");
        }
    }
}

#[test]
fn ports_that_share_chains_do_not_share_what_is_their_own() {
    let worlds = ["c0ffee", "decaf"].map(with_tunnel);
    let (plain, in_tunnel) = (packets(None), packets(Some(tunnel_header("192.0.2.1", 5))));
    let cards = ["nicsim", "software", "mlx5"].map(|name| Capabilities::profile(name).unwrap());
    let no_way_back = Capabilities { hairpin: false, ..cards[0].clone() };
    let cards = [cards.as_slice(), &[no_way_back]].concat();
    let mut chance = Chance(1);
    for number in 0..800 {
        let ruleset = pipeline(&mut chance);
        let card = &cards[number % cards.len()];
        let ports = &worlds[number / cards.len() % worlds.len()];
        check_ports(&ruleset, ports, card, &[1, 2, 3].map(port), &plain);
        check_ports(&ruleset, ports, card, &[port(TUNNEL)], &in_tunnel);
    }
}

/// A rule that leads where all others go has no way of its own; on which ports it does is then asked of the port all the same.
#[test]
fn a_rule_that_does_the_same_on_one_port_may_do_something_else_on_another() {
    let (ports, packets) = (with_tunnel("c0ffee"), packets(None));
    let rules = [
        "priority=1,in_port=1 actions=load:1->NXM_NX_REG14[],resubmit(,1)",
        "priority=1,in_port=2 actions=load:2->NXM_NX_REG14[],resubmit(,1)",
        "table=1,priority=3,tcp,tp_dst=80 actions=resubmit(,5)",
        "table=1,priority=1 actions=resubmit(,3)",
        "table=5,priority=2,reg14=1 actions=resubmit(,3)",
        "table=5,priority=1 actions=drop",
        "table=3,priority=2,dl_src=02:00:00:00:00:0b actions=output:2",
        "table=3,priority=1 actions=output:3",
    ];
    for name in Capabilities::PROFILES {
        let card = Capabilities::profile(name).unwrap();
        let rules = ruleset(rules.iter().map(|text| rule(text)));
        check_ports(&rules, &ports, &card, &[1, 2].map(port), &packets);
    }
}

/// A port may have a chain twice, with other headers; then a meter in it would count in two places.
#[test]
fn a_meter_in_a_chain_that_one_port_has_twice_stays_in_ovs() {
    let mut rules = Vec::new();
    for number in 0..LONG {
        let known = if number < 2 { number + 1 } else { 2 };
        let leads = format!("load:{known}->NXM_NX_REG14[],resubmit(,3)");
        // Of one port and untagged, so that each entry is one filter.
        let head = format!("in_port=2,tcp,vlan_tci=0/0x1000,tp_dst={}", 80 + number);
        rules.push(rule(&format!("{head} actions={leads}")));
        let meter = if number == 0 { "meter:1," } else { "" };
        let sends = format!("{meter}set_tunnel:3,{OPTION},output:20");
        rules.push(rule(&format!("table=3,tcp,tp_src={} actions={sends}", 80 + number)));
    }
    let mut ruleset = with_option(ruleset(rules));
    let meters = parse_meters("meter=1 kbps bands=\ntype=drop rate=1000\n").unwrap();
    let bridge = ruleset.bridges.get_mut(&BRIDGE.into()).unwrap();
    bridge.meters = meters.into_iter().map(|meter| (meter.id, meter)).collect();
    let card = Capabilities::nicsim().tolerant();
    let compiled = flow_compiler::compile(&ruleset, &with_tunnel("c0ffee"), &card);
    let texts = compiled.plan.filters.values();
    let texts: Vec<String> =
        texts.map(|filter| format!("{:?}", filter.text(&tc_filter::text::Numbered))).collect();
    for key in ["00070001", "00070002"] {
        let header = format!("geneve_opts 0102:80:{key}");
        assert!(texts.iter().any(|text| text.contains(&header)), "{texts:#?}");
    }
    assert!(!texts.iter().any(|text| text.contains("police")), "{texts:#?}");
}
