//! Brings the bytes of a packet to what its fields say (`commit_odp_actions` in `lib/odp-util.c`).

use super::super::l4::{ICMP, ICMPV6, SCTP, TCP, UDP, layers};
use super::super::rewrite;
use super::effects::Doubt;
use super::flow::Flow;
use super::walk::State;
use crate::openflow::{Field, VLAN_PRESENT};

/// Writes every difference between the fields and the bytes.
pub(super) fn commit(state: &mut State<'_>) -> Result<(), Doubt> {
    if state.flow == state.base {
        return Ok(());
    }
    ethernet(state);
    // What has no protocol has no IP header that OVS could read.
    if state.flow.protocol() != 0 || state.flow.get(Field::ArpOp) != 0 {
        match state.base.ethertype() {
            0x0800 | 0x86dd => above_ethernet(state)?,
            0x0806 | 0x8035 => arp(state),
            _ => {}
        }
    }
    vlan(state);
    state.base.clone_from(&state.flow);
    Ok(())
}

fn changed(state: &State<'_>, field: Field) -> Option<u128> {
    let wanted = state.flow.get(field);
    (wanted != state.base.get(field)).then_some(wanted)
}

fn ethernet(state: &mut State<'_>) {
    for (field, at) in [(Field::EthDst, 0), (Field::EthSrc, 6)] {
        if let Some(mac) = changed(state, field) {
            rewrite::plain(&mut state.frame, at, &mac.to_be_bytes()[10..]);
        }
    }
}

fn above_ethernet(state: &mut State<'_>) -> Result<(), Doubt> {
    addresses(state);
    ip_header(state)?;
    ports(state)?;
    icmp(state)
}

fn addresses(state: &mut State<'_>) {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let four = [Field::IpSrc, Field::IpDst];
    let six = [Field::Ipv6Src, Field::Ipv6Dst];
    for end in 0..2 {
        if let Some(address) = changed(state, four[end]) {
            let address = Ipv4Addr::from_bits(u32::try_from(address).unwrap_or(0));
            rewrite::address(&mut state.frame, end, address.into());
        }
        if let Some(address) = changed(state, six[end]) {
            rewrite::address(&mut state.frame, end, Ipv6Addr::from_bits(address).into());
        }
    }
}

fn ip_header(state: &mut State<'_>) -> Result<(), Doubt> {
    let Some(layers) = layers(&state.frame) else { return Ok(()) };
    let tos = u8::try_from(state.flow.tos()).unwrap_or(0);
    let ttl = changed(state, Field::NwTtl).and_then(|ttl| u8::try_from(ttl).ok());
    let retagged = state.flow.tos() != state.base.tos();
    if changed(state, Field::Ipv6Label).is_some() {
        return Err(Doubt::NotUnderstood("a write to ipv6_label".to_owned()));
    }
    let frame = &mut state.frame;
    if layers.v6 {
        if retagged {
            let [first, second] = frame.bytes(layers.ip).unwrap_or_default();
            let bytes = [first & 0xf0 | tos >> 4, second & 0x0f | tos << 4];
            rewrite::plain(frame, layers.ip, &bytes);
        }
        if let Some(ttl) = ttl {
            rewrite::plain(frame, layers.ip + 7, &[ttl]);
        }
        return Ok(());
    }
    if retagged {
        rewrite::ip_header(frame, &layers, layers.ip + 1, &[tos]);
    }
    if let Some(ttl) = ttl {
        rewrite::ip_header(frame, &layers, layers.ip + 8, &[ttl]);
    }
    Ok(())
}

fn ports(state: &mut State<'_>) -> Result<(), Doubt> {
    let fields = match state.flow.protocol() {
        TCP => [Field::TcpSrc, Field::TcpDst],
        UDP => [Field::UdpSrc, Field::UdpDst],
        SCTP => [Field::SctpSrc, Field::SctpDst],
        _ => return Ok(()),
    };
    for (end, field) in fields.into_iter().enumerate() {
        let Some(port) = changed(state, field) else { continue };
        if state.flow.is_fragment() {
            return Err(Doubt::Unspecified("the port of a fragment is written"));
        }
        if state.flow.protocol() == SCTP {
            return Err(Doubt::NotUnderstood("a write to an SCTP port".to_owned()));
        }
        rewrite::port(&mut state.frame, end, u16::try_from(port).unwrap_or(0));
    }
    Ok(())
}

fn icmp(state: &mut State<'_>) -> Result<(), Doubt> {
    let fields = match state.flow.protocol() {
        ICMP => [Field::IcmpType, Field::IcmpCode],
        ICMPV6 => [Field::Icmpv6Type, Field::Icmpv6Code],
        _ => return Ok(()),
    };
    let discovery = [Field::NdTarget, Field::NdSll, Field::NdTll];
    if fields.into_iter().chain(discovery).any(|field| changed(state, field).is_some()) {
        return Err(Doubt::NotUnderstood("a write to an ICMP header".to_owned()));
    }
    Ok(())
}

fn arp(state: &mut State<'_>) {
    let mut at = 12;
    while state.frame.word(at).is_some_and(super::super::frame::is_tag) {
        at += 4;
    }
    let header = at + 2;
    let places = [
        (Field::ArpOp, 6, 2),
        (Field::ArpSha, 8, 6),
        (Field::ArpSpa, 14, 4),
        (Field::ArpTha, 18, 6),
        (Field::ArpTpa, 24, 4),
    ];
    for (field, at, length) in places {
        if let Some(value) = changed(state, field) {
            rewrite::plain(&mut state.frame, header + at, &value.to_be_bytes()[16 - length..]);
        }
    }
}

/// `commit_vlan_action`: from the inside out, tags that are equal stay; a pushed tag has bit 12 clear.
fn vlan(state: &mut State<'_>) {
    let tags = |flow: &Flow| flow.tags.clone();
    let (base, wanted) = (tags(&state.base), tags(&state.flow));
    let kept =
        base.iter().rev().zip(wanted.iter().rev()).take_while(|(old, new)| old == new).count();
    for _ in kept..base.len() {
        state.frame.pop();
    }
    for tag in wanted[..wanted.len() - kept].iter().rev() {
        state.frame.push(tag.tpid, tag.tci & !VLAN_PRESENT);
    }
}
