//! What is known of a chain's packets, and the match on what connection tracking found.
//!
//! Packets come to a chain by a filter that has asked for their EtherType and tag; its filters name both again, since
//! flower wants them in front of any other key. What has been tracked is TCP or UDP, and whole.

use super::{Here, Piece, carry};
use crate::compile::ir::{Key, KeyField};
use crate::openflow::{Field, Masked, Match};

const TCP: u128 = 6;
const UDP: u128 = 17;

/// The match with what its fields and the chain imply.
pub(super) fn with_prerequisites(takes: &Match, base: &Key) -> Match {
    let mut takes = takes.clone();
    if let (Some(ethertype), None) = (base.exact(KeyField::EthType), takes.get(Field::EthType)) {
        takes.insert(Field::EthType, Masked::new(ethertype, 0xffff));
    }
    let asks = |fields: &[Field], takes: &Match| fields.iter().any(|f| takes.get(*f).is_some());
    if takes.get(Field::NwProto).is_none() && takes.get(Field::EthType).is_some() {
        if asks(&[Field::TcpSrc, Field::TcpDst, Field::TcpFlags], &takes) {
            takes.insert(Field::NwProto, Masked::new(TCP, 0xff));
        } else if asks(&[Field::UdpSrc, Field::UdpDst], &takes) {
            takes.insert(Field::NwProto, Masked::new(UDP, 0xff));
        }
    }
    takes
}

/// The piece as packets of the chain can match it, without what the chain's way has asked.
pub(super) fn narrowed(piece: Piece, takes: &Match, here: Here<'_>) -> Option<Piece> {
    if here.base == &Key::any() {
        return Some(piece);
    }
    let key = piece.key.and(here.base)?;
    if !here.tracked {
        return Some(Piece { key, ..piece });
    }
    if key.exact(KeyField::IpProto).is_some_and(|proto| proto != TCP && proto != UDP) {
        return None;
    }
    if key.exact(KeyField::Frag) == Some(1) {
        return None;
    }
    let key = key.without(KeyField::Frag);
    let key = key.with_masked(KeyField::CtState, state(takes));
    let key = carry(takes, Field::CtMark, KeyField::CtMark, key);
    let key = carry(takes, Field::CtLabel, KeyField::CtLabel, key);
    Some(Piece { key, ..piece })
}

/// OVS's bits of the state and flower's.
const STATES: [(u128, u128); 6] = [(1, 1), (2, 2), (4, 4), (8, 32), (16, 16), (32, 8)];

fn state(takes: &Match) -> Masked {
    let asked = takes.get(Field::CtState).unwrap_or(Masked { value: 0, mask: 0 });
    let flowers = |bits: u128| {
        STATES.iter().filter(|(ovs, _)| bits & ovs != 0).fold(0, |all, (_, flower)| all | flower)
    };
    Masked::new(flowers(asked.value), flowers(asked.mask))
}
