//! OVS's datapath actions, read from their text and done to a packet.
//!
//! Checksums are computed anew after every change, where the other side carries them along: each checks the other.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use flow_compiler::compile::interp::{
    Commit, Conntrack, Delivery, Effects, Egress, Frame, Limit, NatAsked, Range, Tracking,
    TunnelHeader, Tuple,
};
use tc_filter::{CtZone, GeneveOption};

use super::bytes;
use super::trace::Traced;

/// Where the datapath's port numbers lead; `None` for ports that carry tunnels.
pub(crate) type DatapathPorts = BTreeMap<String, Option<Egress>>;

/// Something the datapath would do that is not read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("datapath action not understood: {0}")]
pub(crate) struct NotRead(pub(crate) String);

/// Does what was traced to a packet.
pub(crate) fn execute(
    traced: &Traced,
    frame: &Frame,
    ports: &DatapathPorts,
    conntrack: &Conntrack,
) -> Result<Effects, NotRead> {
    let waiting = VecDeque::new();
    let mut run =
        Run { traced: traced.clone(), ports, conntrack, effects: Effects::default(), waiting };
    let mut state = Passing { frame: frame.clone(), mark: 0, label: 0, cut: None };
    run.list(&traced.first, &mut state)?;
    while let Some((number, state)) = run.waiting.pop_front() {
        run.again(&number, state)?;
    }
    Ok(run.effects.sorted())
}

struct Run<'a> {
    traced: Traced,
    ports: &'a DatapathPorts,
    conntrack: &'a Conntrack,
    effects: Effects,
    /// New starts in the order in which the trace answers them.
    waiting: VecDeque<(String, Passing)>,
}

#[derive(Clone)]
struct Passing {
    frame: Frame,
    mark: u32,
    label: u128,
    cut: Option<usize>,
}

impl Run<'_> {
    fn list(&mut self, actions: &str, state: &mut Passing) -> Result<(), NotRead> {
        for action in split(actions) {
            self.one(action, state)?;
        }
        Ok(())
    }

    fn one(&mut self, action: &str, state: &mut Passing) -> Result<(), NotRead> {
        let (name, inside) = call(action);
        match name {
            "drop" | "ct_clear" | "hash" | "userspace" | "sample" => {}
            "set" => set(inside, &mut state.frame)?,
            "pop_vlan" => state.frame.pop(),
            "push_vlan" => push_vlan(inside, &mut state.frame)?,
            "trunc" => state.cut = inside.parse().ok(),
            "meter" => self.effects.limits.push(Limit::Packets(0)),
            "clone" => self.list(inside, &mut state.clone())?,
            "ct" => self.track(inside, state)?,
            "recirc" => self.waiting.push_back((inside.to_owned(), state.clone())),
            "check_pkt_len" => self.by_length(inside, state)?,
            "tnl_push" => self.tunnel(inside, state)?,
            port => self.output(port, state)?,
        }
        Ok(())
    }

    fn output(&mut self, port: &str, state: &mut Passing) -> Result<(), NotRead> {
        let cut = state.cut.take();
        let to = self.ports.get(port).ok_or_else(|| NotRead(port.to_owned()))?;
        let Some(to) = to.clone() else { return Ok(()) };
        let mut frame = state.frame.clone();
        frame.0.truncate(cut.unwrap_or(usize::MAX));
        self.effects.deliveries.push(Delivery { to, frame, tunnel: None });
        Ok(())
    }

    fn again(&mut self, number: &str, mut state: Passing) -> Result<(), NotRead> {
        let known = self.traced.again.get_mut(number);
        let actions = known
            .and_then(|all| if all.len() > 1 { all.pop_front() } else { all.front().cloned() });
        let actions = actions.ok_or_else(|| NotRead(format!("recirc({number})")))?;
        self.list(&actions, &mut state)
    }

    fn by_length(&mut self, inside: &str, state: &Passing) -> Result<(), NotRead> {
        let words = words(inside);
        let size: usize = number(words.get("size").copied().unwrap_or_default())
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| NotRead(inside.to_owned()))?;
        let branch = if state.frame.0.len() > size { "gt" } else { "le" };
        let mut taken = false;
        for (name, actions) in split(inside).into_iter().map(call) {
            if name == branch {
                self.list(actions, &mut state.clone())?;
                taken = true;
            } else if matches!(name, "gt" | "le") && actions.contains("recirc(") {
                // The trace went there, too, and has used up answers of connection tracking.
                return Err(NotRead("recirc where the packet does not go".to_owned()));
            }
        }
        taken.then_some(()).ok_or_else(|| NotRead(inside.to_owned()))
    }

    fn track(&mut self, inside: &str, state: &mut Passing) -> Result<(), NotRead> {
        let asked = question(inside, &state.frame)?;
        let found = self.conntrack.ask(&asked, (state.mark, state.label));
        (state.mark, state.label) = (found.mark, found.label);
        if let Some(tuple) = asked.tuple {
            let Tuple { src, dst, .. } = found.translation.of(tuple);
            bytes::write_ends(&mut state.frame, [src, dst]);
        }
        self.effects.tracked.push(asked);
        Ok(())
    }

    /// The packet goes into a tunnel, and out by the underlay's ports, which count for nothing. The kernel's datapath, for which
    /// filters stand, sends a copy; so what comes after it finds the packet without the tunnel's header.
    fn tunnel(&mut self, inside: &str, state: &Passing) -> Result<(), NotRead> {
        let (device, header) = tunnel_header(inside).ok_or_else(|| NotRead(inside.to_owned()))?;
        let delivery = Delivery {
            to: Egress::Tunnel(device),
            frame: state.frame.clone(),
            tunnel: Some(header),
        };
        self.effects.deliveries.push(delivery);
        Ok(())
    }
}

