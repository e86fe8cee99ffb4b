//! What is said of a class of packets holds for each of its packets: they are followed one by one, and must end as the class says, by a filter
//! that it names.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::classes::{
    ClassVerdict, Connection, Family, Kind, Lane, PortVerdict, Protocol, Tag, Tunnel, classes,
};
use flow_compiler::compile::interp::{
    self, Conntrack, Dissected, Fate, Filters, Followed, Frame, Packet, Parser, Rewrite, State,
    Translation,
};
use flow_compiler::compile::verdict::Outcome;
use flow_compiler::openflow::{OfPort, Rule, Ruleset};
use flow_compiler::plan::Plan;
use flow_compiler::ports::{self as all_ports, Port, PortIfIndex, PortKind, PortMap, TunnelKind};
use flow_compiler::{Compiled, compile};
use std::collections::BTreeMap;
use tc_filter::action::Ct;
use tc_filter::{Action, CtZone};
use world::{
    BRIDGE, few_packets, frame, ipv4, ipv4_with_ttl, ports, rule, ruleset, tcp, tunnel_header, udp,
};

const FIRST: [&str; 13] = [
    "actions=resubmit(,1)",
    "actions=output:3,resubmit(,1)",
    "ip,actions=dec_ttl,resubmit(,1)",
    "ip,actions=mod_nw_dst:10.0.0.9,resubmit(,1)",
    "actions=strip_vlan,resubmit(,1)",
    "dl_vlan=5,actions=resubmit(,1)",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=resubmit(,1)",
    "ip,actions=ct(table=1,zone=5)",
    "ip,actions=ct(table=1,zone=5,nat)",
    "ip,nw_dst=10.0.0.2,actions=ct(table=1,zone=5,nat)",
    "tcp,actions=ct(table=2,zone=6)",
    "tcp,actions=ct(table=2,zone=5)",
    "actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],resubmit(,1)",
];

const SECOND: [&str; 13] = [
    "",
    "tcp,tp_dst=80",
    "udp",
    "arp",
    "dl_vlan=5",
    "ip,nw_dst=10.0.0.0/31",
    "ip,nw_dst=10.0.0.9",
    "dl_dst=02:00:00:00:00:0b",
    "ip,nw_ttl=63",
    "ct_state=+new+trk,ip",
    "ct_state=+est+trk,ip",
    "ct_state=+est-rpl+trk,tcp",
    "ipv6",
];

const ENDS: [&str; 6] =
    ["drop", "output:2", "NORMAL", "controller", "ct(commit,zone=5),output:2", "output:1,output:3"];

#[test]
fn packets_end_as_their_class_says() {
    let (ports, packets) = (ports(), frames());
    let mut number = 0;
    for first in FIRST {
        for second in SECOND {
            for does in ENDS {
                number += 1;
                let last = ["drop", "output:3", "controller"][number % 3];
                let rules = [
                    format!("priority=1,{first}"),
                    // Others that come by another way to what may be the same chain.
                    "priority=2,tcp,tp_dst=81 actions=ct(table=1,zone=5)".to_owned(),
                    format!("table=1,priority=2,{second} actions={does}"),
                    format!("table=1,priority=1 actions={last}"),
                    "table=2,ct_state=+est+trk,tcp actions=ct(table=1,zone=7)".to_owned(),
                ];
                let profile = Capabilities::PROFILES[number % Capabilities::PROFILES.len()];
                let card = Capabilities::profile(profile).unwrap().tolerant();
                check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
            }
        }
    }
}

#[test]
fn packets_of_tunnels_end_as_their_class_says() {
    let ports = with_tunnels();
    let packets: Vec<Packet> = frames().iter().flat_map(in_tunnels).collect();
    let takes = ["", "in_port=20,", "in_port=21,ip,", "tun_id=5,", "in_port=20,tcp,tun_id=6,"];
    for name in ["nicsim", "mlx5", "software"] {
        let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
        for high in takes {
            for low in takes {
                let rules = [
                    rule(&format!("priority=2,{high} actions=output:2")),
                    rule(&format!("priority=1,{low} actions=drop")),
                ];
                check(&ruleset(rules), &ports, &card, &packets);
            }
        }
    }
}

