//! Our bytes against those `tc` itself sends for the same line, both ways, and proof that no key
//! and no action is without such a line. `tests/goldens/record.sh` records them.

use std::collections::{BTreeMap, BTreeSet};

use tc_filter::action::{
    Conform, Csum, Ct, CtNat, CtTrack, Edit, Exceed, Gact, Mirred, MirredDirection, MirredMode,
    NatAddresses, NatRange, Pedit, Police, PoliceRate, TunnelAddresses, TunnelKey, TunnelSet, Vlan,
};
use tc_filter::key::{
    ArpKey, CtKey, EncKey, EthKey, FragKey, IcmpKey, IpKey, IpMatch, L4Key, PortMatch, VlanKey,
};
use tc_filter::{Action, Attach, Bits, Filter, FlowerMatch, HwPolicy, IfIndex, Masked};

use super::{decode, filter_message, id_message};

const RECORDED: &str = include_str!("../../../tests/goldens/tc.txt");

/// What `tc` 6.1 has no words for; the kernel's own round trip covers it (`hw-tests`).
const NOT_IN_TC: [&str; 6] = [
    "enc.src_port",
    "enc.dst_port masked",
    "arp.op masked",
    "tunnel_key no_frag",
    "pedit ethernet masked",
    "tunnel_key without id",
];

fn names() -> BTreeMap<String, IfIndex> {
    BTreeMap::from([("eth0".to_owned(), IfIndex(7)), ("rep1".to_owned(), IfIndex(8))])
}

/// Each recorded line with its bytes.
fn recorded() -> Vec<(&'static str, Vec<u8>)> {
    let mut lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    std::iter::from_fn(|| Some((lines.next()?, unhex(lines.next()?)))).collect()
}