/// The parts between commas that are in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_u32, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// `name(inside)`; what has no parentheses has nothing inside.
fn call(text: &str) -> (&str, &str) {
    match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (text, ""),
    }
}

/// The parts of the form `key=value`.
fn words(text: &str) -> BTreeMap<&str, &str> {
    split(text).into_iter().filter_map(|part| part.split_once('=')).collect()
}

fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `value` or `value/mask`, for fields of so many bits.
fn masked(text: &str, bits: u32) -> Option<(u128, u128)> {
    let all = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
    match text.split_once('/') {
        Some((value, mask)) => Some((content(value)?, content(mask)?)),
        None => Some((content(text)?, all)),
    }
}

/// A number, a MAC address or an IP address.
fn content(text: &str) -> Option<u128> {
    if let Some(number) = number(text) {
        return Some(number);
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => return Some(address.to_bits().into()),
        Ok(IpAddr::V6(address)) => return Some(address.to_bits()),
        Err(_) => {}
    }
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    (bytes.len() == 6).then(|| bytes.iter().fold(0, |mac, byte| mac << 8 | u128::from(*byte)))
}

fn set(inside: &str, frame: &mut Frame) -> Result<(), NotRead> {
    let (header, fields) = call(inside);
    if matches!(header, "skb_mark" | "skb_priority") {
        return Ok(());
    }
    for (field, value) in words(fields) {
        let place = bytes::place(frame, header, field);
        let (at, length) = place.ok_or_else(|| NotRead(inside.to_owned()))?;
        let bits = u32::try_from(length * 8).unwrap_or(0);
        let (value, mask) = masked(value, bits).ok_or_else(|| NotRead(inside.to_owned()))?;
        bytes::write(frame, at, length, value, mask, field == "tclass");
    }
    bytes::fix_checksums(frame);
    Ok(())
}

fn push_vlan(inside: &str, frame: &mut Frame) -> Result<(), NotRead> {
    let words = words(inside);
    let of = |key, otherwise| match words.get(key) {
        Some(text) => number(text).and_then(|number| u16::try_from(number).ok()),
        None => Some(otherwise),
    };
    let tag = of("tpid", 0x8100).zip(of("vid", 0)).zip(of("pcp", 0));
    let ((tpid, vid), pcp) = tag.ok_or_else(|| NotRead(inside.to_owned()))?;
    frame.push(tpid, vid | pcp << 13);
    Ok(())
}

fn question(inside: &str, frame: &Frame) -> Result<Tracking, NotRead> {
    let wrong = || NotRead(format!("ct({inside})"));
    let words = words(inside);
    let parts = split(inside);
    let zone = words.get("zone").map_or(Some(0), |zone| number(zone)).ok_or_else(wrong)?;
    let force = parts.contains(&"force_commit");
    let pair = |key, bits| words.get(key).and_then(|text| masked(text, bits));
    let narrow = |value| u32::try_from(value).unwrap_or(0);
    let commit = (force || parts.contains(&"commit")).then(|| Commit {
        force,
        mark: pair("mark", 32).map(|(value, mask)| (narrow(value), narrow(mask))),
        label: pair("label", 128),
    });
    let nat = parts.iter().map(|part| call(part)).find(|(name, _)| *name == "nat");
    let nat = match nat {
        Some((_, inside)) => nat_asked(inside).ok_or_else(wrong)?,
        None => NatAsked::Nothing,
    };
    let zone = CtZone(u16::try_from(zone).map_err(|_| wrong())?);
    Ok(Tracking { zone, tuple: Tuple::of(frame), nat, commit })
}

