//! C1 to C3 of the contract for `NORMAL`: ports that treat VLANs in each way, addresses that are known, that are elsewhere
//! and that are not known, on one bridge and across a patch to another.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use std::collections::BTreeSet;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::{Frame, Packet};
use flow_compiler::openflow::{BridgeName, BridgeRules, OfPort, Ruleset};
use flow_compiler::ports::{
    BridgePorts, Fdb, FdbEntry, FdbKey, LinkProtocols, Port, PortKind, PortMap, PriorityTags,
    VlanMode,
};
use world::{
    BRIDGE, HOST_A, HOST_B, check_ports, frame, ipv4, patch, port, ports, rule, ruleset, stacks,
    tcp,
};

const OTHER: &str = "br1";
/// The patch, on both bridges.
const PATCH: OfPort = OfPort(9);
/// An address that nobody has learned.
const HOST_C: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const RESERVED: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0];

/// How a port treats VLANs.
type Vlans = (VlanMode, Option<u16>, &'static [u16]);

const MODES: [Vlans; 6] = [
    (VlanMode::Trunk, None, &[]),
    (VlanMode::Trunk, None, &[5]),
    (VlanMode::Access, Some(5), &[]),
    (VlanMode::Access, Some(6), &[]),
    (VlanMode::NativeUntagged, Some(5), &[]),
    (VlanMode::Dot1qTunnel, Some(5), &[]),
];

fn set(port: &mut Port, (mode, tag, trunks): Vlans) {
    port.vlan_mode = mode;
    port.tag = tag;
    port.trunks = BTreeSet::from_iter(trunks.iter().copied());
}

fn number(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Host A at one port, host B at another, in all VLANs.
fn known(a: OfPort, b: OfPort) -> Fdb {
    let at =
        |vlan, mac, port| (FdbKey { vlan, mac: number(mac) }, FdbEntry { port, is_static: false });
    let entries = [0, 5, 6].into_iter().flat_map(|vlan| [at(vlan, HOST_A, a), at(vlan, HOST_B, b)]);
    Fdb { entries: entries.collect() }
}

/// From and to every host, under every stack of tags.
fn packets() -> Vec<Packet> {
    let ends = [
        (HOST_A, HOST_B),
        (HOST_B, HOST_A),
        (HOST_A, HOST_C),
        (HOST_C, HOST_B),
        (HOST_A, HOST_A),
        (HOST_A, GROUP),
        (HOST_A, RESERVED),
    ];
    let stacks = stacks();
    let body = ipv4(6, 0, &tcp(1000, 80, 2));
    let all = ends.iter().flat_map(|(src, dst)| {
        stacks.iter().map(|tags| {
            let mut bytes = [*dst, *src].concat();
            for (tpid, tci) in tags {
                bytes.extend(tpid.to_be_bytes());
                bytes.extend(tci.to_be_bytes());
            }
            bytes.extend(&body);
            Frame(bytes).packet()
        })
    });
    all.collect()
}

fn cards() -> Vec<Capabilities> {
    let tolerant = ["nicsim", "mlx5"].map(|name| Capabilities::profile(name).unwrap().tolerant());
    let further =
        [None, Some(2)].map(|limit| Capabilities { vlan_limit: limit, ..tolerant[0].clone() });
    [tolerant.as_slice(), &further].concat()
}

#[test]
fn every_two_ports_that_treat_vlans() {
    let packets = packets();
    let cards = cards();
    for (first, second) in MODES.iter().flat_map(|one| MODES.iter().map(move |two| (*one, *two))) {
        let mut ports = ports();
        let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
        set(here.ports.get_mut(&OfPort(1)).unwrap(), first);
        set(here.ports.get_mut(&OfPort(2)).unwrap(), second);
        for (a, b) in [(1, 2), (2, 1), (1, 3), (1, 1)] {
            ports.bridges.get_mut(&BRIDGE.into()).unwrap().fdb = known(OfPort(a), OfPort(b));
            for does in ["NORMAL", "mod_vlan_vid:5,NORMAL", "strip_vlan,NORMAL", "output:3,NORMAL"]
            {
                for card in &cards {
                    let rules = ruleset([rule(&format!("actions={does}"))]);
                    check_ports(&rules, &ports, card, &[1, 2].map(port), &packets);
                }
            }
        }
    }
}

/// A packet of VLAN 0 with a priority may leave with a tag.
#[test]
fn a_port_with_priority_tags() {
    let packets = packets();
    for (priority_tags, card) in [PriorityTags::IfNonzero, PriorityTags::Always]
        .into_iter()
        .flat_map(|tags| cards().into_iter().map(move |card| (tags, card)))
    {
        for (first, second) in
            MODES.iter().flat_map(|one| MODES.iter().map(move |two| (*one, *two)))
        {
            let mut ports = ports();
            let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
            set(here.ports.get_mut(&OfPort(1)).unwrap(), first);
            let out = here.ports.get_mut(&OfPort(2)).unwrap();
            set(out, second);
            out.priority_tags = priority_tags;
            here.fdb = known(OfPort(1), OfPort(2));
            let rules = ruleset([rule("actions=NORMAL")]);
            check_ports(&rules, &ports, &card, &[1, 2].map(port), &packets);
        }
    }
}

/// Two bridges with a patch between; the uplink is on the other one.
fn two_bridges(here: Vlans, there: Vlans) -> PortMap {
    let mut ports = ports();
    let integration = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let mut uplink = integration.ports.remove(&OfPort(1)).unwrap();
    set(&mut uplink, there);
    set(integration.ports.get_mut(&OfPort(2)).unwrap(), here);
    integration.ports.insert(PATCH, patch("there", "here"));
    integration.fdb = known(OfPort(2), PATCH);
    let provider = BridgePorts {
        ports: [(PATCH, patch("here", "there")), (OfPort(1), uplink)].into(),
        fdb: known(PATCH, OfPort(1)),
        ..BridgePorts::default()
    };
    ports.bridges.insert(OTHER.into(), provider);
    ports
}

fn on_both(here: &[&str], there: &[&str]) -> Ruleset {
    let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect::<BridgeRules>();
    let bridges = [(BridgeName::from(BRIDGE), rules(here)), (OTHER.into(), rules(there))];
    Ruleset { bridges: bridges.into() }
}

/// The port behind a patch takes frames of its link protocols, and spanning tree may stop all others.
#[test]
fn across_a_patch_that_speaks_a_link_protocol() {
    let mut packets = packets();
    let lldp = frame(&[], &[0x88, 0xcc, 0, 0]);
    let mut bpdu = frame(&[], &world::llc());
    bpdu.0[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0]);
    packets.extend([lldp, bpdu].map(|frame| frame.packet()));
    let speaks = [
        LinkProtocols { lldp: true, ..LinkProtocols::default() },
        LinkProtocols { stp: true, ..LinkProtocols::default() },
    ];
    // Without it SNAP frames are not looked at: a known and documented hole.
    let card = Capabilities { llc: true, ..Capabilities::nicsim() };
    for (bridge, number) in [(OTHER, PATCH), (OTHER, OfPort(1)), (BRIDGE, OfPort(2))] {
        for protocols in speaks {
            let mut ports = two_bridges(MODES[0], MODES[0]);
            let there = ports.bridges.get_mut(&bridge.into()).unwrap();
            there.ports.get_mut(&number).unwrap().protocols = protocols;
            let rules = on_both(&["in_port=2 actions=output:9"], &["in_port=9 actions=output:1"]);
            check_ports(&rules, &ports, &card, &[port(2)], &packets);
        }
    }
}

/// OVS joins two patch ports only if each names the other and their bridges are of one datapath, as in the first case.
#[test]
fn patches_whose_ends_are_not_joined() {
    let rules = on_both(&["in_port=2 actions=output:9"], &["in_port=9 actions=output:1"]);
    let breaks: [fn(&mut BridgePorts); 4] = [
        |there| there.datapath_type = "system".to_owned(),
        |there| there.datapath_type = "netdev".to_owned(),
        |there| there.ports.get_mut(&PATCH).unwrap().kind = PortKind::System,
        |there| {
            let kind = PortKind::Patch { peer: "elsewhere".to_owned() };
            there.ports.get_mut(&PATCH).unwrap().kind = kind;
        },
    ];
    for (number, breaks) in breaks.into_iter().enumerate() {
        let mut ports = two_bridges(MODES[0], MODES[0]);
        breaks(ports.bridges.get_mut(&OTHER.into()).unwrap());
        let plan = flow_compiler::compile(&rules, &ports, &Capabilities::nicsim()).plan;
        assert_eq!(number == 0, !plan.filters.is_empty(), "{number}");
    }
}

/// What the second bridge knows of a packet must be true of all that the first one learned and forwards.
#[test]
fn across_a_patch() {
    let packets = packets();
    let here: [&[&str]; 9] = [
        &["priority=1,actions=output:9,output:1"],
        &["priority=1,actions=output:9,resubmit(,1)", "table=1 actions=output:3"],
        &["priority=9,in_port=9 actions=output:3", "priority=1,actions=output:9"],
        &["priority=1,actions=NORMAL"],
        &["priority=1,actions=mod_vlan_vid:5,NORMAL"],
        &[
            "priority=1,actions=load:1->NXM_NX_REG0[],load:1->NXM_NX_CT_MARK[],NORMAL",
            "priority=9,arp actions=drop",
        ],
        &["priority=1,ip actions=ct(table=1,zone=5)", "table=1 actions=NORMAL"],
        &["priority=1,actions=push:NXM_NX_REG0[],load:7->NXM_OF_IN_PORT[],output:9"],
        &[
            "priority=9,dl_vlan=5 actions=output:9",
            "priority=1,actions=resubmit(,1)",
            "table=1 actions=NORMAL",
        ],
    ];
    let there: [&[&str]; 7] = [
        &["priority=1,actions=output:9"],
        &["priority=1,actions=NORMAL"],
        &["priority=9,dl_src=02:00:00:00:00:0a actions=output:1", "priority=1 actions=NORMAL"],
        &["priority=9,in_port=9,dl_vlan=5 actions=strip_vlan,output:1", "priority=1 actions=drop"],
        &[
            "priority=9,reg0=1 actions=drop",
            "priority=8,ct_mark=1 actions=drop",
            "priority=1 actions=output:1",
        ],
        &[
            "priority=9,ct_state=+trk actions=drop",
            "priority=8,in_port=7 actions=drop",
            "priority=1,actions=output:1",
        ],
        &["priority=1 actions=in_port"],
    ];
    let card = Capabilities::nicsim().tolerant();
    let modes = [MODES[0], MODES[1], MODES[2]];
    for (mode, other) in modes.iter().flat_map(|one| modes.iter().map(move |two| (*one, *two))) {
        let ports = two_bridges(mode, other);
        for (here, there) in
            here.iter().flat_map(|here| there.iter().map(move |there| (here, there)))
        {
            check_ports(&on_both(here, there), &ports, &card, &[port(2)], &packets);
        }
    }
}

/// All known sources go on as one, so nothing behind may go by which of them it is.
#[test]
fn a_bridge_behind_the_sources_asks_for_them_again() {
    let mut ports = two_bridges(MODES[0], MODES[0]);
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    let more = FdbKey { vlan: 0, mac: number(HOST_C) };
    here.fdb.entries.insert(more, FdbEntry { port: OfPort(2), is_static: false });
    let long = (1..=14).map(|n| format!("table=1,priority=2,tcp,tp_src={n} actions=drop"));
    let long: Vec<String> = long.collect();
    for (one, other) in [("0a", "0c"), ("0c", "0a")] {
        let there = [
            format!("priority=2,dl_src=02:00:00:00:00:{one} actions=output:1"),
            "priority=1 actions=resubmit(,1)".to_owned(),
            format!("table=1,priority=3,dl_src=02:00:00:00:00:{other} actions=strip_vlan,output:1"),
            "table=1,priority=1 actions=drop".to_owned(),
        ];
        let there: Vec<&str> = there.iter().chain(&long).map(String::as_str).collect();
        let rules = on_both(&["actions=NORMAL"], &there);
        for name in Capabilities::PROFILES {
            let card =
                Capabilities { llc: true, ..Capabilities::profile(name).unwrap().tolerant() };
            check_ports(&rules, &ports, &card, &[port(2)], &packets());
        }
    }
}