fn filters() -> Vec<(&'static str, Vec<u8>, Filter)> {
    let adds = recorded().into_iter().filter(|(line, _)| line.starts_with("filter add"));
    let parsed = adds.map(|(line, bytes)| {
        let filter = Filter::parse(line, &names()).unwrap_or_else(|e| panic!("{line}: {e}"));
        (line, bytes, filter)
    });
    parsed.collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn our_bytes_are_those_of_tc() {
    for (line, bytes, filter) in filters() {
        assert_eq!(hex(&filter_message(&filter).unwrap()), hex(&bytes), "{line}");
    }
}

#[test]
fn the_bytes_of_tc_are_read_as_what_its_line_says() {
    for (line, bytes, filter) in filters() {
        assert_eq!(decode(&bytes).unwrap().unwrap().filter, filter.normalized(), "{line}");
    }
}

#[test]
fn tc_takes_the_lines_we_print() {
    for (line, _, filter) in filters() {
        assert_eq!(filter.text(&names()).to_string(), line);
    }
}

/// `tc` sends empty options with a deletion, which the kernel does not read.
#[test]
fn a_deletion_names_the_filter_as_tc_does() {
    for (line, bytes) in recorded() {
        let Some(rest) = line.strip_prefix("filter del ") else { continue };
        let line = rest.replace(" flower", " protocol all flower action pass");
        let ours = id_message(&Filter::parse(&line, &names()).unwrap().id());
        assert!(hex(&bytes).starts_with(&hex(&ours)), "{rest}: {} {}", hex(&bytes), hex(&ours));
    }
}

#[test]
fn every_key_and_every_action_has_a_line() {
    let mut said = BTreeSet::new();
    filters().iter().for_each(|(_, _, filter)| say_filter(filter, &mut said));
    let missing: Vec<_> = EVERYTHING.iter().filter(|what| !said.contains(**what)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
    let both: Vec<_> = NOT_IN_TC.iter().filter(|what| said.contains(**what)).collect();
    assert_eq!(both, Vec::<&&str>::new());
}

/// What the lines must say between them. A new field fails to compile in one of the functions
/// below until it is said there, and then has its place here.
const EVERYTHING: [&str; 89] = [
    "attach ingress",
    "attach egress",
    "attach block",
    "hw both",
    "hw skip_sw",
    "hw skip_hw",
    "cookie",
    "eth.dst",
    "eth.dst masked",
    "eth.src masked",
    "vlan.id",
    "vlan.pcp",
    "vlan.ethertype",
    "cvlan.id",
    "cvlan.pcp",
    "cvlan.ethertype",
    "arp.op",
    "arp.sip masked",
    "arp.tip",
    "arp.sha masked",
    "arp.tha",
    "ip.proto",
    "ip.src v4 masked",
    "ip.dst v4",
    "ip.src v6 masked",
    "ip.dst v6",
    "ip.tos",
    "ip.tos masked",
    "ip.ttl",
    "ip.ttl masked",
    "ip.frag fragment",
    "ip.frag first",
    "l4.src",
    "l4.src masked",
    "l4.src range",
    "l4.dst",
    "l4.dst masked",
    "l4.dst range",
    "l4.tcp_flags masked",
    "icmp.kind",
    "icmp.kind masked",
    "icmp.code",
    "enc.id",
    "enc.src v4 masked",
    "enc.dst v4",
    "enc.src v6 masked",
    "enc.dst v6",
    "enc.dst_port",
    "enc.tos masked",
    "enc.ttl",
    "enc.geneve",
    "ct.state masked",
    "ct.zone",
    "ct.zone masked",
    "ct.mark",
    "ct.mark masked",
    "ct.label masked",
    "gact pass",
    "gact drop",
    "gact trap",
    "gact pipe",
    "gact continue",
    "gact goto",
    "mirred egress redirect",
    "mirred egress mirror",
    "mirred ingress redirect",
    "mirred ingress mirror",
    "vlan pop",
    "vlan push",
    "vlan modify",
    "vlan modify pcp",
    "pedit ethernet",
    "pedit ip",
    "pedit ip add",
    "pedit ip6",
    "pedit ip6 add",
    "pedit tcp",
    "pedit udp",
    "csum",
    "tunnel_key unset",
    "tunnel_key v4",
    "tunnel_key v6",
    "tunnel_key geneve",
    "police bytes",
    "police packets",
    "ct clear",
    "ct commit",
    "ct nat",
    "ct nat range",
];

type Said = BTreeSet<String>;

fn say(said: &mut Said, what: impl Into<String>) {
    said.insert(what.into());
}

fn say_masked<T: Bits>(said: &mut Said, name: &str, key: Option<Masked<T>>) {
    if let Some(key) = key {
        say(said, format!("{name}{}", if key.is_exact() { "" } else { " masked" }));
    }
}

fn say_if(said: &mut Said, holds: bool, what: &str) {
    if holds {
        say(said, what);
    }
}

fn say_filter(filter: &Filter, said: &mut Said) {
    let Filter { attach, chain: _, prio: _, handle: _, protocol: _, key, actions, hw, cookie } =
        filter;
    say(
        said,
        match attach {
            Attach::Ingress(_) => "attach ingress",
            Attach::Egress(_) => "attach egress",
            Attach::Block(_) => "attach block",
        },
    );
    say(
        said,
        match hw {
            HwPolicy::Both => "hw both",
            HwPolicy::SkipSw => "hw skip_sw",
            HwPolicy::SkipHw => "hw skip_hw",
        },
    );
    say_if(said, cookie.is_some(), "cookie");
    say_key(key, said);
    actions.iter().for_each(|action| say_action(action, said));
}

fn say_key(key: &FlowerMatch, said: &mut Said) {
    let FlowerMatch { eth, vlan, cvlan, arp, ip, l4, icmp, enc, ct } = key;
    let EthKey { dst, src } = eth;
    say_masked(said, "eth.dst", *dst);
    say_masked(said, "eth.src", *src);
    say_vlan("vlan", vlan, said);
    say_vlan("cvlan", cvlan, said);
    let ArpKey { op, sip, tip, sha, tha } = arp;
    say_masked(said, "arp.op", *op);
    say_masked(said, "arp.sip", *sip);
    say_masked(said, "arp.tip", *tip);
    say_masked(said, "arp.sha", *sha);
    say_masked(said, "arp.tha", *tha);
    say_ip(ip, said);
    let L4Key { src, dst, tcp_flags } = l4;
    say_port("l4.src", *src, said);
    say_port("l4.dst", *dst, said);
    say_masked(said, "l4.tcp_flags", *tcp_flags);
    let IcmpKey { kind, code } = icmp;
    say_masked(said, "icmp.kind", *kind);
    say_masked(said, "icmp.code", *code);
    say_enc(enc, said);
    let CtKey { state, zone, mark, label } = ct;
    say_masked(said, "ct.state", *state);
    say_masked(said, "ct.zone", *zone);
    say_masked(said, "ct.mark", *mark);
    say_masked(said, "ct.label", *label);
}

fn say_vlan(name: &str, key: &VlanKey, said: &mut Said) {
    let VlanKey { id, pcp, ethertype } = key;
    say_if(said, id.is_some(), &format!("{name}.id"));
    say_if(said, pcp.is_some(), &format!("{name}.pcp"));
    say_if(said, ethertype.is_some(), &format!("{name}.ethertype"));
}

fn say_ip(key: &IpKey, said: &mut Said) {
    let IpKey { proto, src, dst, tos, ttl, frag: FragKey { fragment, first } } = key;
    say_if(said, proto.is_some(), "ip.proto");
    say_address("ip.src", *src, said);
    say_address("ip.dst", *dst, said);
    say_masked(said, "ip.tos", *tos);
    say_masked(said, "ip.ttl", *ttl);
    say_if(said, fragment.is_some(), "ip.frag fragment");
    say_if(said, first.is_some(), "ip.frag first");
}

fn say_address(name: &str, address: Option<IpMatch>, said: &mut Said) {
    match address {
        None => {}
        Some(IpMatch::V4(key)) => say_masked(said, &format!("{name} v4"), Some(key)),
        Some(IpMatch::V6(key)) => say_masked(said, &format!("{name} v6"), Some(key)),
    }
}

fn say_port(name: &str, port: Option<PortMatch>, said: &mut Said) {
    match port {
        None => {}
        Some(PortMatch::Masked(key)) => say_masked(said, name, Some(key)),
        Some(PortMatch::Range(_)) => say(said, format!("{name} range")),
    }
}

fn say_enc(key: &EncKey, said: &mut Said) {
    let EncKey { id, src, dst, src_port, dst_port, tos, ttl, geneve } = key;
    say_if(said, id.is_some(), "enc.id");
    say_address("enc.src", *src, said);
    say_address("enc.dst", *dst, said);
    say_masked(said, "enc.src_port", *src_port);
    say_masked(said, "enc.dst_port", *dst_port);
    say_masked(said, "enc.tos", *tos);
    say_masked(said, "enc.ttl", *ttl);
    say_if(said, !geneve.is_empty(), "enc.geneve");
}

fn say_action(action: &Action, said: &mut Said) {
    match action {
        Action::Gact(gact) => say(said, say_gact(*gact)),
        Action::Mirred(mirred) => say(said, say_mirred(mirred)),
        Action::Vlan(vlan) => say(said, say_vlan_action(vlan)),
        Action::Pedit(Pedit { edits }) => {
            edits.iter().for_each(|edit| say(said, say_edit(edit)));
        }
        Action::Csum(Csum(_)) => say(said, "csum"),
        Action::TunnelKey(key) => say_tunnel_key(key, said),
        Action::Police(police) => say_police(police, said),
        Action::Ct(ct) => say_ct(ct, said),
    }
}

fn say_gact(gact: Gact) -> &'static str {
    match gact {
        Gact::Pass => "gact pass",
        Gact::Drop => "gact drop",
        Gact::Trap => "gact trap",
        Gact::Pipe => "gact pipe",
        Gact::Continue => "gact continue",
        Gact::Goto(_) => "gact goto",
    }
}

fn say_mirred(mirred: &Mirred) -> &'static str {
    match (mirred.direction, mirred.mode) {
        (MirredDirection::Egress, MirredMode::Redirect) => "mirred egress redirect",
        (MirredDirection::Egress, MirredMode::Mirror) => "mirred egress mirror",
        (MirredDirection::Ingress, MirredMode::Redirect) => "mirred ingress redirect",
        (MirredDirection::Ingress, MirredMode::Mirror) => "mirred ingress mirror",
    }
}

