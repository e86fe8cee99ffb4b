//! A pipeline as network systems for pods write it: logical switch and router on one bridge, policies, load balancing with
//! connection tracking, a tunnel to other nodes and VLANs to the wire.
//!
//! ```text
//!  0 ports and tunnels → registers     40 the destination port's own zone
//!  8 who may send                      41 policies on the way in
//! 10 connection tracking               48 output
//! 11 services                          66 next hops
//! 12 policies on the way out
//! 14 commit
//! 16 switch, 17 router
//! 32 other nodes, 33 this node
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use flow_compiler::openflow::text::{Names, parse_groups, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};

use super::super::chance::Chance;
use super::super::topology;

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Pods elsewhere; those here are the ports of the topology.
    pub(crate) remote: usize,
    pub(crate) services: usize,
    pub(crate) policies: usize,
}

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let size =
        Size { remote: 1 + chance.below(6), services: chance.below(4), policies: chance.below(6) };
    let (rules, groups) = pipeline(size, chance);
    let rules = parse_rules(&rules, &Names::default()).with_context(|| rules.clone())?;
    let groups = parse_groups(&groups, &Names::default()).with_context(|| groups.clone())?;
    let mut integration: BridgeRules = rules.into_iter().collect();
    integration.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    integration.tunnel_options = topology::options();
    let normal = parse_rules("priority=0 actions=NORMAL", &Names::default())?;
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), integration),
            (BridgeName::from(topology::PROVIDER), normal.into_iter().collect()),
        ]),
    })
}

/// A pod: its number is its logical port.
#[derive(Clone, Copy)]
struct Pod(usize);

impl Pod {
    fn mac(self) -> String {
        format!("02:00:00:00:00:{:02x}", 9 + self.0)
    }

    fn ip(self) -> String {
        format!("10.0.0.{}", self.0)
    }

    fn ip6(self) -> String {
        format!("fd00::{:x}", self.0)
    }
}

const ROUTER_MAC: &str = "02:00:00:00:00:fe";
/// The logical port of the provider network.
const WIRE: usize = 100;

fn pipeline(size: Size, chance: &mut Chance) -> (String, String) {
    let mut text = Text::default();
    let local: Vec<Pod> = topology::VFS.iter().map(|port| Pod(usize::from(*port))).collect();
    let remote: Vec<Pod> = (0..size.remote).map(|at| Pod(20 + at)).collect();
    text.arrivals(&local);
    text.tracking();
    text.services(size.services, &local);
    text.policies(12, size.policies, chance);
    text.commits();
    text.switch(&local, &remote);
    text.outputs(&local, &remote);
    text.policies(41, size.policies, chance);
    (text.rules, text.groups)
}

#[derive(Default)]
struct Text {
    rules: String,
    groups: String,
}

impl Text {
    fn rule(&mut self, table: u8, priority: u16, takes: &str, actions: &str) {
        let comma = if takes.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = writeln!(
            self.rules,
            "table={table},priority={priority}{comma}{takes} actions={actions}"
        );
    }

    fn next(&mut self, table: u8, next: u8) {
        self.rule(table, 0, "", &format!("resubmit(,{next})"));
    }

    fn arrivals(&mut self, local: &[Pod]) {
        for pod in local {
            let Pod(port) = pod;
            let load = format!(
                "load:{port}->NXM_NX_REG13[],load:1->OXM_OF_METADATA[],load:{port}->NXM_NX_REG14[]"
            );
            self.rule(0, 100, &format!("in_port={port}"), &format!("{load},resubmit(,8)"));
            self.rule(
                8,
                90,
                &format!("reg14={port},metadata=1,dl_src={},ip,nw_src={}", pod.mac(), pod.ip()),
                "resubmit(,10)",
            );
            self.rule(
                8,
                90,
                &format!(
                    "reg14={port},metadata=1,dl_src={},ipv6,ipv6_src={}",
                    pod.mac(),
                    pod.ip6()
                ),
                "resubmit(,10)",
            );
            self.rule(
                8,
                80,
                &format!("reg14={port},metadata=1,dl_src={},arp", pod.mac()),
                "resubmit(,10)",
            );
        }
        self.rule(0, 100, "in_port=20", "move:NXM_NX_TUN_ID[0..23]->OXM_OF_METADATA[0..23],move:NXM_NX_TUN_METADATA0[16..30]->NXM_NX_REG14[0..14],move:NXM_NX_TUN_METADATA0[0..15]->NXM_NX_REG15[0..15],resubmit(,33)");
        self.rule(0, 100, "in_port=10,vlan_tci=0x1005/0x1fff", &format!("strip_vlan,load:90->NXM_NX_REG13[],load:1->OXM_OF_METADATA[],load:{WIRE}->NXM_NX_REG14[],resubmit(,10)"));
        self.rule(8, 100, "dl_src=01:00:00:00:00:00/01:00:00:00:00:00", "drop");
        self.rule(8, 0, "", "drop");
    }

