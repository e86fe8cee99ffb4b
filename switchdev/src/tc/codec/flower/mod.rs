//! Flower keys, one file a protocol layer: `emit` writes them, `parse` reads them back.
//!
//! Keys are written in the order in which [`tc_filter::text`] prints them, which makes our bytes
//! those of `tc` for the printed line.

mod arp;
mod ct;
mod enc;
mod ethernet;
mod icmp;
mod ip;
mod l4;
mod vlan;

use netlink_packet_core::Nla;
use netlink_packet_route::tc::TcFilterFlowerOption as Key;
use tc_filter::{Bits, EtherType, FlowerMatch, Masked};

use super::Unreadable;
pub(super) use ip::emit_frag;

/// Takes a key's payload out of the options.
macro_rules! pick {
    ($options:expr, $key:ident) => {
        $options.iter().find_map(|option| match option {
            netlink_packet_route::tc::TcFilterFlowerOption::$key(value) => Some(*value),
            _ => None,
        })
    };
}
pub(super) use pick;

/// Which protocol the keys speak of, behind any VLAN tags.
pub(super) fn inner_protocol(protocol: EtherType, key: &FlowerMatch) -> EtherType {
    key.cvlan.ethertype.or(key.vlan.ethertype).unwrap_or(protocol)
}

pub(super) fn emit(protocol: EtherType, key: &FlowerMatch) -> Vec<Key> {
    let out = &mut Vec::with_capacity(16);
    ethernet::emit(&key.eth, out);
    vlan::emit(key, out);
    ip::emit(&key.ip, out);
    arp::emit(&key.arp, out);
    l4::emit(&key.l4, key.ip.proto, out);
    icmp::emit(&key.icmp, inner_protocol(protocol, key), out);
    enc::emit(&key.enc, out);
    ct::emit(&key.ct, out);
    std::mem::take(out)
}

pub(super) fn parse(options: &[Key]) -> Result<FlowerMatch, Unreadable> {
    only_known(options)?;
    let (vlan, cvlan) = vlan::parse(options)?;
    let ip = ip::parse(options);
    Ok(FlowerMatch {
        eth: ethernet::parse(options),
        vlan,
        cvlan,
        arp: arp::parse(options),
        l4: l4::parse(options, ip.proto)?,
        icmp: icmp::parse(options),
        enc: enc::parse(options)?,
        ct: ct::parse(options),
        ip,
    })
}

/// Keys we have no field for narrow the match, so a filter with one is not understood.
fn only_known(options: &[Key]) -> Result<(), Unreadable> {
    let odd = options.iter().find(|option| match option {
        Key::Other(other) => !enc::OPTION_KINDS.contains(&(other.kind() & 0x3fff)),
        Key::InDev(_)
        | Key::ClassId(_)
        | Key::MplsTtl(_)
        | Key::MplsBos(_)
        | Key::MplsTc(_)
        | Key::MplsLabel(_)
        | Key::MplsOpts(_)
        | Key::KeyHash(_)
        | Key::KeyHashMask(_) => true,
        _ => false,
    });
    match odd {
        None => Ok(()),
        Some(odd) => Err(Unreadable::new(format!("unknown flower attribute {}", odd.kind()))),
    }
}

/// Writes a key and its mask.
fn masked<T: Bits>(
    out: &mut Vec<Key>,
    key: Option<Masked<T>>,
    value: impl Fn(T) -> Key,
    mask: impl Fn(T) -> Key,
) {
    if let Some(key) = key {
        out.push(value(key.value()));
        out.push(mask(key.mask()));
    }
}

/// Joins a key with its mask; without one the kernel means every bit (`fl_set_key_val`).
fn joined<T: Bits>(value: Option<T>, mask: Option<T>) -> Option<Masked<T>> {
    value.map(|value| Masked::new(value, mask.unwrap_or(T::ALL)))
}