/// In hardware is a large word: it is not said where one packet is OVS's, and it is said where none is.
#[test]
fn hardware_is_said_of_whole_classes_only() {
    let said = |rules: &[&str], profile: &str, kind: Kind, connection: Option<Connection>| {
        let rules = ruleset(rules.iter().map(|text| rule(text)));
        let (ports, card) = (ports(), Capabilities::profile(profile).unwrap());
        let verdicts = classes(&compile(&rules, &ports, &card), &ports, None);
        let class = verdicts[0].classes.iter().find(|one| {
            one.class.lane.tag == Tag::Untagged
                && (one.class.kind, one.class.connection) == (kind, connection)
        });
        class.unwrap().outcome
    };
    let tcp4 = Kind::Ip(Family::IPv4, Protocol::Tcp);
    for (rules, profile, outcome) in [
        (&["tcp actions=output:2"][..], "mlx5", Outcome::Hardware),
        (&["tcp actions=output:2"], "software", Outcome::Software),
        (&["tcp,tp_dst=80 actions=output:2"], "mlx5", Outcome::Split),
        (
            &["tcp,tp_dst=0/0x8000 actions=output:2", "tcp,tp_dst=0x8000/0x8000 actions=output:3"],
            "mlx5",
            Outcome::Hardware,
        ),
        (
            &["priority=2,tcp,tp_dst=80 actions=controller", "priority=1,ip actions=output:2"],
            "mlx5",
            Outcome::Split,
        ),
        (&["ip actions=dec_ttl,output:2"], "mlx5", Outcome::Split),
        (&["tcp actions=controller"], "mlx5", Outcome::Ovs),
        (&["tcp actions=output:2"], "ice", Outcome::Hardware),
        (&["tcp actions=dec_ttl,output:2"], "ice", Outcome::Ovs),
    ] {
        assert_eq!(said(rules, profile, tcp4, None), outcome, "{rules:?} on {profile}");
    }
    let tracks = ["tcp actions=ct(table=1,zone=5)", "table=1 actions=output:2"];
    let of = |profile, connection| said(&tracks, profile, tcp4, Some(connection));
    assert_eq!(of("mlx5", Connection::Established), Outcome::Hardware);
    assert_eq!(of("software", Connection::Established), Outcome::Software);
    assert_eq!(of("mlx5", Connection::New), Outcome::Ovs);
    // The kernel's filters send what is new behind a translation; what is related goes to OVS.
    let twice = [
        "tcp actions=ct(table=1,zone=5,nat)",
        "table=1,ct_state=+est+trk,tcp actions=ct(table=2,zone=6,nat)",
        "table=2 actions=output:2",
    ];
    let of = |connection| said(&twice, "mlx5", tcp4, Some(connection));
    assert_eq!(of(Connection::Established), Outcome::Hardware);
    assert_eq!(of(Connection::NewLater), Outcome::Split);
}

fn frames() -> Vec<Packet> {
    let dying = ipv4_with_ttl(1, 6, 0, &tcp(1000, 80, 2));
    let more = [frame(&[], &dying), frame(&[], &ipv4(17, 0, &udp(1, 2)))];
    let all: Vec<Frame> = few_packets().into_iter().step_by(2).chain(more).collect();
    let for_many = all.iter().step_by(5).cloned().map(|mut frame| {
        frame.0[0] |= 1;
        frame
    });
    all.iter().cloned().chain(for_many).map(|frame| frame.packet()).collect()
}

