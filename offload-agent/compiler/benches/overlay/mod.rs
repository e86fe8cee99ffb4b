//! A bridge as OVN fills it: one logical switch whose pods are on this node and on others, with port security, a firewall
//! that tracks connections, and Geneve tunnels. The share of each kind of rule is about that of a large cluster's node.

use std::collections::BTreeMap;
use std::fmt::Write;

use flow_compiler::openflow::text::{Names, parse_rules, parse_tunnel_options};
use flow_compiler::openflow::{BridgeName, BridgeRules, OfPort, Ruleset};
use flow_compiler::ports::{
    BridgePorts, Port, PortIfIndex, PortKind, PortMap, SwitchPort, SwitchRole, Tunnel, TunnelKind,
};

/// Nodes that the remote pods are on.
const NODES: usize = 16;
/// The number of the first tunnel port; local pods are below.
const FIRST_TUNNEL: usize = 1000;
/// Rules that there are for each remote pod.
const RULES_OF_A_POD: usize = 5;
/// Rules that there are for each local pod, beside those.
const RULES_OF_A_PORT: usize = 12;

/// The tables that send to other nodes and to pods of this one.
const REMOTE_OUTPUT: usize = 32;
const LOCAL_OUTPUT: usize = 33;

/// A bridge with about so many rules and exactly so many local pods.
pub(crate) fn node(rules: usize, local: usize) -> (Ruleset, PortMap) {
    let remote = rules.saturating_sub(local * RULES_OF_A_PORT + NODES + 40) / RULES_OF_A_POD;
    let mut text = String::new();
    shared(&mut text);
    (1..=local).for_each(|pod| local_pod(&mut text, pod));
    (1..=remote).for_each(|pod| remote_pod(&mut text, local + pod));
    (0..NODES).for_each(|node| tunnel_in(&mut text, node));
    let mut bridge: BridgeRules =
        parse_rules(&text, &Names::default()).expect("rules that OVS takes").into_iter().collect();
    bridge.tunnel_options =
        parse_tunnel_options("0x102 0x80 4 tun_metadata0").expect("an option that OVS takes");
    (Ruleset { bridges: BTreeMap::from([(name(), bridge)]) }, ports(local))
}

fn name() -> BridgeName {
    BridgeName::from("br-int")
}

/// Rules that every packet crosses.
fn shared(text: &mut String) {
    let through = [(9, 10), (11, 12), (40, 41)];
    for (table, next) in through {
        rule(text, &format!("table={table},priority=0"), &format!("resubmit(,{next})"));
    }
    rule(text, "table=8,priority=100,vlan_tci=0x1000/0x1000", "drop");
    rule(text, "table=8,priority=100,dl_src=01:00:00:00:00:00/01:00:00:00:00:00", "drop");
    let ct = "ct(table=11,zone=NXM_NX_REG13[0..15])";
    rule(text, "table=10,priority=100,ip,metadata=0x1", ct);
    rule(text, "table=10,priority=0", "resubmit(,11)");
    rule(
        text,
        "table=12,priority=65532,ct_state=+est-rel+rpl-inv+trk,metadata=0x1",
        "resubmit(,13)",
    );
    rule(text, "table=12,priority=65532,ct_state=+inv+trk,metadata=0x1", "drop");
    rule(text, "table=12,priority=1,ct_state=+est-rpl-inv+trk,metadata=0x1", "resubmit(,13)");
    let commit = "ct(commit,zone=NXM_NX_REG13[0..15],exec(set_field:0/0x1->ct_mark)),resubmit(,13)";
    rule(text, "table=12,priority=1,ct_state=+new-est+trk,ip,metadata=0x1", commit);
    rule(text, "table=12,priority=0", "resubmit(,13)");
    rule(text, "table=13,priority=0", "resubmit(,14)");
    rule(text, "table=41,priority=0", "resubmit(,64)");
    rule(text, "table=64,priority=0", "resubmit(,65)");
}