fn say_vlan_action(vlan: &Vlan) -> &'static str {
    match vlan {
        Vlan::Pop => "vlan pop",
        Vlan::Push(_) => "vlan push",
        Vlan::Modify { pcp: None, .. } => "vlan modify",
        Vlan::Modify { pcp: Some(_), .. } => "vlan modify pcp",
    }
}

fn say_edit(edit: &Edit) -> &'static str {
    match edit {
        Edit::EthDst(to) | Edit::EthSrc(to) if !to.is_exact() => "pedit ethernet masked",
        Edit::EthDst(_) | Edit::EthSrc(_) => "pedit ethernet",
        Edit::IpSrc(_) | Edit::IpDst(_) | Edit::IpTos(_) | Edit::IpTtl(_) => "pedit ip",
        Edit::IpTtlAdd(_) => "pedit ip add",
        Edit::Ip6Src(_) | Edit::Ip6Dst(_) | Edit::Ip6TrafficClass(_) | Edit::Ip6HopLimit(_) => {
            "pedit ip6"
        }
        Edit::Ip6HopLimitAdd(_) => "pedit ip6 add",
        Edit::TcpSrc(_) | Edit::TcpDst(_) => "pedit tcp",
        Edit::UdpSrc(_) | Edit::UdpDst(_) => "pedit udp",
    }
}

