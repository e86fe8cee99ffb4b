//! C1 to C3 of the contract, on bytes: whatever the rules and the packet, the filters of a plan do what OpenFlow would,
//! or the packet reaches OVS as it came.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use flow_compiler::openflow::{OfPort, OfPriority, Rule, Ruleset};
use flow_compiler::ports::{
    BridgePorts, LinkProtocols, Port, PortIfIndex, PortKind, PortMap, Tunnel, TunnelKind,
};
use proptest::prelude::*;
use world::{BRIDGE, check, few_packets, packets, patch, ports, rule, ruleset};

/// Matches that meet wherever OVS and flower part ways.
const MATCHES: [&str; 14] = [
    "",
    "ip",
    "arp",
    "dl_vlan=5",
    "vlan_tci=0x0000/0x1fff",
    "vlan_tci=0x1000/0x1000",
    "ip,dl_vlan=5",
    "tcp",
    "tcp,tp_dst=80",
    "tcp,tp_dst=0",
    "tcp6",
    "dl_type=0x8100",
    "arp,arp_spa=0.0.0.0",
    "dl_type=0x05ff",
];

const ACTIONS: [&str; 5] =
    ["drop", "output:2", "NORMAL", "strip_vlan,output:3", "mod_vlan_vid:5,output:3"];

fn rules(matches: &[&str], actions: &[&str]) -> Vec<Rule> {
    let pairs = matches.iter().flat_map(|takes| actions.iter().map(move |does| (takes, does)));
    pairs.map(|(takes, does)| rule(&format!("{takes} actions={does}"))).collect()
}

fn at(priority: u16, rule: &Rule) -> Rule {
    Rule { priority: OfPriority(priority), ..rule.clone() }
}

#[test]
fn every_single_rule() {
    let (ports, packets) = (ports(), packets());
    for one in rules(&MATCHES, &ACTIONS) {
        for name in Capabilities::PROFILES {
            check(
                &ruleset([one.clone()]),
                &ports,
                &Capabilities::profile(name).unwrap().tolerant(),
                &packets,
            );
        }
    }
}

/// What a filter may edit depends on how far OVS looks through the tags.
#[test]
fn every_edit_of_tags_however_many_ovs_looks_through() {
    let (ports, packets) = (ports(), packets());
    let takes = ["", "dl_vlan=6", "vlan_tci=0x1000/0x1000", "vlan_tci=0/0x1fff", "ip"];
    let edits = [
        "strip_vlan",
        "mod_vlan_vid:5",
        "mod_vlan_pcp:3",
        "push_vlan:0x88a8",
        "mod_vlan_vid:5,mod_vlan_pcp:3",
        "strip_vlan,mod_vlan_vid:5",
    ];
    for limit in [None, Some(1), Some(2)] {
        let card = Capabilities { vlan_limit: limit, ..Capabilities::nicsim() };
        for edit in edits {
            for one in rules(&takes, &[&format!("{edit},output:2")]) {
                check(&ruleset([one]), &ports, &card, &packets);
            }
        }
    }
}

/// An edit leaves the bits beside it, and TC finds no IP header behind two tags.
#[test]
fn every_edit_of_ip_also_behind_a_tag_that_was_put_before_another() {
    let (ports, packets) = (ports(), packets());
    let edits = ["dec_ttl", "mod_nw_tos:8", "mod_nw_dst:10.0.0.9", "mod_dl_src:02:00:00:00:00:0c"];
    for edit in edits {
        for takes in ["ip,dl_vlan=5", "ip,vlan_tci=0x1000/0x1000", "ip"] {
            for before in ["push_vlan:0x88a8,output:2,", ""] {
                let one = rule(&format!("{takes} actions={before}{edit},output:3"));
                for limit in [None, Some(1), Some(2)] {
                    let card = Capabilities { vlan_limit: limit, ..Capabilities::nicsim() };
                    check(&ruleset([one.clone()]), &ports, &card, &packets);
                }
            }
        }
    }
}

/// OVS tells the sender, though nobody gets the copy whose TTL runs out.
#[test]
fn a_ttl_that_runs_out_in_a_copy_is_for_ovs() {
    let (ports, packets) = (ports(), packets());
    for does in [
        "clone(dec_ttl,output:1),output:3",
        "dec_ttl,clone(dec_ttl,output:2),output:3",
        "clone(mod_nw_ttl:1,dec_ttl,output:1),output:3",
    ] {
        let one = rule(&format!("ip actions={does}"));
        check(&ruleset([one]), &ports, &Capabilities::nicsim(), &packets);
    }
}

