//! Small rulesets that mix everything OpenFlow has: each rule is one that OVS takes, but nobody promises that it makes
//! sense.

use std::collections::BTreeMap;

use anyhow::Context;
use flow_compiler::openflow::text::{Names, parse_groups, parse_meters, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};

use super::super::chance::Chance;
use super::super::topology;

/// Where copied ports are asked for.
const COPIED: &[&str] = &["reg1=80", "reg1=1000", "reg1=0", "reg1=0x40/0xffc0", "reg1=8"];

/// What a rule's packets are, which decides what it may match and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Ip,
    Tcp,
    Udp,
    Icmp,
    Arp,
    Ip6,
    Tcp6,
    Udp6,
}

const KINDS: [Kind; 14] = [
    Kind::Any,
    Kind::Any,
    Kind::Any,
    Kind::Ip,
    Kind::Ip,
    Kind::Ip,
    Kind::Tcp,
    Kind::Tcp,
    Kind::Udp,
    Kind::Icmp,
    Kind::Arp,
    Kind::Ip6,
    Kind::Tcp6,
    Kind::Udp6,
];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Any => "",
            Kind::Ip => "ip",
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
            Kind::Icmp => "icmp",
            Kind::Arp => "arp",
            Kind::Ip6 => "ipv6",
            Kind::Tcp6 => "tcp6",
            Kind::Udp6 => "udp6",
        }
    }

    fn is_ip4(self) -> bool {
        matches!(self, Kind::Ip | Kind::Tcp | Kind::Udp | Kind::Icmp)
    }

    fn is_ip6(self) -> bool {
        matches!(self, Kind::Ip6 | Kind::Tcp6 | Kind::Udp6)
    }

    fn has_ports(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Udp | Kind::Tcp6 | Kind::Udp6)
    }

    /// Ports on their way to a register and from there.
    fn copies(self) -> &'static [&'static str] {
        match self {
            Kind::Tcp | Kind::Tcp6 => &[
                "move:NXM_OF_TCP_DST[]->NXM_NX_REG1[0..15]",
                "push:NXM_OF_TCP_SRC[],pop:NXM_NX_REG1[0..15]",
                "move:NXM_OF_TCP_DST[]->NXM_OF_TCP_SRC[]",
                "load:80->NXM_NX_REG1[],move:NXM_NX_REG1[0..15]->NXM_OF_TCP_DST[]",
                "mod_tp_dst:80",
            ],
            Kind::Udp | Kind::Udp6 => &[
                "move:NXM_OF_UDP_DST[]->NXM_NX_REG1[0..15]",
                "push:NXM_OF_UDP_SRC[],pop:NXM_NX_REG1[0..15]",
                "load:80->NXM_NX_REG1[],push:NXM_NX_REG1[0..15],pop:NXM_OF_UDP_DST[]",
                "mod_tp_dst:80",
            ],
            Kind::Icmp => &["move:NXM_OF_ICMP_TYPE[]->NXM_NX_REG1[0..7]"],
            _ => &[],
        }
    }
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) tables: usize,
    pub(crate) rules: usize,
}

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    bridges(chance, false)
}

/// One that copies ports to registers and back, and asks for them there.
pub(crate) fn with_copied_ports(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    bridges(chance, true)
}

fn bridges(chance: &mut Chance, copies: bool) -> anyhow::Result<Ruleset> {
    let size = Size { tables: 1 + chance.below(5), rules: 1 + chance.below(5) };
    let mut writer = Writer { chance, size, provider: false, copies, tagged: false };
    let integration = writer.bridge()?;
    let size = Size { tables: 1, rules: 2 };
    let mut writer = Writer { chance, size, provider: true, copies, tagged: false };
    let provider = writer.bridge()?;
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), integration),
            (BridgeName::from(topology::PROVIDER), provider),
        ]),
    })
}

struct Writer<'a> {
    chance: &'a mut Chance,
    size: Size,
    provider: bool,
    /// Ports are copied.
    copies: bool,
    /// The rule at hand matches a VLAN tag.
    tagged: bool,
}

