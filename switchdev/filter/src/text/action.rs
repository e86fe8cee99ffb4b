//! Actions: `action vlan push id 5 protocol 802.1Q priority 0 pipe`.
//!
//! Verdicts are always written out: `tc` has another default for nearly each kind of action, and
//! for csum and pedit it is `pass`, which would end the filter.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::filter::device_name;
use super::key::{geneve_parts, pcp, vlan_id};
use super::value::{
    EtherTypeWord, Hex, Label, ethertype, hex_u8, label, masked, number_u8, number_u16, number_u32,
    parse_hex,
};
use super::words::{TextError, Words, wrong};
use super::{IfNames, pedit, police};
use crate::action::{
    Csum, Ct, CtNat, CtTrack, Gact, Mirred, MirredDirection, MirredMode, NatAddresses, NatPorts,
    NatRange, TunnelAddresses, TunnelKey, TunnelSet, Vlan, VlanTag, VlanTpid,
};
use crate::{Action, Cookie, CtZone, GeneveOption, TunnelKeyId};

/// One action, with a space before it.
pub(super) fn print(f: &mut Formatter<'_>, action: &Action, names: &dyn IfNames) -> fmt::Result {
    f.write_str(" action ")?;
    match action {
        Action::Gact(gact) => print_gact(f, *gact),
        Action::Mirred(mirred) => print_mirred(f, mirred, names),
        Action::Vlan(vlan) => print_vlan(f, vlan),
        Action::Pedit(pedit) => pedit::print(f, pedit),
        Action::Csum(csum) => print_csum(f, *csum),
        Action::TunnelKey(key) => print_tunnel_key(f, key),
        Action::Police(police) => police::print(f, police),
        Action::Ct(ct) => print_ct(f, ct),
    }
}

/// All actions to the end of the line, and the cookie they share.
pub(super) fn parse_all(
    words: &mut Words<'_>,
    names: &dyn IfNames,
) -> Result<(Vec<Action>, Option<Cookie>), TextError> {
    let (mut actions, mut cookie) = (Vec::new(), None);
    while let Some(word) = words.peek() {
        if !words.take("action") {
            return Err(TextError::Unknown(word.to_owned()));
        }
        actions.push(parse(words, names)?);
        if words.take("cookie") {
            let read = |word: &str| Cookie::new(&parse_hex(word)?).ok();
            cookie = Some(words.read("a cookie of 1 to 15 bytes", read)?);
        }
    }
    Ok((actions, cookie))
}

fn parse(words: &mut Words<'_>, names: &dyn IfNames) -> Result<Action, TextError> {
    match words.next("an action")? {
        "mirred" => parse_mirred(words, names).map(Action::Mirred),
        "vlan" => parse_vlan(words).map(Action::Vlan),
        "pedit" => pedit::parse(words).map(Action::Pedit),
        "csum" => parse_csum(words).map(Action::Csum),
        "tunnel_key" => parse_tunnel_key(words).map(Action::TunnelKey),
        "police" => police::parse(words).map(Action::Police),
        "ct" => parse_ct(words).map(Action::Ct),
        "gact" => {
            let word = words.next("a verdict")?;
            parse_gact(word, words).map(Action::Gact)
        }
        word => parse_gact(word, words).map(Action::Gact),
    }
}

fn print_gact(f: &mut Formatter<'_>, gact: Gact) -> fmt::Result {
    match gact {
        Gact::Pass => f.write_str("pass"),
        Gact::Drop => f.write_str("drop"),
        Gact::Trap => f.write_str("trap"),
        Gact::Pipe => f.write_str("pipe"),
        Gact::Continue => f.write_str("continue"),
        Gact::Goto(chain) => write!(f, "goto chain {chain}"),
    }
}