fn say_tunnel_key(key: &TunnelKey, said: &mut Said) {
    let TunnelKey::Set(set) = key else { return say(said, "tunnel_key unset") };
    let TunnelSet { id, addresses, dst_port: _, tos: _, ttl: _, geneve, csum: _, no_frag } = set;
    say(
        said,
        match addresses {
            TunnelAddresses::V4 { .. } => "tunnel_key v4",
            TunnelAddresses::V6 { .. } => "tunnel_key v6",
        },
    );
    say_if(said, id.is_none(), "tunnel_key without id");
    say_if(said, !geneve.is_empty(), "tunnel_key geneve");
    say_if(said, *no_frag, "tunnel_key no_frag");
}

fn say_police(police: &Police, said: &mut Said) {
    let Police { rate, mtu: _, conform, exceed } = police;
    match rate {
        None => say(said, "police without rate"),
        Some(PoliceRate::Bytes { .. }) => say(said, "police bytes"),
        Some(PoliceRate::Packets { .. }) => say(said, "police packets"),
    }
    say(
        said,
        match conform {
            Conform::Pass => "police conform pass",
            Conform::Pipe => "police conform pipe",
            Conform::Continue => "police conform continue",
            Conform::Drop => "police conform drop",
        },
    );
    say(
        said,
        match exceed {
            Exceed::Drop => "police exceed drop",
            Exceed::Pass => "police exceed pass",
            Exceed::Pipe => "police exceed pipe",
            Exceed::Continue => "police exceed continue",
        },
    );
}

fn say_ct(ct: &Ct, said: &mut Said) {
    let Ct::Track(track) = ct else { return say(said, "ct clear") };
    let CtTrack { zone: _, commit, force: _, mark: _, label: _, nat } = track;
    say_if(said, *commit, "ct commit");
    match nat {
        None => {}
        Some(CtNat::Committed) => say(said, "ct nat"),
        Some(CtNat::Src(range) | CtNat::Dst(range)) => {
            let NatRange { addresses, ports: _ } = range;
            let ranged = match addresses {
                Some(NatAddresses::V4 { min, max }) => min != max,
                Some(NatAddresses::V6 { min, max }) => min != max,
                None => false,
            };
            say_if(said, ranged, "ct nat range");
        }
    }
}