    fn tracking(&mut self) {
        self.rule(10, 110, "icmp6,icmp_type=135", "resubmit(,11)");
        self.rule(
            10,
            100,
            "ip",
            "load:1->NXM_NX_REG0[0],ct(table=11,zone=NXM_NX_REG13[0..15],nat)",
        );
        self.rule(10, 100, "ipv6", "ct(table=11,zone=NXM_NX_REG13[0..15])");
        self.next(10, 11);
    }

    fn services(&mut self, count: usize, local: &[Pod]) {
        for service in 0..count {
            let buckets: String = local
                .iter()
                .take(1 + service % 3)
                .map(|pod| {
                    format!(
                        ",bucket=actions=ct(commit,table=12,zone=NXM_NX_REG13[0..15],nat(dst={}:80),exec(load:0x1->NXM_NX_CT_MARK[1]))",
                        pod.ip()
                    )
                })
                .collect();
            let group = service + 1;
            let _ = writeln!(
                self.groups,
                "group_id={group},type=select,selection_method=hash,fields=ip_src{buckets}"
            );
            self.rule(
                11,
                120,
                &format!("ct_state=+new+trk,tcp,nw_dst=10.96.0.{group},tp_dst=80"),
                &format!("group:{group}"),
            );
        }
        self.next(11, 12);
    }

    /// Clauses of sources and ports, single addresses, and what is let through because it is known.
    fn policies(&mut self, table: u8, count: usize, chance: &mut Chance) {
        let next = if table == 12 { 14 } else { 48 };
        self.rule(table, 65532, "ct_state=+inv+trk", "drop");
        self.rule(
            table,
            65532,
            "ct_state=-new+est+rpl+trk,ct_mark=0/0x1",
            &format!("resubmit(,{next})"),
        );
        for policy in 0..count {
            let id = 100 * u32::from(table) + u32::try_from(policy).unwrap_or(0);
            let priority = 1000 + u16::try_from(chance.below(4)).unwrap_or(0);
            let verdict = if chance.one_in(3) {
                "drop".to_owned()
            } else {
                format!("load:1->NXM_NX_REG0[1],resubmit(,{next})")
            };
            match chance.below(3) {
                0 => {
                    self.rule(
                        table,
                        priority,
                        "tcp,nw_src=10.0.0.0/30",
                        &format!("conjunction({id},1/2)"),
                    );
                    self.rule(
                        table,
                        priority,
                        &format!("tcp,nw_src=10.0.0.{}", 20 + policy),
                        &format!("conjunction({id},1/2)"),
                    );
                    self.rule(table, priority, "tcp,tp_dst=80", &format!("conjunction({id},2/2)"));
                    self.rule(
                        table,
                        priority,
                        "tcp,tp_dst=0x40/0xfff0",
                        &format!("conjunction({id},2/2)"),
                    );
                    self.rule(table, priority, &format!("conj_id={id},ct_state=+trk,ip"), &verdict);
                }
                1 => self.rule(
                    table,
                    priority,
                    &format!("ct_state=+trk,ip,nw_dst=10.0.0.{}", chance.below(8)),
                    &verdict,
                ),
                _ => self.rule(
                    table,
                    priority,
                    &format!("udp,reg14={},tp_dst=53", 1 + chance.below(4)),
                    &verdict,
                ),
            }
        }
        let otherwise = if chance.one_in(3) {
            "drop".to_owned()
        } else {
            format!("load:1->NXM_NX_REG0[1],resubmit(,{next})")
        };
        self.rule(table, 1, "ip", &otherwise);
        self.next(table, next);
    }