fn parse_gact(word: &str, words: &mut Words<'_>) -> Result<Gact, TextError> {
    match word {
        "pass" | "ok" => Ok(Gact::Pass),
        "drop" | "shot" => Ok(Gact::Drop),
        "trap" => Ok(Gact::Trap),
        "pipe" => Ok(Gact::Pipe),
        "continue" => Ok(Gact::Continue),
        "goto" => {
            words.expect("chain")?;
            let chain = words.read("a chain", |w| number_u32(w)?.try_into().ok())?;
            Ok(Gact::Goto(chain))
        }
        _ => Err(wrong(word, "an action")),
    }
}

fn print_mirred(f: &mut Formatter<'_>, mirred: &Mirred, names: &dyn IfNames) -> fmt::Result {
    let direction = match mirred.direction {
        MirredDirection::Egress => "egress",
        MirredDirection::Ingress => "ingress",
    };
    let mode = match mirred.mode {
        MirredMode::Redirect => "redirect",
        MirredMode::Mirror => "mirror",
    };
    write!(f, "mirred {direction} {mode} dev {}", device_name(names, mirred.to))
}

fn parse_mirred(words: &mut Words<'_>, names: &dyn IfNames) -> Result<Mirred, TextError> {
    let direction = words.read("egress or ingress", |word| match word {
        "egress" => Some(MirredDirection::Egress),
        "ingress" => Some(MirredDirection::Ingress),
        _ => None,
    })?;
    let mode = words.read("redirect or mirror", |word| match word {
        "redirect" => Some(MirredMode::Redirect),
        "mirror" => Some(MirredMode::Mirror),
        _ => None,
    })?;
    words.expect("dev")?;
    let to = words.read("a device", |word| names.index(word))?;
    Ok(Mirred { mode, direction, to })
}

fn print_vlan(f: &mut Formatter<'_>, vlan: &Vlan) -> fmt::Result {
    match vlan {
        Vlan::Pop => f.write_str("vlan pop")?,
        Vlan::Push(VlanTag { tpid, id, pcp }) => {
            let protocol = EtherTypeWord(tpid.ethertype());
            write!(f, "vlan push id {id} protocol {protocol} priority {pcp}")?;
        }
        Vlan::Modify { tpid, id, pcp } => {
            write!(f, "vlan modify id {id} protocol {}", EtherTypeWord(tpid.ethertype()))?;
            option(f, "priority", *pcp)?;
        }
    }
    f.write_str(" pipe")
}

fn parse_vlan(words: &mut Words<'_>) -> Result<Vlan, TextError> {
    let what = words.next("pop, push or modify")?;
    let (mut id, mut tpid, mut priority) = (None, VlanTpid::Dot1Q, None);
    while !words.take("pipe") {
        match words.next("pipe")? {
            "id" => id = Some(words.read("a VLAN id", vlan_id)?),
            "protocol" => {
                let read = |w: &str| VlanTpid::from_ethertype(ethertype(w)?);
                tpid = words.read("802.1Q or 802.1ad", read)?;
            }
            "priority" => priority = Some(words.read("a VLAN priority", pcp)?),
            other => return Err(TextError::Unknown(other.to_owned())),
        }
    }
    let id = id.ok_or(TextError::Missing("id"));
    match what {
        "pop" => Ok(Vlan::Pop),
        "push" => {
            let pcp = priority.unwrap_or(crate::Pcp::MIN);
            Ok(Vlan::Push(VlanTag { tpid, id: id?, pcp }))
        }
        "modify" => Ok(Vlan::Modify { tpid, id: id?, pcp: priority }),
        _ => Err(wrong(what, "pop, push or modify")),
    }
}

fn print_csum(f: &mut Formatter<'_>, csum: Csum) -> fmt::Result {
    let parts = Csum::NAMES.into_iter().filter(|(_, flag)| csum.contains(*flag));
    let names: Vec<&str> = parts.map(|(name, _)| name).collect();
    write!(f, "csum {} pipe", names.join(" and "))
}

fn parse_csum(words: &mut Words<'_>) -> Result<Csum, TextError> {
    let mut csum = Csum::default();
    while !words.take("pipe") {
        let word = words.next("pipe")?;
        match Csum::NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, flag)) => csum = csum | *flag,
            None if word == "and" => {}
            None => return Err(wrong(word, "a checksum")),
        }
    }
    Ok(csum)
}

