//! The tunnel header a packet came with. Its Geneve options are two parallel lists, one of values
//! and one of masks.

use netlink_packet_core::{DefaultNla, NLA_TYPE_MASK, Nla};
use tc_filter::key::{EncKey, IpMatch};
use tc_filter::{GeneveOptionMatch, Masked, TunnelKeyId};

use super::{Key, Unreadable, joined, masked, pick};
use crate::tc::codec::geneve::{self, RawOption};

/// `TCA_FLOWER_KEY_ENC_OPTS`.
const OPTIONS: u16 = 84;
/// `TCA_FLOWER_KEY_ENC_OPTS_MASK`.
const OPTIONS_MASK: u16 = 85;
/// What this file reads of the attributes `netlink-packet-route` does not know.
pub(super) const OPTION_KINDS: [u16; 2] = [OPTIONS, OPTIONS_MASK];

pub(super) fn emit(key: &EncKey, out: &mut Vec<Key>) {
    emit_dst(key.dst, out);
    emit_src(key.src, out);
    out.extend(key.id.map(|id| Key::EncKeyId(id.0)));
    port(out, key.dst_port, Key::EncKeyUdpDstPort, Key::EncKeyUdpDstPortMask);
    port(out, key.src_port, Key::EncKeyUdpSrcPort, Key::EncKeyUdpSrcPortMask);
    masked(out, key.tos, Key::EncKeyIpTos, Key::EncKeyIpTosMask);
    masked(out, key.ttl, Key::EncKeyIpTtl, Key::EncKeyIpTtlMask);
    emit_geneve(&key.geneve, out);
}

fn emit_dst(address: Option<IpMatch>, out: &mut Vec<Key>) {
    match address {
        None => {}
        Some(IpMatch::V4(key)) => {
            masked(out, Some(key), Key::EncKeyIpv4Dst, Key::EncKeyIpv4DstMask);
        }
        Some(IpMatch::V6(key)) => {
            masked(out, Some(key), Key::EncKeyIpv6Dst, Key::EncKeyIpv6DstMask);
        }
    }
}

fn emit_src(address: Option<IpMatch>, out: &mut Vec<Key>) {
    match address {
        None => {}
        Some(IpMatch::V4(key)) => {
            masked(out, Some(key), Key::EncKeyIpv4Src, Key::EncKeyIpv4SrcMask);
        }
        Some(IpMatch::V6(key)) => {
            masked(out, Some(key), Key::EncKeyIpv6Src, Key::EncKeyIpv6SrcMask);
        }
    }
}

/// `tc` sends no mask with a port, which means every bit.
fn port(out: &mut Vec<Key>, key: Option<Masked<u16>>, value: fn(u16) -> Key, mask: fn(u16) -> Key) {
    let Some(key) = key else { return };
    out.push(value(key.value()));
    if !key.is_exact() {
        out.push(mask(key.mask()));
    }
}

fn emit_geneve(options: &[GeneveOptionMatch], out: &mut Vec<Key>) {
    if options.is_empty() {
        return;
    }
    let values = options.iter().map(|option| RawOption {
        class: option.class.value(),
        kind: option.kind.value(),
        data: option.data().to_vec(),
    });
    let masks = options.iter().map(|option| RawOption {
        class: option.class.mask(),
        kind: option.kind.mask(),
        data: option.mask().to_vec(),
    });
    out.push(nest(OPTIONS, geneve::emit(values).into_bytes()));
    out.push(nest(OPTIONS_MASK, geneve::emit(masks).into_bytes()));
}

fn nest(kind: u16, bytes: Vec<u8>) -> Key {
    Key::Other(DefaultNla::new(kind, bytes))
}

pub(super) fn parse(options: &[Key]) -> Result<EncKey, Unreadable> {
    let dst4 = joined(pick!(options, EncKeyIpv4Dst), pick!(options, EncKeyIpv4DstMask));
    let src4 = joined(pick!(options, EncKeyIpv4Src), pick!(options, EncKeyIpv4SrcMask));
    let dst6 = joined(pick!(options, EncKeyIpv6Dst), pick!(options, EncKeyIpv6DstMask));
    let src6 = joined(pick!(options, EncKeyIpv6Src), pick!(options, EncKeyIpv6SrcMask));
    Ok(EncKey {
        id: pick!(options, EncKeyId).map(TunnelKeyId),
        src: src4.map(IpMatch::V4).or_else(|| src6.map(IpMatch::V6)),
        dst: dst4.map(IpMatch::V4).or_else(|| dst6.map(IpMatch::V6)),
        src_port: joined(pick!(options, EncKeyUdpSrcPort), pick!(options, EncKeyUdpSrcPortMask)),
        dst_port: joined(pick!(options, EncKeyUdpDstPort), pick!(options, EncKeyUdpDstPortMask)),
        tos: joined(pick!(options, EncKeyIpTos), pick!(options, EncKeyIpTosMask)),
        ttl: joined(pick!(options, EncKeyIpTtl), pick!(options, EncKeyIpTtlMask)),
        geneve: parse_geneve(options)?,
    })
}

fn parse_geneve(options: &[Key]) -> Result<Vec<GeneveOptionMatch>, Unreadable> {
    let values = geneve::parse(&bytes_of(options, OPTIONS))?;
    let masks = geneve::parse(&bytes_of(options, OPTIONS_MASK))?;
    if values.len() != masks.len() {
        return Err(Unreadable::new("Geneve options without a mask each"));
    }
    values.iter().zip(&masks).map(|(value, mask)| option(value, mask)).collect()
}

fn option(value: &RawOption, mask: &RawOption) -> Result<GeneveOptionMatch, Unreadable> {
    let class = Masked::new(value.class, mask.class);
    let kind = Masked::new(value.kind, mask.kind);
    let option = GeneveOptionMatch::with_masks(class, kind, &value.data, &mask.data);
    option.map_err(Unreadable::new)
}

fn bytes_of(options: &[Key], wanted: u16) -> Vec<u8> {
    let found = options.iter().find_map(|option| match option {
        Key::Other(other) if other.kind() & NLA_TYPE_MASK == wanted => {
            let mut bytes = vec![0; other.value_len()];
            other.emit_value(&mut bytes);
            Some(bytes)
        }
        _ => None,
    });
    found.unwrap_or_default()
}
