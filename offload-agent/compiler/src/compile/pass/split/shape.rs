//! The frame: with or without a VLAN tag, with an EtherType or with a length.
//!
//! A match that says nothing about VLANs takes packets with and without a tag, while a flower filter has one `protocol`,
//! the outermost EtherType. And OVS looks for an EtherType where flower does not: in SNAP headers, and, where
//! `vlan-limit` is above 1, behind a second tag.

use super::{Piece, carry};
use crate::capabilities::Capabilities;
use crate::compile::ir::{Key, KeyField, LLC, RAW_802_3, TAG_TYPES, UNTAGGED};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Masked, Match, VLAN_PRESENT};

/// Below this, the field is a length.
const FIRST_ETHERTYPE: u128 = 0x600;

/// The frames that a match takes.
pub(super) fn pieces(takes: &Match, capabilities: &Capabilities) -> Vec<Piece> {
    let tci = takes.get(Field::VlanTci).unwrap_or(Masked { value: 0, mask: 0 });
    let key = addresses(takes);
    let mut pieces = Vec::new();
    if tci.covers(0) {
        let key = key.clone().with(KeyField::Tpid, UNTAGGED);
        pieces.extend(untagged(key, takes.exact(Field::EthType)));
    }
    if tci.mask & present() == 0 || tci.value & present() != 0 {
        for tpid in TAG_TYPES {
            let tag = tag(tci, key.clone().with(KeyField::Tpid, tpid));
            pieces.extend(tagged(tag, takes.exact(Field::EthType), capabilities));
        }
    }
    pieces
}

fn present() -> u128 {
    u128::from(VLAN_PRESENT)
}

fn addresses(takes: &Match) -> Key {
    let key = carry(takes, Field::EthSrc, KeyField::SrcMac, Key::any());
    carry(takes, Field::EthDst, KeyField::DstMac, key)
}

fn untagged(key: Key, ethertype: Option<u128>) -> Vec<Piece> {
    match ethertype {
        None => vec![Piece::exact(key)],
        // OVS would have taken it for a tag.
        Some(tag) if TAG_TYPES.contains(&tag) => Vec::new(),
        Some(length) if length < FIRST_ETHERTYPE => llc_rule(&key),
        Some(ethertype) => {
            vec![Piece::exact(key.clone().with(KeyField::EthType, ethertype)), snap(key)]
        }
    }
}

fn tagged(tag: Piece, ethertype: Option<u128>, capabilities: &Capabilities) -> Vec<Piece> {
    let Piece { key, inexact } = tag;
    let Some(ethertype) = ethertype else {
        return vec![Piece { key, inexact }];
    };
    let one_tag_only = capabilities.vlan_limit == Some(1);
    let behind = key.clone().with(KeyField::EthType, ethertype);
    if TAG_TYPES.contains(&ethertype) {
        let deeper = (!one_tag_only).then_some(Reason::SecondTag);
        return vec![Piece { key: behind, inexact: inexact.or(deeper) }];
    }
    let mut pieces = if ethertype < FIRST_ETHERTYPE {
        llc_rule(&key)
    } else {
        vec![Piece { key: behind, inexact }, snap(key.clone())]
    };
    if !one_tag_only {
        pieces.extend(TAG_TYPES.map(|tpid| second_tag(&key, tpid)));
    }
    pieces
}

/// The key for a tag. Flower has no masks here: what a mask leaves open is left out, and the piece is not exact.
fn tag(tci: Masked, key: Key) -> Piece {
    const PCP_SHIFT: u32 = 13;
    let id = Masked::new(tci.value & 0xfff, tci.mask & 0xfff);
    let pcp = Masked::new(tci.value >> PCP_SHIFT, tci.mask >> PCP_SHIFT);
    let (key, whole_id) = whole(key, KeyField::VlanId, id);
    let (key, whole_pcp) = whole(key, KeyField::VlanPrio, pcp);
    Piece { key, inexact: (!whole_id || !whole_pcp).then_some(Reason::PartialVlanMask) }
}

fn whole(key: Key, field: KeyField, masked: Masked) -> (Key, bool) {
    match masked.mask {
        0 => (key, true),
        mask if mask == field.full_mask() => (key.with_masked(field, masked), true),
        _ => (key, false),
    }
}

/// An EtherType may stand in a SNAP header, which flower sees as one more LLC frame.
fn snap(key: Key) -> Piece {
    Piece::inexact(key.with(KeyField::EthType, LLC), Reason::LlcFrame)
}

/// A match on OVS's pseudo EtherType of LLC frames.
fn llc_rule(key: &Key) -> Vec<Piece> {
    [LLC, RAW_802_3]
        .map(|kind| Piece::inexact(key.clone().with(KeyField::EthType, kind), Reason::LlcRule))
        .to_vec()
}

fn second_tag(key: &Key, tpid: u128) -> Piece {
    Piece::inexact(key.clone().with(KeyField::EthType, tpid), Reason::SecondTag)
}