/// A fragment has ports of 0, but nothing that was tracked is one.
#[test]
fn port_zero_behind_ct_takes_port_zero_only() {
    let (ports, packets) = (ports(), packets());
    let rules = [
        "ip actions=ct(table=1,zone=5)",
        "table=1,tcp,tp_src=0 actions=output:3",
        "table=1,priority=1 actions=output:2",
    ];
    check(&ruleset(rules.map(rule)), &ports, &Capabilities::nicsim(), &packets);
}

/// OVS may find a length behind the second tag, where flower finds another tag.
#[test]
fn a_length_behind_two_tags_is_for_ovs() {
    let rules = [
        rule("priority=2,dl_type=0x05ff actions=in_port"),
        rule("priority=1,vlan_tci=0x1000/0x1000 actions=output:2"),
    ];
    let card = Capabilities { vlan_limit: None, ..Capabilities::nicsim() };
    check(&ruleset(rules), &ports(), &card, &packets());
}

/// OVS reads a packet anew when it has been tracked, and no further than its `vlan-limit`.
#[test]
fn what_has_two_tags_is_not_tracked_again() {
    let card = Capabilities { vlan_limit: Some(1), ..Capabilities::nicsim() };
    for does in ["push_vlan:0x8100", "mod_vlan_vid:5,push_vlan:0x8100", "mod_vlan_vid:5", "note:00"]
    {
        for ct in ["ct(table=1,zone=5)", "ct(commit,table=1,zone=5)", "ct(commit,zone=5),output:2"]
        {
            let rules =
                [rule(&format!("ip actions={does},{ct}")), rule("table=1 actions=output:2")];
            check(&ruleset(rules), &ports(), &card, &packets());
        }
    }
}

/// A copy has another address; the connection is the packet's own.
#[test]
fn a_commit_is_of_the_packet_and_not_of_a_copy_before() {
    for does in [
        "clone(mod_nw_dst:10.0.0.7,output:3),ct(commit,zone=5)",
        "mod_nw_dst:10.0.0.7,ct(commit,zone=5),output:3",
        "clone(mod_nw_dst:10.0.0.7,output:3),ct(table=1,zone=5)",
    ] {
        let rules = [rule(&format!("ip actions={does}")), rule("table=1 actions=output:2")];
        check(&ruleset(rules), &ports(), &Capabilities::nicsim(), &packets());
    }
}

#[test]
fn every_two_rules_one_above_the_other() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim().tolerant());
    let rules = rules(&MATCHES, &ACTIONS[..4]);
    for high in &rules {
        for low in &rules {
            check(&ruleset([at(2, high), at(1, low)]), &ports, &card, &packets);
        }
    }
}

#[test]
fn every_two_rules_of_one_priority() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim().tolerant());
    let rules = rules(&MATCHES, &["output:2", "NORMAL", "drop"]);
    for (number, one) in rules.iter().enumerate() {
        for other in &rules[number..] {
            check(&ruleset([at(1, one), at(1, other)]), &ports, &card, &packets);
        }
    }
}

/// Of rules that ask for some bits of one field, some of the other's.
#[test]
fn every_three_rules_of_one_priority_that_share_some_bits() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim());
    let takes = [
        "ip,nw_dst=10.0.0.0/8",
        "ip,nw_dst=10.0.0.2",
        "ip,nw_dst=10.0.0.0/30,nw_src=10.0.0.1",
        "ip,nw_dst=10.0.0.4/30",
        "tcp,tp_dst=0x50/0xfff0",
        "tcp,tp_dst=80,nw_dst=10.0.0.2/31",
        "dl_vlan=5",
    ];
    let does = ["output:2", "output:3", "drop"];
    for (one, first) in takes.iter().enumerate() {
        for (two, second) in takes.iter().enumerate().skip(one + 1) {
            for third in &takes[two + 1..] {
                let rules = [first, second, third].into_iter().zip(does);
                let rules = rules.map(|(takes, does)| rule(&format!("{takes} actions={does}")));
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}

#[test]
fn every_three_rules_of_a_small_world() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim().tolerant());
    let rules =
        rules(&["", "ip", "dl_vlan=5", "vlan_tci=0/0x1fff"], &["output:2", "NORMAL", "drop"]);
    for high in &rules {
        for middle in &rules {
            for low in &rules {
                let set = ruleset([at(3, high), at(2, middle), at(1, low)]);
                check(&set, &ports, &card, &packets);
            }
        }
    }
}