fn nat_asked(inside: &str) -> Option<NatAsked> {
    for part in split(inside) {
        let (direction, range) = part.split_once('=').unwrap_or((part, ""));
        let range = nat_range(range)?;
        match direction {
            "src" => return Some(NatAsked::Src(range)),
            "dst" => return Some(NatAsked::Dst(range)),
            _ => {}
        }
    }
    Some(NatAsked::Committed)
}

/// `10.0.0.1-10.0.0.9:80-90`, `[fd00::1]:80`, each part but the first address as wanted.
fn nat_range(text: &str) -> Option<Range> {
    if text.is_empty() {
        return Some(Range::default());
    }
    let (addresses, ports) = match text.rsplit_once(':') {
        Some((addresses, ports)) if addresses.ends_with(']') || !addresses.contains(':') => {
            (addresses, ports)
        }
        _ => (text, ""),
    };
    let bare = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let (low, high) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let addresses = Some((bare(low)?, bare(high)?));
    let ports = match ports.split_once('-').unwrap_or((ports, ports)) {
        ("", _) => None,
        (low, high) => Some((low.parse().ok()?, high.parse().ok()?)),
    };
    Some(Range { addresses, ports })
}

/// `tnl_port(6081),header(size=..,type=..,eth(..),ipv4(..),udp(..),geneve(..)),out_port(..)`.
fn tunnel_header(inside: &str) -> Option<(String, TunnelHeader)> {
    let parts: BTreeMap<&str, &str> = split(inside).into_iter().map(call).collect();
    let header: BTreeMap<&str, &str> = split(parts.get("header")?).into_iter().map(call).collect();
    let ip = words(header.get("ipv4").or_else(|| header.get("ipv6"))?);
    let udp = words(header.get("udp")?);
    let byte = |key: &str| number(ip.get(key)?).and_then(|value| u8::try_from(value).ok());
    let dst_port = u16::try_from(number(udp.get("dst")?)?).ok()?;
    let (kind, own) = [("geneve", "genev_sys"), ("vxlan", "vxlan_sys")]
        .into_iter()
        .find_map(|(kind, device)| Some((header.get(kind)?, device)))?;
    let id =
        words(kind).get("vni").and_then(|vni| number(vni)).and_then(|vni| u64::try_from(vni).ok());
    // No header of ours has flags: one with a flag goes to another device than any of ours.
    let flag = if split(kind).contains(&"oam") { " (oam)" } else { "" };
    let src: IpAddr = ip.get("src")?.parse().ok()?;
    let ours = src.to_string() == super::switch::UNDERLAY_ADDRESS;
    Some((
        format!("{own}_{dst_port}{flag}"),
        TunnelHeader {
            id,
            src: if ours { Ipv4Addr::UNSPECIFIED.into() } else { src },
            dst: ip.get("dst")?.parse().ok()?,
            tos: byte("tos").or_else(|| byte("tclass"))?,
            ttl: byte("ttl").or_else(|| byte("hlimit"))?,
            src_port: 0,
            dst_port,
            csum: udp.get("csum").is_some_and(|csum| number(csum) != Some(0)),
            no_frag: ip.get("frag").is_some_and(|frag| number(frag) == Some(0x4000)),
            options: geneve_options(kind)?,
        },
    ))
}

fn geneve_options(geneve: &str) -> Option<Vec<GeneveOption>> {
    let list = split(geneve).into_iter().map(call).find(|(name, _)| *name == "options");
    let Some((_, list)) = list else { return Some(Vec::new()) };
    let mut options = Vec::new();
    for option in list.split('}').map(|part| part.trim_start_matches([',', '{'])) {
        if option.is_empty() {
            continue;
        }
        let words = words(option);
        let length = usize::try_from(number(words.get("len")?)?).ok()?;
        let value = split(option).last().and_then(|value| number(value))?;
        let class = u16::try_from(number(words.get("class")?)?).ok()?;
        let kind = u8::try_from(number(words.get("type")?)?).ok()?;
        let data = value.to_be_bytes().get(16_usize.checked_sub(length)?..)?.to_vec();
        options.push(GeneveOption::new(class, kind, &data).ok()?);
    }
    Some(options)
}