/// A pod of this node: where its packets come in, which are its own, what it may reach, and where its packets go out.
fn local_pod(text: &mut String, pod: usize) {
    let Pod { mac, ip } = Pod::of(pod);
    let inport =
        format!("set_field:{pod:#x}->reg13,set_field:0x1->metadata,set_field:{pod:#x}->reg14");
    rule(text, &format!("priority=100,in_port={pod}"), &format!("{inport},resubmit(,8)"));
    let from = format!("table=8,priority=50,reg14={pod:#x},metadata=0x1,dl_src={mac}");
    rule(text, &from, "resubmit(,9)");
    let security = format!("table=9,priority=90,ip,reg14={pod:#x},metadata=0x1,dl_src={mac}");
    rule(text, &format!("{security},nw_src={ip}"), "resubmit(,10)");
    rule(text, &format!("table=9,priority=80,ip,reg14={pod:#x},metadata=0x1"), "drop");
    for port in [22, 80, 443, 5432, 8080] {
        let head = format!("table=13,priority=1002,tcp,reg14={pod:#x},metadata=0x1,tp_dst={port}");
        rule(text, &head, "resubmit(,14)");
    }
    rule(
        text,
        &format!("table=13,priority=1001,ip,reg14={pod:#x},metadata=0x1,nw_dst=169.254.0.0/16"),
        "drop",
    );
    look_up(text, pod, LOCAL_OUTPUT);
    rule(
        text,
        &format!("table=33,priority=100,reg15={pod:#x},metadata=0x1"),
        &format!("set_field:{pod:#x}->reg13,resubmit(,40)"),
    );
    rule(
        text,
        &format!("table=65,priority=100,reg15={pod:#x},metadata=0x1"),
        &format!("output:{pod}"),
    );
}

/// A pod of another node.
fn remote_pod(text: &mut String, pod: usize) {
    let Pod { mac, ip } = Pod::of(pod);
    look_up(text, pod, REMOTE_OUTPUT);
    let tunnel = FIRST_TUNNEL + pod % NODES;
    let encap = "move:OXM_OF_METADATA[0..23]->NXM_NX_TUN_ID[0..23]";
    let fields = format!(
        "{encap},set_field:{pod:#x}->tun_metadata0,move:NXM_NX_REG14[0..14]->NXM_NX_TUN_METADATA0[16..30]"
    );
    rule(
        text,
        &format!("table=32,priority=100,reg15={pod:#x},metadata=0x1"),
        &format!("{fields},output:{tunnel}"),
    );
    let answer = format!(
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,set_field:2->arp_op,set_field:{mac}->arp_sha,IN_PORT"
    );
    rule(text, &format!("table=13,priority=50,arp,metadata=0x1,arp_tpa={ip},arp_op=1"), &answer);
    rule(text, &format!("table=13,priority=2000,ip,metadata=0x1,nw_dst={ip}"), "resubmit(,14)");
    rule(text, &format!("table=41,priority=2000,ip,metadata=0x1,nw_src={ip}"), "resubmit(,64)");
}

fn look_up(text: &mut String, pod: usize, next: usize) {
    let Pod { mac, .. } = Pod::of(pod);
    let head = format!("table=14,priority=50,metadata=0x1,dl_dst={mac}");
    rule(text, &head, &format!("set_field:{pod:#x}->reg15,resubmit(,{next})"));
}

/// Packets from another node bring what the pipeline there found out.
fn tunnel_in(text: &mut String, node: usize) {
    let fields = "move:NXM_NX_TUN_ID[0..23]->OXM_OF_METADATA[0..23],\
                  move:NXM_NX_TUN_METADATA0[16..30]->NXM_NX_REG14[0..14],\
                  move:NXM_NX_TUN_METADATA0[0..15]->NXM_NX_REG15[0..15],resubmit(,33)";
    rule(text, &format!("priority=100,in_port={}", FIRST_TUNNEL + node), fields);
}

fn rule(text: &mut String, head: &str, actions: &str) {
    writeln!(text, "{head} actions={actions}").expect("text takes everything");
}

struct Pod {
    mac: String,
    ip: String,
}

impl Pod {
    fn of(number: usize) -> Pod {
        let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
        Pod { mac: format!("0a:58:0a:{a:02x}:{b:02x}:{c:02x}"), ip: format!("10.{a}.{b}.{c}") }
    }
}

fn ports(local: usize) -> PortMap {
    let number = |number: usize| u16::try_from(number).expect("a port number");
    let device = |port: usize, name: String, kind: PortKind, index: u32, role: SwitchRole| {
        let switch = Some(SwitchPort { id: "card".to_owned(), role });
        let ifindex = Some(PortIfIndex(index));
        (OfPort(number(port)), Port { name, kind, ifindex, switch, ..Port::default() })
    };
    let pods = (1..=local).map(|pod| {
        let index = u32::from(number(pod));
        device(pod, format!("pod{pod}"), PortKind::System, index, SwitchRole::Representor)
    });
    let tunnels = (0..NODES).map(|node| {
        let options =
            [("key", "flow".to_owned()), ("remote_ip", format!("192.168.0.{}", node + 2))];
        let options = options.map(|(name, value)| (name.to_owned(), value)).into();
        let kind = PortKind::Tunnel(Tunnel { kind: TunnelKind::Geneve, options });
        device(FIRST_TUNNEL + node, format!("ovn-{node}"), kind, 60_000, SwitchRole::Uplink)
    });
    let ports = BridgePorts { ports: pods.chain(tunnels).collect(), ..BridgePorts::default() };
    PortMap { bridges: BTreeMap::from([(name(), ports)]) }
}
