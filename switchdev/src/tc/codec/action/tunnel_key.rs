//! tunnel_key: sets or forgets the tunnel header.

use tc_filter::action::{TunnelAddresses, TunnelKey, TunnelSet};
use tc_filter::{GeneveOption, TunnelKeyId};

use super::{generic_and, number_after_generic, pipes, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};
use crate::tc::codec::geneve::{self, RawOption};

pub(super) const TIMES: u16 = 1;
const PARAMETERS: u16 = 2;
const IPV4_SRC: u16 = 3;
const IPV4_DST: u16 = 4;
const IPV6_SRC: u16 = 5;
const IPV6_DST: u16 = 6;
const KEY_ID: u16 = 7;
const PAD: u16 = 8;
const DST_PORT: u16 = 9;
const NO_CSUM: u16 = 10;
const OPTIONS: u16 = 11;
const TOS: u16 = 12;
const TTL: u16 = 13;
const NO_FRAG: u16 = 14;

const SET: u32 = 1;
const RELEASE: u32 = 2;

pub(super) fn emit(key: &TunnelKey) -> Writer {
    let mut out = Writer::default();
    let what = match key {
        TunnelKey::Unset => {
            // `tc` says so here too; the kernel does not read it.
            out.u8(NO_CSUM, 0);
            RELEASE
        }
        TunnelKey::Set(set) => {
            emit_set(&mut out, set);
            SET
        }
    };
    out.bytes(PARAMETERS, generic_and(verdict::PIPE, what));
    out
}

fn emit_set(out: &mut Writer, set: &TunnelSet) {
    emit_addresses(out, &set.addresses);
    if let Some(id) = set.id {
        out.be32(KEY_ID, id.0);
    }
    if let Some(port) = set.dst_port {
        out.be16(DST_PORT, port);
    }
    if !set.geneve.is_empty() {
        out.plain_nest(OPTIONS, &geneve::emit(set.geneve.iter().map(raw)));
    }
    if let Some(tos) = set.tos {
        out.u8(TOS, tos);
    }
    if let Some(ttl) = set.ttl {
        out.u8(TTL, ttl);
    }
    out.u8(NO_CSUM, u8::from(!set.csum));
    if set.no_frag {
        out.bytes(NO_FRAG, [0; 0]);
    }
}

fn emit_addresses(out: &mut Writer, addresses: &TunnelAddresses) {
    match addresses {
        TunnelAddresses::V4 { src, dst } => {
            out.bytes(IPV4_SRC, src.octets());
            out.bytes(IPV4_DST, dst.octets());
        }
        TunnelAddresses::V6 { src, dst } => {
            out.bytes(IPV6_SRC, src.octets());
            out.bytes(IPV6_DST, dst.octets());
        }
    }
}

fn raw(option: &GeneveOption) -> RawOption {
    RawOption { class: option.class, kind: option.kind, data: option.data().to_vec() }
}

const KNOWN: [u16; 14] = [
    TIMES, PARAMETERS, IPV4_SRC, IPV4_DST, IPV6_SRC, IPV6_DST, KEY_ID, PAD, DST_PORT, NO_CSUM,
    OPTIONS, TOS, TTL, NO_FRAG,
];

pub(super) fn parse(options: &Attrs) -> Result<TunnelKey, Unreadable> {
    options.only(&KNOWN)?;
    let parameters = need(options.bytes(PARAMETERS), "tunnel_key parameters")?;
    pipes(parameters)?;
    match number_after_generic(parameters)? {
        RELEASE => Ok(TunnelKey::Unset),
        SET => parse_set(options).map(TunnelKey::Set),
        other => Err(Unreadable::new(format!("tunnel_key action {other}"))),
    }
}

fn parse_set(options: &Attrs) -> Result<TunnelSet, Unreadable> {
    let geneve = options.bytes(OPTIONS).map(geneve::parse).transpose()?.unwrap_or_default();
    Ok(TunnelSet {
        id: options.be32(KEY_ID)?.map(TunnelKeyId),
        addresses: parse_addresses(options)?,
        dst_port: options.be16(DST_PORT)?,
        tos: options.u8(TOS)?,
        ttl: options.u8(TTL)?,
        geneve: geneve.iter().map(option).collect::<Result<_, _>>()?,
        csum: options.u8(NO_CSUM)?.unwrap_or(0) == 0,
        no_frag: options.has(NO_FRAG),
    })
}

fn parse_addresses(options: &Attrs) -> Result<TunnelAddresses, Unreadable> {
    let v4 = (options.ipv4(IPV4_SRC)?, options.ipv4(IPV4_DST)?);
    let v6 = (options.ipv6(IPV6_SRC)?, options.ipv6(IPV6_DST)?);
    match (v4, v6) {
        ((Some(src), Some(dst)), (None, None)) => Ok(TunnelAddresses::V4 { src, dst }),
        ((None, None), (Some(src), Some(dst))) => Ok(TunnelAddresses::V6 { src, dst }),
        _ => Err(Unreadable::new("tunnel_key without two addresses of one family")),
    }
}

fn option(raw: &RawOption) -> Result<GeneveOption, Unreadable> {
    GeneveOption::new(raw.class, raw.kind, &raw.data).map_err(Unreadable::new)
}