fn option(f: &mut Formatter<'_>, name: &str, value: Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {name} {value}"),
        None => Ok(()),
    }
}

fn print_tunnel_key(f: &mut Formatter<'_>, key: &TunnelKey) -> fmt::Result {
    match key {
        TunnelKey::Unset => f.write_str("tunnel_key unset pipe"),
        TunnelKey::Set(set) => print_tunnel_set(f, set),
    }
}

fn print_tunnel_set(f: &mut Formatter<'_>, set: &TunnelSet) -> fmt::Result {
    f.write_str("tunnel_key set")?;
    match set.addresses {
        TunnelAddresses::V4 { src, dst } => write!(f, " src_ip {src} dst_ip {dst}")?,
        TunnelAddresses::V6 { src, dst } => write!(f, " src_ip {src} dst_ip {dst}")?,
    }
    option(f, "id", set.id)?;
    option(f, "dst_port", set.dst_port)?;
    if !set.geneve.is_empty() {
        let words: Vec<String> = set.geneve.iter().map(ToString::to_string).collect();
        write!(f, " geneve_opts {}", words.join(","))?;
    }
    option(f, "tos", set.tos.map(|tos| format!("{tos:#x}")))?;
    option(f, "ttl", set.ttl)?;
    f.write_str(if set.csum { " csum" } else { " nocsum" })?;
    f.write_str(if set.no_frag { " nofrag pipe" } else { " pipe" })
}

fn parse_tunnel_key(words: &mut Words<'_>) -> Result<TunnelKey, TextError> {
    let what = words.next("set or unset")?;
    match what {
        "unset" => words.expect("pipe").map(|()| TunnelKey::Unset),
        "set" => parse_tunnel_set(words).map(TunnelKey::Set),
        _ => Err(wrong(what, "set or unset")),
    }
}

fn parse_tunnel_set(words: &mut Words<'_>) -> Result<TunnelSet, TextError> {
    let (mut src, mut dst) = (None, None);
    let unknown = std::net::Ipv4Addr::UNSPECIFIED;
    let addresses = TunnelAddresses::V4 { src: unknown, dst: unknown };
    let mut set = TunnelSet { id: None, ..TunnelSet::new(TunnelKeyId(0), addresses) };
    while !words.take("pipe") {
        match words.next("pipe")? {
            "src_ip" => src = Some(words.parse::<IpAddr>("an IP address")?),
            "dst_ip" => dst = Some(words.parse::<IpAddr>("an IP address")?),
            "id" => set.id = Some(TunnelKeyId(words.read("a tunnel key", number_u32)?)),
            "dst_port" => set.dst_port = Some(words.read("a port", number_u16)?),
            "tos" => set.tos = Some(words.read("a type of service", hex_u8)?),
            "ttl" => set.ttl = Some(words.read("a time to live", number_u8)?),
            "geneve_opts" => set.geneve = words.read("Geneve options", geneve)?,
            "csum" => set.csum = true,
            "nocsum" => set.csum = false,
            "nofrag" => set.no_frag = true,
            other => return Err(TextError::Unknown(other.to_owned())),
        }
    }
    set.addresses = tunnel_addresses(src, dst)?;
    Ok(set)
}

fn tunnel_addresses(
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
) -> Result<TunnelAddresses, TextError> {
    match (src, dst) {
        (Some(IpAddr::V4(src)), Some(IpAddr::V4(dst))) => Ok(TunnelAddresses::V4 { src, dst }),
        (Some(IpAddr::V6(src)), Some(IpAddr::V6(dst))) => Ok(TunnelAddresses::V6 { src, dst }),
        _ => Err(TextError::Missing("src_ip and dst_ip of one family")),
    }
}

fn geneve(word: &str) -> Option<Vec<GeneveOption>> {
    let one = |word: &str| {
        let (class, kind, data) = geneve_parts(word)?;
        GeneveOption::new(class, kind, &data).ok()
    };
    word.split(',').map(one).collect()
}

