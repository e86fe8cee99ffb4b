//! Keys: `dst_mac 02:00:00:00:00:01 ip_proto tcp dst_port 80`.

use std::fmt::{self, Display, Formatter};

use super::value::{
    Decimal, EtherTypeWord, Hex, IpProtoWord, Label, MacWord, Plain, ethertype, frag, hex_u8, ip,
    ip_proto, label, mac, masked, number_u8, number_u16, number_u32, parse_frag, parse_hex, port,
};
use super::words::{TextError, Words};
use crate::key::{ArpKey, CtKey, CtState, EncKey, IpKey, L4Key, VlanKey};
use crate::{Bits, FlowerMatch, GeneveOptionMatch, Masked, TunnelKeyId};

/// Keys, each with a space before it.
pub(super) fn print(f: &mut Formatter<'_>, key: &FlowerMatch) -> fmt::Result {
    word(f, "dst_mac", key.eth.dst.map(MacWord))?;
    word(f, "src_mac", key.eth.src.map(MacWord))?;
    print_vlan(f, &key.vlan, ["vlan_id", "vlan_prio", "vlan_ethtype"])?;
    print_vlan(f, &key.cvlan, ["cvlan_id", "cvlan_prio", "cvlan_ethtype"])?;
    print_ip(f, &key.ip)?;
    print_arp(f, &key.arp)?;
    print_l4(f, &key.l4)?;
    word(f, "type", key.icmp.kind.map(Decimal))?;
    word(f, "code", key.icmp.code.map(Decimal))?;
    print_enc(f, &key.enc)?;
    print_ct(f, &key.ct)
}

fn word(f: &mut Formatter<'_>, name: &str, value: Option<impl Display>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {name} {value}"),
        None => Ok(()),
    }
}

fn print_vlan(f: &mut Formatter<'_>, key: &VlanKey, names: [&str; 3]) -> fmt::Result {
    let [id, pcp, ethertype] = names;
    word(f, id, key.id)?;
    word(f, pcp, key.pcp)?;
    word(f, ethertype, key.ethertype.map(EtherTypeWord))
}

fn print_ip(f: &mut Formatter<'_>, key: &IpKey) -> fmt::Result {
    word(f, "ip_proto", key.proto.map(IpProtoWord))?;
    word(f, "dst_ip", key.dst)?;
    word(f, "src_ip", key.src)?;
    word(f, "ip_tos", key.tos.map(Hex))?;
    word(f, "ip_ttl", key.ttl.map(Hex))?;
    word(f, "ip_flags", frag(key.frag))
}

fn print_arp(f: &mut Formatter<'_>, key: &ArpKey) -> fmt::Result {
    word(f, "arp_tip", key.tip.map(crate::key::IpMatch::V4))?;
    word(f, "arp_sip", key.sip.map(crate::key::IpMatch::V4))?;
    word(f, "arp_op", key.op.map(Decimal))?;
    word(f, "arp_tha", key.tha.map(MacWord))?;
    word(f, "arp_sha", key.sha.map(MacWord))
}

fn print_l4(f: &mut Formatter<'_>, key: &L4Key) -> fmt::Result {
    word(f, "dst_port", key.dst)?;
    word(f, "src_port", key.src)?;
    word(f, "tcp_flags", key.tcp_flags.map(Hex))
}

fn print_enc(f: &mut Formatter<'_>, key: &EncKey) -> fmt::Result {
    word(f, "enc_dst_ip", key.dst)?;
    word(f, "enc_src_ip", key.src)?;
    word(f, "enc_key_id", key.id)?;
    word(f, "enc_dst_port", key.dst_port.map(Plain))?;
    word(f, "enc_src_port", key.src_port.map(Plain))?;
    word(f, "enc_tos", key.tos.map(Hex))?;
    word(f, "enc_ttl", key.ttl.map(Hex))?;
    let options = (!key.geneve.is_empty()).then(|| geneve_word(&key.geneve));
    word(f, "geneve_opts", options)
}

/// `CLASS:TYPE:DATA,…`, with `/MASKS` where bits do not count. `tc` 6.1 reads a mask wrongly where
/// there are several options; the kernel does not.
fn geneve_word(options: &[GeneveOptionMatch]) -> String {
    let one = |class: u16, kind: u8, data: &[u8]| {
        format!("{class:04x}:{kind:02x}:{}", super::value::hex(data))
    };
    let values: Vec<String> =
        options.iter().map(|o| one(o.class.value(), o.kind.value(), o.data())).collect();
    if options.iter().all(GeneveOptionMatch::is_exact) {
        return values.join(",");
    }
    let masks: Vec<String> =
        options.iter().map(|o| one(o.class.mask(), o.kind.mask(), o.mask())).collect();
    format!("{}/{}", values.join(","), masks.join(","))
}