fn with_tunnels() -> PortMap {
    let mut ports = ports();
    let here = ports.bridges.get_mut(&BRIDGE.into()).unwrap();
    for (number, remote) in REMOTES {
        let options = [("remote_ip", remote), ("key", "flow")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let kind = PortKind::Tunnel(all_ports::Tunnel { kind: TunnelKind::Geneve, options });
        let name = format!("t{number}");
        let tunnel = Port { name, ifindex: Some(PortIfIndex(30)), kind, ..Port::default() };
        here.ports.insert(OfPort(number), tunnel);
    }
    ports
}

const REMOTES: [(u16, &str); 2] = [(20, "192.0.2.1"), (21, "192.0.2.2")];

fn in_tunnels(inner: &Packet) -> Vec<Packet> {
    let ends = REMOTES.iter().flat_map(|(_, remote)| [5, 6, 7].map(|id| tunnel_header(remote, id)));
    ends.map(|tunnel| Packet { tunnel: Some(tunnel), ..inner.clone() }).collect()
}

/// Every packet at every port, whatever connection tracking says.
fn check(rules: &Ruleset, ports: &PortMap, card: &Capabilities, packets: &[Packet]) {
    let compiled = compile(rules, ports, card);
    let states = [State::New, State::Established, State::Reply, State::Invalid];
    let dst = Rewrite { address: Some([10, 0, 0, 9].into()), port: None };
    let translation = Translation { dst, ..Translation::default() };
    let translates =
        |state| if state == State::Established { translation } else { Translation::default() };
    let knows = |state: State| {
        let translation = translates(state);
        interp::Connection { state, translation, ..Default::default() }
    };
    let tracks = rules.bridges.values().flat_map(|bridge| bridge.rules.values());
    let tracks = tracks.map(Rule::to_string).any(|text| text.contains("ct("));
    let answers = states.iter().take(if tracks { states.len() } else { 1 });
    for verdict in classes(&compiled, ports, None) {
        let bridge = verdict.bridge.clone();
        let number = ports.bridges[&bridge].by_name(&verdict.ports[0]).unwrap();
        let ingress = flow_compiler::compile::ir::Ingress { bridge, port: number };
        let of_tunnel = number.0 == REMOTES[0].0;
        for state in answers.clone() {
            let zones =
                BTreeMap::from([(CtZone(5), knows(*state)), (CtZone(6), knows(State::Reply))]);
            let conntrack = Conntrack { zones, ..Conntrack::default() };
            let plan = &compiled.plan;
            let filters =
                Filters { plan, ports, conntrack: &conntrack, encap_ecn: card.copies_ecn() };
            let here = packets.iter().filter(|one| one.tunnel.is_some() == of_tunnel);
            for packet in here.filter(|packet| is_of_its_ethertype(packet)) {
                // The card with the kernel behind it.
                let followed = filters.follow(&ingress, packet, Parser::Card);
                let found = Found { verdict: &verdict, compiled: &compiled, followed: &followed };
                found.agrees(packet, &Dissected::of(&packet.frame, Parser::Card), &conntrack);
            }
        }
    }
}

/// What the kernel takes for what it carries is of no class.
fn is_of_its_ethertype(packet: &Packet) -> bool {
    let seen = [Parser::Kernel, Parser::Card].map(|parser| Dissected::of(&packet.frame, parser));
    seen[0].n_proto == seen[1].n_proto && seen[0].pppoe == seen[1].pppoe
}

struct Found<'a> {
    verdict: &'a PortVerdict,
    compiled: &'a Compiled,
    followed: &'a Followed,
}