fn print_ct(f: &mut Formatter<'_>, ct: &Ct) -> fmt::Result {
    match ct {
        Ct::Clear => f.write_str("ct clear pipe"),
        Ct::Track(track) => print_track(f, track),
    }
}

fn print_track(f: &mut Formatter<'_>, track: &CtTrack) -> fmt::Result {
    f.write_str("ct")?;
    f.write_str(if track.commit { " commit" } else { "" })?;
    f.write_str(if track.force { " force" } else { "" })?;
    write!(f, " zone {}", track.zone)?;
    option(f, "mark", track.mark.map(Hex))?;
    option(f, "label", track.label.map(Label))?;
    match &track.nat {
        None => {}
        Some(CtNat::Committed) => f.write_str(" nat")?,
        Some(CtNat::Src(range)) => print_nat(f, "src", range)?,
        Some(CtNat::Dst(range)) => print_nat(f, "dst", range)?,
    }
    f.write_str(" pipe")
}

fn print_nat(f: &mut Formatter<'_>, side: &str, range: &NatRange) -> fmt::Result {
    write!(f, " nat {side}")?;
    match range.addresses {
        None => {}
        Some(NatAddresses::V4 { min, max }) if min == max => write!(f, " addr {min}")?,
        Some(NatAddresses::V4 { min, max }) => write!(f, " addr {min}-{max}")?,
        Some(NatAddresses::V6 { min, max }) if min == max => write!(f, " addr {min}")?,
        Some(NatAddresses::V6 { min, max }) => write!(f, " addr {min}-{max}")?,
    }
    match range.ports {
        None => Ok(()),
        Some(NatPorts { min, max }) if min == max => write!(f, " port {min}"),
        Some(NatPorts { min, max }) => write!(f, " port {min}-{max}"),
    }
}

fn parse_ct(words: &mut Words<'_>) -> Result<Ct, TextError> {
    if words.take("clear") {
        return words.expect("pipe").map(|()| Ct::Clear);
    }
    let mut track = CtTrack::default();
    while !words.take("pipe") {
        match words.next("pipe")? {
            "commit" => track.commit = true,
            "force" => track.force = true,
            "zone" => track.zone = CtZone(words.read("a zone", number_u16)?),
            "mark" => track.mark = Some(words.read("a mark", |w| masked(w, number_u32))?),
            "label" => track.label = Some(words.read("a label", |w| masked(w, label))?),
            "nat" => track.nat = Some(parse_nat(words)?),
            other => return Err(TextError::Unknown(other.to_owned())),
        }
    }
    Ok(Ct::Track(track))
}

fn parse_nat(words: &mut Words<'_>) -> Result<CtNat, TextError> {
    if words.take("src") {
        return parse_range(words).map(CtNat::Src);
    }
    if words.take("dst") {
        return parse_range(words).map(CtNat::Dst);
    }
    Ok(CtNat::Committed)
}

fn parse_range(words: &mut Words<'_>) -> Result<NatRange, TextError> {
    let mut range = NatRange::default();
    if words.take("addr") {
        range.addresses = Some(words.read("an address or a range of them", nat_addresses)?);
    }
    if words.take("port") {
        range.ports = Some(words.read("a port or a range of them", nat_ports)?);
    }
    Ok(range)
}

fn nat_addresses(word: &str) -> Option<NatAddresses> {
    let (min, max) = word.split_once('-').unwrap_or((word, word));
    match (min.parse().ok()?, max.parse().ok()?) {
        (IpAddr::V4(min), IpAddr::V4(max)) => Some(NatAddresses::V4 { min, max }),
        (IpAddr::V6(min), IpAddr::V6(max)) => Some(NatAddresses::V6 { min, max }),
        _ => None,
    }
}

fn nat_ports(word: &str) -> Option<NatPorts> {
    let (min, max) = word.split_once('-').unwrap_or((word, word));
    Some(NatPorts { min: number_u16(min)?, max: number_u16(max)? })
}