    fn commits(&mut self) {
        self.rule(
            14,
            100,
            "ct_state=+new+trk,ip,reg0=0x2/0x2",
            "ct(commit,zone=NXM_NX_REG13[0..15],exec(load:0->NXM_NX_CT_MARK[0])),resubmit(,16)",
        );
        self.next(14, 16);
    }

    fn switch(&mut self, local: &[Pod], remote: &[Pod]) {
        for pod in local.iter().chain(remote) {
            let Pod(port) = pod;
            self.rule(
                16,
                50,
                &format!("metadata=1,dl_dst={}", pod.mac()),
                &format!("load:{port}->NXM_NX_REG15[],resubmit(,32)"),
            );
            self.rule(
                66,
                100,
                &format!("reg0={:#x}", 0x0a00_0000 + port),
                &format!("mod_dl_dst:{}", pod.mac()),
            );
            self.rule(
                16,
                60,
                &format!("arp,arp_op=1,arp_tpa={}", pod.ip()),
                &format!("move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:{},load:2->NXM_OF_ARP_OP[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],IN_PORT", pod.mac()),
            );
            self.rule(17, 90, &format!("ip,nw_dst={}", pod.ip()), &format!("dec_ttl,move:NXM_OF_IP_DST[]->NXM_NX_REG0[],mod_dl_src:{ROUTER_MAC},resubmit(,66),load:{port}->NXM_NX_REG15[],resubmit(,32)"));
        }
        self.rule(
            16,
            50,
            &format!("metadata=1,dl_dst={ROUTER_MAC}"),
            "load:2->OXM_OF_METADATA[],resubmit(,17)",
        );
        self.rule(
            16,
            40,
            "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
            "load:0x8000->NXM_NX_REG15[],resubmit(,33)",
        );
        self.rule(16, 10, "metadata=1", &format!("load:{WIRE}->NXM_NX_REG15[],resubmit(,32)"));
        self.rule(17, 100, "ip,nw_ttl=0", "drop");
        self.rule(17, 100, "ip,nw_ttl=1", "CONTROLLER:65535");
        self.rule(17, 50, "ip", &format!("dec_ttl,mod_dl_src:{ROUTER_MAC},mod_dl_dst:02:00:00:00:00:0b,load:{WIRE}->NXM_NX_REG15[],resubmit(,32)"));
    }

    fn outputs(&mut self, local: &[Pod], remote: &[Pod]) {
        for Pod(port) in remote {
            let gateway = 20 + port % 2;
            self.rule(32, 100, &format!("reg15={port}"), &format!("load:1->NXM_NX_TUN_ID[],load:{port}->NXM_NX_TUN_METADATA0[0..15],move:NXM_NX_REG14[0..14]->NXM_NX_TUN_METADATA0[16..30],output:{gateway}"));
        }
        self.next(32, 33);
        let everywhere: Vec<String> = local
            .iter()
            .map(|Pod(port)| format!("load:{port}->NXM_NX_REG15[],resubmit(,34)"))
            .collect();
        self.rule(33, 100, "reg15=0x8000", &everywhere.join(","));
        self.next(33, 34);
        for Pod(port) in local {
            self.rule(34, 100, &format!("reg14={port},reg15={port}"), "drop");
        }
        self.next(34, 40);
        for Pod(port) in local {
            self.rule(
                40,
                100,
                &format!("ip,reg15={port}"),
                &format!("load:{port}->NXM_NX_REG13[],ct(table=41,zone=NXM_NX_REG13[0..15],nat)"),
            );
            self.rule(48, 100, &format!("reg15={port}"), &format!("output:{port}"));
        }
        self.rule(
            48,
            100,
            &format!("reg15={WIRE}"),
            "push_vlan:0x8100,set_field:4101->vlan_vid,output:10,strip_vlan",
        );
        self.next(40, 41);
    }
}