/// One field of a match, with what has to stand before it.
fn field() -> impl Strategy<Value = String> {
    const PLAIN: &[&str] = &[
        "in_port=1",
        "in_port=2",
        "dl_src=02:00:00:00:00:0a",
        "dl_dst=02:00:00:00:00:0b",
        "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00",
        "ct_state=-trk",
        "reg0=1",
        "pkt_mark=0",
    ];
    const VLAN: &[&str] = &[
        "dl_vlan=0",
        "dl_vlan=5",
        "dl_vlan=6",
        "dl_vlan=0xffff",
        "dl_vlan_pcp=3",
        "vlan_tci=0x0000/0x1fff",
        "vlan_tci=0x1000/0x1000",
        "vlan_tci=0x1004/0x1ffe",
    ];
    prop_oneof![proptest::sample::select(PLAIN), proptest::sample::select(VLAN)]
        .prop_map(str::to_owned)
}

fn network() -> impl Strategy<Value = String> {
    const ALL: &[&str] = &[
        "",
        "",
        "",
        "ip",
        "ip,nw_dst=10.0.0.0/8",
        "ip,nw_dst=10.0.0.2",
        "ip,nw_ttl=64",
        "ip,nw_tos=16",
        "ip,ip_frag=no",
        "ip,ip_frag=yes",
        "ip,ip_frag=first",
        "ip,ip_frag=later",
        "ip,ip_frag=not_later",
        "tcp",
        "tcp,tp_dst=80",
        "tcp,tp_dst=0x40/0xffc0",
        "tcp,tp_dst=0/0xff00",
        "tcp,tp_src=0",
        "tcp,tcp_flags=+syn",
        "tcp,tp_src=0,tcp_flags=+syn",
        "tcp,tcp_flags=-ack",
        "udp,tp_dst=80",
        "udp",
        "icmp",
        "icmp,icmp_type=8",
        "icmp,icmp_type=0",
        "ip,nw_proto=47",
        "ipv6",
        "ipv6,ipv6_dst=fd00::/16",
        "tcp6",
        "tcp6,tp_dst=80",
        "tcp6,tp_dst=0",
        "ipv6,ip_frag=no",
        "icmp6,icmp_type=135",
        "ipv6,nw_proto=44",
        "ipv6,nw_proto=51",
        "arp",
        "arp,arp_op=1",
        "arp,arp_op=3",
        "arp,arp_spa=10.0.0.1",
        "arp,arp_spa=0.0.0.0",
        "arp,arp_tpa=10.0.0.0/8,arp_spa=0.0.0.0/8",
        "dl_type=0x88cc",
        "dl_type=0x8100",
        "dl_type=0x88a8",
        "dl_type=0x05ff",
        "dl_type=0x8035",
        "icmp6,icmp_type=135,nd_target=fd00::2",
    ];
    proptest::sample::select(ALL).prop_map(str::to_owned)
}