impl Found<'_> {
    fn agrees(&self, packet: &Packet, seen: &Dissected, conntrack: &Conntrack) {
        if let Some(idle) = &self.verdict.idle {
            assert_eq!(self.followed.fate, Fate::Ovs, "{idle}");
            return;
        }
        let mine = self.classes_of(packet, seen, conntrack);
        assert!(!mine.is_empty(), "no class has {packet:?}");
        for class in mine {
            let problem = self.problem(class);
            assert!(
                problem.is_none(),
                "{}: {}, but {:?} of {packet:?} by {:?}\n{class:?}\n{}",
                class.class,
                problem.unwrap_or_default(),
                self.followed.fate,
                self.followed.hits,
                lines(&self.compiled.plan)
            );
        }
    }

    fn problem(&self, class: &ClassVerdict) -> Option<&'static str> {
        let last = self.followed.hits.last();
        let guards = class.kept.values().flat_map(|kept| &kept.guards);
        match (&self.followed.fate, class.outcome) {
            (Fate::Ovs, Outcome::Ovs | Outcome::Split) => match last {
                Some(guard) if guards.into_iter().any(|known| known == guard) => None,
                Some(_) => Some("it names no such guard"),
                None => match class.missed.as_ref().map(|why| why.is_empty()) {
                    Some(false) => None,
                    Some(true) => Some("it does not say why"),
                    None => Some("it says that every packet meets a filter"),
                },
            },
            (Fate::Ovs, _) => Some("it says that no packet is OVS's"),
            (Fate::Delivered(_), Outcome::Ovs | Outcome::Dead) => {
                Some("it says that all are OVS's")
            }
            (Fate::Delivered(_), _) => {
                let named = last.is_some_and(|last| class.filters.contains(last));
                (!named).then_some("it names no such filter")
            }
            (Fate::Spoiled, _) => Some("it is spoiled"),
        }
    }

    /// The classes that a packet may be in: more than one only if nothing was tracked where other packets of its kind are.
    fn classes_of(
        &self,
        packet: &Packet,
        seen: &Dissected,
        conntrack: &Conntrack,
    ) -> Vec<&ClassVerdict> {
        let (tag, kind) = (self.tag(seen), kind(seen));
        let here = self.verdict.classes.iter().filter(|one| {
            let Lane { tunnel, tag: known } = one.class.lane;
            let tunnels = match tunnel {
                None => true,
                Some(Tunnel::Key(key)) => packet.tunnel.as_ref().unwrap().id == Some(key.into()),
                Some(Tunnel::Other) => !self.names(packet.tunnel.as_ref().unwrap().id),
            };
            tunnels && known == tag && one.class.kind == kind
        });
        let connection = self.connection(conntrack);
        let before = |one: &&ClassVerdict| one.class.connection != Some(Connection::NewLater);
        match connection {
            None => here.filter(before).collect(),
            some => here.filter(|one| one.class.connection == some).collect(),
        }
    }

    fn names(&self, key: Option<u64>) -> bool {
        self.verdict.classes.iter().any(|one| match one.class.lane.tunnel {
            Some(Tunnel::Key(known)) => key == Some(known.into()),
            _ => false,
        })
    }

    fn tag(&self, seen: &Dissected) -> Tag {
        let named = |id| self.verdict.classes.iter().any(|one| one.class.lane.tag == Tag::Vlan(id));
        match seen.vlan {
            None => Tag::Untagged,
            Some(tag) if tag.tpid == 0x88a8 => Tag::Dot1ad,
            Some(tag) if named(tag.id) => Tag::Vlan(tag.id),
            Some(_) => Tag::Dot1q,
        }
    }

    /// What the zones answered that filters asked on the way.
    fn connection(&self, conntrack: &Conntrack) -> Option<Connection> {
        let hits = self.followed.hits.iter().filter_map(|id| self.compiled.plan.filters.get(id));
        let asked = hits.filter(|filter| {
            filter
                .actions
                .iter()
                .any(|one| matches!(one, Action::Gact(tc_filter::action::Gact::Goto(_))))
        });
        let zones =
            asked.flat_map(|filter| filter.actions.iter()).filter_map(|action| match action {
                Action::Ct(Ct::Track(track)) => Some(track.zone),
                _ => None,
            });
        let known: Vec<bool> = zones
            .map(|zone| {
                conntrack
                    .zones
                    .get(&zone)
                    .is_some_and(|one| matches!(one.state, State::Established | State::Reply))
            })
            .collect();
        match known.as_slice() {
            [] => None,
            [false, ..] => Some(Connection::New),
            all if all.iter().all(|known| *known) => Some(Connection::Established),
            _ => Some(Connection::NewLater),
        }
    }
}

fn kind(seen: &Dissected) -> Kind {
    let for_many = seen.dst_mac >> 40 & 1 == 1;
    let next = seen.vlan.map_or(seen.protocol, |tag| tag.ethertype);
    let family = match next {
        0x0806 => return Kind::Arp,
        _ if for_many => return Kind::Multicast,
        0x0800 => Family::IPv4,
        0x86dd => Family::IPv6,
        _ => return Kind::Other,
    };
    let protocol = match (seen.frag, seen.ip_proto, family) {
        (true, _, _) => Protocol::Fragment,
        (_, 6, _) => Protocol::Tcp,
        (_, 17, _) => Protocol::Udp,
        (_, 1, Family::IPv4) | (_, 58, Family::IPv6) => Protocol::Icmp,
        _ => Protocol::Other,
    };
    Kind::Ip(family, protocol)
}

fn lines(plan: &Plan) -> String {
    let texts = plan.filters.values().map(|filter| filter.text(&tc_filter::text::Numbered));
    texts.map(|text| format!("{text}\n")).collect()
}