impl Writer<'_> {
    fn bridge(&mut self) -> anyhow::Result<BridgeRules> {
        // Two fields of one match may contradict each other; such a rule is none.
        let parsed = |text: &String| parse_rules(text, &Names::default()).ok();
        let mut bridge: BridgeRules = self.rules().iter().filter_map(parsed).flatten().collect();
        bridge.tunnel_options = topology::options();
        let groups: String = (1..=2).map(|number| self.group(number)).collect();
        let groups = parse_groups(&groups, &Names::default()).with_context(|| groups.clone())?;
        bridge.groups = groups.into_iter().map(|group| (group.id, group)).collect();
        let meter = "meter=1 kbps burst bands=\ntype=drop rate=1000 burst_size=100\n";
        bridge.meters = parse_meters(meter)?.into_iter().map(|meter| (meter.id, meter)).collect();
        Ok(bridge)
    }

    fn rules(&mut self) -> Vec<String> {
        let mut rules = Vec::new();
        for table in 0..self.size.tables {
            for _ in 0..self.size.rules {
                rules.push(self.rule(table));
            }
            // Where no rule is left, what OVS does hangs on its controller.
            if !self.chance.one_in(10) {
                let actions = self.actions(Kind::Any, table, 1);
                rules.push(format!("table={table},priority=0 actions={actions}"));
            }
        }
        if self.size.tables > 1 && self.chance.one_in(4) {
            rules.extend(self.conjunction());
        }
        if self.provider && self.chance.one_in(2) {
            rules = vec!["priority=0 actions=NORMAL".to_owned()];
        }
        rules
    }

    fn rule(&mut self, table: usize) -> String {
        let kind = *self.chance.of(&KINDS);
        let mut words = vec![format!("table={table},priority={}", 1 + self.chance.below(4))];
        if !kind.word().is_empty() {
            words.push(kind.word().to_owned());
        }
        if table == 0 && !self.chance.one_in(3) || self.chance.one_in(8) {
            words.push(format!("in_port={}", self.port()));
        }
        for _ in 0..self.chance.below(3) {
            let field = self.field(kind, table);
            let name = field.split('=').next().unwrap_or_default().to_owned();
            if !words.iter().any(|word| word.starts_with(&format!("{name}="))) {
                words.push(field);
            }
        }
        // What writes into a tag needs one: OpenFlow 1.5 knows no "push if needed".
        let tags = ["dl_vlan", "vlan_tci=0x1000"];
        self.tagged = words.iter().any(|word| tags.iter().any(|tag| word.starts_with(tag)));
        let (before, after) = self.instructions(table);
        let actions = self.actions(kind, table, 2);
        self.tagged = false;
        format!("{} actions={before}{actions}{after}", words.join(","))
    }

    /// What stands before and behind the actions, and nowhere else.
    fn instructions(&mut self, table: usize) -> (&'static str, String) {
        let before = if self.chance.one_in(20) { "meter:1," } else { "" };
        let further = table + 1 < self.size.tables;
        let after = match self.chance.below(16) {
            0 => format!(",write_actions(output:{})", self.port()),
            1 if further => format!(",write_metadata:0x2/0x3,goto_table:{}", table + 1),
            2 if further => format!(",goto_table:{}", table + 1),
            _ => String::new(),
        };
        (before, after)
    }

    /// Two clauses of two dimensions, and what happens when both hold.
    fn conjunction(&mut self) -> Vec<String> {
        let table = 1 + self.chance.below(self.size.tables - 1);
        let end = self.actions(Kind::Ip, table, 1);
        let start = format!("table={table},priority=3,ip");
        vec![
            format!("{start},nw_src=10.0.0.1 actions=conjunction(7,1/2)"),
            format!("{start},nw_src=10.0.0.2/31 actions=conjunction(7,1/2)"),
            format!("{start},nw_dst=10.0.0.0/30 actions=conjunction(7,2/2)"),
            format!("table={table},priority=3,ip,conj_id=7 actions={end}"),
        ]
    }

    fn port(&mut self) -> u16 {
        const USUAL: [u16; 8] = [1, 1, 2, 2, 3, 4, 10, 20];
        const RARE: [u16; 6] = [6, 21, 22, 23, 3, 4];
        if self.provider {
            return *self.chance.of(&topology::PROVIDER_PORTS);
        }
        if self.chance.one_in(6) { *self.chance.of(&RARE) } else { *self.chance.of(&USUAL) }
    }

    fn field(&mut self, kind: Kind, table: usize) -> String {
        const ETHERNET: [&str; 4] = [
            "dl_src=02:00:00:00:00:0a",
            "dl_dst=02:00:00:00:00:0b",
            "dl_dst=02:00:00:00:00:0a",
            "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
        ];
        const VLAN: [&str; 5] = [
            "vlan_tci=0x0000/0x1fff",
            "dl_vlan=5",
            "dl_vlan=6",
            "vlan_tci=0x1000/0x1000",
            "dl_vlan_pcp=3",
        ];
        const IP4: [&str; 10] = [
            "nw_src=10.0.0.1",
            "nw_src=10.0.0.0/24",
            "nw_dst=10.0.0.2",
            "nw_dst=10.0.0.0/30",
            "nw_dst=10.1.0.0/16",
            "nw_ttl=64",
            "nw_tos=16",
            "ip_frag=no",
            "ip_frag=not_later",
            "nw_dst=0.0.0.0/0.0.0.1",
        ];
        const IP6: [&str; 5] = [
            "ipv6_src=fd00::1",
            "ipv6_dst=fd00::2",
            "ipv6_dst=fd00::/64",
            "nw_ttl=64",
            "ip_frag=no",
        ];
        const ARP: [&str; 3] = ["arp_op=1", "arp_tpa=10.0.0.2", "arp_spa=10.0.0.0/24"];
        const PORTS: [&str; 4] = ["tp_dst=80", "tp_dst=0x40/0xffc0", "tp_src=1000", "tp_src=0"];
        const PIPELINE: [&str; 13] = [
            "reg0=0",
            "reg0=1",
            "reg0=0x2/0x2",
            "reg1=1",
            "reg1=0xa000002",
            "metadata=1",
            "metadata=0x1/0x3",
            "xxreg0=0x1/0x1",
            "ct_state=+trk+new",
            "ct_state=+est-rpl",
            "ct_state=-trk",
            "ct_mark=1",
            "ct_state=+rpl",
        ];
        const TUNNEL: [&str; 6] = [
            "tun_id=5",
            "tun_id=5",
            "tun_metadata0=0x10002",
            "tun_metadata0=0x2/0xffff",
            "tun_metadata0=0",
            "tun_metadata0=0/0xffff",
        ];
        let mut pools: Vec<&[&str]> = vec![&ETHERNET, &VLAN];
        if table > 0 {
            pools.extend([&PIPELINE[..], &PIPELINE[..], &PIPELINE[..]]);
        }
        match kind {
            Kind::Icmp => pools.extend([&IP4[..], &["icmp_type=8", "icmp_type=0"][..]]),
            Kind::Arp => pools.push(&ARP),
            _ if kind.is_ip4() => pools.extend([&IP4[..], &IP4[..]]),
            _ if kind.is_ip6() => pools.extend([&IP6[..], &IP6[..]]),
            _ => {}
        }
        if kind.has_ports() {
            pools.extend([&PORTS[..], &PORTS[..]]);
        }
        if self.copies && table > 0 {
            pools.extend([COPIED; 4]);
        }
        if matches!(kind, Kind::Tcp) {
            pools.push(&["tcp_flags=+syn-ack", "tcp_flags=-syn"]);
        }
        if !self.provider {
            pools.push(&TUNNEL);
        }
        let pool = *self.chance.of(&pools);
        (*self.chance.of(pool)).to_owned()
    }

    /// Some edits, then where it goes; further outputs and look-ups in between.
    fn actions(&mut self, kind: Kind, table: usize, nested: usize) -> String {
        let mut words = Vec::new();
        for _ in 0..self.chance.below(4) {
            words.push(self.edit(kind, table, nested));
        }
        words.push(self.end(kind, table));
        if self.chance.one_in(4) {
            words.push(self.edit(kind, table, nested));
            words.push(self.end(kind, table));
        }
        words.join(",")
    }

    fn edit(&mut self, kind: Kind, table: usize, nested: usize) -> String {
        const ANY: [&str; 21] = [
            "load:1->NXM_NX_REG0[]",
            "load:0->NXM_NX_REG0[]",
            "load:1->NXM_NX_REG0[1]",
            "load:1->NXM_NX_REG1[]",
            "load:1->OXM_OF_METADATA[]",
            "set_field:0x1/0x1->xxreg0",
            "set_field:02:00:00:00:00:0c->eth_dst",
            "set_field:02:00:00:00:00:0d->eth_src",
            "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
            "push_vlan:0x8100,set_field:4101->vlan_vid",
            "push_vlan:0x8100",
            "move:NXM_NX_REG0[]->NXM_NX_REG1[]",
            "push:NXM_NX_REG0[],pop:NXM_NX_REG1[]",
            "load:5->NXM_NX_TUN_ID[]",
            "load:0x10002->NXM_NX_TUN_METADATA0[]",
            "note:01",
            "ct_clear",
            "load:0xffff->NXM_OF_IN_PORT[]",
            "load:2->NXM_NX_REG2[]",
            "push_vlan:0x8100,set_field:3->vlan_pcp",
            "load:7->NXM_NX_REG3[0..15]",
        ];
        const IP4: [&str; 8] = [
            "dec_ttl",
            "dec_ttl",
            "mod_nw_dst:10.0.0.2",
            "mod_nw_src:10.1.0.9",
            "mod_nw_tos:16",
            "move:NXM_OF_IP_DST[]->NXM_NX_REG1[]",
            "move:NXM_OF_IP_SRC[]->NXM_NX_REG1[]",
            "mod_nw_ttl:9",
        ];
        const IP6: [&str; 4] = [
            "dec_ttl",
            "set_field:fd00::9->ipv6_dst",
            "move:NXM_NX_IPV6_DST[]->NXM_NX_XXREG1[]",
            "set_field:16->nw_tos",
        ];
        const PORTS: [&str; 3] = ["mod_tp_dst:81", "mod_tp_src:1001", "mod_tp_dst:80"];
        if nested > 0 && self.chance.one_in(12) {
            let inner = self.actions(kind, table, nested - 1);
            return format!("clone({inner})");
        }
        if self.chance.one_in(14) && table + 1 < self.size.tables {
            return format!(
                "resubmit(,{})",
                table + 1 + self.chance.below(self.size.tables - table - 1)
            );
        }
        const TAG: [&str; 4] =
            ["strip_vlan", "mod_vlan_vid:6", "mod_vlan_pcp:2", "set_field:4103->vlan_vid"];
        let mut pools: Vec<&[&str]> = vec![&ANY, &ANY];
        if self.tagged {
            pools.extend([&TAG[..], &TAG[..]]);
        }
        if kind.is_ip4() {
            pools.extend([&IP4[..], &IP4[..], &IP4[..]]);
        }
        if kind.is_ip6() {
            pools.extend([&IP6[..], &IP6[..]]);
        }
        if kind.has_ports() {
            pools.push(&PORTS);
        }
        if self.copies {
            pools.extend([kind.copies(); 4].into_iter().filter(|copies| !copies.is_empty()));
        }
        let pool = *self.chance.of(&pools);
        let edit = *self.chance.of(pool);
        self.tagged &= edit != "strip_vlan";
        edit.to_owned()
    }

    fn end(&mut self, kind: Kind, table: usize) -> String {
        let further = table + 1 < self.size.tables;
        let next = table + 1 + self.chance.below(self.size.tables.saturating_sub(table + 1));
        let ip = kind.is_ip4() || kind.is_ip6();
        match self.chance.below(24) {
            0 | 1 if further => self.track(kind, next),
            2..=9 if further => format!("resubmit(,{next})"),
            10 if further && ip => self.track(kind, next),
            11 => (*self.chance.of(&["NORMAL", "LOCAL", "CONTROLLER:0"])).to_owned(),
            12 => "group:1".to_owned(),
            13 => "group:2".to_owned(),
            14 => "load:2->NXM_NX_REG2[],output:NXM_NX_REG2[0..15]".to_owned(),
            15 => "in_port".to_owned(),
            16 | 17 if self.chance.one_in(4) => "output:NXM_NX_REG1[0..15]".to_owned(),
            18 if ip => "ct(commit,zone=5,exec(load:1->NXM_NX_CT_MARK[]))".to_owned(),
            19 => "note:00".to_owned(),
            21 if further && self.chance.one_in(2) => {
                format!("check_pkt_larger(100)->NXM_NX_REG0[0],resubmit(,{next})")
            }
            _ => format!("output:{}", self.port()),
        }
    }

    fn track(&mut self, kind: Kind, table: usize) -> String {
        const ZONES: [&str; 4] = ["5", "6", "NXM_NX_REG3[0..15]", "7"];
        let zone = *self.chance.of(&ZONES);
        let more: &[&str] = match kind {
            _ if kind.is_ip4() => &[
                "",
                ",nat",
                ",commit",
                ",commit,exec(load:1->NXM_NX_CT_MARK[])",
                ",commit,nat(dst=10.0.0.3)",
                ",commit,nat(src=10.1.0.5)",
            ],
            _ if kind.is_ip6() => {
                &["", ",nat", ",commit", ",commit,exec(load:1->NXM_NX_CT_MARK[0])"]
            }
            _ => &["", ",nat"],
        };
        let more = *self.chance.of(more);
        format!("ct(table={table},zone={zone}{more})")
    }

    fn group(&mut self, number: usize) -> String {
        let kind = *self.chance.of(&["all", "select", "indirect", "all"]);
        let count = if kind == "indirect" { 1 } else { 1 + self.chance.below(3) };
        let buckets: String = (0..count)
            .map(|_| {
                let edit = *self.chance.of(&[
                    "",
                    "set_field:02:00:00:00:00:0e->eth_dst,",
                    "push_vlan:0x8100,",
                    "load:1->NXM_NX_REG1[],",
                ]);
                let send = format!("output:{}", self.port());
                // A bucket is a set: it runs in an order of its own.
                match edit.strip_suffix(',').filter(|_| self.chance.one_in(4)) {
                    Some(edit) => format!(",bucket=actions={send},{edit}"),
                    None => format!(",bucket=actions={edit}{send}"),
                }
            })
            .collect();
        let method = if kind == "select" { ",selection_method=hash" } else { "" };
        format!("group_id={number},type={kind}{method}{buckets}\n")
    }
}