fn actions() -> impl Strategy<Value = String> {
    const ONE: &[&str] = &[
        "output:1",
        "output:2",
        "output:3",
        "in_port",
        "strip_vlan",
        "push_vlan:0x8100",
        "push_vlan:0x88a8",
        "mod_vlan_vid:5",
        "mod_vlan_vid:6",
        "mod_vlan_pcp:3",
        "mod_vlan_pcp:0",
        "set_field:4101->vlan_vid",
        "note:00",
        "output:4",
        "NORMAL",
        "LOCAL",
        "dec_ttl",
        "clone(dec_ttl,output:2)",
    ];
    prop_oneof![
        Just("drop".to_owned()),
        proptest::sample::select(&ONE[..3]).prop_map(str::to_owned),
        proptest::collection::vec(proptest::sample::select(&ONE[..13]), 1..5)
            .prop_map(|words| words.join(",")),
        proptest::collection::vec(proptest::sample::select(ONE), 1..3)
            .prop_map(|words| words.join(",")),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let fields = proptest::collection::btree_set(field(), 0..3);
    (0_u16..4, fields, network(), actions()).prop_filter_map("no such rule", |parts| {
        let (priority, fields, network, actions) = parts;
        let mut words: Vec<String> = fields.into_iter().collect();
        words.extend((!network.is_empty()).then_some(network));
        let text = format!("priority={priority},{} actions={actions}", words.join(","));
        flow_compiler::openflow::text::parse_rules(&text, &Default::default()).ok()?.pop()
    })
}

fn any_card() -> impl Strategy<Value = Capabilities> {
    let name = proptest::sample::select(&Capabilities::PROFILES[..]);
    let limit = proptest::sample::select(vec![None, Some(1), Some(1), Some(2)]);
    let tables = prop_oneof![1_usize..40, Just(usize::MAX)];
    (name, limit, 1_u16..20, tables).prop_map(|(name, vlan_limit, max_prios, max_tables)| {
        Capabilities {
            vlan_limit,
            max_prios,
            max_tables,
            // Without it SNAP frames are not looked at: a known and documented hole.
            llc: true,
            ..Capabilities::profile(name).unwrap().tolerant()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_rules_on_any_card(rules in proptest::collection::vec(any_rule(), 1..7), card in any_card()) {
        check(&ruleset(rules), &ports(), &card, &packets());
    }
}

#[test]
fn a_bridge_whose_packets_are_copied_or_sampled_keeps_them_all() {
    let mut ports = ports();
    ports.bridges.values_mut().for_each(|bridge| bridge.watched = true);
    let card = Capabilities::nicsim();
    let compiled =
        flow_compiler::compile(&ruleset([rule("in_port=1 actions=output:2")]), &ports, &card);
    assert!(compiled.plan.filters.is_empty());
    assert!(compiled.verdicts[0].to_string().contains("a mirror, NetFlow, sFlow or IPFIX"));
}

#[test]
fn packets_go_to_no_bridge_that_copies_or_samples_them() {
    let mut ports = two_bridges();
    let rules = Ruleset {
        bridges: [(BRIDGE, "in_port=1 actions=output:9"), ("br1", "actions=output:2")]
            .map(|(bridge, text)| (bridge.into(), [rule(text)].into_iter().collect()))
            .into(),
    };
    let card = Capabilities::nicsim();
    let forwards = |ports: &PortMap| {
        let plan = flow_compiler::compile(&rules, ports, &card).plan;
        plan.filters.values().any(|filter| filter.to_string().contains("mirred"))
    };
    assert!(forwards(&ports), "a patch is offloaded");
    check(&rules, &ports, &card, &few_packets());
    ports.bridges.get_mut(&"br1".into()).unwrap().watched = true;
    assert!(!forwards(&ports), "the mirror sees nothing of what the card forwards");
    check(&rules, &ports, &card, &few_packets());
}

#[test]
fn bridges_with_rules_that_no_dump_shows() {
    let rules = Ruleset {
        bridges: [(BRIDGE, "in_port=1 actions=output:9"), ("br1", "actions=output:2")]
            .map(|(bridge, text)| (bridge.into(), [rule(text)].into_iter().collect()))
            .into(),
    };
    for bridge in [BRIDGE, "br1"] {
        let mut ports = two_bridges();
        let hidden = Some("is on a bridge with in-band control");
        ports.bridges.get_mut(&bridge.into()).unwrap().hidden_rules = hidden;
        check(&rules, &ports, &Capabilities::nicsim(), &few_packets());
    }
}

/// The bridge, and one behind the patch at port 9, with the other representor.
fn two_bridges() -> PortMap {
    let mut ports = ports();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let representor = here.ports.remove(&OfPort(2)).unwrap();
    here.ports.insert(OfPort(9), patch("there", "here"));
    let there = [(OfPort(9), patch("here", "there")), (OfPort(2), representor)];
    ports
        .bridges
        .insert("br1".into(), BridgePorts { ports: there.into(), ..BridgePorts::default() });
    ports
}

/// More fragments follow, and this one is at the beginning.
const FIRST_FRAGMENT: u16 = 0x2000;

/// Where OVS speaks a link protocol it takes the frames itself.
#[test]
fn frames_that_ovs_takes_before_the_first_table() {
    let bfd = world::udp(53, 3784);
    let kinds = [vec![0x89, 2, 0, 0], vec![0x88, 9, 0, 0], vec![0x88, 0xcc, 0, 0]];
    let bodies =
        kinds.into_iter().chain([world::ipv4(17, 0, &bfd), world::ipv6(17, &bfd), world::llc()]);
    let bodies = bodies.chain([world::ipv4(17, FIRST_FRAGMENT, &bfd)]);
    let mut packets: Vec<Frame> = bodies
        .flat_map(|body| [&[][..], &[(0x8100, 5)]].map(|tags| world::frame(tags, &body)))
        .collect();
    let to_bridges: Vec<Frame> = packets.iter().map(to_all_bridges).collect();
    packets.extend(to_bridges);
    let speaks = |number: usize| LinkProtocols {
        bfd: number == 0,
        cfm: number == 1,
        lldp: number == 2,
        lacp: number == 3,
        stp: number == 4,
    };
    for protocols in (0..6).map(speaks) {
        let mut ports = ports();
        let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
        here.ports.get_mut(&OfPort(1)).unwrap().protocols = protocols;
        for takes in ["", "in_port=1", "dl_vlan=5", "udp", "dl_type=0x88cc"] {
            for does in ["output:2", "drop", "strip_vlan,output:3"] {
                for name in Capabilities::PROFILES {
                    // Without it SNAP frames are not looked at: a known and documented hole.
                    let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
                    let one = rule(&format!("{takes} actions={does}"));
                    check(&ruleset([one]), &ports, &card, &packets);
                }
            }
        }
    }
}

/// The frame to the address of spanning tree.
fn to_all_bridges(frame: &Frame) -> Frame {
    let mut bytes = frame.0.clone();
    bytes[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0]);
    Frame(bytes)
}

/// A wrong filter is worse than none: what a filter does only almost as OVS is compiled for whoever asks for it.
#[test]
fn what_is_not_exact_is_compiled_for_no_profile() {
    for name in Capabilities::PROFILES {
        let card = Capabilities::profile(name).unwrap();
        assert!(card.tolerates.is_empty(), "{name}");
        for does in ["NORMAL", "meter:1,output:2"] {
            let rules = ruleset([rule(&format!("in_port=1 actions={does}"))]);
            let compiled = flow_compiler::compile(&rules, &ports(), &card);
            assert!(
                compiled.plan.filters.is_empty(),
                "{name}: {does}: {:?}",
                compiled.plan.filters
            );
        }
    }
}

/// OVS asks for the key first, so the tunnel that takes any key of the same remote end does not get these packets.
#[test]
fn tunnels_that_may_get_each_others_packets_have_no_filters() {
    let tunnel = |key: &str| Port {
        name: format!("t{key}"),
        ifindex: Some(PortIfIndex(20)),
        kind: PortKind::Tunnel(Tunnel {
            kind: TunnelKind::Geneve,
            options: [("remote_ip", "192.0.2.1"), ("key", key)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }),
        ..Port::default()
    };
    let rules = ruleset([rule("in_port=20 actions=output:2")]);
    let filters = |keys: &[(u16, &str)]| {
        let mut ports = ports();
        let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
        here.ports.extend(keys.iter().map(|(number, key)| (OfPort(*number), tunnel(key))));
        flow_compiler::compile(&rules, &ports, &Capabilities::nicsim()).plan.filters.len()
    };
    assert!(filters(&[(20, "5"), (21, "6")]) > 0);
    assert_eq!(filters(&[(20, "flow"), (21, "5")]), 0);
}

/// Tables see no ports in a fragment, whatever was written there; registers see those of a first fragment.
#[test]
fn ports_of_a_first_fragment_are_seen_by_actions_and_not_by_tables() {
    let (ports, packets) = (ports(), packets());
    for (kind, does, takes) in [
        ("tcp", "mod_tp_dst:80,resubmit(,1)", "tcp,tp_dst=80"),
        ("tcp", "mod_tp_dst:0,resubmit(,1)", "tcp,tp_dst=0"),
        ("tcp", "mod_tp_dst:80,resubmit(,1)", "tcp,tp_dst=0"),
        ("tcp", "load:1000->NXM_OF_TCP_SRC[],goto_table:1", "tcp,tp_src=0/0xff00"),
        (
            "tcp",
            "load:80->NXM_NX_REG0[0..15],move:NXM_NX_REG0[0..15]->NXM_OF_TCP_DST[],resubmit(,1)",
            "tcp,tp_dst=80",
        ),
        (
            "tcp",
            "load:80->NXM_NX_REG0[0..15],push:NXM_NX_REG0[0..15],pop:NXM_OF_TCP_DST[],resubmit(,1)",
            "tcp,tp_dst=80",
        ),
        ("tcp", "move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15],resubmit(,1)", "reg0=80"),
        ("tcp", "move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15],resubmit(,1)", "reg0=0"),
        ("tcp", "push:NXM_OF_TCP_DST[],pop:NXM_NX_REG0[0..15],resubmit(,1)", "reg0=80"),
        ("udp", "move:NXM_OF_UDP_DST[]->NXM_NX_REG0[0..15],resubmit(,1)", "reg0=80"),
        ("tcp", "move:NXM_OF_TCP_DST[]->NXM_OF_TCP_SRC[],resubmit(,1)", "tcp,tp_src=80"),
        ("icmp", "move:NXM_OF_ICMP_TYPE[]->NXM_NX_REG0[0..7],resubmit(,1)", "reg0=8"),
    ] {
        for (first, second) in
            [("drop", "output:2"), ("output:2", "drop"), ("output:2", "output:3")]
        {
            let rules = [
                format!("{kind} actions={does}"),
                format!("table=1,priority=2,{takes} actions={first}"),
                format!("table=1,priority=1 actions={second}"),
            ];
            check(
                &ruleset(rules.map(|text| rule(&text))),
                &ports,
                &Capabilities::nicsim(),
                &packets,
            );
        }
    }
}

/// Two ways that come to one long table, one of them without fragments, do not share what is behind it.
#[test]
fn a_way_without_fragments_shares_no_chain_with_one_that_has_some() {
    let ways = [
        "priority=9,tcp,nw_frag=no,dl_vlan=5 actions=strip_vlan,resubmit(,1)",
        "priority=8,tcp,dl_vlan=6 actions=strip_vlan,resubmit(,1)",
        "table=2,priority=2,reg0=80 actions=drop",
        "table=2,priority=1 actions=output:2",
        "table=2,priority=3,reg0=81 actions=output:3",
    ];
    let others =
        (1..40).map(|n| format!("table=1,priority=9,tcp,nw_dst=10.0.1.{n} actions=output:3"));
    let moves =
        "table=1,priority=1,tcp actions=move:NXM_OF_TCP_DST[]->NXM_NX_REG0[0..15],resubmit(,2)";
    let rules = ways.map(str::to_owned).into_iter().chain(others).chain([moves.to_owned()]);
    let rules: Vec<Rule> = rules.map(|text| rule(&text)).collect();
    check(&ruleset(rules), &ports(), &Capabilities::nicsim(), &packets());
}

/// For a third tag the innermost one goes, also where nothing is sent; of two, the one that was there stays.
#[test]
fn a_third_tag_pushes_the_innermost_one_out() {
    let (ports, packets) = (ports(), packets());
    for does in [
        "push_vlan:0x8100,strip_vlan",
        "push_vlan:0x88a8,set_field:4102->vlan_vid,strip_vlan",
        "push_vlan:0x8100,push_vlan:0x8100,set_field:3->vlan_pcp",
        "push_vlan:0x8100,push_vlan:0x8100,strip_vlan,strip_vlan",
        "push_vlan:0x8100,push_vlan:0x8100,push_vlan:0x8100,strip_vlan,strip_vlan",
        "push_vlan:0x8100,push_vlan:0x8100,strip_vlan,strip_vlan,strip_vlan",
    ] {
        for takes in ["dl_vlan=5", "vlan_tci=0/0x1fff", "dl_vlan_pcp=3", "dl_vlan=6"] {
            for (first, second) in [("drop", "output:2"), ("output:2", "drop")] {
                let rules = [
                    format!("actions={does},resubmit(,1)"),
                    format!("table=1,priority=2,{takes} actions={first}"),
                    format!("table=1,priority=1 actions={second}"),
                ];
                for limit in [None, Some(1), Some(2)] {
                    let card = Capabilities { vlan_limit: limit, ..Capabilities::nicsim() };
                    check(&ruleset(rules.clone().map(|text| rule(&text))), &ports, &card, &packets);
                }
            }
        }
    }
}