fn print_ct(f: &mut Formatter<'_>, key: &CtKey) -> fmt::Result {
    word(f, "ct_state", key.state.map(ct_state_word))?;
    word(f, "ct_zone", key.zone.map(Plain))?;
    word(f, "ct_mark", key.mark.map(Hex))?;
    word(f, "ct_label", key.label.map(Label))
}

/// `+trk-new`.
fn ct_state_word(state: Masked<CtState>) -> String {
    let asked = CtState::NAMES.into_iter().filter(|(_, bit)| state.mask().and(*bit) == *bit);
    let sign = |bit: CtState| if state.value().and(bit) == bit { '+' } else { '-' };
    asked.map(|(name, bit)| format!("{}{name}", sign(bit))).collect()
}

/// Takes one key with its value; `false` where the word is not a key.
pub(super) fn parse(words: &mut Words<'_>, key: &mut FlowerMatch) -> Result<bool, TextError> {
    let Some(name) = words.peek() else { return Ok(false) };
    let known = parse_eth(name, words, key)?
        || parse_ip(name, words, &mut key.ip)?
        || parse_arp(name, words, &mut key.arp)?
        || parse_l4(name, words, key)?
        || parse_enc(name, words, &mut key.enc)?
        || parse_ct(name, words, &mut key.ct)?;
    Ok(known)
}

const MAC: &str = "an Ethernet address, with or without a mask";
const IP: &str = "an IP address, with or without a mask";
const NUMBER: &str = "a number, with or without a mask";
const PROTOCOL: &str = "a protocol";

/// Takes the key's name and reads its value.
fn value<T>(
    words: &mut Words<'_>,
    wanted: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, TextError> {
    words.next(wanted)?;
    words.read(wanted, read).map(Some)
}

fn parse_eth(name: &str, words: &mut Words<'_>, key: &mut FlowerMatch) -> Result<bool, TextError> {
    match name {
        "dst_mac" => key.eth.dst = value(words, MAC, |w| masked(w, mac))?,
        "src_mac" => key.eth.src = value(words, MAC, |w| masked(w, mac))?,
        "vlan_id" => key.vlan.id = value(words, "a VLAN id", vlan_id)?,
        "vlan_prio" => key.vlan.pcp = value(words, "a VLAN priority", pcp)?,
        "vlan_ethtype" => key.vlan.ethertype = value(words, PROTOCOL, ethertype)?,
        "cvlan_id" => key.cvlan.id = value(words, "a VLAN id", vlan_id)?,
        "cvlan_prio" => key.cvlan.pcp = value(words, "a VLAN priority", pcp)?,
        "cvlan_ethtype" => key.cvlan.ethertype = value(words, PROTOCOL, ethertype)?,
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn vlan_id(word: &str) -> Option<crate::VlanId> {
    number_u16(word)?.try_into().ok()
}

pub(super) fn pcp(word: &str) -> Option<crate::Pcp> {
    number_u8(word)?.try_into().ok()
}

fn parse_ip(name: &str, words: &mut Words<'_>, key: &mut IpKey) -> Result<bool, TextError> {
    match name {
        "ip_proto" => key.proto = value(words, PROTOCOL, ip_proto)?,
        "src_ip" => key.src = value(words, IP, ip)?,
        "dst_ip" => key.dst = value(words, IP, ip)?,
        "ip_tos" => key.tos = value(words, NUMBER, |w| masked(w, hex_u8))?,
        "ip_ttl" => key.ttl = value(words, NUMBER, |w| masked(w, hex_u8))?,
        "ip_flags" => {
            key.frag = value(words, "fragment flags", parse_frag)?.unwrap_or_default();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_arp(name: &str, words: &mut Words<'_>, key: &mut ArpKey) -> Result<bool, TextError> {
    match name {
        "arp_op" => key.op = value(words, "an ARP operation", |w| masked(w, arp_op))?,
        "arp_sip" => key.sip = value(words, IP, super::value::ipv4)?,
        "arp_tip" => key.tip = value(words, IP, super::value::ipv4)?,
        "arp_sha" => key.sha = value(words, MAC, |w| masked(w, mac))?,
        "arp_tha" => key.tha = value(words, MAC, |w| masked(w, mac))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn arp_op(word: &str) -> Option<u8> {
    match word {
        "request" => Some(1),
        "reply" => Some(2),
        _ => number_u8(word),
    }
}

fn parse_l4(name: &str, words: &mut Words<'_>, key: &mut FlowerMatch) -> Result<bool, TextError> {
    match name {
        "src_port" => key.l4.src = value(words, "a port", port)?,
        "dst_port" => key.l4.dst = value(words, "a port", port)?,
        "tcp_flags" => key.l4.tcp_flags = value(words, NUMBER, |w| masked(w, number_u16))?,
        "type" => key.icmp.kind = value(words, NUMBER, |w| masked(w, number_u8))?,
        "code" => key.icmp.code = value(words, NUMBER, |w| masked(w, number_u8))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_enc(name: &str, words: &mut Words<'_>, key: &mut EncKey) -> Result<bool, TextError> {
    match name {
        "enc_key_id" => key.id = value(words, "a tunnel key", number_u32)?.map(TunnelKeyId),
        "enc_src_ip" => key.src = value(words, IP, ip)?,
        "enc_dst_ip" => key.dst = value(words, IP, ip)?,
        "enc_src_port" => key.src_port = value(words, NUMBER, |w| masked(w, number_u16))?,
        "enc_dst_port" => key.dst_port = value(words, NUMBER, |w| masked(w, number_u16))?,
        "enc_tos" => key.tos = value(words, NUMBER, |w| masked(w, hex_u8))?,
        "enc_ttl" => key.ttl = value(words, NUMBER, |w| masked(w, hex_u8))?,
        "geneve_opts" => {
            key.geneve = value(words, "Geneve options", geneve)?.unwrap_or_default();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn geneve(word: &str) -> Option<Vec<GeneveOptionMatch>> {
    let (values, masks) = word.split_once('/').unwrap_or((word, ""));
    let mut masks = masks.split(',').filter(|mask| !mask.is_empty());
    let options = values.split(',').map(|value| geneve_option(value, masks.next()));
    options.collect()
}

fn geneve_option(value: &str, mask: Option<&str>) -> Option<GeneveOptionMatch> {
    let (class, kind, data) = geneve_parts(value)?;
    let exact = || (u16::MAX, u8::MAX, vec![u8::MAX; data.len()]);
    let (class_mask, kind_mask, mask) = mask.map_or_else(|| Some(exact()), geneve_parts)?;
    let (class, kind) = (Masked::new(class, class_mask), Masked::new(kind, kind_mask));
    GeneveOptionMatch::with_masks(class, kind, &data, &mask).ok()
}

/// `CLASS:TYPE:DATA`, all hexadecimal.
pub(super) fn geneve_parts(word: &str) -> Option<(u16, u8, Vec<u8>)> {
    let mut parts = word.split(':');
    let class = u16::from_str_radix(parts.next()?, 16).ok()?;
    let kind = u8::from_str_radix(parts.next()?, 16).ok()?;
    let data = parse_hex(parts.next()?)?;
    parts.next().is_none().then_some((class, kind, data))
}

fn parse_ct(name: &str, words: &mut Words<'_>, key: &mut CtKey) -> Result<bool, TextError> {
    match name {
        "ct_state" => key.state = value(words, "tracking state", ct_state)?,
        "ct_zone" => key.zone = value(words, NUMBER, |w| masked(w, number_u16))?,
        "ct_mark" => key.mark = value(words, NUMBER, |w| masked(w, number_u32))?,
        "ct_label" => key.label = value(words, NUMBER, |w| masked(w, label))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn ct_state(word: &str) -> Option<Masked<CtState>> {
    let (mut value, mut mask) = (CtState::default(), CtState::default());
    let mut rest = word;
    while !rest.is_empty() {
        let (sign, tail) = rest.split_at_checked(1)?;
        let end = tail.find(['+', '-']).unwrap_or(tail.len());
        let (name, after) = tail.split_at_checked(end)?;
        let (_, bit) = CtState::NAMES.into_iter().find(|(known, _)| *known == name)?;
        mask = mask | bit;
        match sign {
            "+" => value = value | bit,
            "-" => {}
            _ => return None,
        }
        rest = after;
    }
    Some(Masked::new(value, mask))
}
